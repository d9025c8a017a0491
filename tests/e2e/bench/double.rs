//! Stands between clients and backends and does harm to what it passes on.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::{SinkExt, StreamExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{accept_async, connect_async};

/// Replies of a connection that pass unharmed: those of a client that gets ready, and some more.
const UNHARMED: usize = 20;

/// What happens to the next reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Harm {
    None,
    /// It comes twice.
    Twice,
    /// It answers another call.
    OtherId,
    /// It is of another backend.
    OtherBackend,
    /// It is an error.
    Error,
    /// The connection ends.
    Cut,
}

/// The double. Dropping it ends it.
pub(super) struct Double {
    pub(super) url: String,
    _task: JoinSet<()>,
}

impl Double {
    pub(super) async fn start(backend: &str, harm: Harm) -> Self {
        Self::start_between(&[backend], harm).await
    }

    /// Hands connections to `backends` in turn.
    pub(super) async fn start_between(backends: &[&str], harm: Harm) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("ws://{}/kurento", listener.local_addr().unwrap());
        let backends: Vec<String> = backends.iter().map(|&url| url.to_owned()).collect();
        let next = Arc::new(AtomicUsize::new(0));
        let mut task = JoinSet::new();
        task.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let at = next.fetch_add(1, Ordering::Relaxed) % backends.len();
                connections.spawn(pass_on(stream, backends[at].clone(), harm));
            }
        });
        Self { url, _task: task }
    }
}

/// Passes on what either side says, until one of them ends.
async fn pass_on(stream: TcpStream, backend: String, harm: Harm) {
    let Ok(mut client) = accept_async(stream).await else { return };
    let Ok((mut backend, _)) = connect_async(backend).await else { return };
    let mut count = 0;
    loop {
        tokio::select! {
            said = client.next() => match said {
                Some(Ok(Message::Text(text))) if backend.send(Message::Text(text.clone())).await.is_ok() => {}
                _ => return,
            },
            said = backend.next() => {
                let Some(Ok(Message::Text(text))) = said else { return };
                count += 1;
                let texts = if count == UNHARMED { harmed(&text, harm) } else { vec![text.to_string()] };
                if texts.is_empty() {
                    return;
                }
                for text in texts {
                    if client.send(Message::text(text)).await.is_err() {
                        return;
                    }
                }
            }
        }
    }
}

/// What becomes of `reply`; nothing if the connection ends.
fn harmed(reply: &str, harm: Harm) -> Vec<String> {
    let end = reply.find(',').expect("a reply of the bench backend begins with its id");
    let id = &reply[..end];
    match harm {
        Harm::None => vec![reply.to_owned()],
        Harm::Twice => vec![reply.to_owned(), reply.to_owned()],
        Harm::OtherId => vec![format!("{{\"id\":1{}", &reply[end..])],
        Harm::OtherBackend => vec![reply.replace("\"value\":\"a ", "\"value\":\"b ")],
        Harm::Error => vec![format!("{id},\"error\":{{\"code\":40101}},\"jsonrpc\":\"2.0\"}}")],
        Harm::Cut => Vec::new(),
    }
}
