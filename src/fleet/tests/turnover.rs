//! Backends that come, change and go while the fleet runs.

use super::*;

fn named(id: &str, server: &Server) -> BackendSettings {
    BackendSettings::new(BackendId::parse(id).unwrap(), server.url.clone(), Legs(400))
}

impl Watched {
    /// The backends once `holds` is so of them.
    async fn until_fleet(&mut self, holds: impl Fn(&FleetSnapshot) -> bool) -> Arc<FleetSnapshot> {
        let found = timeout(PATIENCE, self.snapshots.wait_for(|fleet| holds(fleet))).await;
        Arc::clone(&found.expect("it comes to that").unwrap())
    }
}

#[tokio::test]
async fn a_backend_that_is_added_is_probed_and_one_that_is_removed_is_left_alone() {
    let (one, two) =
        (Server::start(Mood::Answers("one")).await, Server::start(Mood::Answers("two")).await);
    let mut watched = Watched::start(&one.url, &quick());
    let first = watched.until(Health::Healthy).await;
    let fleet = watched.fleet.clone();
    let added = fleet.set_backends(vec![named("kms-a", &one), named("kms-b", &two)]).await;
    assert_eq!(added.added, [BackendId::parse("kms-b").unwrap()]);
    watched.until_fleet(|fleet| fleet.backends.iter().all(|view| view.takes_pins())).await;

    let removed = fleet.set_backends(vec![named("kms-b", &two)]).await;
    assert_eq!((removed.removed, removed.leaving), (vec![id()], Vec::new()));
    watched.until_lost(&first).await;
    // Its probe ends with its connection; the other's goes on.
    until("the probe of the other", {
        let pings = two.pings();
        move || two.pings() > pings + 1
    })
    .await;
    fleet.report_dial_failure(&id(), first.incarnation);
    let again = fleet.set_backends(vec![named("kms-a", &one)]).await;
    assert_eq!((again.added.len(), again.removed.len()), (1, 1));
    let back = watched.until_fleet(|fleet| fleet.backends[0].takes_pins()).await;
    assert_ne!(back.backends[0].number, first.number);
    assert_ne!(back.backends[0].incarnation, first.incarnation, "no pin of before holds");
}

#[tokio::test]
async fn probes_follow_the_settings_and_an_operator_is_heard() {
    let server = Server::start(Mood::Answers("one")).await;
    let mut watched = Watched::start(&server.url, &ProbeSettings { interval: NEVER, ..quick() });
    watched.until(Health::Healthy).await;
    let fleet = watched.fleet.clone();
    fleet.set_probe(quick()).await;
    fleet.report_cut(&id());
    until("many probes", || server.pings() > 5).await;
    fleet.drain(id(), None, AfterDrain::Remove).await.unwrap();
    watched.until_fleet(|fleet| fleet.backends.is_empty()).await;
    assert_eq!(fleet.drain(id(), None, AfterDrain::Stay).await, Err(DrainError::Unknown));
    fleet.undrain(id()).await.unwrap();
    watched.until_fleet(|fleet| fleet.backends.iter().any(|view| view.takes_pins())).await;
}
