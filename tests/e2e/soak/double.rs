//! Stands between the clients of a soak and the edge, and does harm to one answer.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::{SinkExt, StreamExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{accept_async, connect_async};

/// Texts of the edge that pass unharmed first, over all connections.
const UNHARMED: usize = 20;

/// What happens to the next one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Harm {
    None,
    /// It does not come.
    Drop,
    /// It comes twice.
    Twice,
    /// Another comes before it, to a call that was never made.
    Unasked,
}

/// The double. Dropping it ends it.
pub(super) struct Double {
    pub(super) addr: SocketAddr,
    _task: JoinSet<()>,
}

impl Double {
    /// A double before the edge that has `config`, which need not be there yet.
    pub(super) async fn start(config: PathBuf, harm: Harm) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let passed = Arc::new(AtomicUsize::new(0));
        let mut task = JoinSet::new();
        task.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let edge = edge_addr(&config).expect("clients come when the edge is there");
                connections.spawn(pass_on(stream, edge, (harm, Arc::clone(&passed))));
            }
        });
        Self { addr, _task: task }
    }
}

/// Where the edge with that config listens; `None` while that is not known.
pub(super) fn edge_addr(config: &Path) -> Option<String> {
    let config = std::fs::read_to_string(config).ok()?;
    let (_, rest) = config.split_once("addr = \"")?;
    let addr = rest.split('"').next()?;
    (!addr.ends_with(":0")).then(|| addr.to_owned())
}

/// Passes on what either side says, until one of them ends.
async fn pass_on(stream: TcpStream, edge: String, (harm, passed): (Harm, Arc<AtomicUsize>)) {
    let Ok(mut client) = accept_async(stream).await else { return };
    let url = format!("ws://{edge}/kurento");
    let Ok((mut edge, _)) = connect_async(url).await else { return };
    loop {
        tokio::select! {
            said = client.next() => match said {
                Some(Ok(Message::Text(text))) if edge.send(Message::Text(text.clone())).await.is_ok() => {}
                _ => return,
            },
            said = edge.next() => {
                let Some(Ok(Message::Text(text))) = said else { return };
                let is_harmed = passed.fetch_add(1, Ordering::Relaxed) == UNHARMED;
                for text in if is_harmed { harmed(&text, harm) } else { vec![text.to_string()] } {
                    if client.send(Message::text(text)).await.is_err() {
                        return;
                    }
                }
            }
        }
    }
}

/// What becomes of `text`.
fn harmed(text: &str, harm: Harm) -> Vec<String> {
    let text = text.to_owned();
    match harm {
        Harm::None => vec![text],
        Harm::Drop => Vec::new(),
        Harm::Twice => vec![text.clone(), text],
        Harm::Unasked => {
            let unasked = r#"{"id":1000000,"jsonrpc":"2.0","result":{"value":"pong"}}"#;
            vec![unasked.to_owned(), text]
        }
    }
}
