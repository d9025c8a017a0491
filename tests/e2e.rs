//! The real binary on real sockets: edges, simulated backends and clients as processes of their own.
//!
//! Every process listens on port 0 and prints its address. Tests wait for conditions, never for
//! time; how long at most is `harness::BOUND`.

mod autobahn;
mod backpressure;
mod bad_input;
mod bench;
mod calls;
mod demo;
mod drain;
mod discovery;
pub(crate) mod harness;
mod health;
mod hostile;
mod inherited;
mod isolation;
mod kurento_client;
mod load;
mod loss;
mod manager;
mod media;
mod origin;
mod pacing;
mod placement;
mod relay;
mod reload;
mod requests;
mod restart;
mod resume;
mod shutdown;
mod soak;
mod takeover;
mod tls;
mod why;
