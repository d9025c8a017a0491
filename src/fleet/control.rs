//! The control connection to one backend: calls of the edge's own, one after another.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::{self, Message};
use tokio_tungstenite::{WebSocketStream, client_async_with_config};

use super::events::{Bringing, Hub};
use crate::model::{Incarnation, Time, Usage};
use crate::policy::health::ProbeFailure;
use crate::protocol::event::{Change, ObjectEvent};
use crate::protocol::request::MANAGER;
use crate::settings::BackendUrl;

/// Longest answer to a probe, in bytes. A longer one fails it.
const ANSWER_MAX: usize = 4 << 20;

/// Time over which a backend measures its processors. It sleeps for that on one of its ten I/O
/// threads, so it is short. Source: Kurento protocol notes, sections 5 and 9.
pub(super) const CPU_INTERVAL: Duration = Duration::from_millis(100);

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

/// A connection that has told who is at its other end.
pub(super) struct Control {
    socket: WebSocketStream<TcpStream>,
    last_id: u64,
    pub(super) incarnation: Incarnation,
    /// Processors of the backend: asked once.
    cpu_count: Option<u32>,
    /// When it was last asked how it is used.
    pub(super) sampled: Option<Time>,
    /// Whom its events go to, and as which backend.
    hub: (Arc<Hub>, usize),
    subscriptions: Subscriptions,
}

/// Subscriptions to the manager of the backend.
enum Subscriptions {
    None,
    /// Their ids.
    Live(Vec<String>),
    /// The backend does not want any; it is not asked again on this connection.
    Refused,
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

/// Opens a WebSocket to a backend.
pub(super) async fn dial(url: &BackendUrl) -> Result<WebSocketStream<TcpStream>, ProbeFailure> {
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
    Ok(socket)
}

impl Control {
    /// Opens a control connection and asks who is there.
    pub(super) async fn open(
        url: &BackendUrl,
        hub: (Arc<Hub>, usize),
    ) -> Result<(Self, ServerFacts), ProbeFailure> {
        let socket = dial(url).await?;
        let mut control = Self {
            socket,
            last_id: 0,
            incarnation: Incarnation(0),
            cpu_count: None,
            sampled: None,
            hub,
            subscriptions: Subscriptions::None,
        };
        let facts = control.ask_who().await?;
        Ok((control, facts))
    }

    async fn ask_who(&mut self) -> Result<ServerFacts, ProbeFailure> {
        let connected = self.call("connect", "{}").await?;
        let Connected { server_id } = read(&connected)?;
        self.incarnation = Incarnation::of(&server_id);
        let info = self.ask_manager("getInfo", "{}").await?.ok_or(ProbeFailure::Protocol)?;
        let version = read::<Info>(&info)?.version.map(Into::into);
        Ok(ServerFacts { server_id: server_id.into(), version, info: info.into() })
    }

    pub(super) async fn ping(&mut self) -> Result<(), ProbeFailure> {
        self.call("ping", "{}").await.map(drop)
    }

