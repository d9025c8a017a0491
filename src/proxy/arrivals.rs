//! Where the people are who have named a meeting in their URL.
//!
//! They are counted before the meeting has a backend, so that the one who makes its first pipeline
//! does not decide alone how near it will be.

use std::sync::Arc;

use dashmap::DashMap;
use geoip::Place;

use crate::model::MeetingName;

/// Most people of one meeting whose place counts; those who come later do not.
const PLACES_MAX: usize = 64;

/// Places of the people of each meeting that a connection which is open now has named in its URL: as
/// many meetings at most as there are connections.
#[derive(Debug, Default)]
pub struct Arrivals {
    meetings: DashMap<MeetingName, Vec<Place>>,
}

/// One of those people. Dropped when the connection ends.
#[derive(Debug)]
pub(super) struct Arrival {
    arrivals: Arc<Arrivals>,
    meeting: MeetingName,
    place: Place,
}

impl Arrivals {
    /// Somebody at `place` has named `meeting`; `None` if so many have that it makes no difference.
    pub(super) fn enter(self: &Arc<Self>, meeting: &MeetingName, place: Place) -> Option<Arrival> {
        let mut places = self.meetings.entry(meeting.clone()).or_default();
        if places.len() >= PLACES_MAX {
            return None;
        }
        places.push(place);
        Some(Arrival { arrivals: self.clone(), meeting: meeting.clone(), place })
    }

    /// The places of those who have named `meeting`.
    pub(super) fn places(&self, meeting: &MeetingName) -> Vec<Place> {
        self.meetings.get(meeting).map(|places| places.clone()).unwrap_or_default()
    }
}

impl Drop for Arrival {
    fn drop(&mut self) {
        let meetings = &self.arrivals.meetings;
        if let Some(mut places) = meetings.get_mut(&self.meeting) {
            remove_one(&mut places, self.place);
        }
        meetings.remove_if(&self.meeting, |_, places| places.is_empty());
    }
}

/// Takes one that is `place` out of `places`, if there is one.
pub(super) fn remove_one(places: &mut Vec<Place>, place: Place) {
    if let Some(index) = places.iter().position(|one| *one == place) {
        places.swap_remove(index);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_has_gone_counts_no_more() {
        let arrivals = Arc::new(Arrivals::default());
        let meeting = MeetingName::parse("standup").unwrap();
        let [here, there] = [0.0, 10.0].map(|at| Place::from_degrees(at, at).unwrap());
        let first = arrivals.enter(&meeting, here);
        let second = arrivals.enter(&meeting, there);
        let third = arrivals.enter(&meeting, here);
        assert_eq!(arrivals.places(&meeting), [here, there, here]);
        drop(first);
        assert_eq!(arrivals.places(&meeting), [here, there]);
        drop((second, third));
        assert_eq!(arrivals.places(&meeting), []);
        assert!(arrivals.meetings.is_empty());
    }

    #[test]
    fn of_very_many_only_the_first_count() {
        let arrivals = Arc::new(Arrivals::default());
        let meeting = MeetingName::parse("all-hands").unwrap();
        let here = Place::from_degrees(1.0, 1.0).unwrap();
        let all: Vec<_> = (0..PLACES_MAX + 5).map(|_| arrivals.enter(&meeting, here)).collect();
        assert_eq!(all.iter().flatten().count(), PLACES_MAX);
        assert_eq!(arrivals.places(&meeting).len(), PLACES_MAX);
        drop(all);
        assert!(arrivals.meetings.is_empty());
    }
}
