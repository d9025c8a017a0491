//! The texts of calls under way, one behind the other, to be sent again if their link breaks.

use std::collections::VecDeque;

/// Bytes of the first allocation: a handful of ordinary calls.
const FIRST_LEN: usize = 4 * 1024;

/// A queue of texts in one buffer, which grows to a bound and is used again and again.
///
/// It does not know where a text ends: whoever puts one in keeps its length.
#[derive(Debug, Default)]
pub(super) struct Texts(VecDeque<u8>);

impl Texts {
    /// Puts `text` behind the others; `false` if there are more than `max` bytes with it. Then it is
    /// not kept.
    pub(super) fn push(&mut self, text: &str, max: usize) -> bool {
        let needed = self.0.len() + text.len();
        if needed > max {
            return false;
        }
        if needed > self.0.capacity() {
            let room = needed.max(self.0.capacity() * 2).max(FIRST_LEN).min(max);
            self.0.reserve_exact(room - self.0.len());
        }
        self.0.extend(text.as_bytes());
        true
    }

    /// The text of `len` bytes that begins at byte `at`.
    pub(super) fn copy(&self, at: usize, len: usize) -> String {
        let bytes: Vec<u8> = self.0.range(at..at + len).copied().collect();
        String::from_utf8(bytes).expect("it was put in as text")
    }

    /// Takes out the text of `len` bytes that begins at byte `at`. That of the first is cheap; others
    /// move what stands before or behind them.
    pub(super) fn remove(&mut self, at: usize, len: usize) {
        if len > 0 {
            self.0.drain(at..at + len);
        }
    }

    /// Bytes of the buffer, used or not.
    pub(super) fn capacity(&self) -> usize {
        self.0.capacity()
    }

    /// Gives the buffer back if nothing is in it.
    pub(super) fn rest(&mut self) {
        if self.0.is_empty() {
            self.0 = VecDeque::new();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_come_out_as_they_went_in_also_around_the_end_of_the_buffer() {
        let mut texts = Texts::default();
        let text = |n: usize| format!("{n}-{}", "é".repeat(n % 97));
        let mut lens = VecDeque::new();
        for n in 0..1_000 {
            assert!(texts.push(&text(n), FIRST_LEN), "never more than three wait");
            lens.push_back((n, text(n).len()));
            if lens.len() == 3 {
                let (first, len) = lens.pop_front().unwrap();
                assert_eq!(texts.copy(0, len), text(first));
                texts.remove(0, len);
            }
        }
        assert_eq!(texts.capacity(), FIRST_LEN, "one buffer all the time");
    }

    #[test]
    fn the_buffer_keeps_to_its_bound_and_goes_when_it_is_empty() {
        let mut texts = Texts::default();
        assert!(!texts.push("12345", 4), "does not fit");
        assert_eq!(texts.capacity(), 0, "nothing is kept for it");
        let max = FIRST_LEN + 1_000;
        for _ in 0..max / 100 {
            assert!(texts.push(&"x".repeat(100), max));
        }
        assert!(!texts.push(&"x".repeat(100), max));
        assert!(texts.capacity() <= max);
        texts.rest();
        assert_ne!(texts.capacity(), 0, "something is in it");
        texts.remove(0, max / 100 * 100);
        texts.rest();
        assert_eq!(texts.capacity(), 0);
    }

    #[test]
    fn a_text_in_the_middle_can_go_first() {
        let mut texts = Texts::default();
        for text in ["one", "two", "three"] {
            texts.push(text, 100);
        }
        texts.remove(3, 3);
        assert_eq!((texts.copy(0, 3), texts.copy(3, 5)), ("one".into(), "three".into()));
    }
}
