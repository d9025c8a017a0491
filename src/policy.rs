//! Decisions: which backend a meeting gets, how a backend is doing, whether a pin still holds, what a
//! client may ask.
//!
//! Pure: what is known, the time and the random draws are arguments.

pub mod access;
pub mod charge;
pub mod choose;
pub mod decisions;
pub mod drain;
pub mod guard;
pub mod health;
pub mod history;
pub mod load;
pub mod pacing;
pub mod pin;
pub mod promise;
pub mod roster;
pub mod tally;
