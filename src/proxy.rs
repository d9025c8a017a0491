//! Sockets in front and behind: listeners, handshakes, the task of one client connection, its links.
//!
//! What a message means and where it goes is decided in `session`; here it is moved.

mod buffers;
mod dial;
mod handshake;
pub mod listener;
mod relay;
mod socket;
mod stream;