    /// Asks how the backend is used. What it does not tell, as other servers may not, is not known.
    pub(super) async fn sample(&mut self) -> Result<Usage, ProbeFailure> {
        if self.cpu_count.is_none() {
            self.cpu_count = self.ask_number("getCpuCount", "{}").await?;
        }
        let interval = format!(r#"{{"interval":{}}}"#, CPU_INTERVAL.as_millis());
        Ok(Usage {
            cpu_count: self.cpu_count,
            memory_kb: self.ask_number("getUsedMemory", "{}").await?,
            cpu_percent: self.ask_number("getUsedCpu", &interval).await?,
        })
    }

    /// Whether it could bring events and does not.
    pub(super) fn could_bring_events(&self) -> bool {
        matches!(self.subscriptions, Subscriptions::None)
    }

    /// Subscribes to the manager of the backend, or ends that, as it is wanted now.
    pub(super) async fn heed_wishes(&mut self) -> Result<(), ProbeFailure> {
        match &self.subscriptions {
            Subscriptions::Refused => return Ok(()),
            Subscriptions::None | Subscriptions::Live(_) => {}
        }
        let (hub, index) = (Arc::clone(&self.hub.0), self.hub.1);
        let is_live = !self.could_bring_events();
        if is_live && hub.is_wanted() {
            return Ok(());
        }
        hub.note(index, Bringing::NotYet);
        match (hub.is_wanted(), is_live) {
            (false, false) => {}
            (true, true) => hub.note(index, Bringing::Events),
            (false, true) => self.unsubscribe().await?,
            (true, false) => self.subscribe().await?,
        }
        Ok(())
    }

    /// Subscribes anew, for whoever `release`s the manager ends the subscriptions of all sessions
    /// without a word. Twice subscribed does not bring events twice. Source: Kurento protocol notes,
    /// sections 5 and 6.
    pub(super) async fn renew_subscriptions(&mut self) -> Result<(), ProbeFailure> {
        if let Subscriptions::Live(old) = &mut self.subscriptions {
            let old = std::mem::take(old);
            self.subscribe().await?;
            self.end(old).await?;
        }
        Ok(())
    }

    async fn subscribe(&mut self) -> Result<(), ProbeFailure> {
        let mut ids = Vec::new();
        for change in Change::ALL {
            let params = format!(r#"{{"object":"{MANAGER}","type":"{}"}}"#, change.event());
            if let Some(result) = self.ask("subscribe", &params).await? {
                let Value { value } = read(&result)?;
                ids.push(value.get().to_owned());
            }
        }
        let is_whole = ids.len() == Change::ALL.len();
        let (hub, index) = &self.hub;
        if !is_whole {
            tracing::warn!(index, "a backend does not let its manager be subscribed to");
        }
        hub.note(*index, if is_whole { Bringing::Events } else { Bringing::Nothing });
        self.subscriptions =
            if is_whole { Subscriptions::Live(ids) } else { Subscriptions::Refused };
        Ok(())
    }

    async fn unsubscribe(&mut self) -> Result<(), ProbeFailure> {
        match std::mem::replace(&mut self.subscriptions, Subscriptions::None) {
            Subscriptions::Live(ids) => self.end(ids).await,
            Subscriptions::None | Subscriptions::Refused => Ok(()),
        }
    }

    async fn end(&mut self, ids: Vec<String>) -> Result<(), ProbeFailure> {
        for id in ids {
            let params = format!(r#"{{"object":"{MANAGER}","subscription":{id}}}"#);
            self.ask("unsubscribe", &params).await?;
        }
        Ok(())
    }

    /// Publishes what comes until the connection ends. Nothing is asked meanwhile.
    pub(super) async fn attend(&mut self) {
        while let Some(Ok(message)) = self.socket.next().await {
            if let Message::Text(text) = message {
                self.publish(&text);
            }
        }
    }

    fn publish(&self, text: &str) {
        let Some(event) = ObjectEvent::parse(text) else { return };
        let (hub, index) = &self.hub;
        for event in hub.own().pass(*index, event) {
            hub.publish(event);
        }
    }

    /// The value of the manager's `operation`, JSON; `None` if the backend refuses to tell.
    async fn ask_manager(
        &mut self,
        operation: &str,
        arguments: &str,
    ) -> Result<Option<String>, ProbeFailure> {
        let params = format!(
            r#"{{"object":"{MANAGER}","operation":"{operation}","operationParams":{arguments}}}"#
        );
        let Some(result) = self.ask("invoke", &params).await? else { return Ok(None) };
        let Value { value } = read(&result)?;
        Ok(Some(value.get().to_owned()))
    }

    /// The same for a value that is a number; `None` if it is none of the wanted kind.
    async fn ask_number<T: std::str::FromStr>(
        &mut self,
        operation: &str,
        arguments: &str,
    ) -> Result<Option<T>, ProbeFailure> {
        let value = self.ask_manager(operation, arguments).await?;
        Ok(value.and_then(|value| value.parse().ok()))
    }

    /// Makes a call that must succeed, and returns its result as JSON.
    async fn call(&mut self, method: &str, params: &str) -> Result<String, ProbeFailure> {
        self.ask(method, params).await?.ok_or(ProbeFailure::Protocol)
    }

    /// Makes a call and returns its result as JSON; `None` for an error. Ids are never repeated on a
    /// connection, and cannot be those of a client's calls.
    async fn ask(&mut self, method: &str, params: &str) -> Result<Option<String>, ProbeFailure> {
        self.last_id += 1;
        let id = format!("pinfold-probe-{}", self.last_id);
        let text =
            format!(r#"{{"id":"{id}","jsonrpc":"2.0","method":"{method}","params":{params}}}"#);
        self.socket.send(Message::text(text)).await.map_err(|error| failure_of(&error))?;
        loop {
            let message = self.socket.next().await.ok_or(ProbeFailure::Cut)?;
            let message = message.map_err(|error| failure_of(&error))?;
            let text = match message {
                Message::Text(text) => text,
                // After 101 on a wrong path. Source: Kurento protocol notes, section 1.
                Message::Close(Some(frame)) if frame.code == CloseCode::Protocol => {
                    return Err(ProbeFailure::Handshake);
                }
                _ => continue,
            };
            let answer: Answer<'_> = read(&text)?;
            if answer.id == Some(&id) {
                return Ok(answer.result.map(|result| result.get().to_owned()));
            }
            self.publish(&text);
        }
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        let (hub, index) = &self.hub;
        hub.note(*index, Bringing::Nothing);
    }
}

fn read<'a, T: Deserialize<'a>>(text: &'a str) -> Result<T, ProbeFailure> {
    serde_json::from_str(text).map_err(|_| ProbeFailure::Protocol)
}

pub(super) fn failure_of(error: &tungstenite::Error) -> ProbeFailure {
    match error {
        tungstenite::Error::Http(_) | tungstenite::Error::Url(_) => ProbeFailure::Handshake,
        tungstenite::Error::Capacity(_) | tungstenite::Error::Utf8(_) => ProbeFailure::Protocol,
        _ => ProbeFailure::Cut,
    }
}
