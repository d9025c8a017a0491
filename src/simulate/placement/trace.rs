//! A day of meetings, made up from one seed.
//!
//! What it is like (synthetic: no operator's trace is public; each figure is an assumption, written
//! here and in `docs/PLACEMENT.md`): people live around eight cities; meetings follow the clock of
//! their city; half begin within a minute of the full hour, a sixth of the half hour; half have two
//! people, few are large; up to eight people all publish, beyond that four do; durations are
//! log-normal around half an hour; one in seven has people of several cities; a third are held again
//! and again under one name; three in ten say how large they will be.

use std::f64::consts::TAU;

use geoip::Place;

use crate::model::{Draws, MeetingName};
use crate::policy::promise::Mix;

/// Meetings that begin in an hour when it is day everywhere.
const PER_HOUR: f64 = 2_200.0;

/// People who publish in a meeting of more than [`ALL_PUBLISH_MAX`].
const PUBLISHERS: u32 = 4;

/// Largest meeting in which everybody publishes.
const ALL_PUBLISH_MAX: u32 = 8;

/// Names of meetings that are held again and again, by city.
const SERIES: usize = 300;

/// Hour of the day, UTC, at which the trace begins: the busiest.
const FIRST_HOUR: f64 = 13.0;

/// How busy a city is by its local hour, as a part of its busiest hour.
const BY_HOUR: [f64; 24] = [
    0.05, 0.03, 0.02, 0.02, 0.03, 0.06, 0.15, 0.40, 0.80, 1.00, 1.00, 0.95, 0.75, 0.85, 1.00, 0.95,
    0.85, 0.65, 0.50, 0.45, 0.40, 0.30, 0.20, 0.10,
];

/// A city with its people and backends.
#[derive(Clone, Copy, Debug)]
pub(super) struct City {
    pub(super) name: &'static str,
    latitude: f64,
    longitude: f64,
    /// Hours ahead of UTC.
    ahead: f64,
    /// Its part of all people.
    share: f64,
    /// Backends there, of fifty.
    pub(super) backends: usize,
}

const fn city(
    name: &'static str,
    (latitude, longitude): (f64, f64),
    (ahead, share, backends): (f64, f64, usize),
) -> City {
    City { name, latitude, longitude, ahead, share, backends }
}

/// Where people and backends are.
pub(super) const CITIES: [City; 8] = [
    city("new-york", (40.7, -74.0), (-5.0, 0.22, 10)),
    city("san-francisco", (37.8, -122.4), (-8.0, 0.12, 6)),
    city("sao-paulo", (-23.5, -46.6), (-3.0, 0.08, 4)),
    city("london", (51.5, -0.1), (0.0, 0.16, 8)),
    city("frankfurt", (50.1, 8.7), (1.0, 0.18, 9)),
    city("mumbai", (19.1, 72.9), (5.5, 0.12, 6)),
    city("singapore", (1.35, 103.8), (8.0, 0.07, 4)),
    city("sydney", (-33.9, 151.2), (10.0, 0.05, 3)),
];

/// Somebody who takes part.
#[derive(Clone, Copy, Debug)]
pub(super) struct Person {
    /// Seconds from the start of the meeting to when he comes.
    pub(super) after: f64,
    pub(super) place: Place,
}

/// A meeting that is going to be.
#[derive(Clone, Debug)]
pub(super) struct Meeting {
    /// Seconds from the start of the trace.
    pub(super) start: f64,
    /// Seconds from the start of the trace.
    pub(super) end: f64,
    pub(super) name: MeetingName,
    /// In the order they come; one at least.
    pub(super) people: Vec<Person>,
    /// How many of those who come first publish.
    pub(super) publishers: u32,
    /// Whether its size is told when it is made.
    pub(super) is_announced: bool,
}

impl Meeting {
    /// Who does what when `count` people have come.
    pub(super) fn mix(&self, count: u32) -> Mix {
        let publishers = self.publishers.min(count);
        Mix { publishers, viewers: count - publishers }
    }

    /// Who does what when all have come.
    pub(super) fn whole(&self) -> Mix {
        self.mix(u32::try_from(self.people.len()).unwrap_or(u32::MAX))
    }
}

impl City {
    pub(super) fn place(&self) -> Place {
        at(self.latitude, self.longitude)
    }

    /// Somewhere within some 300 km of it.
    fn around(&self, draws: &mut Draws) -> Place {
        let off = |draws: &mut Draws| draws.fraction() * 5.0 - 2.5;
        at(self.latitude + off(draws), self.longitude + off(draws))
    }
}

fn at(latitude: f64, longitude: f64) -> Place {
    Place::from_degrees(latitude, longitude).expect("the cities lie well on the globe")
}

/// The meetings of the first `hours`, in the order they begin, for `part` of the fifty backends.
pub(super) fn day(seed: u64, hours: u32, part: f64) -> Vec<Meeting> {
    let mut draws = Draws::seeded(seed);
    let mut meetings = Vec::new();
    for hour in 0..hours {
        for (index, city) in CITIES.iter().enumerate() {
            let local = (FIRST_HOUR + f64::from(hour) + city.ahead).rem_euclid(24.0);
            let begins = BY_HOUR[whole(local) % 24] * city.share * PER_HOUR * part;
            for _ in 0..whole(begins + draws.fraction()) {
                let start = f64::from(hour) * 3_600.0 + second_of_hour(&mut draws);
                meetings.push(any_meeting(index, start, &mut draws));
            }
        }
    }
    meetings.sort_by(|a, b| a.start.total_cmp(&b.start).then_with(|| a.name.cmp(&b.name)));
    meetings
}

