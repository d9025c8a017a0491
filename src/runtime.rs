//! The process's clock, random draws, named tasks and stop signal: the only place that has them.

mod clock;
mod latest;
pub mod random;
mod tasks;
mod timer;

pub use clock::Clock;
pub use latest::Latest;
pub use tasks::Tasks;
pub use timer::Timer;
