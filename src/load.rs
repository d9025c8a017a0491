//! The built-in client: speaks the Kurento protocol to an edge or to a backend, alone or in crowds.
//!
//! One [`Client`] is one WebSocket. [`Meetings`] starts many of them as people who meet, for
//! `pinfold demo`; who joins when is decided before, by the pure [`Schedule`].
//! Not here: measuring (`benches/relay.rs`), the backend's side (`kms_sim`).

mod calls;
mod client;
mod media;
mod meetings;
mod schedule;

pub use calls::{CallError, Ending, Event};
pub use client::{
    CALL_TIMEOUT, CALLS_MAX, Client, ConnectError, EVENTS_MAX, Events, REQUEST_MAX_LEN,
};
pub use media::OFFER_SDP;
pub use meetings::{Counts, Meetings, MeetingsSettings};
pub use schedule::{GuestPlan, MeetingPlan, Schedule, ScheduleSettings};
