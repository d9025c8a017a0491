//! Storms: all connect at once, each from TCP to the reply to its first message.

use std::io;
use std::time::Duration;

use futures_util::future::join_all;

use super::Tally;
use super::cohort::Venue;
use super::connection::Connection;
use super::crew::{Plan, gather};
use super::error::BenchError;
use super::process;
use super::reply::Wrong;
use super::report::{Measured, Report, Unit};
use super::target::{Clients, Target};
use crate::runtime::Clock;

/// Time for a connection and its first reply.
const CONNECT_MAX: Duration = Duration::from_secs(30);

/// What a client says first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum FirstMessage {
    /// `ping`, as the official clients do; an edge may answer it without a backend
    Ping,
    /// `create` of a pipeline in the client's meeting; the backend must answer
    Create,
}

/// Connections all at once.
#[derive(Clone, Debug)]
pub struct StormSettings {
    /// Who connects.
    pub clients: Clients,
    /// What each says then.
    pub first: FirstMessage,
}

/// Those who came through, kept open, so that nobody gets another's place.
type Guests = Vec<Connection>;

impl StormSettings {
    /// Runs it.
    ///
    /// # Errors
    /// The URL cannot be used, or so many files may not be open. Connections that fail are in the
    /// report.
    pub fn run(&self) -> Result<Report, BenchError> {
        let clients = &self.clients;
        process::raise_open_files(clients.connections)?;
        let venue = Venue::new(Target::find(clients)?);
        let plan = Plan {
            prepare: async |thread| Ok((clients.of_thread(thread), Guests::new())),
            work: async |(meetings, guests): &mut (Vec<usize>, Guests), ()| {
                let (tally, failures);
                (tally, failures, *guests) = self.connect_all(&venue, meetings).await;
                (tally, failures)
            },
            end: async |(_, guests)| close_all(guests).await,
        };
        let (measured, failures) = gather(clients.threads, &plan, |crew| {
            let before = clients.usages()?;
            let (clock, mut tally, mut failures) = (Clock::start(), Tally::new(), 0);
            for (one, failed) in crew.run(&())? {
                tally.add(&one);
                failures += failed;
            }
            let took = Duration::from_nanos(clock.now_nanos());
            let after = clients.usages()?;
            Ok((Measured { tally, took, before, after }, failures))
        })?;
        Ok(Report::new("storm", clients, Unit::Connection, measured).with_failures(failures))
    }

    /// Connects a client for each of `meetings`; says how that went, how many failed, and who is there.
    async fn connect_all(&self, venue: &Venue, meetings: &[usize]) -> (Tally, u64, Guests) {
        let clock = Clock::start();
        // All begin now, so the time of each counts from here: to whoever waits it is all the same
        // whether its packet was sent late or answered late.
        let connecting = meetings.iter().map(|meeting| async {
            let entered = tokio::time::timeout(CONNECT_MAX, enter(venue, *meeting, self.first));
            let entered = entered.await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
            entered.map(|connection| (connection, clock.now_nanos()))
        });
        let (mut tally, mut failures, mut guests) = (Tally::new(), 0, Guests::new());
        for entered in join_all(connecting).await {
            match entered {
                Ok((connection, nanos)) => {
                    tally.record(nanos);
                    guests.push(connection);
                }
                Err(error) => match Wrong::of(&error) {
                    Some(wrong) => tally.faults.on_wrong(wrong),
                    None => {
                        tracing::warn!(%error, "a connection failed");
                        failures += 1;
                    }
                },
            }
        }
        (tally, failures, guests)
    }
}

/// Connects a client of `meeting`, which says its first message and gets the right reply.
pub(super) async fn enter(
    venue: &Venue,
    meeting: usize,
    first: FirstMessage,
) -> io::Result<Connection> {
    let mut connection = venue.open(meeting).await?;
    match first {
        FirstMessage::Ping => ping(&mut connection).await?,
        FirstMessage::Create => drop(venue.create_pipeline(&mut connection, meeting).await?),
    }
    Ok(connection)
}

/// Whether the other end is there.
pub(super) async fn ping(connection: &mut Connection) -> io::Result<()> {
    let value = connection.call("ping", "{}").await?.value;
    if value == "pong" { Ok(()) } else { Err(io::Error::other(Wrong::Misrouted(value))) }
}

/// Has all say goodbye and waits for the ends, but not for ever.
pub(super) async fn close_all(guests: Guests) {
    let closing = join_all(guests.into_iter().map(Connection::close));
    let _ = tokio::time::timeout(super::latency::PATIENCE, closing).await; // they are dropped then
}
