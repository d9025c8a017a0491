//! Where the people of a new meeting are, from all that is known when it gets its backend.

use std::sync::Arc;

use geoip::{Geo, Place};

use super::arrivals::{Arrivals, remove_one};
use crate::geo::Atlas;
use crate::protocol::request::{Hints, Said, Vantage};
use crate::telemetry::Metrics;

/// What is known of where people are.
#[derive(Clone, Debug)]
pub struct People {
    /// Places by address.
    pub atlas: Atlas,
    /// Who has named which meeting in a URL.
    pub arrivals: Arc<Arrivals>,
}

impl People {
    /// Nobody, at no place: for worlds without a map.
    #[must_use]
    pub fn nowhere(metrics: Metrics) -> Self {
        Self { atlas: Atlas::of(Geo::default(), metrics), arrivals: Arc::default() }
    }

    /// The place of the people of a new pipeline with these `hints`; `None` if nothing is known.
    ///
    /// What its creator says in degrees decides alone. Else each person that is known counts once: the
    /// creator, by the address it says, if that is known, or else by its own; and all who have named the
    /// meeting in their URL. If nobody is known: the place of the listener.
    pub(super) fn place_of(&self, hints: &Hints) -> Option<Place> {
        let said = match hints.said {
            Some(Said::Place(place)) => return Some(place),
            Some(Said::Addr(addr)) => self.atlas.look_up(addr),
            None => None,
        };
        let (client, listener) = match hints.vantage {
            Some(Vantage::Client(place)) => (Some(place), None),
            Some(Vantage::Listener(place)) => (None, Some(place)),
            None => (None, None),
        };
        let meeting = hints.meeting.as_ref();
        let mut known = meeting.map(|name| self.arrivals.places(name)).unwrap_or_default();
        if let Some(client) = client.filter(|_| hints.is_counted) {
            remove_one(&mut known, client);
        }
        let creator = said.or(client);
        known.extend(creator);
        // People all around the Earth have no middle.
        Place::mean(known.into_iter().map(|place| (place, 1.0))).or(creator).or(listener)
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use geoip::Overrides;

    use super::*;
    use crate::model::MeetingName;

    fn at(longitude: f64) -> Place {
        Place::from_degrees(0.0, longitude).unwrap()
    }

    /// Addresses 10.0.0.x are x degrees east.
    fn people() -> People {
        let addr = |last: u8| IpAddr::from([10, 0, 0, last]);
        let range = |last: u8| (addr(last).to_string().parse().unwrap(), at(last.into()));
        let geo = Geo::new(Overrides::new((0..100).map(range)).unwrap(), Vec::new());
        People { atlas: Atlas::of(geo, Metrics::new()), arrivals: Arc::default() }
    }

    fn said(last: u8) -> Option<Said> {
        Some(Said::Addr(IpAddr::from([10, 0, 0, last])))
    }

    fn longitude(people: &People, hints: &Hints) -> Option<f64> {
        people.place_of(hints).map(|place| (place.longitude() * 10.0).round() / 10.0)
    }

    #[test]
    fn what_is_said_counts_more_than_an_address_and_that_more_than_the_listener() {
        let people = people();
        let client = Some(Vantage::Client(at(20.0)));
        let listener = Some(Vantage::Listener(at(30.0)));
        for (said, vantage, expected) in [
            (Some(Said::Place(at(5.0))), client, Some(5.0)),
            (said(40), client, Some(40.0)),
            (said(40), listener, Some(40.0)),
            (said(200), client, Some(20.0)),
            (said(200), listener, Some(30.0)),
            (None, client, Some(20.0)),
            (None, listener, Some(30.0)),
            (said(200), None, None),
            (None, None, None),
        ] {
            let hints = Hints { said, vantage, ..Hints::default() };
            assert_eq!(longitude(&people, &hints), expected, "{hints:?}");
        }
    }

    #[test]
    fn each_person_counts_once() {
        let people = people();
        let meeting = MeetingName::parse("standup").unwrap();
        let enter = |longitude| people.arrivals.enter(&meeting, at(longitude));
        let _others = [enter(10.0), enter(30.0)];
        let base = Hints { meeting: Some(meeting.clone()), ..Hints::default() };
        let client = Some(Vantage::Client(at(50.0)));
        // 10, 30
        assert_eq!(longitude(&people, &base), Some(20.0));
        let listener = Hints { vantage: Some(Vantage::Listener(at(90.0))), ..base.clone() };
        assert_eq!(longitude(&people, &listener), Some(20.0), "a guess is nobody");
        // 10, 30, 50
        let from_elsewhere = Hints { vantage: client, ..base.clone() };
        assert_eq!(longitude(&people, &from_elsewhere), Some(30.0));
        // The same, where the creator is one of those who came by the URL.
        let _own = enter(50.0);
        let by_url = Hints { is_counted: true, ..from_elsewhere };
        assert_eq!(longitude(&people, &by_url), Some(30.0));
        // And where it speaks for somebody at 20: 10, 30, 20.
        let speaks = Hints { said: said(20), ..by_url };
        assert_eq!(longitude(&people, &speaks), Some(20.0));
        let other = Hints { meeting: MeetingName::parse("other").ok(), ..speaks };
        assert_eq!(longitude(&people, &other), Some(20.0), "another meeting");
    }

    #[test]
    fn people_all_around_the_earth_meet_where_the_creator_is() {
        let people = people();
        let meeting = MeetingName::parse("standup").unwrap();
        let _other = people.arrivals.enter(&meeting, at(-170.0));
        let vantage = Some(Vantage::Client(at(10.0)));
        let hints = Hints { meeting: Some(meeting), vantage, ..Hints::default() };
        assert_eq!(longitude(&people, &hints), Some(10.0));
    }
}
