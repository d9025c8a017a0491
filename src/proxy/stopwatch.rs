//! How long messages of a client are in the edge: from the last byte read to the first byte written.
//!
//! The clock is read twice a turn, however many messages it moves: when the first bytes were read, and
//! when all that came of them is about to be written. All of a turn wait for the same write, so that is
//! the time of each. What the system then does with the bytes is not counted; over loopback that is
//! the work of the receiver.

use std::time::Duration;

use crate::runtime::Clock;
use crate::session::Output;
use crate::telemetry::{LocalCounts, Metrics, RoutingKind};

/// What became of a message of the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Routed {
    /// It is on its way to a backend.
    Sent,
    /// The edge answers it.
    Answered,
    /// It waits, for something that it is the first to need.
    Waits(RoutingKind),
    /// It waits behind another.
    Held,
}

impl Routed {
    /// What `output` says of the message at hand; `None` if nothing.
    pub(super) const fn of(output: &Output) -> Option<Self> {
        match output {
            Output::Relay(_) | Output::ToBackend(..) | Output::SendBlocking(..) => Some(Self::Sent),
            Output::Answer(..) | Output::Refuse(..) | Output::Manager(..) => Some(Self::Answered),
            Output::Place(..) | Output::Locate(_) | Output::OpenLink(..) => {
                Some(Self::Waits(RoutingKind::NewPin))
            }
            Output::Resume(_) => Some(Self::Waits(RoutingKind::Resume)),
            // A turn that has to be waited for is wanted, and says nothing of routing.
            Output::RelayToClient
            | Output::Pace(..)
            | Output::Unpace(_)
            | Output::Unblocked(..)
            | Output::Again(..)
            | Output::Listen(_)
            | Output::StopListening
            | Output::Event(_)
            | Output::EventsLost(_)
            | Output::Created(..)
            | Output::NotCreated(_)
            | Output::Released(_)
            | Output::MediaChanged(..)
            | Output::Unheld(_)
            | Output::Prune
            | Output::Stray
            | Output::Bereft
            | Output::TimedOut(..)
            | Output::Late
            | Output::Tried(..) => None,
        }
    }
}

/// Times the messages of one session. Nanoseconds are those of the edge's clock.
#[derive(Debug, Default)]
pub(super) struct Stopwatch {
    /// When the first bytes of this turn were read.
    read_nanos: Option<u64>,
    /// Messages of this turn that went on at once.
    table_hits: u32,
    local_answers: u32,
    /// The oldest message that waits for a place, a link or a session: as what, and read when. Others
    /// that wait behind it are not timed.
    late: Option<(RoutingKind, u64)>,
    is_late_sent: bool,
}

impl Stopwatch {
    /// Something was read, at `now_nanos`.
    pub(super) fn on_read(&mut self, now_nanos: u64) {
        self.read_nanos.get_or_insert(now_nanos);
    }

    /// A message was handled.
    pub(super) fn on_routed(&mut self, routed: Routed, clock: Clock) {
        match routed {
            Routed::Sent => self.table_hits += 1,
            Routed::Answered => self.local_answers += 1,
            Routed::Waits(kind) => {
                // One that was read before this turn, and not looked at, counts from now.
                let read = *self.read_nanos.get_or_insert_with(|| clock.now_nanos());
                self.late.get_or_insert((kind, read));
            }
            Routed::Held => {}
        }
    }

    /// A message that waited goes on.
    pub(super) fn on_late_sent(&mut self) {
        self.is_late_sent = self.late.is_some();
    }

    /// The message that waits to go on with another session, read when, for who has that session.
    pub(super) fn take_late(&mut self) -> Option<u64> {
        self.late.take().map(|(_, read)| read)
    }

    /// Nobody has that session: the message waits here until it is found out what is left of it.
    pub(super) fn wait_again(&mut self, read_nanos: u64) {
        self.late = Some((RoutingKind::Resume, read_nanos));
    }

    /// A message, read then, has found the session that it named.
    pub(super) fn on_resumed(&mut self, read_nanos: u64) {
        self.late = Some((RoutingKind::Resume, read_nanos));
        self.is_late_sent = true;
    }

    /// All that came of this turn is about to be written, at `now_nanos`.
    pub(super) fn on_write(&mut self, now_nanos: u64, counts: &mut LocalCounts, metrics: &Metrics) {
        let since = |read: u64| Duration::from_nanos(now_nanos.saturating_sub(read));
        let took = since(self.read_nanos.take().unwrap_or(now_nanos));
        if self.table_hits > 0 {
            counts.on_table_hits(took, std::mem::take(&mut self.table_hits));
        }
        if self.local_answers > 0 {
            counts.on_local_answers(took, std::mem::take(&mut self.local_answers));
        }
        if std::mem::take(&mut self.is_late_sent)
            && let Some((kind, read)) = self.late.take()
        {
            metrics.on_routed_late(kind, since(read));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(metrics: &Metrics, kind: &str) -> (String, String) {
        let text = metrics.encode();
        let value = |part: &str| {
            let name = format!("pinfold_routing_seconds_{part}{{kind=\"{kind}\"}} ");
            text.lines().find_map(|line| line.strip_prefix(&name)).unwrap().to_owned()
        };
        (value("count"), value("sum"))
    }

    #[test]
    fn messages_of_a_turn_count_from_its_first_read_to_its_write() {
        let (metrics, clock) = (Metrics::new(), Clock::start());
        let (mut watch, mut counts) = (Stopwatch::default(), LocalCounts::default());
        watch.read_nanos = Some(1_000);
        watch.on_read(2_000);
        watch.on_routed(Routed::Sent, clock);
        watch.on_routed(Routed::Sent, clock);
        watch.on_routed(Routed::Answered, clock);
        watch.on_routed(Routed::Held, clock);
        watch.on_write(3_000, &mut counts, &metrics);
        watch.on_write(9_000, &mut counts, &metrics);
        metrics.flush(&mut counts);
        assert_eq!(shown(&metrics, "table_hit"), ("2".to_owned(), "0.000004".to_owned()));
        assert_eq!(shown(&metrics, "local_answer"), ("1".to_owned(), "0.000002".to_owned()));
    }

    #[test]
    fn a_message_that_waits_counts_when_it_goes_on() {
        let (metrics, clock) = (Metrics::new(), Clock::start());
        let (mut watch, mut counts) = (Stopwatch::default(), LocalCounts::default());
        watch.read_nanos = Some(1_000);
        watch.on_routed(Routed::Waits(RoutingKind::NewPin), clock);
        watch.on_write(2_000, &mut counts, &metrics);
        watch.read_nanos = Some(5_000);
        watch.on_routed(Routed::Waits(RoutingKind::NewPin), clock);
        assert_eq!(shown(&metrics, "new_pin").0, "0");
        watch.on_late_sent();
        watch.on_write(8_000, &mut counts, &metrics);
        assert_eq!(shown(&metrics, "new_pin"), ("1".to_owned(), "0.000007".to_owned()));
        watch.on_resumed(6_000);
        watch.on_write(9_000, &mut counts, &metrics);
        assert_eq!(shown(&metrics, "resume"), ("1".to_owned(), "0.000003".to_owned()));
        assert_eq!(watch.take_late(), None);
    }
}
