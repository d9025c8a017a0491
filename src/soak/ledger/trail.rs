//! The last lines about one meeting.

use std::collections::VecDeque;

use crate::model::Time;

/// Lines kept of each meeting.
const LINES_MAX: usize = 64;

/// Characters kept of a line.
const LINE_MAX: usize = 300;

/// What was last sent, received and seen, oldest first.
#[derive(Debug, Default)]
pub(super) struct Trail(VecDeque<(Time, String)>);

impl Trail {
    pub(super) fn add(&mut self, at: Time, mut line: String) {
        if let Some((end, _)) = line.char_indices().nth(LINE_MAX) {
            line.truncate(end);
            line.push('…');
        }
        if self.0.len() == LINES_MAX {
            self.0.pop_front();
        }
        self.0.push_back((at, line));
    }

    /// The lines with their times in seconds.
    pub(super) fn lines(&self) -> Vec<String> {
        let line = |(at, line): &(Time, String)| {
            format!("{:10.3} s  {line}", at.since(Time::ZERO).as_secs_f64())
        };
        self.0.iter().map(line).collect()
    }
}
