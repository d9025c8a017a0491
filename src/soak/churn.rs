//! What is done to the fleet and the edge while clients are at work.

use std::time::Duration;

use super::agenda::{Act, Agenda, Job, Undo};
use super::backend::{Backend, Nursery};
use super::deeds::Deeds;
use super::edge::{Edge, Way};
use super::error::SoakError;
use crate::model::{Draws, Time};

/// Backends that take pins, by word of the edge, and are left alone: so many at least.
const LEFT_ALONE_MIN: usize = 2;

/// How the edge is replaced, in turn.
const WAYS: [Way; 3] = [Way::Stop, Way::Kill, Way::TakeOver];

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
        match act {
            Act::Restart => return self.restart_edge().await,
            Act::Reload => {
                self.edge.reload().await?;
                self.deeds.reloads += 1;
                return Ok(());
            }
            Act::Kill | Act::Freeze | Act::Stutter | Act::Fill | Act::Drain => {}
        }
        let Some(at) = self.draw_victim().await else {
            self.deeds.postponed += 1;
            agenda.postpone(act, self.now());
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
            Act::Freeze => {
                self.deeds.freezes += 1;
                backend.freeze(books);
            }
            Act::Stutter => {
                self.deeds.stutters += 1;
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
            Act::Reload | Act::Restart => {}
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

    async fn restart_edge(&mut self) -> Result<(), SoakError> {
        let Deeds { stops, edge_kills, takeovers, .. } = &mut self.deeds;
        let way = WAYS[(*stops + *edge_kills + *takeovers) as usize % WAYS.len()];
        tracing::info!(?way, "the edge is replaced");
        *match way {
            Way::Stop => stops,
            Way::Kill => edge_kills,
            Way::TakeOver => takeovers,
        } += 1;
        self.edge.restart(way).await
    }

    /// Everything that was done is undone, so that those who leave can.
    async fn make_well(&mut self, mut agenda: Agenda) -> Result<(), SoakError> {
        self.edge.settle().await?;
        while let Some(at) = agenda.next_undo() {
            self.undo(at, &mut agenda).await?;
        }
        Ok(())
    }
}
