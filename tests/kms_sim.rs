//! The simulated KMS: recorded traffic replayed against it, and the real binary over sockets.

mod player;
mod recording;
mod replay;
mod same;
mod sockets;
mod through;
