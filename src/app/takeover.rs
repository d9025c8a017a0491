//! Replacing the process while it serves: `pinfold serve --takeover`.
//!
//! The new process, the successor, listens on a Unix socket in the state directory and asks the running
//! one, the predecessor, over its admin API to connect there. So both have the same state directory,
//! and nobody who cannot write to it takes part. Over that connection:
//!
//! | Who | says | and then |
//! |---|---|---|
//! | predecessor | `hello`, with its listening sockets | |
//! | successor | `prepare`, once it has all addresses of its config | |
//! | predecessor | `released`: all claims are on disk, the directory is free | claims wait |
//! | successor | `ready`: it has the pins and has heard from the fleet | |
//! | predecessor | `go` | closes its clients, ends |
//! | successor | | accepts, judges pins |
//! | predecessor | `created`, `gone`: pipelines that were under way | |
//!
//! Whatever fails before `ready`, on either side, ends the connection, and the predecessor goes on: the
//! directory is the arbiter, which only one process can have, and the successor decides nothing about
//! pins before `go`. Sockets are sent, not bound a second time, so that no connection is reset: one
//! queue, which either process takes from.

mod door;
mod predecessor;
mod successor;

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::time::timeout;

use crate::model::{PipelineId, SessionId};
use crate::pins::{News, Origin};
use crate::runtime::{Closed, Gate};
pub(super) use door::Door;
pub(super) use predecessor::Predecessor;
pub use successor::TakeoverError;

/// Name of the successor's socket in the state directory.
const SOCKET: &str = "takeover.sock";

/// Form of what is said. Both must have the same.
const VERSION: u32 = 1;

/// Longest line, in bytes.
const LINE_MAX_BYTES: usize = 4_096;

/// How long either side waits for the other's next word. The slowest step is reading a million pins and
/// hearing from the whole fleet.
const WORD_MAX: Duration = Duration::from_secs(30);

/// One line of the talk.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "say", rename_all = "snake_case")]
enum Word {
    Hello {
        version: u32,
    },
    Prepare,
    Released,
    /// The pins cannot be had; why.
    Refused {
        reason: String,
    },
    Ready,
    Go,
    /// A pipeline was made under a pin that is on disk. Numbers beyond 64 bits as text.
    Created {
        epoch: u64,
        pipeline: String,
        session: String,
    },
    Gone {
        pipeline: String,
    },
}

impl Word {
    fn of(news: News) -> Self {
        let number = |pipeline: PipelineId| pipeline.as_u128().to_string();
        match news {
            News::Created(Origin { epoch, pipeline, session }) => {
                let session = session.as_u128().to_string();
                Self::Created { epoch, pipeline: number(pipeline), session }
            }
            News::Gone(pipeline) => Self::Gone { pipeline: number(pipeline) },
        }
    }

    /// The news that this is, if it is any.
    fn news(&self) -> Option<News> {
        let pipeline = |text: &str| text.parse().ok().map(PipelineId::from_u128);
        match self {
            Self::Created { epoch, pipeline: number, session } => {
                let session = SessionId::from_random(session.parse().ok()?);
                Some(News::Created(Origin { epoch: *epoch, pipeline: pipeline(number)?, session }))
            }
            Self::Gone { pipeline: number } => Some(News::Gone(pipeline(number)?)),
            Self::Hello { .. }
            | Self::Prepare
            | Self::Released
            | Self::Refused { .. }
            | Self::Ready
            | Self::Go => None,
        }
    }

    fn to_line(&self) -> Vec<u8> {
        let mut line = serde_json::to_vec(self).expect("plain values");
        line.push(b'\n');
        line
    }
}

/// The connection between the two processes.
struct Channel(BufReader<UnixStream>);

impl Channel {
    fn new(stream: UnixStream) -> Self {
        Self(BufReader::new(stream))
    }

    async fn say(&mut self, word: &Word) -> io::Result<()> {
        let line = word.to_line();
        let said = self.0.get_mut().write_all(&line);
        timeout(WORD_MAX, said).await.map_err(io::Error::from)?
    }

