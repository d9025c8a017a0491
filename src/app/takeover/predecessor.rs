//! The process that runs and is to be replaced.

use std::io;
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::sync::{Arc, Weak};

use tokio::net::{TcpListener, UnixStream};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::{Channel, VERSION, Word, socket_path};
use crate::admin::{TakeoverRefusal, TakeoverRequest};
use crate::pins::{Handover, News};
use crate::runtime::send_sockets;

/// Hands everything over when asked.
pub(crate) struct Predecessor {
    pub(crate) state_dir: PathBuf,
    pub(crate) pins: Arc<Handover>,
    /// What the successor is to be told, once there is one.
    pub(crate) news: mpsc::Receiver<News>,
    /// Those that are still listened on are sent.
    pub(crate) sockets: Vec<Weak<TcpListener>>,
    /// Cancelled when the successor has taken over.
    pub(crate) moved: CancellationToken,
}

impl Predecessor {
    /// Hands over to the first that is able to, then tells it the news, until `stop`.
    pub(crate) async fn run(
        mut self,
        mut requests: mpsc::Receiver<TakeoverRequest>,
        stop: CancellationToken,
    ) {
        let work = async {
            while let Some(request) = requests.recv().await {
                let channel = match self.meet().await {
                    Ok(channel) => {
                        request.answer(Ok(()));
                        channel
                    }
                    Err(error) => {
                        tracing::warn!(%error, "nobody to hand over to");
                        let dir = self.state_dir.display().to_string();
                        request.answer(Err(TakeoverRefusal::NobodyThere(dir)));
                        continue;
                    }
                };
                if self.hand_over(channel).await {
                    return;
                }
            }
        };
        stop.run_until_cancelled(work).await;
    }

    /// Connects to the successor and sends it the sockets.
    async fn meet(&self) -> io::Result<Channel> {
        let stream = UnixStream::connect(socket_path(&self.state_dir)).await?;
        let sockets: Vec<_> = self.sockets.iter().filter_map(Weak::upgrade).collect();
        let sockets: Vec<_> = sockets.iter().map(|socket| socket.as_fd()).collect();
        let hello = Word::Hello { version: VERSION }.to_line();
        send_sockets(&stream, &hello, &sockets).await?;
        Ok(Channel::new(stream))
    }

    /// Hands over; says whether that went well, and then only after the successor has ended.
    async fn hand_over(&mut self, mut channel: Channel) -> bool {
        tracing::info!("another process is about to take over");
        match self.prepare(&mut channel).await {
            Ok(()) => {}
            Err(error) => {
                tracing::warn!(%error, "it has not taken over; going on");
                return false;
            }
        }
        // From here on it decides, whatever becomes of it.
        self.pins.give_away();
        self.moved.cancel();
        let told = async {
            channel.say(&Word::Go).await?;
            tracing::info!("another process has taken over");
            while let Some(news) = self.news.recv().await {
                channel.say(&Word::of(news)).await?;
            }
            io::Result::Ok(())
        };
        if let Err(error) = told.await {
            tracing::warn!(%error, "the process that has taken over is gone");
        }
        true
    }

    /// Lets go of the pins until the successor is ready, and takes them back if it never is.
    async fn prepare(&mut self, channel: &mut Channel) -> io::Result<()> {
        channel.expect(&Word::Prepare).await?;
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
        became_ready
    }
}
