//! What probes of one backend add up to.
//!
//! ```text
//! unknown --answer--> healthy <--answer-- suspect --3rd failure in a row--> ejected
//!                        |                   ^                                 |
//!                        +---any failure-----+        trial <----answer--------+
//!                        +<--2nd answer in a row--------+---any failure--> ejected
//! ```
//! A suspect backend gets no new meetings and keeps its old ones, because it may be alive and moving
//! a meeting would split it. An ejected one has lost them.

use std::num::NonZeroU32;

use crate::model::Incarnation;

/// How a backend is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Health {
    /// Not yet heard from.
    Unknown,
    /// Takes new meetings.
    Healthy,
    /// Failed lately: no new meetings, old ones stay.
    Suspect,
    /// Failed too often: its meetings are lost.
    Ejected,
    /// Was ejected and has answered again.
    Trial,
}

impl Health {
    /// The word for logs, metrics and the API.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Healthy => "healthy",
            Self::Suspect => "suspect",
            Self::Ejected => "ejected",
            Self::Trial => "trial",
        }
    }
}

/// How one probe ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Probe {
    /// The media service answered, and is this process.
    Answered(Incarnation),
    /// It did not.
    Failed(ProbeFailure),
}

/// Why a probe failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProbeFailure {
    /// Nothing listens there.
    #[error("connection refused")]
    Refused,
    /// No way there: its name is not known, the network says no, or we are out of descriptors.
    #[error("cannot be reached")]
    Unreachable,
    /// The connection broke.
    #[error("connection cut")]
    Cut,
    /// No answer in time.
    #[error("no answer in time")]
    Timeout,
    /// It is reached but does not speak WebSocket there.
    #[error("handshake failed")]
    Handshake,
    /// Its answers are none of Kurento's.
    #[error("protocol error")]
    Protocol,
}

impl ProbeFailure {
    /// Whether it shows that no process is there, so that asking again soon is cheap and telling.
    #[must_use]
    pub const fn shows_absence(self) -> bool {
        matches!(self, Self::Refused | Self::Cut)
    }
}

/// How many probes in a row change what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Thresholds {
    /// Failures that eject.
    pub eject_after: NonZeroU32,
    /// Answers that readmit.
    pub readmit_after: NonZeroU32,
}

/// The health of one backend.
#[derive(Clone, Debug)]
pub struct HealthMachine {
    thresholds: Thresholds,
    health: Health,
    incarnation: Option<Incarnation>,
    /// Probes in a row that ended as the last one did.
    in_a_row: u32,
    /// How often a process of it was given up for lost.
    losses: u32,
}

/// What a probe changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Change {
    /// Whether health or incarnation is another than before.
    pub is_change: bool,
    /// The process whose meetings are lost by it.
    pub lost: Option<Incarnation>,
}

impl HealthMachine {
    /// A backend not yet heard from, a process of which was given up for lost `losses` times before.
    #[must_use]
    pub const fn new(thresholds: Thresholds, losses: u32) -> Self {
        Self { thresholds, health: Health::Unknown, incarnation: None, in_a_row: 0, losses }
    }

    /// How many probes in a row change what.
    #[must_use]
    pub const fn thresholds(&self) -> Thresholds {
        self.thresholds
    }

    /// Judges by other numbers from now on.
    pub const fn set_thresholds(&mut self, thresholds: Thresholds) {
        self.thresholds = thresholds;
    }

    /// How often a process of it was given up for lost. Whoever starts again with another number takes
    /// the process for another one.
    #[must_use]
    pub const fn losses(&self) -> u32 {
        self.losses
    }

    /// How it is doing.
    #[must_use]
    pub const fn health(&self) -> Health {
        self.health
    }

    /// The process that answered last, unless it was lost since.
    #[must_use]
    pub const fn incarnation(&self) -> Option<Incarnation> {
        self.incarnation
    }

    /// Takes in how a probe ended.
    pub fn on_probe(&mut self, probe: Probe) -> Change {
        match probe {
            Probe::Answered(incarnation) => self.on_answer(incarnation),
            Probe::Failed(_) => self.on_failure(),
        }
    }

    /// A link of a client failed: the next probe will tell, until then no new meetings.
    pub fn on_link_failure(&mut self) -> Change {
        self.become_(match self.health {
            Health::Healthy => Health::Suspect,
            other => other,
        })
    }