    /// The next word, within 30 seconds.
    async fn hear(&mut self) -> io::Result<Word> {
        timeout(WORD_MAX, self.next()).await.map_err(io::Error::from)?
    }

    /// The next word, whenever it comes.
    async fn next(&mut self) -> io::Result<Word> {
        let mut line = Vec::new();
        loop {
            let part = self.0.fill_buf().await?;
            if part.is_empty() {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let end = part.iter().position(|byte| *byte == b'\n');
            let len = end.map_or(part.len(), |at| at + 1);
            line.extend_from_slice(&part[..len]);
            self.0.consume(len);
            if end.is_some() {
                return Ok(serde_json::from_slice(&line)?);
            }
            if line.len() > LINE_MAX_BYTES {
                return Err(io::ErrorKind::InvalidData.into());
            }
        }
    }

    /// Waits for `wanted`.
    async fn expect(&mut self, wanted: &Word) -> io::Result<()> {
        match self.hear().await? {
            word if word == *wanted => Ok(()),
            Word::Refused { reason } => Err(io::Error::other(reason)),
            word => Err(io::Error::other(format!("{wanted:?} was expected, not {word:?}"))),
        }
    }
}

/// What stands still from when the next process reads what this one has left on disk: it would not know
/// of what changes after that.
#[derive(Clone, Debug, Default)]
pub(super) struct Gates {
    /// Open while operators may give orders.
    pub(super) orders: Gate,
    /// Open while discovery may tell the fleet, and note, what it has found.
    pub(super) notes: Gate,
}

impl Gates {
    /// Closes both, when what is under way is done. An order may wait for discovery, so that comes last.
    async fn close(&self) -> [Closed; 2] {
        let orders = self.orders.close().await;
        [orders, self.notes.close().await]
    }
}

fn socket_path(state_dir: &Path) -> PathBuf {
    state_dir.join(SOCKET)
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[tokio::test]
    async fn an_order_that_waits_for_discovery_is_carried_out_before_the_gates_are_closed() {
        let gates = Gates::default();
        let order = gates.orders.try_enter().unwrap();
        let mut closing = Box::pin(gates.close());
        assert!((&mut closing).now_or_never().is_none());
        let noting = gates.notes.enter().now_or_never();
        assert!(noting.is_some() && gates.orders.try_enter().is_none());
        drop((order, noting));
        let closed = closing.await;
        assert!(gates.notes.try_enter().is_none());
        drop(closed);
        assert!(gates.orders.try_enter().is_some() && gates.notes.try_enter().is_some());
    }

    #[tokio::test]
    async fn what_is_said_is_heard_and_the_end_too() {
        let (here, there) = UnixStream::pair().unwrap();
        let (mut here, mut there) = (Channel::new(here), Channel::new(there));
        let pipeline = PipelineId::from_u128(u128::MAX);
        let made = Origin { epoch: 7, pipeline, session: SessionId::from_random(u128::MAX - 1) };
        for news in [News::Created(made), News::Gone(pipeline)] {
            here.say(&Word::of(news)).await.unwrap();
            assert_eq!(there.hear().await.unwrap().news(), Some(news));
        }
        here.say(&Word::Refused { reason: "no".to_owned() }).await.unwrap();
        assert_eq!(there.expect(&Word::Released).await.unwrap_err().to_string(), "no");
        drop(here);
        assert_eq!(there.hear().await.unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    }

    #[tokio::test]
    async fn a_line_has_a_bound() {
        let (mut here, there) = UnixStream::pair().unwrap();
        let talk = async move { here.write_all(&vec![b'x'; 10 * LINE_MAX_BYTES]).await };
        let mut there = Channel::new(there);
        let (heard, _) = tokio::join!(there.hear(), talk);
        assert_eq!(heard.unwrap_err().kind(), io::ErrorKind::InvalidData);
    }
}
