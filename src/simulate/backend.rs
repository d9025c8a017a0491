//! A backend: a simulated KMS that is killed, frozen and started anew.

use std::collections::BTreeMap;

use super::network::LinkId;
use super::world::Prober;
use crate::model::{BackendId, Draws, Time};
use crate::sim::kms::{ConnId, Kms, KmsSettings};

/// One address, and what runs there.
pub(super) struct BackendSim {
    pub(super) id: BackendId,
    pub(super) process: Option<Process>,
    pub(super) is_frozen: bool,
    /// Links whose messages wait until it thaws, in order of arrival.
    pub(super) held: Vec<LinkId>,
    /// Processes that ran here so far.
    pub(super) process_count: u32,
    /// When it last thawed.
    pub(super) thawed: Time,
}

/// One run of a media server.
pub(super) struct Process {
    pub(super) kms: Kms,
    /// Which of those that ran here, from 1.
    pub(super) number: u32,
    pub(super) conns: BTreeMap<ConnId, LinkId>,
    /// Lines over which edges ask it.
    pub(super) lines: BTreeMap<ConnId, Prober>,
    /// What it has answered, by request id: those of clients are never used again by another.
    pub(super) answers: BTreeMap<String, Answered>,
    /// When the world looks after it next.
    pub(super) tick_at: Option<Time>,
}

/// An answer of a backend.
#[derive(Debug)]
pub(super) struct Answered {
    pub(super) at: Time,
    pub(super) text: String,
    /// Whether the same request came again since, and must be answered the same.
    pub(super) is_asked_again: bool,
}

impl BackendSim {
    pub(super) fn new(id: BackendId) -> Self {
        Self {
            id,
            process: None,
            is_frozen: false,
            held: Vec::new(),
            process_count: 0,
            thawed: Time::ZERO,
        }
    }

    /// Starts a process, if none runs.
    pub(super) fn start(&mut self, settings: KmsSettings, seed: u64) {
        if self.process.is_some() {
            return;
        }
        self.process_count += 1;
        self.process = Some(Process {
            kms: Kms::new(settings, Draws::seeded(seed)),
            number: self.process_count,
            conns: BTreeMap::new(),
            lines: BTreeMap::new(),
            answers: BTreeMap::new(),
            tick_at: None,
        });
    }

    /// Ends the process; returns the links it had.
    pub(super) fn kill(&mut self) -> Vec<LinkId> {
        self.is_frozen = false;
        self.held.clear();
        self.process.take().map(|process| process.conns.into_values().collect()).unwrap_or_default()
    }

    /// The number of the process that runs, if any does.
    pub(super) fn running(&self) -> Option<u32> {
        self.process.as_ref().map(|process| process.number)
    }
}
