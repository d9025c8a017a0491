//! The process's clock, random draws, named tasks and stop signal: the only place that has them.

mod clock;
pub mod random;
mod tasks;

pub use clock::Clock;
pub use tasks::Tasks;
