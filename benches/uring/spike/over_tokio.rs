//! Over tokio: one task for each pair, which reads until nothing is left and then writes.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::AsyncWrite;
use tokio::net::TcpStream;
use tokio::runtime::Builder;
use tokio::task::JoinSet;
use tokio_util::io::poll_read_buf;

use super::Streams;
use super::outgoing::Outgoing;
use super::pair::{Pair, Side};

/// Forwards until every pair has lost an end.
pub(super) fn forward(pairs: Vec<Streams>) -> anyhow::Result<()> {
    Builder::new_current_thread().enable_io().build()?.block_on(async {
        let mut tasks = JoinSet::new();
        for (seed, streams) in (0..).zip(pairs) {
            let [client, backend] = streams.map(TcpStream::from_std);
            let task = Task {
                pair: Pair::new(seed),
                streams: [client?, backend?],
                outgoing: Default::default(),
            };
            tasks.spawn(task.run());
        }
        while let Some(ended) = tasks.join_next().await {
            ended??;
        }
        Ok(())
    })
}

struct Task {
    pair: Pair,
    streams: [TcpStream; 2],
    outgoing: [Outgoing; 2],
}

impl Task {
    async fn run(mut self) -> anyhow::Result<()> {
        poll_fn(|cx| self.poll(cx)).await
    }

    /// Ready when an end has gone.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<anyhow::Result<()>> {
        for side in Side::ALL {
            loop {
                let stream = Pin::new(&mut self.streams[side as usize]);
                match poll_read_buf(stream, cx, self.pair.buffer(side)) {
                    Poll::Pending => break,
                    Poll::Ready(Ok(0) | Err(_)) => return Poll::Ready(Ok(())),
                    Poll::Ready(Ok(_)) => {}
                }
                if let Err(error) = self.pair.pass_on(side) {
                    return Poll::Ready(Err(error));
                }
            }
            // Gives the buffer back that nothing came for.
            if let Err(error) = self.pair.pass_on(side) {
                return Poll::Ready(Err(error));
            }
        }
        for side in Side::ALL {
            if self.poll_write(cx, side).is_err() {
                return Poll::Ready(Ok(()));
            }
        }
        Poll::Pending
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, side: Side) -> std::io::Result<()> {
        let outgoing = &mut self.outgoing[side as usize];
        loop {
            outgoing.refill(self.pair.out(side));
            if outgoing.rest().is_empty() {
                return Ok(());
            }
            let stream = Pin::new(&mut self.streams[side as usize]);
            match stream.poll_write(cx, outgoing.rest()) {
                Poll::Pending => return Ok(()),
                Poll::Ready(written) => outgoing.advance(written?),
            }
        }
    }
}
