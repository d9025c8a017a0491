//! Sockets in front and behind: listeners, handshakes, the task of one client connection, its links.
//!
//! What a message means and where it goes is decided in `session`; here it is moved.

mod ack_delay;
mod arrivals;
mod bell;
mod blocking;
mod buffers;
mod decisions;
mod dial;
mod driver;
mod echo;
mod edge;
mod entrance;
mod handshake;
mod hearing;
mod link;
mod listener;
mod manager;
mod missed;
mod news;
mod origin;
mod pacer;
mod people;
mod placement;
mod relay;
mod seat;
mod sessions;
mod slots;
mod socket;
mod sockets;
mod stopwatch;
mod stream;
mod turns;
mod visit;

pub use arrivals::Arrivals;
pub use blocking::BlockingCalls;
pub use decisions::DecisionLog;
pub(crate) use driver::{Driver, LinkEvent, Wires};
pub use echo::{EchoRoute, dial_and_echo};
pub use edge::Edge;
pub use entrance::{Entrance, Terms, TermsError};
pub use handshake::{Accepted, shake_hands};
pub use listener::{ListenError, Listener, Lobby};
pub use manager::Manager;
pub(crate) use missed::Missed;
pub use pacer::Pacer;
pub use people::People;
pub use placement::{Choices, Placement, PlacementConfig, Queue};
pub(crate) use seat::Seat;
pub use sessions::Sessions;
pub use slots::{Slot, Slots};
pub use visit::Connection;
pub(crate) use visit::Visit;
