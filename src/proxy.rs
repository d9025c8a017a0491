//! Sockets in front and behind: listeners, handshakes, the task of one client connection, its links.
//!
//! What a message means and where it goes is decided in `session`; here it is moved.

mod blocking;
mod buffers;
mod dial;
mod driver;
mod edge;
mod handshake;
mod link;
mod listener;
mod placement;
mod relay;
mod socket;
mod sockets;
mod stream;

pub use blocking::BlockingCalls;
pub(crate) use driver::{Driver, LinkEvent, Wires};
pub use edge::Edge;
pub use listener::{ListenError, Listener};
pub use placement::Placement;
