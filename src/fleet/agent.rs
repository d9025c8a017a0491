//! Asks the agent beside one backend, over HTTP, how busy its machine is.
//!
//! The edge asks, and the agent does not push: so nobody can tell the edge anything but who the
//! operator has named, and nothing new listens. Each time a new connection: an agent that was
//! restarted, or moved behind its name, is met the next time.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Limited};
use hyper::Request;
use hyper::client::conn::http1;
use hyper::header::{ACCEPT, HOST};
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::handle::FleetHandle;
use super::table::Report;
use crate::model::{Draws, MachineUsage};
use crate::settings::{ProbeSettings, ReportUrl};

/// Longest report, in bytes. A longer one is none.
const REPORT_MAX_BYTES: usize = 64 << 10;

/// Bytes of the head of an answer, and of what is buffered.
const HEAD_MAX_BYTES: usize = 16 << 10;

/// Asks one agent for ever.
#[derive(Debug)]
pub(super) struct AgentPoll {
    pub(super) index: usize,
    pub(super) url: ReportUrl,
    pub(super) settings: watch::Receiver<ProbeSettings>,
    pub(super) draws: Draws,
    pub(super) handle: FleetHandle,
}

/// Why there is no report. It is for the operator to act.
#[derive(Debug, thiserror::Error)]
enum AgentError {
    #[error("it cannot be reached: {0}")]
    Unreachable(#[from] std::io::Error),
    #[error("it does not speak HTTP: {0}")]
    Http(#[from] hyper::Error),
    #[error("its URL is no request: {0}")]
    Request(#[from] hyper::http::Error),
    #[error("it answers with status {0}")]
    Status(u16),
    #[error("its answer is cut off, or longer than {REPORT_MAX_BYTES} bytes")]
    Body,
    #[error("its answer is no report: {0}")]
    Json(#[from] serde_json::Error),
    #[error("its report tells none of cpu_percent, memory_percent and network_percent from 0 on")]
    Empty,
    #[error("it does not answer in time")]
    Timeout,
}

/// The report as it comes. Members that are not known are passed over.
#[derive(Deserialize)]
struct Told {
    cpu_percent: Option<f64>,
    memory_percent: Option<f64>,
    network_percent: Option<f64>,
}

impl AgentPoll {
    pub(super) async fn run(mut self, stop: CancellationToken) {
        let mut is_known_to_fail = false;
        loop {
            let timeout = self.settings.borrow().timeout;
            let asked = tokio::time::timeout(timeout, ask(&self.url));
            let Some(asked) = stop.run_until_cancelled(asked).await else { return };
            match asked.unwrap_or(Err(AgentError::Timeout)) {
                Ok(usage) => {
                    is_known_to_fail = false;
                    self.handle.report(self.index, Report::Told(usage)).await;
                }
                Err(error) if !is_known_to_fail => {
                    is_known_to_fail = true;
                    tracing::warn!(
                        url = %self.url, %error,
                        "no report of a backend's machine: it counts as ever more loaded; operator: \
                         look at the agent, or at report_url of the backend"
                    );
                }
                Err(error) => tracing::debug!(url = %self.url, %error, "no report again"),
            }
            let pause = self.pause();
            if stop.run_until_cancelled(tokio::time::sleep(pause)).await.is_none() {
                return;
            }
        }
    }

    fn pause(&mut self) -> Duration {
        let settings = self.settings.borrow();
        let jitter = f64::from(settings.jitter_percent) / 100.0;
        settings.sample.mul_f64(1.0 + jitter * (2.0 * self.draws.fraction() - 1.0))
    }
}

/// Asks for one report.
async fn ask(url: &ReportUrl) -> Result<MachineUsage, AgentError> {
    let socket = TcpStream::connect((url.host(), url.port())).await?;
    let mut builder = http1::Builder::new();
    builder.max_buf_size(HEAD_MAX_BYTES);
    let (mut sender, connection) = builder.handshake(TokioIo::new(socket)).await?;
    let request = Request::get(url.path())
        .header(HOST, url.authority())
        .header(ACCEPT, "application/json")
        .body(Empty::<Bytes>::new())?;
    let answer = async {
        let answer = sender.send_request(request).await?;
        drop(sender); // lets the connection end
        let status = answer.status();
        if !status.is_success() {
            return Err(AgentError::Status(status.as_u16()));
        }
        let body = Limited::new(answer.into_body(), REPORT_MAX_BYTES);
        let body = body.collect().await.map_err(|_| AgentError::Body)?;
        parse(&body.to_bytes())
    };
    let (answer, _ended) = tokio::join!(answer, connection);
    answer
}

/// Reads a report. More than 100 percent counts as 100.
fn parse(body: &[u8]) -> Result<MachineUsage, AgentError> {
    let told: Told = serde_json::from_slice(body)?;
    let all = [told.cpu_percent, told.memory_percent, told.network_percent];
    let is_odd = all.iter().flatten().any(|percent| *percent < 0.0);
    if is_odd || all.iter().all(Option::is_none) {
        return Err(AgentError::Empty);
    }
    let [cpu_percent, memory_percent, network_percent] =
        all.map(|percent| percent.map(|percent| percent.min(100.0)));
    Ok(MachineUsage { cpu_percent, memory_percent, network_percent })
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    #[test]
    fn a_report_tells_one_dimension_or_more() {
        let usage =
            parse(br#"{"cpu_percent": 12.5, "network_percent": 180, "host": "a"}"#).unwrap();
        let expected = MachineUsage {
            cpu_percent: Some(12.5),
            memory_percent: None,
            network_percent: Some(100.0),
        };
        assert_eq!(usage, expected);
        for body in ["{}", "", "[]", r#"{"cpu_percent": -1}"#, r#"{"cpu_percent": "7"}"#] {
            assert!(parse(body.as_bytes()).is_err(), "{body}");
        }
    }

    /// What comes of an agent that answers so.
    async fn asked(answer: Vec<u8>) -> Result<MachineUsage, AgentError> {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/report", listener.local_addr().unwrap());
        let agent = async {
            let (mut socket, _) = listener.accept().await.unwrap();
            let mut request = vec![0; 4_096];
            let len = socket.read(&mut request).await.unwrap();
            // Refused if the other side has had enough.
            let _ = socket.write_all(&answer).await;
            String::from_utf8(request[..len].to_vec()).unwrap()
        };
        let url = ReportUrl::parse(&url).unwrap();
        let (request, told) = tokio::join!(agent, ask(&url));
        assert!(request.starts_with("GET /report HTTP/1.1\r\n"), "{request}");
        told
    }

    #[tokio::test]
    async fn an_agent_is_asked_over_http_and_believed_within_bounds() {
        let with = |head: &str, body: &str| {
            format!("HTTP/1.1 {head}\r\ncontent-length: {}\r\n\r\n{body}", body.len()).into_bytes()
        };
        let told = asked(with("200 OK", r#"{"memory_percent":40}"#)).await.unwrap();
        assert_eq!(told.memory_percent, Some(40.0));
        assert!(matches!(asked(with("503 No", "{}")).await, Err(AgentError::Status(503))));
        let long = format!("{{\"cpu_percent\":1,\"more\":\"{}\"}}", "a".repeat(REPORT_MAX_BYTES));
        assert!(matches!(asked(with("200 OK", &long)).await, Err(AgentError::Body)));
        assert!(matches!(asked(with("200 OK", "[1,")).await, Err(AgentError::Json(_))));
        assert!(asked(b"nonsense\r\n\r\n".to_vec()).await.is_err());
    }
}
