//! The simulated KMS: recorded traffic replayed against it, and the real binary over sockets.

mod faults;
mod handshakes;
mod many;
mod player;
mod recording;
mod registrar;
mod replay;
mod same;
mod sim;
mod sockets;
mod through;
