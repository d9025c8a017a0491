//! Event fan-out: one call makes an object emit events to all clients of its meeting.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io;
use std::time::Duration;

use futures_util::future::{join_all, try_join_all};
use serde_json::{Value, json};

use super::Tally;
use super::backend::answer::{EMIT, EMIT_MAX};
use super::cohort::{Venue, create_endpoint};
use super::connection::{Connection, Receiver, shortened};
use super::crew::{Plan, gather};
use super::error::BenchError;
use super::latency::{PATIENCE, warm_up_and_measure};
use super::process;
use super::reply::{Wrong, split_id};
use super::report::{Report, Unit};
use super::storm::close_all;
use super::target::{Clients, Target};
use crate::runtime::Clock;

/// Most events of one call for each client.
pub const EVENTS_MAX: usize = EMIT_MAX as usize;

/// What is subscribed to.
const EVENT: &str = "IceCandidateFound";

/// Events in rounds: a call in each meeting, and the next when all have all events.
#[derive(Clone, Debug)]
pub struct EventsSettings {
    /// Who subscribes: all of a meeting to the same endpoint.
    pub clients: Clients,
    /// Events that one call makes, for each client: up to [`EVENTS_MAX`].
    pub per_call: usize,
    /// Time before the measurement.
    pub warm_up: Duration,
    /// Time that is measured.
    pub time: Duration,
}

/// A meeting all of whose clients have subscribed.
struct Hall {
    /// The first one calls.
    guests: Vec<Connection>,
    endpoint: String,
    /// What an event looks like, before and behind its number.
    form: Option<(String, String)>,
    /// The number of the next event.
    next: u64,
}

impl EventsSettings {
    /// Runs it. The latency of an event counts from the call that made it.
    ///
    /// # Errors
    /// The clients could not get ready. What goes wrong later is in the report.
    pub fn run(&self) -> Result<Report, BenchError> {
        let clients = &self.clients;
        process::raise_open_files(clients.connections)?;
        let venue = Venue::new(Target::find(clients)?);
        let plan = Plan {
            prepare: async |thread| {
                let mut sizes = BTreeMap::new();
                for meeting in clients.of_thread(thread) {
                    *sizes.entry(meeting).or_insert(0) += 1;
                }
                let opening = sizes.into_iter().map(|(meeting, size)| open(&venue, meeting, size));
                try_join_all(opening).await
            },
            work: async |halls: &mut Vec<Hall>, time| self.emit_all(halls, time).await,
            end: async |halls: Vec<Hall>| {
                close_all(halls.into_iter().flat_map(|hall| hall.guests).collect()).await;
            },
        };
        let measured = gather(clients.threads, &plan, |crew| {
            warm_up_and_measure(crew, self.warm_up, self.time, clients)
        })?;
        Ok(Report::new("events", clients, Unit::Event, measured))
    }

    /// Has every meeting go through rounds until `time` is over.
    async fn emit_all(&self, halls: &mut Vec<Hall>, time: Duration) -> Tally {
        let tally = RefCell::new(Tally::new());
        let clock = Clock::start();
        let emitting = halls.iter_mut().map(|hall| async {
            let rounds = async {
                while u128::from(clock.now_nanos()) < time.as_nanos() {
                    hall.round(self.per_call, &tally).await?;
                }
                Ok::<_, io::Error>(())
            };
            match tokio::time::timeout(time + PATIENCE, rounds).await {
                Ok(Ok(())) => return true,
                Ok(Err(error)) => match Wrong::of(&error) {
                    Some(wrong) => tally.borrow_mut().faults.on_wrong(wrong),
                    None => tally.borrow_mut().faults.on_broken(&error),
                },
                Err(_late) => tally.borrow_mut().faults.on_missing(1, "rounds of events"),
            }
            false
        });
        let are_whole = join_all(emitting).await;
        let mut whole = are_whole.into_iter();
        halls.retain(|_| whole.next().unwrap_or(false));
        tally.into_inner()
    }
}

/// Opens a meeting of `size` clients that have all subscribed.
async fn open(venue: &Venue, meeting: usize, size: usize) -> Result<Hall, BenchError> {
    let failed = |error| BenchError::Connect(venue.target.authority.clone(), error);
    let told = |error: io::Error| BenchError::Ready("subscribing", error.to_string());
    let mut guests = Vec::new();
    for _ in 0..size {
        guests.push(venue.open(meeting).await.map_err(failed)?);
    }
    let Some(first) = guests.first_mut() else {
        return Ok(Hall { guests, endpoint: String::new(), form: None, next: 0 });
    };
    let (pipeline, _) = venue.create_pipeline(first, meeting).await.map_err(told)?;
    let endpoint = create_endpoint(first, &pipeline).await.map_err(told)?;
    let params = json!({"object": endpoint, "type": EVENT}).to_string();
    for guest in &mut guests {
        guest.call("subscribe", &params).await.map_err(told)?;
    }
    Ok(Hall { guests, endpoint, form: None, next: 0 })
}

