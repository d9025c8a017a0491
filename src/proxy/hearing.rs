//! What one session hears of the managers of all backends.

use std::task::{Context, Poll};

use futures_util::future::BoxFuture;
use futures_util::stream::{BoxStream, FuturesUnordered, Stream, StreamExt, unfold};

use crate::fleet::{FleetHandle, Heard, ObjectEvents};

/// Nothing, until the session listens.
#[derive(Default)]
pub(super) struct Hearing {
    events: Option<BoxStream<'static, Heard>>,
    /// Answers that are due when all backends are heard. At most as many as a session's subscriptions.
    answers: FuturesUnordered<BoxFuture<'static, String>>,
}

/// What is to be done now.
pub(super) enum ToTell {
    /// Send this answer.
    Answer(String),
    /// Hand this to the session.
    Heard(Heard),
}

impl Hearing {
    /// Listens; `answer` comes out when all backends are heard.
    pub(super) fn listen(&mut self, fleet: &FleetHandle, answer: String) {
        let listener = fleet.listen();
        let all_heard = listener.all_heard();
        self.answers.push(Box::pin(async move {
            all_heard.await;
            answer
        }));
        // One stream for all subscriptions of a session.
        self.events.get_or_insert_with(|| Box::pin(stream_of(listener)));
    }

    /// Goes on with what another session hears.
    pub(super) fn become_(&mut self, listener: Option<ObjectEvents>) {
        self.events = listener.map(|listener| Box::pin(stream_of(listener)) as _);
    }

    /// Listens no longer. Answers that are due still come.
    pub(super) fn stop(&mut self) {
        self.events = None;
    }

    /// Whether an answer is due.
    pub(super) fn is_beginning(&self) -> bool {
        !self.answers.is_empty()
    }

    /// Something to tell, if there is any now.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Option<ToTell> {
        if let Poll::Ready(Some(answer)) = self.answers.poll_next_unpin(cx) {
            return Some(ToTell::Answer(answer));
        }
        match self.events.as_mut()?.poll_next_unpin(cx) {
            Poll::Pending => None,
            Poll::Ready(Some(heard)) => Some(ToTell::Heard(heard)),
            Poll::Ready(None) => {
                self.events = None;
                None
            }
        }
    }
}

fn stream_of(listener: ObjectEvents) -> impl Stream<Item = Heard> + Send {
    unfold(listener, |mut listener| async move {
        let heard = listener.next().await?;
        Some((heard, listener))
    })
}
