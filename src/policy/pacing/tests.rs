//! What is costly, and the bucket's promises.

use serde_json::{Value, json};

use super::*;
use crate::protocol::request::parse_request;

const PACE: Pace = Pace {
    interval: Duration::from_millis(100),
    burst: 3,
    wait_max: Duration::from_secs(1),
    waiting_max: 100,
    held_max_bytes: 1_000,
};

fn millis(millis: u64) -> Time {
    Time::from_micros(millis * 1_000)
}

/// Asks for a turn of a call that has just come.
fn ask(bucket: &mut Bucket, cost: u32, now: u64) -> Turn {
    bucket.ask(&PACE, Ask { cost, since: millis(now) }, millis(now))
}

fn cost_of(method: &str, params: &Value) -> u32 {
    let text = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).to_string();
    cost(&parse_request(&text, 64).unwrap())
}

#[test]
fn endpoints_and_their_negotiation_are_costly_and_nothing_else_is() {
    for (method, params, expected) in [
        ("create", json!({"type": "WebRtcEndpoint"}), 1),
        ("create", json!({"type": "kurento.RtpEndpoint"}), 1),
        ("create", json!({"type": "MediaPipeline"}), 0),
        ("create", json!({"type": "EndpointFilter"}), 0),
        ("create", json!({"type": 7}), 0),
        ("create", json!({}), 0),
        ("invoke", json!({"operation": "processOffer"}), 1),
        ("invoke", json!({"operation": "generateOffer"}), 1),
        ("invoke", json!({"operation": "gatherCandidates"}), 0),
        ("subscribe", json!({"type": "WebRtcEndpoint", "operation": "processOffer"}), 0),
        ("release", json!({"object": "WebRtcEndpoint"}), 0),
    ] {
        assert_eq!(cost_of(method, &params), expected, "{method} {params}");
    }
    let escaped =
        r#"{"jsonrpc":"2.0","id":1,"method":"create","params":{"type":"WebRtcEndp\u006fint"}}"#;
    assert_eq!(cost(&parse_request(escaped, 64).unwrap()), 1);
}

#[test]
fn a_transaction_counts_its_operations() {
    let operations = json!([
        {"method": "create", "params": {"type": "MediaPipeline"}},
        {"method": "create", "params": {"type": "WebRtcEndpoint"}},
        {"method": "invoke", "params": {"object": "newref:1", "operation": "processOffer"}},
        {"method": "release", "params": {"type": "WebRtcEndpoint"}},
        7,
    ]);
    assert_eq!(cost_of("transaction", &json!({"operations": operations})), 2);
    assert_eq!(cost_of("transaction", &json!({"operations": "create"})), 0);
    assert_eq!(cost_of("transaction", &json!({})), 0);
}

#[test]
fn a_burst_goes_at_once_then_one_each_interval() {
    let mut bucket = Bucket::default();
    let turns: Vec<_> = (0..5).map(|_| ask(&mut bucket, 1, 0)).collect();
    let later = |at| Turn::At(millis(at));
    assert_eq!(turns, [Turn::Now, Turn::Now, Turn::Now, later(100), later(200)]);
    // 250 ms later two and a half have come back, and two of them were waited for.
    bucket.on_turn();
    bucket.on_turn();
    assert_eq!(ask(&mut bucket, 1, 250), later(300));
}

#[test]
fn a_bucket_that_rests_is_full_and_not_more() {
    let mut bucket = Bucket::default();
    assert!(bucket.is_full(millis(0)));
    assert_eq!(ask(&mut bucket, 2, 0), Turn::Now);
    assert!(!bucket.is_full(millis(199)));
    assert!(bucket.is_full(millis(200)));
    let turns: Vec<_> = (0..4).map(|_| ask(&mut bucket, 1, 60_000)).collect();
    assert_eq!(turns, [Turn::Now, Turn::Now, Turn::Now, Turn::At(millis(60_100))]);
    assert!(!bucket.is_full(millis(99_000)), "somebody waits");
}

#[test]
fn a_call_that_is_larger_than_the_bucket_waits_for_the_rest_and_counts_in_full() {
    let mut bucket = Bucket::default();
    assert_eq!(ask(&mut bucket, 8, 0), Turn::At(millis(500)), "three are there");
    assert_eq!(ask(&mut bucket, 1, 0), Turn::At(millis(600)));
    assert!(!bucket.is_full(millis(600)));
}

#[test]
fn a_call_that_is_larger_than_what_comes_while_it_may_wait_never_goes() {
    let mut bucket = Bucket::default();
    for cost in [14, 1_000, u32::MAX] {
        assert_eq!(ask(&mut bucket, cost, 0), Turn::TooLarge);
    }
    assert!(bucket.is_full(millis(0)), "a refusal takes nothing");
    assert_eq!(ask(&mut bucket, 13, 0), Turn::At(millis(1_000)));
    assert_eq!(ask(&mut bucket, 13, 0), Turn::Refused(Duration::from_millis(2_300)));
}