impl Hall {
    /// One call, and its `count` events at each client.
    async fn round(&mut self, count: usize, tally: &RefCell<Tally>) -> io::Result<()> {
        let Self { guests, endpoint, form, next } = self;
        let Some(first) = guests.first_mut() else { return Ok(()) };
        let id = first.sender.take_id();
        let text = json!({
            "jsonrpc": "2.0", "id": id, "method": "invoke",
            "params": {"object": endpoint, "operation": EMIT, "operationParams": {"count": count}},
        });
        let clock = Clock::start();
        first.sender.send_text(&text.to_string()).await?;
        let form = RefCell::new(form);
        let taking = guests.iter_mut().enumerate().map(|(at, guest)| {
            let mut round = Round {
                id: (at == 0).then_some(id),
                next: *next,
                left: count,
                endpoint,
                form: &form,
                tally,
                clock,
            };
            async move { round.take_all(&mut guest.receiver).await }
        });
        try_join_all(taking).await?;
        *next += count as u64;
        Ok(())
    }
}

/// What one client waits for in a round.
struct Round<'a> {
    /// Of the call, if the client made it and has no reply yet.
    id: Option<u64>,
    /// The number of its next event, and how many are left.
    next: u64,
    left: usize,
    endpoint: &'a str,
    form: &'a RefCell<&'a mut Option<(String, String)>>,
    tally: &'a RefCell<Tally>,
    clock: Clock,
}

impl Round<'_> {
    async fn take_all(&mut self, receiver: &mut Receiver) -> io::Result<()> {
        let taken = receiver.take(|text| match self.take(text) {
            Err(wrong) => Some(Err(wrong)),
            Ok(()) if self.left == 0 && self.id.is_none() => Some(Ok(())),
            Ok(()) => None,
        });
        taken.await?.map_err(io::Error::other)
    }

    /// Takes the next event, or the reply to the call.
    fn take(&mut self, text: &str) -> Result<(), Wrong> {
        if self.left > 0 && self.is_next(text)? {
            self.tally.borrow_mut().record(self.clock.now_nanos());
            self.next += 1;
            self.left -= 1;
            return Ok(());
        }
        let is_reply = self.id.is_some() && split_id(text).map(|(id, _)| id) == self.id;
        match (is_reply, text.contains(r#""result":"#)) {
            (true, true) => {
                self.id = None;
                Ok(())
            }
            (true, false) => Err(Wrong::Refused(shortened(text))),
            (false, _) => Err(Wrong::Stray(shortened(text))),
        }
    }

    /// Whether `text` is the next event; no other is right.
    fn is_next(&self, text: &str) -> Result<bool, Wrong> {
        if !text.starts_with(r#"{"jsonrpc":"2.0","method":"onEvent""#) {
            return Ok(false);
        }
        let mut form = self.form.borrow_mut();
        if form.is_none() {
            **form = Some(learn(text, self.endpoint)?);
        }
        let number = form.as_ref().and_then(|(before, behind)| {
            text.strip_prefix(before.as_str())?.strip_suffix(behind.as_str())?.parse().ok()
        });
        match number {
            Some(number) if self.next == number => Ok(true),
            Some::<u64>(_) => Err(Wrong::Stray(shortened(text))),
            None => Err(Wrong::Misrouted(shortened(text))),
        }
    }
}

/// What stands before and behind the number in the first event, which must be one of `endpoint`.
fn learn(text: &str, endpoint: &str) -> Result<(String, String), Wrong> {
    let wrong = || Wrong::Misrouted(shortened(text));
    let event: Value = serde_json::from_str(text).map_err(|_| wrong())?;
    let value = &event["params"]["value"];
    let number = value["data"]["tags"][0]["value"].as_str().filter(|number| !number.is_empty());
    let number = number.filter(|_| value["object"] == endpoint).ok_or_else(wrong)?;
    let mark = format!(r#""value":"{number}""#);
    let at = text.find(&mark).ok_or_else(wrong)? + mark.len() - number.len() - 1;
    Ok((text[..at].to_owned(), text[at + number.len()..].to_owned()))
}
