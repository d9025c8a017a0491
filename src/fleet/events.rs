//! What the managers of all backends tell, as one: who wants to hear it, and who brings it.
//!
//! While anybody listens, the control connection to each backend is subscribed to its manager, so
//! that a client needs no link to every backend. Events reach listeners through one bounded ring: who
//! falls behind by more than it holds loses the oldest, and is told how many.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{broadcast, watch};

use super::own::OwnPipelines;
use crate::model::PipelineId;
use crate::protocol::event::{Change, ObjectEvent};
use crate::protocol::loss;

/// Events that a listener may be behind.
pub(super) const EVENTS_MAX: usize = 1_024;

/// How long whoever begins to listen waits for backends that do not answer. Their events come when
/// they do.
const SUBSCRIBING_MAX: Duration = Duration::from_secs(2);

/// Objects remembered, to be told of when their backend is lost. Beyond it those of some pipeline are
/// forgotten: nobody hears of them then.
const OBJECTS_MAX: usize = 65_536;

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
    own: OwnPipelines,
    made: Mutex<Made>,
}

/// What was made in each pipeline since somebody listens, in order.
#[derive(Debug, Default)]
struct Made {
    of: BTreeMap<PipelineId, Vec<String>>,
    count: usize,
}

impl Hub {
    pub(super) fn new() -> Self {
        Self {
            events: broadcast::Sender::new(EVENTS_MAX),
            listeners: watch::Sender::new(0),
            bringing: watch::Sender::default(),
            own: OwnPipelines::default(),
            made: Mutex::default(),
        }
    }

    /// Hands an event to all who listen.
    pub(super) fn publish(&self, event: ObjectEvent) {
        self.made().note(&event);
        self.send(event);
    }

    /// `pipeline` went with its backend: tells of what is known to have been in it, and then of itself.
    pub(super) fn on_lost(&self, pipeline: PipelineId, at_millis: u64) {
        let made = self.made().take(pipeline);
        let own = pipeline.to_string();
        let all = made.into_iter().rev().chain([own]);
        all.for_each(|object| self.send(loss::destroyed(object, at_millis)));
    }

    fn made(&self) -> MutexGuard<'_, Made> {
        // Nothing that can panic is done while it is held.
        self.made.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn send(&self, event: ObjectEvent) {
        // Fails only when nobody listens.
        let _ = self.events.send(Arc::new(event));
    }

    /// Pipelines of deep probes, which are nobody's business.
    pub(super) const fn own(&self) -> &OwnPipelines {
        &self.own
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

impl Made {
    fn note(&mut self, event: &ObjectEvent) {
        let Some(pipeline) = event.pipeline else { return };
        let is_pipeline = !event.object.contains('/');
        match event.change {
            Change::Created if is_pipeline => {}
            Change::Created => {
                self.of.entry(pipeline).or_default().push(event.object.clone());
                self.count += 1;
            }
            Change::Destroyed if is_pipeline => drop(self.take(pipeline)),
            Change::Destroyed => {
                let made = self.of.entry(pipeline).or_default();
                let before = made.len();
                made.retain(|object| *object != event.object);
                self.count -= before - made.len();
                if made.is_empty() {
                    self.of.remove(&pipeline);
                }
            }
        }
        while self.count > OBJECTS_MAX
            && let Some((_, made)) = self.of.pop_first()
        {
            self.count -= made.len();
        }
    }

    fn take(&mut self, pipeline: PipelineId) -> Vec<String> {
        let made = self.of.remove(&pipeline).unwrap_or_default();
        self.count -= made.len();
        made
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
        let made = &self.hub.made;
        self.hub.listeners.send_modify(|count| {
            *count -= 1;
            if *count == 0 {
                // What becomes of it from now on, nobody hears.
                *made.lock().unwrap_or_else(PoisonError::into_inner) = Made::default();
            }
        });
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
    async fn what_went_with_a_backend_is_told_children_first() {
        let hub = Arc::new(Hub::new());
        let mut listener = hub.listen();
        let pipeline = PipelineId::from_u128(7);
        let element = |name: &str| format!("{pipeline}/{name}");
        for (change, object) in [
            (Change::Created, pipeline.to_string()),
            (Change::Created, element("a")),
            (Change::Created, element("b")),
            (Change::Created, element("c")),
            (Change::Destroyed, element("b")),
        ] {
            hub.publish(ObjectEvent::new(change, object, "1".to_owned()));
            listener.next().await.unwrap();
        }
        hub.on_lost(pipeline, 2);
        for expected in [element("c"), element("a"), pipeline.to_string()] {
            let Some(Heard::Event(told)) = listener.next().await else { panic!("nothing") };
            assert_eq!((told.change, &told.object), (Change::Destroyed, &expected));
            assert_eq!((told.pipeline, told.at_millis.as_str()), (Some(pipeline), "2"));
        }
        hub.publish(ObjectEvent::new(Change::Created, element("d"), "3".to_owned()));
        assert_eq!(hub.made().count, 1);
        drop(listener);
        assert_eq!(hub.made().count, 0, "nobody listens any more");
    }

    #[test]
    fn what_is_remembered_has_a_bound() {
        let mut made = Made::default();
        for number in 0..=OBJECTS_MAX as u128 {
            let pipeline = PipelineId::from_u128(number);
            made.note(&ObjectEvent::new(Change::Created, format!("{pipeline}/a"), String::new()));
        }
        assert_eq!((made.count, made.of.len()), (OBJECTS_MAX, OBJECTS_MAX));
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