fn second_of_hour(draws: &mut Draws) -> f64 {
    let late = 20.0 * exponential(draws);
    match draws.below(6) {
        0..3 => late.min(3_599.0),
        3 => 1_800.0 + late.min(1_799.0),
        _ => draws.fraction() * 3_600.0,
    }
}

fn any_meeting(city: usize, start: f64, draws: &mut Draws) -> Meeting {
    let (name, mut of_it) = if draws.below(3) == 0 {
        let series = draws.below(SERIES);
        // All that is typical of a series is drawn from its name.
        let of_it = Draws::seeded((city * SERIES + series) as u64);
        (format!("{}/series-{}", CITIES[city].name, letters(series)), of_it)
    } else {
        (format!("{}/room-{}", CITIES[city].name, draws.next() >> 24), Draws::seeded(draws.next()))
    };
    let size = any_size(&mut of_it);
    let is_mixed = of_it.below(7) == 0;
    let mut people: Vec<Person> = (0..size)
        .map(|nth| {
            let is_guest = is_mixed && of_it.below(2) == 0;
            let home = if is_guest { any_city(&mut of_it) } else { &CITIES[city] };
            let after = if nth == 0 { 1.0 } else { 1.0 + 120.0 * exponential(draws) };
            Person { after, place: home.around(&mut of_it) }
        })
        .collect();
    people[1..].sort_by(|a, b| a.after.total_cmp(&b.after));
    let end = start + 60.0 + 1_800.0 * (0.6 * normal(draws)).exp();
    let publishers = if size > ALL_PUBLISH_MAX { PUBLISHERS } else { size };
    let name = MeetingName::parse(&name).expect("letters and digits");
    Meeting { start, end, name, people, publishers, is_announced: draws.below(10) < 3 }
}

fn any_size(draws: &mut Draws) -> u32 {
    let (least, count): (u32, usize) = match draws.below(100) {
        0..55 => (2, 1),
        55..75 => (3, 2),
        75..90 => (5, 5),
        90..98 => (10, 11),
        _ => return large_size(draws),
    };
    least + u32::try_from(draws.below(count)).unwrap_or(0)
}

/// From 21 people to 150, ever fewer the larger (Pareto, exponent 1.5).
fn large_size(draws: &mut Draws) -> u32 {
    let size = 21.0 / (1.0 - draws.fraction()).powf(1.0 / 1.5);
    u32::try_from(whole(size.min(150.0))).unwrap_or(150)
}

fn any_city(draws: &mut Draws) -> &'static City {
    let mut left = draws.fraction();
    let found = CITIES.iter().find(|city| {
        left -= city.share;
        left < 0.0
    });
    found.unwrap_or(&CITIES[0])
}

/// Letters only, or all series would have one pattern.
fn letters(mut number: usize) -> String {
    let mut text = String::new();
    for _ in 0..3 {
        text.push(char::from(b'k' + u8::try_from(number % 10).unwrap_or(0)));
        number /= 10;
    }
    text
}

/// Of mean one.
fn exponential(draws: &mut Draws) -> f64 {
    -(1.0 - draws.fraction()).ln()
}

/// Of mean zero and deviation one. Source: Box and Muller, 1958.
fn normal(draws: &mut Draws) -> f64 {
    (2.0 * exponential(draws)).sqrt() * (TAU * draws.fraction()).cos()
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "small and positive")]
fn whole(number: f64) -> usize {
    number as usize
}

/// 60 rooms made in ten minutes by teachers who are early; thirty pupils each come ten minutes later.
pub(super) fn early_teachers() -> Vec<Meeting> {
    let class = |nth: u32| {
        let pupil = |_| Person { after: 660.0, place: CITIES[4].place() };
        let teacher = Person { after: 1.0, place: CITIES[4].place() };
        let people = std::iter::once(teacher).chain((0..29).map(pupil)).collect();
        lesson(nth, f64::from(nth) * 10.0, people)
    };
    (0..60).map(class).collect()
}

/// 100 rooms made within ten seconds; eight people each come at once.
pub(super) fn class_start() -> Vec<Meeting> {
    let class = |nth: u32| {
        let person = |nth: u32| Person { after: f64::from(nth), place: CITIES[4].place() };
        lesson(nth, 100.5 + f64::from(nth) * 0.09, (0..8).map(person).collect())
    };
    (0..100).map(class).collect()
}

fn lesson(nth: u32, start: f64, people: Vec<Person>) -> Meeting {
    let name = MeetingName::parse(&format!("class-{nth}")).expect("letters and digits");
    let end = start + 2_400.0;
    Meeting { start, end, name, people, publishers: PUBLISHERS, is_announced: true }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_day_is_what_its_description_says() {
        let meetings = day(1, 24, 1.0);
        let count = meetings.len() as f64;
        let share = |is: fn(&Meeting) -> bool| {
            meetings.iter().filter(|meeting| is(meeting)).count() as f64 / count
        };
        assert!((20_000.0..50_000.0).contains(&count), "{count}");
        assert!((0.5..0.6).contains(&share(|meeting| meeting.people.len() == 2)));
        assert!((0.4..0.6).contains(&share(|meeting| meeting.start % 3_600.0 < 60.0)));
        assert!((0.25..0.35).contains(&share(|meeting| meeting.is_announced)));
        assert!(meetings.iter().any(|meeting| meeting.people.len() > 50));
        assert!(meetings.is_sorted_by(|a, b| a.start <= b.start));
        assert!(
            meetings.iter().all(|meeting| meeting.people.is_sorted_by(|a, b| a.after <= b.after))
        );
        let total: f64 = CITIES.iter().map(|city| city.share).sum();
        assert!((total - 1.0).abs() < 1e-9);
        assert_eq!(CITIES.iter().map(|city| city.backends).sum::<usize>(), 50);
    }
}
