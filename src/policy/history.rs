//! What is remembered of meetings that are over: how large they were, how long they lasted, and where
//! their people were.
//!
//! By meeting, and by the pattern of its name, so that `room-1234` is expected to be like `room-1233`.
//! Names are kept as hashes. Bounded: the one whose last meeting is the longest ago is forgotten.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use geoip::Place;
use serde::{Deserialize, Serialize};

use super::choose::key_of;
use super::load::half_life;
use crate::model::{Legs, MeetingName, Time};

/// What a new observation counts against all before it.
const NEWEST_SHARE: f64 = 0.3;

/// Shortest run of hexadecimal digits that counts as a number; a shorter one may be a word: `decade`.
const HEX_RUN_MIN: usize = 8;

/// Longest time that a meeting counts to have lasted, in seconds: a hundred years.
const LASTED_MAX: f64 = 100.0 * 365.25 * 86_400.0;

/// How much is remembered, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HistoryBounds {
    /// Meetings remembered.
    pub meetings_max: usize,
    /// Patterns of names remembered.
    pub patterns_max: usize,
    /// Age at which something remembered is believed by half: less and less is expected of it.
    pub half_life: Duration,
}

impl Default for HistoryBounds {
    fn default() -> Self {
        let half_life = Duration::from_secs(30 * 24 * 3_600);
        Self { meetings_max: 100_000, patterns_max: 10_000, half_life }
    }
}

/// What is known of a meeting that is over.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ended {
    /// Most legs it had at once.
    pub peak: Legs,
    /// The sum of its people's places, as unit vectors; of those that are known.
    pub people: [f64; 3],
    /// How long it was in use; `None` if it began before this process.
    pub lasted: Option<Duration>,
}

/// What is remembered under one name or pattern.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Past {
    /// Decaying mean of the most legs it had at once.
    peak: f64,
    /// Decaying mean of the direction its people were in.
    people: [f64; 3],
    /// How often it was seen, one and more; counts no further than is of use.
    seen: u32,
    /// Decaying mean of how long it was in use, in seconds; `None` until that was seen.
    lasted: Option<f64>,
}

/// Under what something is remembered: the hash of a meeting's name, or of a pattern of names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Topic {
    /// One meeting.
    Meeting(u64),
    /// Meetings with names alike.
    Pattern(u64),
}

/// Something that is remembered, and when it was learned last.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Memory {
    /// What.
    pub past: Past,
    /// When.
    pub at: Time,
}

/// What is remembered.
#[derive(Clone, Debug)]
pub struct History {
    bounds: HistoryBounds,
    meetings: Recall,
    patterns: Recall,
}

impl History {
    /// Nothing yet.
    #[must_use]
    pub fn new(bounds: HistoryBounds) -> Self {
        Self { bounds, meetings: Recall::default(), patterns: Recall::default() }
    }

    /// Remembers by these bounds from now on. Returns what is remembered no longer.
    pub fn set_bounds(&mut self, bounds: HistoryBounds) -> Vec<(Topic, Option<Memory>)> {
        self.bounds = bounds;
        let mut gone = topics(self.meetings.trim(bounds.meetings_max), Topic::Meeting);
        gone.extend(topics(self.patterns.trim(bounds.patterns_max), Topic::Pattern));
        gone
    }

    /// What was remembered before. Times are of the same clock as all others. Returns what is remembered
    /// no longer, because there are more than the bounds allow.
    pub fn restore(
        &mut self,
        remembered: impl IntoIterator<Item = (Topic, Memory)>,
    ) -> Vec<(Topic, Option<Memory>)> {
        let mut all: Vec<_> = remembered.into_iter().collect();
        // The order in which they are forgotten.
        all.sort_by_key(|(topic, memory)| (memory.at, *topic));
        let put = |(topic, memory)| match topic {
            Topic::Meeting(key) => {
                let changed = self.meetings.put(key, memory, self.bounds.meetings_max);
                topics(changed, Topic::Meeting)
            }
            Topic::Pattern(key) => {
                let changed = self.patterns.put(key, memory, self.bounds.patterns_max);
                topics(changed, Topic::Pattern)
            }
        };
        all.into_iter().flat_map(put).filter(|(_, memory)| memory.is_none()).collect()
    }

