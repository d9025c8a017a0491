//! A made-up world: parts that stand in for the real ones and need no network.

pub mod kms;
