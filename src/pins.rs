//! Where meetings are pinned, and what keeps a pin alive.
//!
//! [`PinStore`] holds the truth that only Pinfold knows: the *name* of a meeting and its backend.
//! [`Registry`] holds what this process sees of it: pipelines, who uses them, the load they reserve.
//! A pipeline without a named meeting is its own meeting and lives in the registry alone, because its
//! id says where it is to anyone who asks the fleet.

mod chronicle;
mod disk;
mod found;
mod handover;
mod keeper;
mod load;
mod memory;
mod registry;
mod store;

pub use chronicle::Chronicle;
pub use disk::{DiskStore, Opened, StateDir, StateError, Writer};
pub use found::Found;
pub use handover::{Handover, News};
pub use keeper::{Doubt, Keeper};
pub use load::{BackendLoad, Charge, LinkCount};
pub use memory::MemoryStore;
pub use registry::{Begun, Ended, Home, MeetingView, Registry, Room};
pub use store::{Claim, Leavable, NO_PIN, Origin, Pin, PinError, PinStore};
