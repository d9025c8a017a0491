//! How long calls take. Source: Kurento protocol notes, section 13, and the recordings.

use std::time::Duration;

use serde_json::Value;

use crate::model::Draws;

use super::methods::Params;

/// What every message costs, whatever it asks for.
pub(super) const MESSAGE: Duration = Duration::from_micros(40);

/// The first endpoint of a process, and the first description that any of them makes or reads, load
/// and prepare what later ones find ready. Source: measured, 131 and 126 ms with the call itself.
pub(super) const FIRST_ENDPOINT: Duration = Duration::from_millis(130);
pub(super) const FIRST_NEGOTIATION: Duration = Duration::from_millis(121);

/// Most that load can stretch a call. Source: `processOffer` took 330 ms on a full server.
const STRETCH_MAX: f64 = 64.0;

/// Exponent of the tail: the slowest call in a hundred takes ten times the median, as measured for
/// `ping` and `create`.
const TAIL: f64 = 0.588;

/// Shortest draw of the tail that counts, so that no call takes more than 25 times the median.
const TAIL_FROM: f64 = 0.002;

/// The median time of one call on an idle server, without that of its message.
pub(super) fn work(method: &str, params: &Params) -> Duration {
    let text = |name: &str| params.get(name).and_then(Value::as_str).unwrap_or_default();
    let micros = match method {
        "create" => of_create(text("type")),
        "invoke" => of_invoke(text("operation")),
        "release" => 60,
        "closeSession" => 400,
        "connect" | "ping" | "keepAlive" => 40,
        _ => 30,
    };
    Duration::from_micros(micros)
}

fn of_create(class: &str) -> u64 {
    match class.strip_prefix("kurento.").unwrap_or(class) {
        "MediaPipeline" => 160,
        "WebRtcEndpoint" | "RtpEndpoint" => 800,
        "PlayerEndpoint" | "RecorderEndpoint" | "HttpPostEndpoint" => 1_200,
        "FaceOverlayFilter" | "ZBarFilter" => 15_000,
        "ImageOverlayFilter" | "GStreamerFilter" | "HubPort" => 3_000,
        _ => 600,
    }
}

fn of_invoke(operation: &str) -> u64 {
    match operation {
        "processOffer" => 5_000,
        "processAnswer" => 3_500,
        "generateOffer" => 2_000,
        "gatherCandidates" => 1_500,
        "addIceCandidate" => 500,
        "connect" | "disconnect" => 600,
        "play" => 7_500,
        "record" => 1_000,
        "stop" | "stopAndWait" | "pause" => 5_500,
        "getInfo" => 90,
        _ => 40,
    }
}

/// How many times as long a call takes when `busy_percent` of the processors are in use: as waiting
/// in a queue does, without bound as they fill, here to a bound.
pub(super) fn stretch(busy_percent: f64) -> f64 {
    let free = 1.0 - (busy_percent / 100.0).clamp(0.0, 1.0);
    (1.0 / free.max(1.0 / STRETCH_MAX)).min(STRETCH_MAX)
}

/// One draw of how far a call is from the median: 1 in the middle, 0.67 at least, seldom much more.
pub(super) fn tail(draws: &mut Draws) -> f64 {
    (2.0 * draws.fraction().max(TAIL_FROM)).powf(-TAIL)
}

/// `time` times `factor`; the longest duration if that is too much.
pub(super) fn times(time: Duration, factor: f64) -> Duration {
    Duration::try_from_secs_f64(time.as_secs_f64() * factor).unwrap_or(Duration::MAX)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_offer_takes_a_third_of_a_second_on_a_full_server() {
        let params = json!({ "operation": "processOffer" });
        let work = work("invoke", params.as_object().unwrap());
        assert_eq!(times(work, stretch(0.0)), Duration::from_millis(5));
        assert_eq!(times(work, stretch(50.0)), Duration::from_millis(10));
        assert_eq!(times(work, stretch(100.0)), Duration::from_millis(320));
        assert_eq!(times(work, f64::INFINITY), Duration::MAX);
    }

    #[test]
    fn the_tail_has_the_median_and_the_percentile_that_were_measured() {
        let mut draws = Draws::seeded(5);
        let mut drawn: Vec<f64> = (0..10_000).map(|_| tail(&mut draws)).collect();
        drawn.sort_by(f64::total_cmp);
        assert!((drawn[5_000] - 1.0).abs() < 0.05, "{}", drawn[5_000]);
        assert!((8.0..12.0).contains(&drawn[9_900]), "{}", drawn[9_900]);
        assert!(drawn[0] > 0.6 && drawn[9_999] < 30.0);
    }
}
