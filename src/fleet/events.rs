//! What the managers of all backends tell, as one: who wants to hear it, and who brings it.
//!
//! While anybody listens, the control connection to each backend is subscribed to its manager, so
//! that a client needs no link to every backend. Events reach listeners through one bounded ring: who
//! falls behind by more than it holds loses the oldest, and is told how many.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{broadcast, watch};

use crate::protocol::event::ObjectEvent;

/// Events that a listener may be behind.
pub(super) const EVENTS_MAX: usize = 1_024;

/// How long whoever begins to listen waits for backends that do not answer. Their events come when
/// they do.
const SUBSCRIBING_MAX: Duration = Duration::from_secs(2);

/// Whether the control connection to one backend brings its events.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Bringing {
    /// It is not open, or the backend refuses to be subscribed to.
    #[default]
    Nothing,
    /// It could, and does not yet.
    NotYet,
    /// It is subscribed.
    Events,
}

/// Joins the control connections, which bring events, with those who listen.
#[derive(Debug)]
pub(super) struct Hub {
    events: broadcast::Sender<Arc<ObjectEvent>>,
    listeners: watch::Sender<usize>,
    /// By number of the backend; one that has never noted anything brings nothing.
    bringing: watch::Sender<BTreeMap<usize, Bringing>>,
}

impl Hub {
    pub(super) fn new() -> Self {
        Self {
            events: broadcast::Sender::new(EVENTS_MAX),
            listeners: watch::Sender::new(0),
            bringing: watch::Sender::default(),
        }
    }

    /// Hands an event to all who listen.
    pub(super) fn publish(&self, event: ObjectEvent) {
        // Fails only when nobody listens.
        let _ = self.events.send(Arc::new(event));
    }

    /// Notes what the control connection to the backend of that number does. To be called *before*
    /// [`Self::is_wanted`] is asked what it should do, so that nobody who begins to listen at that
    /// moment takes it for subscribed.
    pub(super) fn note(&self, number: usize, bringing: Bringing) {
        self.bringing.send_if_modified(|all| {
            let before = match bringing {
                Bringing::Nothing => all.remove(&number),
                Bringing::NotYet | Bringing::Events => all.insert(number, bringing),
            };
            before.unwrap_or_default() != bringing
        });
    }

    /// Whether anybody listens.
    pub(super) fn is_wanted(&self) -> bool {
        *self.listeners.borrow() > 0
    }

    /// Waits until somebody listens.
    pub(super) async fn wanted(&self) {
        // Fails only when the sender is gone, which is this one.
        let _ = self.listeners.subscribe().wait_for(|count| *count > 0).await;
    }

    /// Begins to listen.
    pub(super) fn listen(self: &Arc<Self>) -> ObjectEvents {
        let receiver = self.events.subscribe();
        self.listeners.send_modify(|count| *count += 1);
        ObjectEvents { receiver, hub: Arc::clone(self) }
    }
}

/// Events of the managers of all backends, from now on. They are brought while this exists.
#[derive(Debug)]
pub struct ObjectEvents {
    receiver: broadcast::Receiver<Arc<ObjectEvent>>,
    hub: Arc<Hub>,
}

/// What a listener hears.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Heard {
    /// An event.
    Event(Arc<ObjectEvent>),
    /// So many were dropped: it has listened too slowly.
    Lost(u64),
}

impl ObjectEvents {
    /// The next event; `None` when there will be no more.
    pub async fn next(&mut self) -> Option<Heard> {
        match self.receiver.recv().await {
            Ok(event) => Some(Heard::Event(event)),
            Err(broadcast::error::RecvError::Lagged(count)) => Some(Heard::Lost(count)),
            Err(broadcast::error::RecvError::Closed) => None,
        }
    }

    /// Ready when every backend that answers is subscribed to, and no event of it will be missed;
    /// after 2 s in any case.
    pub fn all_heard(&self) -> impl Future<Output = ()> + Send + use<> {
        let mut bringing = self.hub.bringing.subscribe();
        async move {
            let all = bringing.wait_for(|all| all.values().all(|one| *one != Bringing::NotYet));
            // Too late: their events come when they answer. An error: the fleet is gone.
            let _ = tokio::time::timeout(SUBSCRIBING_MAX, all).await;
        }
    }
}

impl Drop for ObjectEvents {
    fn drop(&mut self) {
        self.hub.listeners.send_modify(|count| *count -= 1);
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;
    use crate::protocol::event::Change;

    fn event(number: usize) -> ObjectEvent {
        ObjectEvent::new(Change::Created, number.to_string(), "1".to_owned())
    }

    #[tokio::test]
    async fn whoever_falls_behind_is_told_how_many_events_it_lost() {
        let hub = Arc::new(Hub::new());
        hub.publish(event(0));
        let mut slow = hub.listen();
        for number in 0..EVENTS_MAX + 3 {
            hub.publish(event(number));
        }
        assert_eq!(slow.next().await, Some(Heard::Lost(3)));
        assert_eq!(slow.next().await, Some(Heard::Event(Arc::new(event(3)))));
    }

    #[tokio::test]
    async fn all_are_heard_when_nobody_who_could_bring_events_does_not() {
        let hub = Arc::new(Hub::new());
        hub.note(0, Bringing::Events);
        hub.note(1, Bringing::NotYet);
        let listener = hub.listen();
        let mut all_heard = std::pin::pin!(listener.all_heard());
        assert_eq!(all_heard.as_mut().now_or_never(), None);
        hub.note(1, Bringing::Events);
        all_heard.await;
    }

    #[tokio::test]
    async fn events_are_wanted_while_somebody_listens() {
        let hub = Arc::new(Hub::new());
        assert!(!hub.is_wanted());
        let (one, two) = (hub.listen(), hub.listen());
        hub.wanted().await;
        drop(one);
        assert!(hub.is_wanted());
        drop(two);
        assert!(!hub.is_wanted());
    }
}
