//! Probes one backend over a connection of its own.
//!
//! A probe is answered by the media service: handshake on the real path, `connect` (which tells the
//! process by its `serverId`) and `getInfo` once a connection, then `ping`. A TCP connect, or the
//! handshake alone, proves nothing: Kurento accepts both on a wrong path and while it hangs.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{self, Message};
use tokio_tungstenite::{WebSocketStream, client_async_with_config};
use tokio_util::sync::CancellationToken;

use super::table::Report;
use super::task::FleetHandle;
use crate::model::{Draws, Incarnation};
use crate::policy::health::ProbeFailure;
use crate::runtime::Clock;
use crate::settings::{BackendUrl, ProbeSettings};
use crate::telemetry::{Metrics, ProbeOutcome};

/// Longest answer to a probe, in bytes. A longer one fails it.
const ANSWER_MAX: usize = 4 << 20;

/// What a server says of itself.
#[derive(Clone, Debug)]
pub struct ServerFacts {
    /// Identity of its process.
    pub server_id: Arc<str>,
    /// Its version, if it tells.
    pub version: Option<Arc<str>>,
    /// The value of `getInfo`, JSON.
    pub info: Arc<str>,
}

/// Probes one backend for ever.
#[derive(Debug)]
pub(super) struct Prober {
    pub(super) index: usize,
    pub(super) url: BackendUrl,
    pub(super) settings: ProbeSettings,
    pub(super) clock: Clock,
    pub(super) draws: Draws,
    pub(super) handle: FleetHandle,
}

/// A connection that has told who is at its other end.
struct Control {
    socket: WebSocketStream<TcpStream>,
    last_id: u64,
    incarnation: Incarnation,
}

#[derive(Deserialize)]
struct Answer<'a> {
    id: Option<&'a str>,
    #[serde(borrow)]
    result: Option<&'a RawValue>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Connected {
    server_id: String,
}

#[derive(Deserialize)]
struct Value<'a> {
    #[serde(borrow)]
    value: &'a RawValue,
}

#[derive(Deserialize)]
struct Info {
    version: Option<String>,
}

impl Prober {
    pub(super) async fn run(mut self, metrics: Metrics, stop: CancellationToken) {
        let mut control = None;
        while !stop.is_cancelled() {
            let report = match stop.run_until_cancelled(self.probe(&mut control)).await {
                None => return,
                Some(Ok(report)) => report,
                Some(Err(failure)) => {
                    control = None;
                    Report::Failed(failure)
                }
            };
            let pause = pause_after(&report, &self.settings, &mut self.draws);
            metrics.on_probe(outcome(&report));
            self.handle.report(self.index, report).await;
            stop.run_until_cancelled(self.wait(pause, &mut control)).await;
        }
    }

