//! Clients at work while servers die, and the books that they keep: `pinfold soak`.
//!
//! Real processes: simulated media servers that are killed, stopped and filled, an edge that is
//! reloaded, restarted and replaced, and several hundred clients in this one. Every call gets one outcome, every meeting one
//! backend, every loss a cause; the `ledger` finds what does not. Where a pipeline really is, the
//! backends are asked, never the edge.
//! Not here: the core in virtual time (`simulate`), measuring (`bench`).

mod agenda;
mod backend;
mod books;
mod caller;
mod child;
mod churn;
mod config;
mod control;
mod crowd;
mod deeds;
mod edge;
mod error;
mod ledger;
mod person;
mod report;
mod room;
mod settings;
mod socket;
mod watch;

use std::fs;
use std::time::Duration;

use futures_util::future::try_join_all;

use self::agenda::Agenda;
use self::backend::{Backend, Nursery};
use self::books::Books;
use self::churn::Churn;
use self::deeds::Deeds;
use self::edge::Edge;
use crate::bench::raise_open_files;
use crate::model::{Draws, Time};
use crate::runtime::{Clock, Tasks};

pub use self::error::SoakError;
pub use self::report::Report;
pub use self::settings::{BACKENDS_MAX, BACKENDS_MIN, SESSIONS_MAX, SoakSettings};

/// Time between two lines of progress.
const PROGRESS: Duration = Duration::from_secs(10);

/// Time that clients may take to leave, after the time in which every call is answered.
const LEAVE_MAX: Duration = Duration::from_secs(30);

/// Open files for each client here: its socket. The edge inherits the limit and needs two and more.
const FILES_EACH: usize = 4;

/// Makes a soak and tells what it has shown. `progress` gets a line now and then.
///
/// Dropped or done, every process that it started is gone.
///
/// # Errors
/// It could not be made, so nothing is shown.
pub async fn run(settings: &SoakSettings, progress: impl Fn(String)) -> Result<Report, SoakError> {
    raise_open_files(FILES_EACH * settings.sessions as usize)?;
    let dir = &settings.state_dir;
    fs::create_dir_all(dir).map_err(|error| SoakError::File(dir.clone(), error))?;
    let clock = Clock::start();
    let books = Books::new(clock, settings.answer_within);
    let watchers = Tasks::new();
    let nursery = Nursery {
        program: settings.program.clone(),
        dir: dir.clone(),
        books: books.clone(),
        tasks: watchers.clone(),
    };
    let backends =
        try_join_all((0..settings.backends).map(|at| Backend::start(at, &nursery))).await?;
    let edge = Edge::start(&settings.program, dir, &backends).await?;
    let mut draws = Draws::seeded(settings.seed);
    let people = Tasks::new();
    let edge_addr = settings.via.unwrap_or(edge.addr());
    crowd::start(settings.sessions, edge_addr, (&books, &mut draws), &people);
    let began = books.now();
    let agenda = Agenda::new(settings, &mut draws, began);
    let mut churn = Churn { backends, edge, nursery, draws, deeds: Deeds::default() };
    let churned = tokio::select! {
        churned = churn.run(agenda, began + settings.time) => churned,
        () = report_progress(&books, progress) => Ok(()),
        task = failed(&people) => Err(SoakError::Task(task)),
    };
    churned?;
    leave(&people, settings.answer_within).await?;
    let seconds = books.now().since(began).as_secs_f64();
    let report = books.enter(|ledger, now| {
        ledger.close(now);
        Report::new(settings, ledger, churn.deeds, seconds)
    });
    watchers.stop();
    Ok(report)
}

/// Lets everybody leave, and waits until they have.
async fn leave(people: &Tasks, answer_within: Duration) -> Result<(), SoakError> {
    people.stop();
    let limit = answer_within * 2 + LEAVE_MAX;
    if !people.join(limit).await {
        return Err(SoakError::Late("all clients have left".to_owned(), limit));
    }
    people.ended_unasked().map_or(Ok(()), |task| Err(SoakError::Task(task)))
}

/// Tells how it goes, for ever.
async fn report_progress(books: &Books, progress: impl Fn(String)) {
    loop {
        tokio::time::sleep(PROGRESS).await;
        progress(books.enter(|ledger, now| {
            ledger.tidy(now);
            let counts = ledger.counts();
            format!(
                "{:4.0} s  {} calls, {} open, {} refused, {} cut off, {} losses, {} violations",
                now.since(Time::ZERO).as_secs_f64(),
                counts.calls,
                ledger.open_count(),
                counts.refused_count(),
                counts.cut,
                counts.losses,
                ledger.violations().len()
            )
        }));
    }
}

/// Waits until a task has ended that must not.
async fn failed(people: &Tasks) -> &'static str {
    people.stop_token().cancelled().await;
    people.ended_unasked().unwrap_or("people")
}
