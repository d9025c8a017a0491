//! The task that judges the pins of an earlier process, one backend after another as they are heard
//! from.
//!
//! Whoever names such a meeting before is served by its pin, which placement judges the same way. This
//! is for the meetings that nobody comes back for: they end too, a grace after clients could have come.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use crate::fleet::{BackendView, FleetHandle};
use crate::model::{BackendId, Incarnation, MeetingName};
use crate::pins::{Keeper, Pin};
use crate::policy::pin::{Verdict, judge};
use crate::runtime::Timer;

/// Pins judged before other tasks get their turn.
const PINS_A_TURN: usize = 256;

/// Pins that were found at the start, by what they name: they are judged together.
type Found = BTreeMap<(BackendId, u64), Vec<(MeetingName, Pin)>>;

pub(crate) struct Adoption {
    pub(crate) fleet: FleetHandle,
    pub(crate) keeper: Arc<Keeper>,
    pub(crate) clock: Arc<dyn Timer>,
}

impl Adoption {
    /// Works until every one of `pins` is judged, or until `stop`.
    pub(crate) async fn run(self, pins: Vec<(MeetingName, Pin)>, stop: CancellationToken) {
        let mut fleet = self.fleet.watch();
        let mut found = by_process(pins);
        while !found.is_empty() {
            let snapshot = fleet.borrow_and_update().clone();
            for (process, pins) in std::mem::take(&mut found) {
                let backend = snapshot.backend(&process.0);
                let known = backend.map(|backend| (backend.health, backend.incarnation));
                match (judge(Incarnation(process.1), known), backend) {
                    (Verdict::Use, Some(backend)) => self.adopt(pins, backend).await,
                    (Verdict::Replace, _) => self.discard(pins).await,
                    (Verdict::Use | Verdict::Wait, _) => drop(found.insert(process, pins)),
                }
            }
            if found.is_empty() {
                break;
            }
            let Some(Ok(())) = stop.run_until_cancelled(fleet.changed()).await else { return };
        }
        tracing::info!("the pins of the process before are all judged");
    }

    /// The backend has those meetings still.
    async fn adopt(&self, pins: Vec<(MeetingName, Pin)>, backend: &BackendView) {
        tracing::info!(backend = %backend.id, meetings = pins.len(), "pins of the process before hold");
        for (number, (meeting, pin)) in pins.iter().enumerate() {
            let at = (backend.load.clone(), &backend.lost);
            self.keeper.adopt((meeting, pin), at, self.clock.now()).await;
            give_way(number).await;
        }
    }

    /// The backend is gone, or has lost those meetings.
    async fn discard(&self, pins: Vec<(MeetingName, Pin)>) {
        tracing::info!(meetings = pins.len(), "pins of the process before do not hold");
        for (number, (meeting, pin)) in pins.into_iter().enumerate() {
            self.keeper.discard(meeting, pin.epoch).await;
            give_way(number).await;
        }
    }
}

fn by_process(pins: Vec<(MeetingName, Pin)>) -> Found {
    let mut found = Found::new();
    for (meeting, pin) in pins {
        let process = (pin.backend.clone(), pin.incarnation.0);
        found.entry(process).or_default().push((meeting, pin));
    }
    found
}

async fn give_way(number: usize) {
    if number % PINS_A_TURN == PINS_A_TURN - 1 {
        tokio::task::yield_now().await;
    }
}

#[cfg(test)]
mod tests;
