//! A made-up world that drives the rest as the real one does: backends, clients, network, clock.

pub mod kms;
