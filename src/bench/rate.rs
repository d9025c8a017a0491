//! Open loop: calls at a fixed rate, whether replies come or not.
//!
//! Latency counts from the moment a call was due, not from when it could be sent, so that a server
//! that stops for a while pays for every call that was due meanwhile. Source: Tene, "How NOT to
//! Measure Latency", 2013, on coordinated omission.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::io;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::sync::Notify;

use super::Tally;
use super::cohort::{Participant, Venue, leave_all, ping_all};
use super::connection::{Receiver, Sender, shortened};
use super::crew::{Plan, gather};
use super::error::BenchError;
use super::frames::{FIRST_ID, Frame, Kind, Mix};
use super::latency::{PATIENCE, warm_up_and_measure};
use super::pacer::Pacer;
use super::process;
use super::reply::{Expected, Wrong, split_id};
use super::report::{Report, Unit};
use super::target::{Clients, Target};
use crate::runtime::Clock;

/// Most calls a second.
pub const PER_SECOND_MAX: usize = 1_000_000;

/// Calls of a thread that may wait for their replies. When there are so many, the next waits, and its
/// latency counts on.
const WAITING_MAX: usize = 65_536;

/// Calls that are late and sent without a look at what has come.
const LATE_AT_ONCE: u64 = 16;

/// An open loop.
#[derive(Clone, Debug)]
pub struct RateSettings {
    /// Who calls, in turn.
    pub clients: Clients,
    /// What they send.
    pub mix: Mix,
    /// Calls a second of all clients together: up to [`PER_SECOND_MAX`].
    pub per_second: usize,
    /// Time before the measurement.
    pub warm_up: Duration,
    /// Time that is measured.
    pub time: Duration,
}

/// A call that waits for its reply.
struct Waiting {
    id: u64,
    kind: Kind,
    due_nanos: u64,
}

/// What the sender and the receivers of a thread share.
struct Floor {
    clock: Clock,
    mix: Mix,
    /// By client.
    waiting: Vec<RefCell<VecDeque<Waiting>>>,
    waiting_count: Cell<usize>,
    /// Told of each reply.
    replied: Notify,
    tally: RefCell<Tally>,
}

impl RateSettings {
    /// Runs it.
    ///
    /// # Errors
    /// The clients could not get ready. What goes wrong later is in the report.
    pub fn run(&self) -> Result<Report, BenchError> {
        let clients = &self.clients;
        process::raise_open_files(clients.connections)?;
        let venue = Venue::new(Target::find(clients)?);
        let plan = Plan {
            prepare: async |thread| venue.gather(clients.of_thread(thread)).await,
            work: async |participants: &mut Vec<Participant>, time| {
                let mut tally = self.call_at_rate(participants, time).await;
                // One more reply each shows that the last one came once.
                if tally.faults.is_empty() {
                    ping_all(participants, &mut tally).await;
                }
                tally
            },
            end: leave_all,
        };
        let measured = gather(clients.threads, &plan, |crew| {
            warm_up_and_measure(crew, self.warm_up, self.time, clients)
        })?;
        Ok(Report::new("rate", clients, Unit::Call, measured))
    }

    /// Calls of one thread for `time`, and waits for the replies.
    async fn call_at_rate(&self, participants: &mut [Participant], time: Duration) -> Tally {
        // Connections are spread by meetings, so a thread takes the part of the rate that it has of them.
        let share = participants.len() as f64 / self.clients.connections as f64;
        let pause_nanos = 1e9 / (self.per_second as f64 * share);
        let floor = Floor::new(participants.len(), self.mix);
        let (mut senders, mut receivers) = (Vec::new(), Vec::new());
        for one in participants {
            senders.push((&mut one.sender, &mut one.frames));
            receivers.push((&mut one.receiver, &one.expected));
        }
        let receiving = receivers
            .into_iter()
            .enumerate()
            .map(|(at, (receiver, expected))| floor.receive(at, receiver, expected));
        let sending = async {
            if let Err(error) = floor.send_all(senders, pause_nanos, time).await {
                floor.tally.borrow_mut().faults.on_broken(&error);
            }
            floor.last_replies().await;
        };
        tokio::select! {
            () = sending => {}
            // They end only when their connection does, and the sender notices what is missing.
            _ = join_all(receiving) => {}
        }
        floor.finish()
    }
}

