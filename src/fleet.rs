//! The owner of the backend table: probes each backend, publishes what is known, tells who is lost.
//!
//! One task writes the table; everybody else reads a snapshot or sends a report.

mod agent;
mod asker;
mod control;
mod deep;
mod drains;
mod events;
mod expected;
mod handle;
mod own;
mod probe;
mod pulse;
mod samples;
mod snapshot;
mod staff;
mod stay;
#[cfg(test)]
pub(crate) mod stub;
mod table;
mod task;
mod wanted;

pub(crate) use asker::{ANSWER_TIMEOUT, Answered, Asked, RETRY_AFTER_MS, answer_to, request};
pub use asker::{Asker, AskerBounds, Holders, Payer, Quota};
pub use control::ServerFacts;
pub use drains::Drains;
pub use events::{Heard, ObjectEvents};
pub use expected::Expectation;
pub use handle::FleetHandle;
pub(crate) use probe::pause_after;
pub use pulse::Pulse;
pub use samples::{Dimensions, Samples};
pub use snapshot::{BackendView, FleetSnapshot, ProbeTime, SharedUsage};
pub use stay::{AfterDrain, Drain, DrainError, DrainedBy, Stay};
pub(crate) use table::Report;
pub use task::{Fleet, Loss};
pub(crate) use task::{FleetOwner, Turnover};
pub use wanted::FleetChange;

#[cfg(test)]
mod tests;
