//! The process's clock, random draws, named tasks and stop signal: the only place that has them.

mod clock;
mod gate;
mod latest;
mod inherited;
pub mod random;
mod sockets;
mod tasks;
mod timer;

pub use clock::Clock;
pub use gate::{Closed, Entered, Gate};
pub use inherited::{InheritError, Inherited};
pub use latest::Latest;
pub use sockets::{OpenSockets, SOCKETS_MAX, recv_sockets, send_sockets};
pub use tasks::Tasks;
pub use timer::Timer;
