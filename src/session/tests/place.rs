//! Where the people of a new pipeline are, as a session passes it on.

use geoip::Place;

use super::*;
use crate::model::MeetingName;
use crate::protocol::request::{Said, Vantage};

fn at(longitude: f64) -> Place {
    Place::from_degrees(0.0, longitude).unwrap()
}

/// A session that has named `standup` in its URL, 10 degrees east, and is counted there.
fn with(trusts_client_place: bool) -> Case {
    let url = Hints {
        meeting: MeetingName::parse("standup").ok(),
        vantage: Some(Vantage::Client(at(10.0))),
        is_counted: true,
        ..Hints::default()
    };
    let session = Session::new(SessionId::from_random(7), "edge-1", url, bounds());
    let rules = Rules { trusts_client_place, ..Rules::default() };
    Case { session: session.under(Arc::new(rules)), ..case() }
}

/// The hints with which a place is asked for.
fn asked(case: &mut Case, properties: &Value) -> Hints {
    let create = json!({"type": "MediaPipeline", "properties": properties});
    match case.handle(Input::FromClient(&request(1, "create", &create))) {
        [Output::Place(_, Wish::Pipeline { hints, .. })] => hints.clone(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_pipeline_comes_from_where_its_connection_does() {
    let hints = asked(&mut with(false), &json!({"latitude": 0, "longitude": 20}));
    assert_eq!((hints.said, hints.vantage), (None, Some(Vantage::Client(at(10.0)))));
    let hints = asked(&mut with(true), &json!({"latitude": 0, "longitude": 20}));
    assert_eq!(hints.said, Some(Said::Place(at(20.0))));
    assert_eq!(hints.vantage, Some(Vantage::Client(at(10.0))));
}

#[test]
fn a_connection_is_counted_in_the_meeting_of_its_url_only() {
    for (properties, is_counted) in [
        (json!({}), true),
        (json!({"meeting": "standup"}), true),
        (json!({"meeting": "retro"}), false),
    ] {
        assert_eq!(asked(&mut with(false), &properties).is_counted, is_counted, "{properties}");
    }
}

#[test]
fn who_comes_back_comes_from_where_the_new_connection_does() {
    let mut case = with(false);
    let vantage = Some(Vantage::Listener(at(30.0)));
    case.session.on_moved(Hints { vantage, ..Hints::default() }, Arc::default());
    let hints = asked(&mut case, &json!({"meeting": "standup"}));
    assert_eq!((hints.vantage, hints.is_counted), (vantage, false));
}

#[test]
fn a_wrong_place_is_refused_where_it_would_count() {
    let create = json!({"type": "MediaPipeline", "properties": {"latitude": 0}});
    let answer = with(true).answered(&request(1, "create", &create));
    assert_eq!(answer["error"]["code"], -32000);
    let operations = json!({"operations": [{"method": "create", "params": create}]});
    let answer = with(true).answered(&request(2, "transaction", &operations));
    assert_eq!(answer["error"]["code"], -32000);
    assert_eq!(asked(&mut with(false), &json!({"latitude": 0})).said, None);
}
