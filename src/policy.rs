//! Decisions: which backend a meeting gets, how a backend is doing, whether a pin still holds.
//!
//! Pure: what is known, the time and the random draws are arguments.

pub mod choose;
pub mod health;
pub mod pacing;
pub mod pin;
