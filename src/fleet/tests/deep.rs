//! Deep probes over real sockets.

use super::server::Craft;
use super::*;
use crate::protocol::event::{Change, ObjectEvent};

/// Deep probes as fast as pings.
fn deep() -> ProbeSettings {
    let backoffs = [Duration::from_millis(1); 3];
    let health = HealthSettings { backoffs, ..HealthSettings::default() };
    ProbeSettings { deep: Duration::from_millis(20), health, ..quick() }
}

impl Watched {
    /// The same, beside a backend that takes new meetings, so that it may be out.
    async fn start_beside_others(server: &Server, probe: &ProbeSettings) -> (Self, Server) {
        let other = Server::start(Mood::Answers("other")).await;
        let mut watched = Self::start(&server.url, probe);
        let mut backends = vec![BackendSettings::new(id(), server.url.clone(), Legs(400))];
        backends.push(BackendSettings::new(other_id(), other.url.clone(), Legs(400)));
        watched.fleet.set_backends(backends).await;
        let all = watched.snapshots.wait_for(|fleet| {
            fleet.backends.len() == 2 && fleet.backends.iter().all(|view| view.takes_pins())
        });
        timeout(PATIENCE, all).await.expect("both are healthy").unwrap();
        (watched, other)
    }
}

fn other_id() -> BackendId {
    BackendId::parse("kms-b").unwrap()
}

fn cause(view: &BackendView) -> Option<Cause> {
    view.out.map(|(cause, _)| cause)
}

#[tokio::test]
async fn a_pipeline_is_made_and_released_and_its_time_is_shown() {
    let server = Server::start(Mood::Answers("one")).await;
    let mut watched = Watched::start(&server.url, &deep());
    let view = watched.until(Health::Healthy).await;
    until("three deep probes", || server.count("closeSession") >= 3).await;
    assert!(view.last_deep.last().is_some());
    assert!(watched.count("deep_probes_total{outcome=\"passed\"}") >= 2);
    let (made, released) = (server.count("create"), server.count("release"));
    assert!(made - released <= 1, "{made} made, {released} released");
}

#[tokio::test]
async fn without_an_interval_there_are_none_until_there_is_one() {
    let server = Server::start(Mood::Answers("one")).await;
    let mut watched = Watched::start(&server.url, &quick());
    watched.until(Health::Healthy).await;
    until("many pings", || server.pings() > 10).await;
    assert_eq!(server.count("create"), 0);
    watched.fleet.set_probe(deep()).await;
    until("a deep probe", || server.count("release") > 0).await;
}

#[tokio::test]
async fn a_full_backend_is_ejected_keeps_what_it_has_and_comes_back() {
    let server = Server::start(Mood::Answers("one")).await;
    let (mut watched, _other) = Watched::start_beside_others(&server, &deep()).await;
    let before = watched.until(Health::Healthy).await;
    server.turn_craft(Craft::Full);
    let ejected = watched.until(Health::Ejected).await;
    assert_eq!(cause(&ejected), Some(Cause::Full));
    assert_eq!((ejected.takes_pins(), ejected.incarnation), (false, before.incarnation));
    assert!(!before.lost.is_cancelled() && watched.losses.try_recv().is_err());
    server.turn_craft(Craft::Works);
    let after = watched.until(Health::Healthy).await;
    assert_eq!((after.incarnation, cause(&after)), (before.incarnation, None));
}

#[tokio::test]
async fn one_that_makes_nothing_is_ejected_after_two() {
    let server = Server::start(Mood::Answers("one")).await;
    let (mut watched, _other) = Watched::start_beside_others(&server, &deep()).await;
    watched.until(Health::Healthy).await;
    server.turn_craft(Craft::Fails);
    let ejected = watched.until(Health::Ejected).await;
    assert_eq!(cause(&ejected), Some(Cause::Deep));
    assert!(watched.count("deep_probes_total{outcome=\"failed\"}") >= 2);
    server.turn_craft(Craft::Works);
    watched.until(Health::Healthy).await;
}

#[tokio::test]
async fn one_that_hangs_over_a_pipeline_is_asked_once_and_leaves_none_behind() {
    let server = Server::start(Mood::Answers("one")).await;
    let probe = ProbeSettings { timeout: Duration::from_millis(100), ..deep() };
    let (mut watched, _other) = Watched::start_beside_others(&server, &probe).await;
    let before = watched.until(Health::Healthy).await;
    server.turn_craft(Craft::Hangs);
    let ejected = watched.until(Health::Ejected).await;
    assert_eq!((cause(&ejected), ejected.incarnation), (Some(Cause::Deep), before.incarnation));
    let pings = server.pings();
    until("pings go on", || server.pings() > pings + 5).await;
    let asked = server.count("create");
    server.turn_craft(Craft::Works);
    until("its pipeline is released", || server.count("release") > asked).await;
    watched.until(Health::Healthy).await;
}

#[tokio::test]
async fn no_client_hears_of_the_pipelines_of_deep_probes() {
    let server = Server::start(Mood::Answers("one")).await;
    let mut watched = Watched::start(&server.url, &deep());
    watched.until(Health::Healthy).await;
    let mut listener = watched.fleet.listen();
    listener.all_heard().await;
    let probed = server.count("release");
    until("more deep probes", || server.count("release") > probed + 3).await;
    let object = "aaaaaaaa-0000-4000-8000-000000000001_kurento.MediaPipeline".to_owned();
    let event = ObjectEvent::new(Change::Created, object, "7".to_owned());
    server.send(&event.text);
    let heard = timeout(PATIENCE, listener.next()).await.expect("an event comes");
    assert_eq!(heard, Some(Heard::Event(Arc::new(event))), "and none before");
}

#[tokio::test]
async fn half_of_a_region_stays_open_however_full_it_is() {
    let server = Server::start(Mood::Answers("one")).await;
    let other = Server::start(Mood::Answers("two")).await;
    let mut watched = Watched::start(&server.url, &deep());
    let settings = [(id(), &server), (other_id(), &other)];
    let wanted = settings.map(|(id, server)| BackendSettings::new(id, server.url.clone(), Legs(9)));
    watched.fleet.set_backends(wanted.to_vec()).await;
    server.turn_craft(Craft::Full);
    other.turn_craft(Craft::Full);
    let halved = watched.snapshots.wait_for(|fleet| {
        let is_out = |view: &BackendView| view.health == Health::Ejected;
        let is_spared = |view: &BackendView| view.takes_pins() && view.spared == Some(Cause::Full);
        fleet.backends.iter().any(|view| is_out(view))
            && fleet.backends.iter().any(|view| is_spared(view))
    });
    timeout(PATIENCE, halved).await.expect("one is out, one is spared").unwrap();
    until("the alarm is shown", || watched.count("backends_spared") == 1).await;
    server.turn_craft(Craft::Works);
    other.turn_craft(Craft::Works);
    let over = watched.snapshots.wait_for(|fleet| {
        fleet.backends.iter().all(|view| view.takes_pins() && view.spared.is_none())
    });
    timeout(PATIENCE, over).await.expect("all is well again").unwrap();
}
