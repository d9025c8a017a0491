//! The line to one backend: a connection of its own, over which questions are asked one after
//! another.

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::net::TcpStream;
use tokio::sync::{mpsc, oneshot};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_util::sync::CancellationToken;

use crate::fleet::control::{dial, failure_of};
use crate::policy::health::ProbeFailure;
use crate::runtime::random;
use crate::settings::BackendUrl;

/// How long a backend may take for an answer, opening the line included.
pub(crate) const ANSWER_TIMEOUT: Duration = Duration::from_secs(3);

/// How long a line stays open when nothing is asked. It may be tied to a session it asked for, and
/// keeps that alive.
const LINE_IDLE_MAX: Duration = Duration::from_secs(5);

/// A question that waits.
#[derive(Debug)]
pub(crate) struct Asked {
    /// The call, without its id.
    pub(crate) text: String,
    /// Sent after the answer, to give back what the question took.
    pub(crate) after: Option<String>,
    /// Takes what the backend says.
    pub(crate) answer: oneshot::Sender<Answered>,
}

/// What a backend answers.
#[derive(Debug)]
pub(crate) enum Answered {
    /// Success. JSON; empty if the answer has no value.
    Value(String),
    /// An error of this code.
    Error(i32),
    /// It could not be asked, or did not answer in time.
    Nothing,
}

/// The line to one backend: answers questions one after another.
pub(in crate::fleet) async fn run(
    url: BackendUrl,
    mut asked: mpsc::Receiver<Asked>,
    stop: CancellationToken,
) {
    let mut line = None;
    loop {
        let next = tokio::time::timeout(LINE_IDLE_MAX, asked.recv());
        let question = match stop.run_until_cancelled(next).await {
            None => return,
            // Whoever could ask has gone: the process is about to stop.
            Some(Ok(None)) => return stop.cancelled().await,
            Some(Ok(Some(question))) => question,
            Some(Err(_)) => {
                line = None;
                // Nothing to close any more: wait for as long as it takes.
                match stop.run_until_cancelled(asked.recv()).await {
                    None => return,
                    Some(None) => return stop.cancelled().await,
                    Some(Some(question)) => question,
                }
            }
        };
        let Asked { text, after, answer } = question;
        if answer.is_closed() {
            continue;
        }
        let _ = answer.send(ask(&url, &mut line, &text).await); // who asked may have left
        if let (Some(after), true) = (after, line.is_some()) {
            ask(&url, &mut line, &after).await;
        }
    }
}

/// Asks the backend; a line that gives no answer is closed.
async fn ask(url: &BackendUrl, line: &mut Option<Line>, text: &str) -> Answered {
    let asking = async {
        let line = match line {
            Some(line) => line,
            None => line.insert(Line::open(url).await?),
        };
        line.call(text).await
    };
    match tokio::time::timeout(ANSWER_TIMEOUT, asking).await {
        Ok(Ok(answered)) => answered,
        Ok(Err(_)) | Err(_) => {
            *line = None;
            Answered::Nothing
        }
    }
}

/// The question `call` as it is sent.
pub(crate) fn request(id: &str, call: &str) -> String {
    format!(r#"{{"id":"{id}","jsonrpc":"2.0",{call}}}"#)
}

/// What `text` says to the question with that id; `None` if it is something else.
///
/// # Errors
/// It cannot be read.
pub(crate) fn answer_to(id: &str, text: &str) -> serde_json::Result<Option<Answered>> {
    let answer: Answer<'_> = serde_json::from_str(text)?;
    if answer.id != Some(id) {
        return Ok(None);
    }
    let value = answer.result.and_then(|result| result.value);
    Ok(Some(match answer.error {
        Some(refusal) => Answered::Error(refusal.code),
        None => Answered::Value(value.map_or("", RawValue::get).to_owned()),
    }))
}

/// A connection to a backend.
struct Line {
    socket: WebSocketStream<TcpStream>,
    /// What the ids of its calls begin with: Kurento keeps answers by session and id for 20 s, across
    /// connections.
    prefix: String,
    last_id: u64,
}

#[derive(Deserialize)]
struct Answer<'a> {
    id: Option<&'a str>,
    error: Option<Refusal>,
    #[serde(borrow)]
    result: Option<Success<'a>>,
}

#[derive(Deserialize)]
struct Refusal {
    code: i32,
}

#[derive(Deserialize)]
struct Success<'a> {
    #[serde(borrow)]
    value: Option<&'a RawValue>,
}

impl Line {
    async fn open(url: &BackendUrl) -> Result<Self, ProbeFailure> {
        let prefix = format!("pinfold-ask-{:x}", random::seed());
        Ok(Self { socket: dial(url).await?, prefix, last_id: 0 })
    }

    /// Makes a call.
    async fn call(&mut self, call: &str) -> Result<Answered, ProbeFailure> {
        self.last_id += 1;
        let id = format!("{}-{}", self.prefix, self.last_id);
        let text = request(&id, call);
        self.socket.send(Message::text(text)).await.map_err(|error| failure_of(&error))?;
        loop {
            let message = self.socket.next().await.ok_or(ProbeFailure::Cut)?;
            let message = message.map_err(|error| failure_of(&error))?;
            let Message::Text(text) = message else { continue };
            if let Some(answered) = answer_to(&id, &text).map_err(|_| ProbeFailure::Protocol)? {
                return Ok(answered);
            }
        }
    }
}
