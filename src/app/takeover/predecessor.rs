//! The process that runs and is to be replaced.

use std::io;
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::sync::Arc;

use tokio::net::UnixStream;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::door::Knock;
use super::{Channel, Gates, VERSION, Word, socket_path};
use crate::pins::{Handover, News};
use crate::runtime::{Closed, OpenSockets, send_sockets};

/// Hands everything over when asked.
pub(crate) struct Predecessor {
    pub(crate) state_dir: PathBuf,
    pub(crate) pins: Arc<Handover>,
    /// What the successor is to be told, once there is one.
    pub(crate) news: mpsc::Receiver<News>,
    /// What is listened on: all are sent.
    pub(crate) sockets: OpenSockets,
    /// Closed from when the successor reads what is on disk.
    pub(crate) gates: Gates,
    /// Ends what only one process may do.
    pub(crate) ours: CancellationToken,
    /// Cancelled when the successor has taken over.
    pub(crate) moved: CancellationToken,
}

impl Predecessor {
    /// Hands over to the first that is able to, then tells it the news, until `stop`.
    pub(crate) async fn run(mut self, mut knocks: mpsc::Receiver<Knock>, stop: CancellationToken) {
        while let Some(Some(knock)) = stop.run_until_cancelled(knocks.recv()).await {
            let met = self.meet().await;
            let answer = met.as_ref().map(drop).map_err(|error| {
                let dir = self.state_dir.display();
                format!("no process waits in {dir} to take over: {error}")
            });
            // Who asked may have gone; then nothing is heard of it below.
            let _ = knock.send(answer);
            let Ok(channel) = met else { continue };
            // What operators order now is for the other process.
            if let Some((channel, _closed)) = self.hand_over(channel).await {
                knocks.close();
                return self.tell(channel, &stop).await;
            }
        }
    }

    /// Connects to the successor and sends it the sockets.
    async fn meet(&self) -> io::Result<Channel> {
        let stream = UnixStream::connect(socket_path(&self.state_dir)).await?;
        let sockets = self.sockets.all();
        let sockets: Vec<_> = sockets.iter().map(|socket| socket.as_fd()).collect();
        let hello = Word::Hello { version: VERSION }.to_line();
        send_sockets(&stream, &hello, &sockets).await?;
        Ok(Channel::new(stream))
    }

    /// Hands over; returns where the successor listens, if it has taken over.
    async fn hand_over(&mut self, mut channel: Channel) -> Option<(Channel, [Closed; 2])> {
        tracing::info!("another process is about to take over");
        let closed = match self.prepare(&mut channel).await {
            Ok(closed) => closed,
            Err(error) => {
                tracing::warn!(%error, "it has not taken over; going on");
                return None;
            }
        };
        // From here on it decides, whatever becomes of it.
        self.pins.give_away();
        self.moved.cancel();
        self.ours.cancel();
        if let Err(error) = channel.say(&Word::Go).await {
            tracing::error!(%error, "the process that was to take over is gone; start another");
        }
        Some((channel, closed))
    }

    /// Tells the successor the news, for as long as both live; all that there are at the `stop`.
    async fn tell(&mut self, mut channel: Channel, stop: &CancellationToken) {
        loop {
            let news = match stop.run_until_cancelled(self.news.recv()).await {
                Some(news) => news,
                None => {
                    self.news.close();
                    self.news.recv().await
                }
            };
            let Some(news) = news else { return };
            if let Err(error) = channel.say(&Word::of(news)).await {
                tracing::error!(%error, "the process that has taken over is gone; start another");
                return;
            }
        }
    }

    /// Lets go of the pins until the successor is ready, and takes them back if it never is.
    async fn prepare(&mut self, channel: &mut Channel) -> io::Result<[Closed; 2]> {
        channel.expect(&Word::Prepare).await?;
        let closed = self.gates.close().await;
        if let Err(error) = self.pins.release().await {
            let reason = error.to_string();
            channel.say(&Word::Refused { reason }).await?;
            return Err(io::Error::other(error));
        }
        let became_ready = async {
            channel.say(&Word::Released).await?;
            channel.expect(&Word::Ready).await
        };
        let became_ready = became_ready.await;
        if became_ready.is_err() {
            self.pins.take_back();
            // They were for the one that is gone.
            while self.news.try_recv().is_ok() {}
        }
        became_ready.map(|()| closed)
    }
}
