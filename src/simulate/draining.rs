//! Drains of an edge with their deadlines: meetings are let go, and must leave nothing behind.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use tokio_util::sync::CancellationToken;

use super::Bug;
use super::shape::Shape;
use super::time::VirtualClock;
use super::world::{PipelineFact, World};
use crate::app::{Drainage, Releaser};
use crate::fleet::{Asker, Drains, FleetHandle};
use crate::model::{BackendId, Draws, MeetingId, MeetingName, PipelineId};
use crate::pins::Keeper;
use crate::policy::drain::Plan;
use crate::runtime::Latest;
use crate::telemetry::Metrics;

/// The orders of an edge's operators, and how fast they are carried out.
#[derive(Clone)]
pub(super) struct DrainsSim {
    /// What would be in their file: each change of it is on the disk at once.
    pub(super) orders: Arc<Drains>,
    /// Meetings let go in a second.
    pub(super) pace: Arc<Latest<f64>>,
    /// Pipelines that are gone for certain, as the edge has it.
    released: Arc<Mutex<BTreeSet<PipelineId>>>,
}

/// Has the backends release pipelines, as the edge does.
struct ReleaserSim {
    asker: Asker,
    released: Arc<Mutex<BTreeSet<PipelineId>>>,
    bug: Option<Bug>,
}

impl Releaser for ReleaserSim {
    async fn release(&self, backend: &BackendId, pipeline: PipelineId) -> bool {
        let is_gone =
            self.bug == Some(Bug::UnaskedRelease) || self.asker.release(backend, pipeline).await;
        if is_gone {
            self.released.lock().unwrap_or_else(PoisonError::into_inner).insert(pipeline);
        }
        is_gone
    }
}

impl DrainsSim {
    /// Those of an edge that starts with what another process has left.
    pub(super) fn new(orders: Arc<Drains>, shape: &Shape) -> Self {
        let pace = Arc::new(Latest::new(shape.moves_per_second));
        Self { orders, pace, released: Arc::default() }
    }

    /// The task that carries them out.
    pub(super) fn task(
        &self,
        (fleet, keeper, asker): (&FleetHandle, &Arc<Keeper>, &Asker),
        (shape, clock, metrics): (&Shape, &VirtualClock, &Metrics),
        (draws, stop): (&mut Draws, CancellationToken),
    ) -> impl Future<Output = ()> + Send + use<> {
        let drainage = Drainage {
            fleet: fleet.clone(),
            keeper: keeper.clone(),
            drains: self.orders.clone(),
            releaser: ReleaserSim {
                asker: asker.clone(),
                released: self.released.clone(),
                bug: shape.bug,
            },
            pace: self.pace.clone(),
            timer: Arc::new(clock.clone()),
            metrics: metrics.clone(),
        };
        let plan = Plan::new(*self.pace.get(), Draws::seeded(draws.next()));
        drainage.run(plan, stop)
    }
}

impl World {
    /// Obeys what operators, and the tasks that act for them, have ordered.
    pub(super) fn obey(&mut self, edge: usize) -> bool {
        let now = self.now();
        let mut is_busy = false;
        while let Some(turnover) = self.edges[edge].owner.obey_next(now) {
            self.turn_over(edge, turnover);
            is_busy = true;
        }
        is_busy
    }

    /// Passes on that meetings were let go since this was asked last.
    pub(super) fn heed_moves(&mut self, edge: usize) {
        let known = &mut self.edges[edge];
        if !known.moves.has_changed().unwrap_or_default() {
            return;
        }
        let count = *known.moves.borrow_and_update();
        self.tally.moved += 1;
        self.note(|| format!("   edge {edge} has let {count} meetings go"));
        self.hear_of_moves(edge);
    }

    /// Nothing is left of what an edge has let go.
    pub(super) fn check_let_go(&mut self, edge: usize) {
        let site = self.edges[edge].site;
        let of_edge = self.pipelines.values().filter(|fact| fact.site == site && !fact.is_let_go);
        let gone: Vec<_> = of_edge.filter(|fact| self.was_let_go(fact)).cloned().collect();
        for fact in gone {
            if self.remains(&fact) {
                let id = fact.id;
                return self.complain(|| format!("edge {edge} has let {id} go, and it lives"));
            }
            let known = self.pipelines.get_mut(&fact.id.to_string());
            known.into_iter().for_each(|fact| fact.is_let_go = true);
        }
    }

    /// Whether its edge has let a pipeline go, and is done with it. One whose clients have all left
    /// meanwhile is left to its backend, which collects it.
    fn was_let_go(&self, fact: &PipelineFact) -> bool {
        let known = &self.edges[self.edge_at(fact.site)];
        let registry = known.edge.registry();
        let id = match &fact.meeting {
            Some(name) => MeetingId::Named(MeetingName::parse(name).expect("a good name")),
            None => MeetingId::Pipeline(fact.id),
        };
        let released = known.drains.released.lock().unwrap_or_else(PoisonError::into_inner);
        let is_in_use = fact.holder.is_some_and(|relay| self.relays.contains_key(&relay));
        registry.was_let_go(fact.id)
            && (is_in_use || released.contains(&fact.id))
            && !registry.meeting(&id).is_some_and(|meeting| meeting.is_ending)
            && !known.has_lost(fact.backend, fact.incarnation)
    }

    /// Whether the process that has made a pipeline still has it.
    fn remains(&self, fact: &PipelineFact) -> bool {
        let process = self.backends[fact.backend].process.as_ref();
        let process = process.filter(|process| Some(process.number) == fact.process);
        process.is_some_and(|process| process.kms.has_object(&fact.id.to_string()))
    }
}
