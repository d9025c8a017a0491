//! The HTTP API for operators and machines: health, metrics, state, and orders.
//!
//! It asks for no password, so it listens on loopback unless told otherwise, and refuses what a
//! browser sends on behalf of a web page. All bounds are constants of `http`.
//! Not here: where the rows come from, and who carries out orders; they implement [`Views`] and [`Orders`].

mod api;
pub mod client;
mod decisions;
pub(crate) mod guard;
pub(crate) mod http;
mod orders;
mod readiness;
mod server;
mod views;

pub(crate) use self::api::TAKEOVER_PATH;
pub use self::decisions::{DecisionRow, DecisionRows};
pub use self::orders::{DrainOrder, Order, OrderError, Orders, Then};
pub use self::readiness::{NotReady, Readiness};
pub use self::server::{Admin, serve};
pub use self::views::{
    BackendRow, BackendRows, DrainRow, MediaRow, MeetingRow, MeetingRows, PlaceRow, Unavailable,
    Views,
};
