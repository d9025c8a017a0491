//! What a client that is away is still to be told.

use std::collections::VecDeque;

use crate::protocol::reply::{FromBackend, peek};

/// Events for a client that is away, as many as could wait for it if it were there; later ones are
/// lost.
#[derive(Debug)]
pub(crate) struct Missed {
    events: VecDeque<String>,
    bytes: usize,
    bytes_max: usize,
}

impl Missed {
    pub(crate) const fn new(bytes_max: usize) -> Self {
        Self { events: VecDeque::new(), bytes: 0, bytes_max }
    }

    /// Keeps an event; says whether it did. An answer is not kept: a client that comes back asks
    /// again, and Kurento answers the same id the same.
    pub(crate) fn keep(&mut self, text: &str) -> bool {
        let has_room = self.bytes + text.len() <= self.bytes_max;
        let is_kept = has_room && peek(text) == FromBackend::Event;
        if is_kept {
            self.bytes += text.len();
            self.events.push_back(text.to_owned());
        }
        is_kept
    }

    /// All that was kept, oldest first.
    pub(crate) fn take(&mut self) -> VecDeque<String> {
        self.bytes = 0;
        std::mem::take(&mut self.events)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_kept_up_to_the_bound_and_answers_never() {
        let event =
            |n: u32| format!(r#"{{"jsonrpc":"2.0","method":"onEvent","params":{{"n":{n}}}}}"#);
        let mut missed = Missed::new(event(1).len() * 2);
        assert!(!missed.keep(r#"{"id":1,"jsonrpc":"2.0","result":{}}"#));
        assert!(missed.keep(&event(1)) && missed.keep(&event(2)));
        assert!(!missed.keep(&event(3)), "it is beyond the bound");
        assert_eq!(missed.take(), [event(1), event(2)]);
        assert!(missed.keep(&event(4)), "there is room again");
        assert_eq!(missed.take(), [event(4)]);
    }
}