    /// A meeting is over. Returns what is remembered otherwise than before; `None` if no longer.
    pub fn ended(
        &mut self,
        name: &MeetingName,
        ended: &Ended,
        now: Time,
    ) -> Vec<(Topic, Option<Memory>)> {
        let Self { bounds, meetings, patterns } = self;
        let meeting = key_of(name.as_str());
        let meetings = meetings.learn(meeting, ended, now, bounds.meetings_max);
        let pattern = key_of(&pattern_of(name.as_str()));
        let patterns = patterns.learn(pattern, ended, now, bounds.patterns_max);
        let mut changed = topics(meetings, Topic::Meeting);
        changed.extend(topics(patterns, Topic::Pattern));
        changed
    }

    /// What the meeting of that name was like.
    #[must_use]
    pub fn meeting(&self, name: &MeetingName, now: Time) -> Option<Past> {
        self.meetings.recall(key_of(name.as_str()), now, self.bounds.half_life)
    }

    /// What meetings with names like that were like.
    #[must_use]
    pub fn pattern(&self, name: &MeetingName, now: Time) -> Option<Past> {
        self.patterns.recall(key_of(&pattern_of(name.as_str())), now, self.bounds.half_life)
    }

    /// Meetings and patterns remembered.
    #[must_use]
    pub fn len(&self) -> (usize, usize) {
        (self.meetings.entries.len(), self.patterns.entries.len())
    }

    /// Whether nothing is remembered.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == (0, 0)
    }
}

impl Past {
    /// Legs to expect; one at least.
    #[must_use]
    pub fn legs(&self) -> Legs {
        #[expect(clippy::cast_possible_truncation, reason = "a mean of u32; a cast saturates")]
        let whole = self.peak.round() as u32;
        Legs(whole.max(1))
    }

    /// Where its people were: their centroid. `None` if that is not known, or they are so far apart
    /// that they have none.
    #[must_use]
    pub fn place(&self) -> Option<Place> {
        Place::towards(self.people)
    }

    /// How often it was seen.
    #[must_use]
    pub const fn seen(&self) -> u32 {
        self.seen
    }

    /// How long it was in use; `None` if that was never seen.
    #[must_use]
    pub fn lasted(&self) -> Option<Duration> {
        self.lasted.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
    }

    /// The same, with that kept beside it: seconds. `None` if they cannot have been.
    #[must_use]
    pub fn lasting(self, seconds: f64) -> Option<Self> {
        let lasted = Some(seconds);
        (0.0..=LASTED_MAX).contains(&seconds).then_some(Self { lasted, ..self })
    }

    /// Peak, sum of directions, and how often it was seen: to be kept, beside [`Self::lasted`].
    #[must_use]
    pub const fn parts(&self) -> (f64, [f64; 3], u32) {
        (self.peak, self.people, self.seen)
    }

    /// What was kept; `None` if it cannot have been.
    #[must_use]
    pub fn of_parts(peak: f64, people: [f64; 3], seen: u32) -> Option<Self> {
        let is_direction = people.iter().all(|part| (-1.01..=1.01).contains(part));
        let is_peak = (0.0..=f64::from(u32::MAX)).contains(&peak);
        let lasted = None;
        (is_peak && is_direction && seen > 0).then_some(Self { peak, people, seen, lasted })
    }