/// Whoever has a thousand calls to make asks again when one has gone, so others come in between.
#[test]
fn those_who_wait_take_turns() {
    let mut bucket = Bucket::default();
    assert_eq!(ask(&mut bucket, 3, 0), Turn::Now);
    let mut waiting = vec![("greedy", ask(&mut bucket, 1, 0)), ("polite", ask(&mut bucket, 1, 0))];
    let mut went = Vec::new();
    while went.len() < 5 {
        let (who, Turn::At(at)) = waiting.remove(0) else { panic!("{waiting:?}") };
        went.push(who);
        bucket.on_turn();
        if who == "greedy" || went.len() < 4 {
            waiting.push((who, bucket.ask(&PACE, Ask { cost: 1, since: at }, at)));
        }
    }
    assert_eq!(went, ["greedy", "polite", "greedy", "polite", "greedy"]);
}

#[test]
fn nobody_waits_for_longer_than_the_bound_counted_from_when_the_call_came() {
    let mut bucket = Bucket::default();
    assert_eq!(ask(&mut bucket, 3, 0), Turn::Now);
    assert_eq!(ask(&mut bucket, 3, 0), Turn::At(millis(300)));
    assert_eq!(ask(&mut bucket, 3, 0), Turn::At(millis(600)));
    assert_eq!(ask(&mut bucket, 3, 0), Turn::At(millis(900)));
    assert_eq!(ask(&mut bucket, 2, 0), Turn::Refused(Duration::from_millis(1_100)));
    assert_eq!(ask(&mut bucket, 1, 0), Turn::At(millis(1_000)), "a refusal takes nothing");
    let waited = Ask { cost: 1, since: millis(0) };
    let turn = bucket.ask(&PACE, waited, millis(500));
    assert_eq!(turn, Turn::Refused(Duration::from_millis(600)), "it has waited half of its time");
}

#[test]
fn so_many_wait_and_no_more() {
    let pace = Pace { waiting_max: 1, ..PACE };
    let mut bucket = Bucket::default();
    let mut ask = |cost| bucket.ask(&pace, Ask { cost, since: millis(0) }, millis(0));
    assert_eq!(ask(3), Turn::Now);
    assert_eq!(ask(1), Turn::At(millis(100)));
    assert_eq!(ask(1), Turn::Refused(Duration::from_millis(200)));
    bucket.on_turn();
    let free = bucket.ask(&pace, Ask { cost: 1, since: millis(100) }, millis(100));
    assert_eq!(free, Turn::At(millis(200)));
}

#[test]
fn what_is_given_back_is_there_for_the_next() {
    let mut bucket = Bucket::default();
    assert_eq!(ask(&mut bucket, 3, 0), Turn::Now);
    assert_eq!(ask(&mut bucket, 3, 0), Turn::At(millis(300)));
    bucket.give_back(&PACE, 3, millis(50));
    assert_eq!(ask(&mut bucket, 1, 50), Turn::At(millis(100)));
    bucket.give_back(&PACE, 1, millis(50));
    assert!(bucket.is_full(millis(300)), "as if nobody had waited");
}

proptest::proptest! {
    /// In no stretch of time more tokens are taken than it brings, and a burst; those beyond a burst that
    /// a call takes came before it. Each turn is within its bound, and no later one before an earlier.
    #[test]
    fn the_rate_is_kept(steps in proptest::collection::vec((0_u64..400, 1_u32..17), 1..60)) {
        let mut bucket = Bucket::default();
        let mut now = 0;
        let mut went: Vec<(Time, u32)> = Vec::new();
        for (pause, cost) in steps {
            now += pause;
            let at = match ask(&mut bucket, cost, now) {
                Turn::Now => millis(now),
                Turn::At(at) => at,
                Turn::Refused(after) => {
                    assert!(after > PACE.wait_max);
                    continue;
                }
                Turn::TooLarge => {
                    assert!(cost > 13);
                    continue;
                }
            };
            assert!(at.since(millis(now)) <= PACE.wait_max);
            assert!(went.last().is_none_or(|(last, _)| *last <= at));
            went.push((at, cost));
        }
        for (first, (from, cost)) in went.iter().enumerate() {
            let mut taken = *cost.min(&PACE.burst);
            for (to, cost) in &went[first + 1..] {
                taken += cost;
                let brought = to.since(*from).as_micros() / PACE.interval.as_micros();
                assert!(u128::from(taken) <= brought + u128::from(PACE.burst));
            }
        }
    }
}
