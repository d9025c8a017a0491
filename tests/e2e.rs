//! The real binary on real sockets: edges, simulated backends and clients as processes of their own.
//!
//! Every process listens on port 0 and prints its address. Tests wait for conditions, never for
//! time; how long at most is `harness::BOUND`.

mod backpressure;
mod demo;
mod harness;
mod hostile;
mod kurento_client;
mod load;
mod loss;
mod relay;
mod requests;
mod shutdown;
mod tls;