    fn learning(mut self, ended: &Ended) -> Self {
        self.peak += NEWEST_SHARE * (f64::from(ended.peak.0) - self.peak);
        if let Some(place) = Place::towards(ended.people) {
            let unit = place.unit_vector();
            self.people = [0, 1, 2]
                .map(|axis| self.people[axis] + NEWEST_SHARE * (unit[axis] - self.people[axis]));
        }
        self.seen = self.seen.saturating_add(1);
        self.lasted = match (self.lasted, seconds_of(ended)) {
            (Some(mean), Some(last)) => Some(mean + NEWEST_SHARE * (last - mean)),
            (mean, last) => last.or(mean),
        };
        self
    }

    fn first(ended: &Ended) -> Self {
        let people = Place::towards(ended.people).map_or([0.0; 3], Place::unit_vector);
        Self { peak: f64::from(ended.peak.0), people, seen: 1, lasted: seconds_of(ended) }
    }
}

fn seconds_of(ended: &Ended) -> Option<f64> {
    ended.lasted.map(|lasted| lasted.as_secs_f64().min(LASTED_MAX))
}

fn topics(
    changed: Vec<(u64, Option<Memory>)>,
    topic: fn(u64) -> Topic,
) -> Vec<(Topic, Option<Memory>)> {
    changed.into_iter().map(|(key, memory)| (topic(key), memory)).collect()
}

/// A bounded table by hash that forgets what was learned longest ago.
#[derive(Clone, Debug, Default)]
struct Recall {
    entries: HashMap<u64, Entry>,
    /// Which hash was learned in which turn.
    by_turn: BTreeMap<u64, u64>,
    turn: u64,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    memory: Memory,
    turn: u64,
}

impl Recall {
    /// Returns what has changed.
    fn learn(
        &mut self,
        key: u64,
        ended: &Ended,
        now: Time,
        most: usize,
    ) -> Vec<(u64, Option<Memory>)> {
        let known = self.entries.get(&key).map(|entry| entry.memory.past);
        let past = known.map_or_else(|| Past::first(ended), |past| past.learning(ended));
        self.put(key, Memory { past, at: now }, most)
    }

    /// Puts it in as what was learned last. Returns what has changed.
    fn put(&mut self, key: u64, memory: Memory, most: usize) -> Vec<(u64, Option<Memory>)> {
        self.turn += 1;
        let turn = self.turn;
        if let Some(old) = self.entries.insert(key, Entry { memory, turn }) {
            self.by_turn.remove(&old.turn);
        }
        self.by_turn.insert(turn, key);
        let mut changed = vec![(key, Some(memory))];
        changed.extend(self.trim(most));
        changed
    }

    /// Forgets the oldest beyond `most`; returns which.
    fn trim(&mut self, most: usize) -> Vec<(u64, Option<Memory>)> {
        let mut gone = Vec::new();
        while self.entries.len() > most {
            let Some((_, oldest)) = self.by_turn.pop_first() else { break };
            self.entries.remove(&oldest);
            gone.push((oldest, None));
        }
        gone
    }

    /// What was learned, of which less is believed the older it is.
    fn recall(&self, key: u64, now: Time, half: Duration) -> Option<Past> {
        let Memory { past, at } = self.entries.get(&key)?.memory;
        Some(Past { peak: past.peak * half_life(now.since(at), half), ..past })
    }
}

/// The name with every number in it replaced by `#`: runs of decimal digits, and of eight and more
/// hexadecimal ones (with the hyphens of a UUID) that hold a decimal digit.
#[must_use]
pub fn pattern_of(name: &str) -> String {
    let mut pattern = String::with_capacity(name.len());
    let mut rest = name;
    while let Some(first) = rest.chars().next() {
        let taken = number_len(rest, pattern.chars().next_back());
        if taken == 0 {
            pattern.push(first);
            rest = &rest[first.len_utf8()..];
        } else {
            if !pattern.ends_with('#') {
                pattern.push('#');
            }
            rest = &rest[taken..];
        }
    }
    pattern
}

