//! Connections that are open and say nothing: what they cost in memory.

use std::time::Duration;

use futures_util::stream::{self, StreamExt, TryStreamExt};

use super::Tally;
use super::cohort::Venue;
use super::connection::Connection;
use super::crew::{Plan, gather};
use super::error::BenchError;
use super::latency::PATIENCE;
use super::process;
use super::reply::Wrong;
use super::report::{Measured, Report, Unit};
use super::storm::{FirstMessage, close_all, enter, ping};
use super::target::{Clients, Target};
use crate::runtime::Clock;

/// Connections of a thread that are opened at once: no storm is measured here.
const AT_ONCE: usize = 32;

/// Connections that idle.
#[derive(Clone, Debug)]
pub struct IdleSettings {
    /// Who connects.
    pub clients: Clients,
    /// What each says before it falls silent. With `Create` an edge holds a link for it as well.
    pub first: FirstMessage,
    /// How long all are silent. Memory is read at the end of it.
    pub time: Duration,
}

/// What the threads are told to do.
#[derive(Clone, Copy)]
enum Phase {
    /// Stay silent.
    Hold(Duration),
    /// Say something, to see who is still there.
    Ping,
}

impl IdleSettings {
    /// Runs it. Counted are connections that still answer at the end.
    ///
    /// # Errors
    /// A connection could not be opened, or its first message was not answered as it should be.
    pub fn run(&self) -> Result<Report, BenchError> {
        let clients = &self.clients;
        process::raise_open_files(clients.connections)?;
        let venue = Venue::new(Target::find(clients)?);
        let before = clients.usages()?;
        let plan = Plan {
            prepare: async |thread| self.enter_all(&venue, clients.of_thread(thread)).await,
            work: async |guests: &mut Vec<Connection>, phase| match phase {
                Phase::Hold(time) => {
                    tokio::time::sleep(time).await;
                    Tally::new()
                }
                Phase::Ping => ping_all(guests).await,
            },
            end: close_all,
        };
        let measured = gather(clients.threads, &plan, |crew| {
            let clock = Clock::start();
            crew.run(&Phase::Hold(self.time))?;
            let took = Duration::from_nanos(clock.now_nanos());
            let after = clients.usages()?;
            let mut tally = Tally::new();
            for one in crew.run(&Phase::Ping)? {
                tally.add(&one);
            }
            Ok(Measured { tally, took, before, after })
        })?;
        Ok(Report::new("idle", clients, Unit::Connection, measured).without_rate())
    }

    async fn enter_all(
        &self,
        venue: &Venue,
        meetings: Vec<usize>,
    ) -> Result<Vec<Connection>, BenchError> {
        let failed = |error| BenchError::Connect(venue.target.authority.clone(), error);
        let entering = meetings.into_iter().map(|meeting| enter(venue, meeting, self.first));
        let entering = stream::iter(entering).buffer_unordered(AT_ONCE);
        entering.try_collect().await.map_err(failed)
    }
}

/// Has each say something and counts those that are answered.
async fn ping_all(guests: &mut [Connection]) -> Tally {
    let mut tally = Tally::new();
    for guest in guests {
        let clock = Clock::start();
        match tokio::time::timeout(PATIENCE, ping(guest)).await {
            Ok(Ok(())) => tally.record(clock.now_nanos()),
            Ok(Err(error)) => match Wrong::of(&error) {
                Some(wrong) => tally.faults.on_wrong(wrong),
                None => tally.faults.on_broken(&error),
            },
            Err(_late) => tally.faults.on_missing(1, "replies"),
        }
    }
    tally
}
