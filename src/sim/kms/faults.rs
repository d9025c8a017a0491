//! Faults that are switched on from outside while a server runs.

/// What is wrong with a server just now; `Default` is nothing.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Faults {
    /// How many times as long every call takes. Above 1 the times of the load model count even
    /// where they are switched off. What is no number of 0 or more counts as 1.
    pub slow: f64,
    /// Whether every `create` is refused with 40009.
    pub is_full: bool,
    /// Requests that are still answered before the server hangs; `Some(0)` is a server that hangs: it
    /// takes what comes and answers nothing. Back at `None`, or above 0, it does all that it was
    /// asked meanwhile, as a real one does after SIGCONT.
    pub hang_after: Option<u32>,
}

impl Default for Faults {
    fn default() -> Self {
        Self { slow: 1.0, is_full: false, hang_after: None }
    }
}

impl Faults {
    /// Whether nothing runs.
    #[must_use]
    pub fn hangs(&self) -> bool {
        self.hang_after == Some(0)
    }

    /// The factor for the time of a call: `slow`, if it is one.
    #[must_use]
    pub(super) fn slowness(&self) -> f64 {
        if self.slow.is_finite() && self.slow >= 0.0 { self.slow } else { 1.0 }
    }

    /// Notes that a request is answered.
    pub(super) fn on_answer(&mut self) {
        self.hang_after = self.hang_after.map(|left| left.saturating_sub(1));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_hangs_after_the_requests_it_was_left() {
        let mut faults = Faults { hang_after: Some(2), ..Faults::default() };
        for hangs in [false, false, true, true] {
            assert_eq!(faults.hangs(), hangs);
            faults.on_answer();
        }
        let mut sound = Faults::default();
        sound.on_answer();
        assert!(!sound.hangs());
    }

    #[test]
    fn a_factor_that_is_none_counts_as_one() {
        for (slow, expected) in [(2.5, 2.5), (0.0, 0.0), (-1.0, 1.0), (f64::NAN, 1.0)] {
            let faults = Faults { slow, ..Faults::default() };
            assert!((faults.slowness() - expected).abs() < 1e-9, "{slow}");
        }
    }
}
