//! Where people are decides where their meeting goes. Their addresses are looked up in the world
//! database that is built in.

use super::*;

/// Of RIPE in Amsterdam, and of a well-known resolver in the United States.
const AMSTERDAM: [(&str, &str); 1] = [("x-forwarded-for", "193.0.6.139")];
const AMERICA: [(&str, &str); 1] = [("x-forwarded-for", "8.8.8.8")];

/// An edge before a server in Frankfurt and one in Virginia, behind a trusted proxy.
async fn atlantic(more: &str) -> (Vec<KmsSim>, Edge) {
    let sims = KmsSim::start_all(["eu", "us"]).await;
    let places = [
        "place = { latitude = 50.11, longitude = 8.68 }",
        "place = { latitude = 39.04, longitude = -77.49 }",
    ];
    let backends: Vec<_> = sims.iter().zip(places).collect();
    let listener = "trusted_proxies = [\"127.0.0.0/8\"]\nforwarded = \"x-forwarded-for\"\n";
    let edge = Edge::start_among(&backends, &format!("{listener}{more}")).await;
    (sims.into(), edge)
}

#[tokio::test]
async fn people_of_two_continents_get_servers_near_them_and_one_meeting_gets_one() {
    let (_sims, edge) = atlantic("").await;
    let here = join(&edge, "", (b"", &AMSTERDAM)).await;
    let there = join(&edge, "", (b"", &AMERICA)).await;
    for number in 0..4 {
        create(&here, json!({"meeting": format!("here-{number}")})).await.unwrap();
        create(&there, json!({"meeting": format!("there-{number}")})).await.unwrap();
        assert_eq!(edge.backend_of(&format!("here-{number}")).await, "eu");
        assert_eq!(edge.backend_of(&format!("there-{number}")).await, "us");
    }
    create(&here, json!({"meeting": "both"})).await.unwrap();
    create(&there, json!({"meeting": "both"})).await.unwrap();
    let both = edge.api("meetings/both").await;
    assert_eq!((&both["backend"], &both["pipelines"]), (&json!("eu"), &json!(2)));
}

#[tokio::test]
async fn a_meeting_that_comes_back_begins_where_its_people_were() {
    let (_sims, edge) = atlantic("[pins]\ngrace_ms = 0\n").await;
    let here = join(&edge, "", (b"", &AMSTERDAM)).await;
    let pipeline = create(&here, json!({"meeting": "weekly"})).await.unwrap();
    assert_eq!(edge.backend_of("weekly").await, "eu");
    // What cost nothing is not remembered.
    let source = here.create_endpoint(&pipeline).await.unwrap();
    let sink = here.create_endpoint(&pipeline).await.unwrap();
    here.invoke(&source, "connect", json!({"sink": sink})).await.unwrap();
    here.call("release", json!({"object": pipeline})).await.unwrap();
    drop(here);
    let is_over = || async { edge.meetings().await.is_empty().then_some(()) };
    wait_for("the meeting is over", is_over).await;
    let there = join(&edge, "", (b"", &AMERICA)).await;
    create(&there, json!({"meeting": "weekly"})).await.unwrap();
    assert_eq!(edge.backend_of("weekly").await, "eu", "one person is late, the others are there");
}
