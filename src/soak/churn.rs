//! What is done to the fleet and the edge while clients are at work.

use std::time::Duration;

use rustix::process::Signal;

use super::agenda::{Act, Agenda, Job, Undo};
use super::backend::{Backend, Nursery};
use super::edge::Edge;
use super::error::SoakError;
use crate::model::{Draws, Time};

/// Backends that take pins, by word of the edge, and are left alone: so many at least.
const LEFT_ALONE_MIN: usize = 2;

/// How often each was done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub(super) struct Deeds {
    /// Backends killed.
    pub(super) kills: u32,
    /// Backends stopped, for long and for a moment.
    pub(super) freezes: u32,
    /// Backends filled.
    pub(super) fills: u32,
    /// Backends drained.
    pub(super) drains: u32,
    /// Edges ended with a warning.
    pub(super) stops: u32,
    /// Edges killed.
    pub(super) edge_kills: u32,
    /// What was not done because too few backends would have been left.
    pub(super) skipped: u32,
}

/// Whoever makes trouble.
#[derive(Debug)]
pub(super) struct Churn {
    pub(super) backends: Vec<Backend>,
    pub(super) edge: Edge,
    pub(super) nursery: Nursery,
    pub(super) draws: Draws,
    pub(super) deeds: Deeds,
}

impl Churn {
    /// Does what `agenda` says until `until`, then makes everything well again.
    ///
    /// # Errors
    /// A process does not do what it must, or the edge has ended unasked.
    pub(super) async fn run(&mut self, mut agenda: Agenda, until: Time) -> Result<(), SoakError> {
        loop {
            let now = self.now();
            if now >= until {
                break;
            }
            if self.edge.has_ended() {
                return Err(SoakError::EdgeDied);
            }
            match agenda.take(now) {
                Some(Job::Do(act)) => self.act(act, &mut agenda).await?,
                Some(Job::Undo(undo)) => self.undo(undo, &mut agenda).await?,
                None => {
                    let next = agenda.next_at().unwrap_or(until).min(until);
                    // Never for long, so that an edge that has ended is noticed.
                    tokio::time::sleep(next.since(now).min(Duration::from_secs(1))).await;
                }
            }
        }
        self.make_well(agenda).await
    }

    fn now(&self) -> Time {
        self.nursery.books.now()
    }

    async fn act(&mut self, act: Act, agenda: &mut Agenda) -> Result<(), SoakError> {
        if act == Act::Restart {
            return self.restart_edge().await;
        }
        let Some(at) = self.draw_victim().await else {
            self.deeds.skipped += 1;
            return Ok(());
        };
        let (backend, books) = (&mut self.backends[at], &self.nursery.books);
        backend.is_troubled = true;
        tracing::info!(backend = backend.name, ?act, "trouble");
        match act {
            Act::Kill => {
                self.deeds.kills += 1;
                backend.kill(books).await?;
            }
            Act::Freeze | Act::Stutter => {
                self.deeds.freezes += 1;
                backend.freeze(books);
            }
            Act::Fill => {
                self.deeds.fills += 1;
                backend.fill(true).await?;
            }
            Act::Drain => {
                self.deeds.drains += 1;
                backend.is_let_go(books);
                self.edge.drain(&backend.name).await?;
            }
            Act::Restart => {}
        }
        agenda.done(act, at, self.now());
        Ok(())
    }

    async fn undo(&mut self, undo: Undo, agenda: &mut Agenda) -> Result<(), SoakError> {
        let at = match undo {
            Undo::Start(at) => {
                self.backends[at].start_again(&self.nursery).await?;
                at
            }
            Undo::Thaw(at) => {
                self.backends[at].thaw();
                at
            }
            Undo::Empty(at) => {
                self.backends[at].fill(false).await?;
                at
            }
            Undo::Undrain(at) => {
                self.edge.undrain(&self.backends[at].name).await?;
                at
            }
            Undo::Calm(at) => {
                self.backends[at].calm(&self.nursery.books);
                return Ok(());
            }
        };
        agenda.undone(at, self.now());
        Ok(())
    }

    /// A backend that can be spared.
    async fn draw_victim(&mut self) -> Option<usize> {
        let takers = self.edge.takers().await;
        let is_well = |backend: &Backend| !backend.is_troubled && takers.contains(&backend.name);
        let all = self.backends.iter().enumerate();
        let well: Vec<usize> = all.filter(|(_, one)| is_well(one)).map(|(at, _)| at).collect();
        (well.len() > LEFT_ALONE_MIN).then(|| well[self.draws.below(well.len())])
    }

    /// With a warning and without, in turn.
    async fn restart_edge(&mut self) -> Result<(), SoakError> {
        let signal = if self.deeds.stops > self.deeds.edge_kills {
            self.deeds.edge_kills += 1;
            Signal::KILL
        } else {
            self.deeds.stops += 1;
            Signal::TERM
        };
        tracing::info!(?signal, "the edge is ended");
        self.edge.restart(signal).await
    }

    /// Everything that was done is undone, so that those who leave can.
    async fn make_well(&mut self, mut agenda: Agenda) -> Result<(), SoakError> {
        while let Some(at) = agenda.next_undo() {
            self.undo(at, &mut agenda).await?;
        }
        Ok(())
    }
}