impl Floor {
    fn new(client_count: usize, mix: Mix) -> Self {
        Self {
            clock: Clock::start(),
            mix,
            waiting: (0..client_count).map(|_| RefCell::default()).collect(),
            waiting_count: Cell::new(0),
            replied: Notify::new(),
            tally: RefCell::new(Tally::new()),
        }
    }

    /// Sends calls of the clients in turn, one every `pause_nanos`, for `time`.
    async fn send_all(
        &self,
        mut senders: Vec<(&mut Sender, &mut [Frame; 3])>,
        pause_nanos: f64,
        time: Duration,
    ) -> io::Result<()> {
        let pacer = Pacer::new()?;
        if senders.is_empty() {
            return Ok(());
        }
        let mut late_count = 0;
        for number in 0.. {
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "an hour is 4e12 ns"
            )]
            let due_nanos = (number as f64 * pause_nanos) as u64;
            if u128::from(due_nanos) >= time.as_nanos() {
                return Ok(());
            }
            let early = due_nanos.saturating_sub(self.clock.now_nanos());
            pacer.wait(Duration::from_nanos(early)).await?;
            late_count = if early == 0 { late_count + 1 } else { 0 };
            if late_count % LATE_AT_ONCE == LATE_AT_ONCE - 1 {
                tokio::task::yield_now().await;
            }
            while self.waiting_count.get() >= WAITING_MAX {
                self.replied.notified().await;
            }
            let at = number % senders.len();
            let (sender, frames) = &mut senders[at];
            let id = sender.take_id();
            let kind = self.mix.kind(id - FIRST_ID);
            self.waiting[at].borrow_mut().push_back(Waiting { id, kind, due_nanos });
            self.waiting_count.set(self.waiting_count.get() + 1);
            sender.send(frames[kind as usize].with_id(id)).await?;
        }
        Ok(())
    }

    /// Takes the replies of one client until its connection ends.
    async fn receive(&self, at: usize, receiver: &mut Receiver, expected: &[Expected; 3]) {
        let ended = receiver.take(|text| {
            match self.take_waiting(at, text) {
                Ok(waiting) => {
                    let (_, rest) = split_id(text).unwrap_or_default();
                    let checked = expected[waiting.kind as usize].check(text, rest);
                    let mut tally = self.tally.borrow_mut();
                    match checked {
                        Ok(()) => tally.record(self.clock.now_nanos() - waiting.due_nanos),
                        Err(wrong) => tally.faults.on_wrong(&wrong),
                    }
                }
                Err(wrong) => self.tally.borrow_mut().faults.on_wrong(&wrong),
            }
            None::<()>
        });
        if let Err(error) = ended.await {
            self.tally.borrow_mut().faults.on_broken(&error);
        }
    }

    /// The call that `text` answers, which then waits no longer. Nearly always the oldest: only what a
    /// proxy answers by itself overtakes others.
    fn take_waiting(&self, at: usize, text: &str) -> Result<Waiting, Wrong> {
        let stray = || Wrong::Stray(shortened(text));
        let (id, _) = split_id(text).ok_or_else(stray)?;
        let mut waiting = self.waiting[at].borrow_mut();
        let found = waiting.iter().position(|one| one.id == id).ok_or_else(stray)?;
        self.waiting_count.set(self.waiting_count.get() - 1);
        self.replied.notify_one();
        waiting.remove(found).ok_or_else(stray)
    }

    /// Waits until no call waits, but not for ever.
    async fn last_replies(&self) {
        let replies = async {
            while self.waiting_count.get() > 0 {
                self.replied.notified().await;
            }
        };
        let _ = tokio::time::timeout(PATIENCE, replies).await; // finish() counts what is missing
    }

    fn finish(self) -> Tally {
        let mut tally = self.tally.into_inner();
        let missing = self.waiting_count.get() as u64;
        if missing > 0 {
            tally.faults.on_missing(missing, "replies");
        }
        tally
    }
}
