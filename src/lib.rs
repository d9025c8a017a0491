//! Pinfold: the edge tier in front of a fleet of Kurento Media Servers.
//!
//! The modules stand in layer order: each may import only what stands above it. The pure half turns
//! values into values; the shell owns sockets, files, clocks and tasks. `docs/ARCHITECTURE.md` is
//! the map.

// Pure: values in, values out.
pub mod model;
pub mod protocol;
pub mod policy;
pub mod session;
pub mod sim;

// Shell: sockets, files, clocks, tasks.
pub mod settings;
pub mod telemetry;
pub mod runtime;
pub mod geo;
pub mod pins;
pub mod fleet;
pub mod discovery;
pub mod proxy;
pub mod admin;
pub mod load;
pub mod kms_sim;
pub mod bench;
pub mod soak;
pub mod app;
pub mod simulate;
pub mod cli;
