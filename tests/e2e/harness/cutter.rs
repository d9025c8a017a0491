//! A way to a backend that breaks on demand: what is under way on it is lost, the backend lives.

use std::io;
use std::sync::{Arc, Mutex};

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// Forwards TCP connections to one address until they are cut.
#[derive(Debug)]
pub(crate) struct Cutter {
    /// The `ws://` address that leads to the backend.
    pub(crate) url: String,
    /// Ends the connections of today.
    cut: Arc<Mutex<CancellationToken>>,
    _accepting: JoinSet<()>,
}

impl Cutter {
    /// A way to the backend at `url`.
    pub(crate) async fn before(url: &str) -> Self {
        let (_scheme, rest) = url.split_once("://").unwrap();
        let (to, path) = rest.split_once('/').unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("ws://{}/{path}", listener.local_addr().unwrap());
        let cut = Arc::new(Mutex::new(CancellationToken::new()));
        let mut accepting = JoinSet::new();
        accepting.spawn(accept(listener, to.to_owned(), Arc::clone(&cut)));
        Self { url, cut, _accepting: accepting }
    }

    /// Cuts every connection there is; new ones are forwarded as before.
    pub(crate) fn cut(&self) {
        std::mem::take(&mut *self.cut.lock().unwrap()).cancel();
    }
}

async fn accept(listener: TcpListener, to: String, cut: Arc<Mutex<CancellationToken>>) {
    let mut connections = JoinSet::new();
    while let Ok((near, _)) = listener.accept().await {
        let cut = cut.lock().unwrap().clone();
        let to = to.clone();
        connections.spawn(async move {
            // Either way the connection is over.
            let _ = cut.run_until_cancelled(forward(near, &to)).await;
        });
    }
}

async fn forward(mut near: TcpStream, to: &str) -> io::Result<()> {
    let mut far = TcpStream::connect(to).await?;
    near.set_nodelay(true)?;
    far.set_nodelay(true)?;
    copy_bidirectional(&mut near, &mut far).await?;
    Ok(())
}