    /// Waits, unless somebody wants a probe or the connection ends before.
    async fn wait(&self, pause: Duration, control: &mut Option<Control>) {
        let cut = async {
            match control {
                // Nobody is asked anything now, so whatever comes is the end or of no interest.
                Some(control) => while let Some(Ok(_)) = control.socket.next().await {},
                None => std::future::pending().await,
            }
        };
        // However many links fail at once, they do not make failures follow faster than this.
        let kicked = async {
            tokio::time::sleep(self.settings.retry).await;
            self.handle.kicked(self.index).await;
        };
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = kicked => {}
            () = cut => {}
        }
    }

    async fn probe(&self, control: &mut Option<Control>) -> Result<Report, ProbeFailure> {
        let started = self.clock.now();
        let mut facts = None;
        let control = match control {
            Some(control) => {
                self.in_time(control.call(r#""method":"ping""#)).await?;
                control
            }
            None => {
                let (opened, told) = self.in_time(open(&self.url)).await?;
                facts = Some(told);
                control.insert(opened)
            }
        };
        let took = self.clock.now().since(started);
        Ok(Report::Answered { incarnation: control.incarnation, facts, took })
    }

    async fn in_time<T>(
        &self,
        step: impl Future<Output = Result<T, ProbeFailure>>,
    ) -> Result<T, ProbeFailure> {
        tokio::time::timeout(self.settings.timeout, step)
            .await
            .unwrap_or(Err(ProbeFailure::Timeout))
    }
}

/// Opens a control connection and asks who is there.
async fn open(url: &BackendUrl) -> Result<(Control, ServerFacts), ProbeFailure> {
    let connect = TcpStream::connect((url.host.as_str(), url.port));
    let stream = connect.await.map_err(|error| match error.kind() {
        io::ErrorKind::ConnectionRefused => ProbeFailure::Refused,
        _ => ProbeFailure::Unreachable,
    })?;
    stream.set_nodelay(true).map_err(|_| ProbeFailure::Cut)?;
    // The library's defaults cost 130 KiB a socket and let writes grow without bound.
    let config = WebSocketConfig::default()
        .read_buffer_size(8 << 10)
        .write_buffer_size(0)
        .max_write_buffer_size(256 << 10)
        .max_message_size(Some(ANSWER_MAX))
        .max_frame_size(Some(ANSWER_MAX));
    let (socket, _) = client_async_with_config(url.to_string(), stream, Some(config))
        .await
        .map_err(|error| failure_of(&error))?;
    let mut control = Control { socket, last_id: 0, incarnation: Incarnation(0) };
    let connected = control.call(r#""method":"connect""#).await?;
    let Connected { server_id } = read(&connected)?;
    control.incarnation = Incarnation::of(&server_id);
    let info = control
        .call(
            r#""method":"invoke","params":{"object":"manager_ServerManager","operation":"getInfo"}"#,
        )
        .await?;
    let Value { value } = read(&info)?;
    let version = read::<Info>(value.get())?.version.map(Into::into);
    let facts = ServerFacts { server_id: server_id.into(), version, info: value.get().into() };
    Ok((control, facts))
}

impl Control {
    /// Makes a call and returns its result as JSON. Ids are never repeated on a connection, and
    /// cannot be those of a client's calls.
    async fn call(&mut self, call: &str) -> Result<String, ProbeFailure> {
        self.last_id += 1;
        let id = format!("pinfold-probe-{}", self.last_id);
        let text = format!(r#"{{"id":"{id}","jsonrpc":"2.0",{call}}}"#);
        self.socket.send(Message::text(text)).await.map_err(|error| failure_of(&error))?;
        loop {
            let message = self.socket.next().await.ok_or(ProbeFailure::Cut)?;
            let message = message.map_err(|error| failure_of(&error))?;
            let Message::Text(text) = message else { continue };
            let answer: Answer<'_> = read(&text)?;
            if answer.id == Some(&id) {
                let result = answer.result.ok_or(ProbeFailure::Protocol)?;
                return Ok(result.get().to_owned());
            }
        }
    }
}

/// The time from a probe to the next: soon when no process seems to be there, else the interval with
/// its jitter.
pub(crate) fn pause_after(
    report: &Report,
    settings: &ProbeSettings,
    draws: &mut Draws,
) -> Duration {
    match report {
        Report::Failed(failure) if failure.shows_absence() => settings.retry,
        Report::Failed(_) | Report::Answered { .. } | Report::LinkFailed(_) => {
            let jitter = f64::from(settings.jitter_percent) / 100.0;
            settings.interval.mul_f64(1.0 + jitter * (2.0 * draws.fraction() - 1.0))
        }
    }
}

fn read<'a, T: Deserialize<'a>>(text: &'a str) -> Result<T, ProbeFailure> {
    serde_json::from_str(text).map_err(|_| ProbeFailure::Protocol)
}

fn failure_of(error: &tungstenite::Error) -> ProbeFailure {
    match error {
        tungstenite::Error::Http(_) | tungstenite::Error::Url(_) => ProbeFailure::Handshake,
        tungstenite::Error::Capacity(_) | tungstenite::Error::Utf8(_) => ProbeFailure::Protocol,
        _ => ProbeFailure::Cut,
    }
}

fn outcome(report: &Report) -> ProbeOutcome {
    match report {
        Report::Answered { .. } | Report::LinkFailed(_) => ProbeOutcome::Ok,
        Report::Failed(ProbeFailure::Timeout) => ProbeOutcome::Timeout,
        Report::Failed(
            ProbeFailure::Refused
            | ProbeFailure::Unreachable
            | ProbeFailure::Cut
            | ProbeFailure::Handshake,
        ) => ProbeOutcome::Refused,
        Report::Failed(ProbeFailure::Protocol) => ProbeOutcome::Error,
    }
}