    fn on_answer(&mut self, process: Incarnation) -> Change {
        let incarnation = process.after_losses(self.losses);
        let lost = self.incarnation.filter(|known| *known != incarnation);
        let is_new = self.incarnation.replace(incarnation) != Some(incarnation);
        self.in_a_row = match self.health {
            Health::Trial => self.in_a_row + 1,
            Health::Ejected => 1,
            Health::Unknown | Health::Healthy | Health::Suspect => u32::MAX,
        };
        let is_readmitted = self.in_a_row >= self.thresholds.readmit_after.get();
        if is_readmitted {
            self.in_a_row = 0;
        }
        let change = self.become_(if is_readmitted { Health::Healthy } else { Health::Trial });
        Change { is_change: change.is_change || is_new, lost }
    }

    fn on_failure(&mut self) -> Change {
        let was = self.health;
        self.in_a_row = if was == Health::Trial { 0 } else { self.in_a_row.saturating_add(1) };
        let ejects = self.in_a_row >= self.thresholds.eject_after.get();
        let change = self.become_(match was {
            Health::Unknown if !ejects => Health::Unknown,
            Health::Trial | Health::Ejected => Health::Ejected,
            _ if ejects => Health::Ejected,
            _ => Health::Suspect,
        });
        let is_ejected = self.health == Health::Ejected;
        let lost = if is_ejected { self.incarnation.take() } else { None };
        self.losses += u32::from(lost.is_some());
        Change { lost, ..change }
    }

    fn become_(&mut self, health: Health) -> Change {
        let is_change = std::mem::replace(&mut self.health, health) != health;
        Change { is_change, lost: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: Incarnation = Incarnation(1);
    const TWO: Incarnation = Incarnation(2);

    fn machine() -> HealthMachine {
        let nz = |n| NonZeroU32::new(n).unwrap();
        HealthMachine::new(Thresholds { eject_after: nz(3), readmit_after: nz(2) }, 0)
    }

    /// Feeds `a` answers of process 1, `b` of process 2, `f` failures, `l` link failures.
    fn after(probes: &str) -> (Health, Option<Incarnation>) {
        let mut machine = machine();
        let mut lost = None;
        for probe in probes.chars() {
            lost = match probe {
                'a' => machine.on_probe(Probe::Answered(ONE)),
                'b' => machine.on_probe(Probe::Answered(TWO)),
                'f' => machine.on_probe(Probe::Failed(ProbeFailure::Timeout)),
                _ => machine.on_link_failure(),
            }
            .lost;
        }
        (machine.health(), lost)
    }

    #[test]
    fn the_picture_of_the_module_doc_holds() {
        for (probes, health, lost) in [
            ("", Health::Unknown, None),
            ("f", Health::Unknown, None),
            ("fff", Health::Ejected, None),
            ("a", Health::Healthy, None),
            ("af", Health::Suspect, None),
            ("aff", Health::Suspect, None),
            ("affa", Health::Healthy, None),
            ("affaff", Health::Suspect, None),
            ("afff", Health::Ejected, Some(ONE)),
            ("affff", Health::Ejected, None),
            ("afffa", Health::Trial, None),
            ("afffaf", Health::Ejected, Some(ONE.after_losses(1))),
            ("afffaa", Health::Healthy, None),
            ("afffaafff", Health::Ejected, Some(ONE.after_losses(1))),
            ("afffaaff", Health::Suspect, None),
            ("al", Health::Suspect, None),
            ("ala", Health::Healthy, None),
            ("l", Health::Unknown, None),
        ] {
            assert_eq!(after(probes), (health, lost), "{probes}");
        }
    }

    #[test]
    fn losses_counted_before_go_on_being_counted() {
        let thresholds = machine().thresholds;
        let mut machine = HealthMachine::new(thresholds, 2);
        machine.on_probe(Probe::Answered(ONE));
        assert_eq!(machine.incarnation(), Some(ONE.after_losses(2)));
        for _ in 0..3 {
            machine.on_probe(Probe::Failed(ProbeFailure::Timeout));
        }
        assert_eq!(machine.losses(), 3);
    }

    #[test]
    fn a_restarted_backend_has_lost_its_meetings_and_is_healthy() {
        assert_eq!(after("ab"), (Health::Healthy, Some(ONE)));
        assert_eq!(after("afb"), (Health::Healthy, Some(ONE)));
        assert_eq!(after("afffb"), (Health::Trial, None), "they were lost by the ejection");
        assert_eq!(after("afffab"), (Health::Healthy, Some(ONE.after_losses(1))));
    }
}