/// Length in bytes of the number that `text`, after `before`, begins with; zero if it begins with none.
fn number_len(text: &str, before: Option<char>) -> usize {
    let run = |is_part: fn(&u8) -> bool| text.bytes().take_while(is_part).count();
    let hex = text[..run(|byte| byte.is_ascii_hexdigit() || *byte == b'-')].trim_end_matches('-');
    let digits = hex.bytes().filter(u8::is_ascii_hexdigit).count();
    // In the middle of a word: the "e1234567" of "code1234567".
    let is_within = before.is_some_and(char::is_alphanumeric);
    let is_odd = hex.starts_with('-') || !hex.bytes().any(|byte| byte.is_ascii_digit());
    if digits >= HEX_RUN_MIN && !is_within && !is_odd {
        return hex.len();
    }
    run(u8::is_ascii_digit)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: u64 = 24 * 3_600;

    const fn at(seconds: u64) -> Time {
        Time::from_micros(seconds * 1_000_000)
    }

    fn name(text: &str) -> MeetingName {
        MeetingName::parse(text).unwrap()
    }

    fn ended(legs: u32, at: Option<(f64, f64)>) -> Ended {
        let place =
            at.map(|(latitude, longitude)| Place::from_degrees(latitude, longitude).unwrap());
        let people = place.map_or([0.0; 3], Place::unit_vector);
        Ended { peak: Legs(legs), people, lasted: Some(Duration::from_secs(legs.into())) }
    }

    #[test]
    fn how_long_it_lasted_follows_what_was_seen() {
        let mut history = History::new(HistoryBounds::default());
        let mut end = |lasted: Option<u64>| {
            let lasted = lasted.map(Duration::from_secs);
            history.ended(&name("daily-1"), &Ended { lasted, ..ended(4, None) }, at(0));
            history.pattern(&name("daily-2"), at(0)).unwrap().lasted().map(|time| time.as_secs())
        };
        let means = [None, Some(100), None, Some(200)].map(&mut end);
        assert_eq!(means, [None, Some(100), Some(100), Some(130)]);
    }

    #[test]
    fn numbers_in_names_make_no_difference() {
        for (text, pattern) in [
            ("room-1234", "room-#"),
            ("class 7b, term 2", "class #b, term #"),
            ("standup", "standup"),
            ("550e8400-e29b-41d4-a716-446655440000", "#"),
            ("call_550e8400-e29b-41d4-a716-446655440000_x", "call_#_x"),
            ("deadbeef", "deadbeef"),
            ("deadbee1", "#"),
            ("decade-9", "decade-#"),
            ("ünter-12-é", "ünter-#-é"),
            ("", ""),
        ] {
            assert_eq!(pattern_of(text), pattern, "{text}");
        }
    }

    #[test]
    fn size_and_place_follow_what_was_seen_and_the_latest_counts_most() {
        let mut history = History::new(HistoryBounds::default());
        let meeting = name("weekly");
        assert!(history.is_empty() && history.meeting(&meeting, at(0)).is_none());
        history.ended(&meeting, &ended(100, Some((48.86, 2.35))), at(0));
        assert_eq!(history.meeting(&meeting, at(0)).unwrap().legs(), Legs(100));
        history.ended(&meeting, &ended(200, None), at(1));
        let past = history.meeting(&meeting, at(1)).unwrap();
        assert_eq!((past.legs(), past.seen()), (Legs(130), 2));
        let paris = Place::from_degrees(48.86, 2.35).unwrap();
        assert!(past.place().unwrap().roughly_km(paris) < 1e-3, "nobody's place changes nothing");
        for _ in 0..20 {
            history.ended(&meeting, &ended(9, Some((40.71, -74.01))), at(2));
        }
        let past = history.meeting(&meeting, at(2)).unwrap();
        let york = Place::from_degrees(40.71, -74.01).unwrap();
        assert!(past.place().unwrap().roughly_km(york) < 50.0);
        assert_eq!(past.legs(), Legs(9));
    }

    #[test]
    fn what_is_long_ago_is_believed_less() {
        let mut history = History::new(HistoryBounds::default());
        history.ended(&name("yearly"), &ended(400, None), at(0));
        let legs = |days| history.meeting(&name("yearly"), at(days * DAY)).unwrap().legs();
        assert_eq!((legs(0), legs(30), legs(365)), (Legs(400), Legs(200), Legs(1)));
    }

    #[test]
    fn the_one_learned_longest_ago_is_forgotten() {
        let bounds = HistoryBounds { meetings_max: 2, patterns_max: 1, ..HistoryBounds::default() };
        let mut history = History::new(bounds);
        for text in ["a", "b", "a", "c"] {
            history.ended(&name(text), &ended(4, None), at(0));
        }
        assert_eq!(history.len(), (2, 1));
        for (text, is_known) in [("a", true), ("b", false), ("c", true)] {
            assert_eq!(history.meeting(&name(text), at(0)).is_some(), is_known, "{text}");
        }
        assert_eq!(history.meetings.by_turn.len(), 2, "turns are forgotten with their entries");
    }

    #[test]
    fn what_is_kept_of_every_change_makes_the_same_history() {
        let bounds = HistoryBounds { meetings_max: 3, patterns_max: 2, ..HistoryBounds::default() };
        let (mut history, mut kept) = (History::new(bounds), BTreeMap::new());
        for (second, text) in (0..).zip(["a", "b", "c-1", "a", "d", "c-2", "e"]) {
            let ended = ended(10 + second, Some((48.86, 2.35)));
            for (topic, memory) in history.ended(&name(text), &ended, at(second.into())) {
                match memory {
                    Some(memory) => drop(kept.insert(topic, memory)),
                    None => drop(kept.remove(&topic)),
                }
            }
        }
        let through_parts = |memory: Memory| {
            let (peak, people, seen) = memory.past.parts();
            let past = Past::of_parts(peak, people, seen).unwrap();
            let lasted = memory.past.lasted().unwrap().as_secs_f64();
            Memory { past: past.lasting(lasted).unwrap(), ..memory }
        };
        let mut again = History::new(bounds);
        let kept: Vec<_> =
            kept.into_iter().map(|(topic, memory)| (topic, through_parts(memory))).collect();
        assert_eq!(again.restore(kept.clone()), []);
        assert_eq!((again.len(), history.len()), ((3, 2), (3, 2)));
        for text in ["a", "b", "c-1", "c-2", "c-3", "d", "e"].map(name) {
            assert_eq!(again.meeting(&text, at(9)), history.meeting(&text, at(9)));
            assert_eq!(again.pattern(&text, at(9)), history.pattern(&text, at(9)));
        }
        let smaller = HistoryBounds { meetings_max: 2, ..bounds };
        assert_eq!(History::new(smaller).restore(kept).len(), 1, "the oldest is forgotten");
        let gone = again.set_bounds(HistoryBounds { meetings_max: 1, patterns_max: 1, ..bounds });
        assert_eq!((gone.len(), again.len()), (3, (1, 1)));
        assert!(again.meeting(&name("e"), at(9)).is_some(), "the newest stays");
    }

    #[test]
    fn what_cannot_have_been_kept_is_not_believed() {
        for (peak, x, seen) in
            [(f64::NAN, 0.0, 1), (-1.0, 0.0, 1), (1e99, 0.0, 1), (1.0, 7.0, 1), (1.0, 0.0, 0)]
        {
            assert_eq!(Past::of_parts(peak, [x, 0.0, 0.0], seen), None);
        }
        let past = Past::of_parts(1.0, [0.0; 3], 1).unwrap();
        for lasted in [f64::NAN, -1.0, f64::INFINITY, 1e99] {
            assert_eq!(past.lasting(lasted), None);
        }
    }
}
