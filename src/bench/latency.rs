//! Closed loop: every client calls again as soon as it has its reply.

use std::cell::RefCell;
use std::time::Duration;

use futures_util::future::join_all;

use super::Tally;
use super::cohort::{Participant, Venue, leave_all};
use super::crew::{Crew, Plan, gather};
use super::error::BenchError;
use super::frames::{FIRST_ID, Kind, Mix};
use super::process;
use super::report::{Measured, Report, Unit};
use super::target::{Clients, Target};
use crate::runtime::Clock;

/// How long a reply may take before it counts as missing.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);

/// A closed loop.
#[derive(Clone, Debug)]
pub struct LatencySettings {
    /// Who calls.
    pub clients: Clients,
    /// What they send.
    pub mix: Mix,
    /// Time before the measurement, for caches and branch predictors.
    pub warm_up: Duration,
    /// Time that is measured.
    pub time: Duration,
}

impl LatencySettings {
    /// Runs it.
    ///
    /// # Errors
    /// The clients could not get ready. What goes wrong later is in the report.
    pub fn run(&self) -> Result<Report, BenchError> {
        let venue = Venue::new(Target::find(&self.clients)?);
        let measured = measure(self, &venue)?;
        Ok(Report::new("latency", &self.clients, Unit::Call, measured))
    }
}

/// Runs the loop at `venue`.
pub(super) fn measure(of: &LatencySettings, venue: &Venue) -> Result<Measured, BenchError> {
    process::raise_open_files(of.clients.connections)?;
    let plan = Plan {
        prepare: async |thread| venue.gather(of.clients.of_thread(thread)).await,
        work: async |participants: &mut Vec<Participant>, time| {
            call_all(participants, of.mix, time).await
        },
        end: leave_all,
    };
    gather(of.clients.threads, &plan, |crew| {
        warm_up_and_measure(crew, of.warm_up, of.time, &of.clients)
    })
}

/// Sends `crew` through a phase that does not count and one that does.
pub(super) fn warm_up_and_measure(
    crew: &Crew<Duration, Tally>,
    warm_up: Duration,
    time: Duration,
    clients: &Clients,
) -> Result<Measured, BenchError> {
    let mut faults = Tally::new();
    for tally in crew.run(&warm_up)? {
        faults.faults.add(&tally.faults);
    }
    let before = clients.usages()?;
    let clock = Clock::start();
    let mut tally = faults;
    for one in crew.run(&time)? {
        tally.add(&one);
    }
    let took = Duration::from_nanos(clock.now_nanos());
    Ok(Measured { tally, took, before, after: clients.usages()? })
}

/// Has each of `participants` call for `time`, one call after the other.
pub(super) async fn call_all(
    participants: &mut Vec<Participant>,
    mix: Mix,
    time: Duration,
) -> Tally {
    let tally = RefCell::new(Tally::new());
    let clock = Clock::start();
    let calling = participants.iter_mut().map(|one| call_until(one, mix, (clock, time), &tally));
    let are_whole = join_all(calling).await;
    let mut whole = are_whole.into_iter();
    participants.retain(|_| whole.next().unwrap_or(false));
    tally.into_inner()
}

/// Calls until `time` is over on `clock`; says whether the connection is still of use.
async fn call_until(
    participant: &mut Participant,
    mix: Mix,
    (clock, time): (Clock, Duration),
    tally: &RefCell<Tally>,
) -> bool {
    let end = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
    let calling = async {
        loop {
            let sent = clock.now_nanos();
            let is_over = sent >= end;
            // The last call is not measured: its reply shows that the one before came once.
            let kind = if is_over {
                Kind::Ping
            } else {
                mix.kind(participant.sender.peek_id() - FIRST_ID)
            };
            match participant.call(kind).await {
                Ok(Ok(())) if is_over => return true,
                Ok(Ok(())) => tally.borrow_mut().record(clock.now_nanos() - sent),
                Ok(Err(wrong)) => {
                    tally.borrow_mut().faults.on_wrong(&wrong);
                    return false;
                }
                Err(error) => {
                    tally.borrow_mut().faults.on_broken(&error);
                    return false;
                }
            }
        }
    };
    // One timer for all calls: what never comes is noticed at the end.
    let called = tokio::time::timeout(time + PATIENCE, calling).await;
    called.unwrap_or_else(|_| {
        tally.borrow_mut().faults.on_missing(1, "replies");
        false
    })
}
