//! Whether a pin still holds.

use super::health::Health;
use crate::model::Incarnation;

/// What to do with a meeting that has a pin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Go there.
    Use,
    /// The backend may be alive: moving the meeting would split it. Wait until that is known.
    Wait,
    /// The backend has lost the meeting: unpin it and choose again.
    Replace,
}

/// Judges a pin on the process `pinned` by what is known of its backend; `None` if the fleet has no
/// such backend.
#[must_use]
pub fn judge(pinned: Incarnation, backend: Option<(Health, Option<Incarnation>)>) -> Verdict {
    match backend {
        Some((_, Some(now))) if now != pinned => Verdict::Replace,
        // Ejected, it gets no new meetings, and keeps those it has.
        Some((Health::Healthy, _) | (Health::Ejected | Health::Trial, Some(_))) => Verdict::Use,
        Some((Health::Unknown | Health::Suspect, _)) => Verdict::Wait,
        None | Some((Health::Ejected | Health::Trial, None)) => Verdict::Replace,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_meeting_moves_only_when_its_backend_has_surely_lost_it() {
        let (one, two) = (Incarnation(1), Incarnation(2));
        for (backend, verdict) in [
            (Some((Health::Healthy, Some(one))), Verdict::Use),
            (Some((Health::Healthy, Some(two))), Verdict::Replace),
            (Some((Health::Suspect, Some(one))), Verdict::Wait),
            (Some((Health::Suspect, Some(two))), Verdict::Replace),
            (Some((Health::Unknown, None)), Verdict::Wait),
            (Some((Health::Ejected, None)), Verdict::Replace),
            (Some((Health::Ejected, Some(one))), Verdict::Use),
            (Some((Health::Ejected, Some(two))), Verdict::Replace),
            (Some((Health::Trial, Some(one))), Verdict::Use),
            (Some((Health::Trial, Some(two))), Verdict::Replace),
            (Some((Health::Trial, None)), Verdict::Replace),
            (None, Verdict::Replace),
        ] {
            assert_eq!(judge(one, backend), verdict, "{backend:?}");
        }
    }
}
