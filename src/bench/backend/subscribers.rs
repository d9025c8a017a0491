//! Who wants the events of which object.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::mpsc;

/// Emissions that may wait for one subscriber. When full the call that emits is refused.
pub(super) const EMISSIONS_MAX: usize = 256;

/// Events that an object emits to one subscriber: so many, numbered from the first.
#[derive(Clone, Debug)]
pub(super) struct Emission {
    pub(super) object: Arc<str>,
    pub(super) first: u64,
    pub(super) count: u32,
}

/// Where the emissions for one connection go.
pub(super) type Outlet = mpsc::Sender<Emission>;

/// All subscriptions of all connections, which bound them: each is one of a connection's.
#[derive(Debug, Default)]
pub(super) struct Subscribers {
    objects: Mutex<HashMap<Arc<str>, Object>>,
    next_connection: AtomicU64,
}

#[derive(Debug, Default)]
struct Object {
    /// Events emitted so far.
    emitted: u64,
    /// By the connection's number; one connection is there once.
    outlets: Vec<(u64, Outlet)>,
}

impl Subscribers {
    /// A number for a connection.
    pub(super) fn number(&self) -> u64 {
        self.next_connection.fetch_add(1, Ordering::Relaxed)
    }

    /// `connection` gets the events of `object` from now on, once.
    pub(super) fn subscribe(&self, object: &str, connection: u64, outlet: &Outlet) {
        let mut objects = self.lock();
        let object = objects.entry(object.into()).or_default();
        if object.outlets.iter().all(|(other, _)| *other != connection) {
            object.outlets.push((connection, outlet.clone()));
        }
    }

    /// `connection` gets no more events of `object`.
    pub(super) fn unsubscribe(&self, object: &str, connection: u64) {
        let mut objects = self.lock();
        if let Some(found) = objects.get_mut(object) {
            found.outlets.retain(|(other, _)| *other != connection);
            if found.outlets.is_empty() {
                objects.remove(object);
            }
        }
    }

    /// Has `object` emit `count` events; says whether every subscriber could be told.
    pub(super) fn emit(&self, object: &str, count: u32) -> bool {
        let mut objects = self.lock();
        let Some((key, _)) = objects.get_key_value(object) else { return true };
        let key = Arc::clone(key);
        let Some(found) = objects.get_mut(object) else { return true };
        let emission = Emission { object: key, first: found.emitted, count };
        found.emitted += u64::from(count);
        found.outlets.iter().all(|(_, outlet)| outlet.try_send(emission.clone()).is_ok())
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Arc<str>, Object>> {
        // Nothing panics while holding it.
        self.objects.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_numbered_and_each_connection_gets_them_once() {
        let (subscribers, (tx, mut rx)) = (Subscribers::default(), mpsc::channel(EMISSIONS_MAX));
        subscribers.subscribe("o", 1, &tx);
        subscribers.subscribe("o", 1, &tx);
        assert!(subscribers.emit("o", 3) && subscribers.emit("o", 2) && subscribers.emit("p", 1));
        let got = [rx.try_recv().unwrap(), rx.try_recv().unwrap()].map(|e| (e.first, e.count));
        assert_eq!(got, [(0, 3), (3, 2)]);
        assert!(rx.try_recv().is_err());
        subscribers.unsubscribe("o", 1);
        assert!(subscribers.emit("o", 1) && subscribers.lock().is_empty());
    }

    #[test]
    fn a_subscriber_that_takes_nothing_shows() {
        let (subscribers, (tx, _rx)) = (Subscribers::default(), mpsc::channel(1));
        subscribers.subscribe("o", 1, &tx);
        assert!(subscribers.emit("o", 1));
        assert!(!subscribers.emit("o", 1));
    }
}
