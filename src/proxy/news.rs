//! Bad news that a client is told a little later.
//!
//! A backend that dies takes something from thousands of clients in the same millisecond. Were they all
//! told at once, they would all come back at once, to the backends that are left. So each is told at a
//! random moment of `loss.spread_ms`; one that says something meanwhile is told before it is heard.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::sync::watch;
use tokio::time::Sleep;

use crate::session::LinkNo;

/// What one client is to be told.
#[derive(Default)]
pub(super) struct News {
    /// Links whose backends are lost. At most as many as the session has.
    lost: Vec<LinkNo>,
    /// Meetings were let go, its own perhaps.
    has_moves: bool,
    /// When it is told; none while there is nothing to tell.
    due: Option<Pin<Box<Sleep>>>,
    moves: Option<BoxFuture<'static, watch::Receiver<u64>>>,
}

impl News {
    /// Hears of meetings that are let go from now on, or no longer if there is nothing to hear from.
    pub(super) fn listen(&mut self, moves: Option<watch::Receiver<u64>>) {
        self.moves = moves.map(next);
    }

    /// Whether it hears of meetings that are let go.
    pub(super) const fn listens(&self) -> bool {
        self.moves.is_some()
    }

    /// The backend of `link` is lost; the client is told after `delay`, or when it is told other news.
    pub(super) fn on_lost(&mut self, link: LinkNo, delay: Duration) {
        self.lost.push(link);
        self.set_due(delay);
    }

    fn set_due(&mut self, delay: Duration) {
        self.due.get_or_insert_with(|| Box::pin(tokio::time::sleep(delay)));
    }

    /// Looks whether a meeting was let go, which is told after some `delay`. Ready when it is time to
    /// tell what there is.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>, delay: impl Fn() -> Duration) -> Poll<()> {
        while let Some(moves) = &mut self.moves
            && let Poll::Ready(receiver) = moves.as_mut().poll(cx)
        {
            self.moves = Some(next(receiver));
            self.has_moves = true;
            self.set_due(delay());
        }
        let Some(due) = &mut self.due else { return Poll::Pending };
        ready!(due.as_mut().poll(cx));
        Poll::Ready(())
    }

    /// Whether there is anything to tell.
    pub(super) const fn is_any(&self) -> bool {
        self.due.is_some()
    }

    /// What is told now: links that are lost, and whether meetings were let go.
    pub(super) fn take(&mut self) -> (Vec<LinkNo>, bool) {
        self.due = None;
        (std::mem::take(&mut self.lost), std::mem::take(&mut self.has_moves))
    }
}

/// Ready when another meeting was let go; never if none ever will be.
fn next(mut moves: watch::Receiver<u64>) -> BoxFuture<'static, watch::Receiver<u64>> {
    Box::pin(async move {
        if moves.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
        moves
    })
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;
    use std::future::poll_fn;

    use super::*;

    const DELAY: Duration = Duration::from_millis(300);

    #[tokio::test(start_paused = true)]
    async fn all_losses_are_told_together_when_the_first_is_due() {
        let mut news = News::default();
        news.on_lost(LinkNo(1), DELAY);
        news.on_lost(LinkNo(0), DELAY * 100);
        let told = tokio::time::timeout(DELAY * 2, poll_fn(|cx| news.poll(cx, || DELAY))).await;
        assert!(told.is_ok() && news.is_any());
        assert_eq!(news.take(), (vec![LinkNo(1), LinkNo(0)], false));
        assert!(!news.is_any());
        assert_eq!(poll_fn(|cx| news.poll(cx, || DELAY)).now_or_never(), None);
    }

    #[tokio::test(start_paused = true)]
    async fn meetings_that_are_let_go_are_told_once_for_many() {
        let counts = watch::Sender::new(0);
        let mut news = News::default();
        news.listen(Some(counts.subscribe()));
        assert_eq!(poll_fn(|cx| news.poll(cx, || DELAY)).now_or_never(), None);
        counts.send_modify(|count| *count += 1);
        assert_eq!(poll_fn(|cx| news.poll(cx, || DELAY)).now_or_never(), None);
        counts.send_modify(|count| *count += 1);
        poll_fn(|cx| news.poll(cx, || DELAY)).await;
        assert_eq!(news.take(), (vec![], true));
        drop(counts);
        assert_eq!(poll_fn(|cx| news.poll(cx, || DELAY)).now_or_never(), None, "and never more");
    }
}
