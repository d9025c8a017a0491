//! What a changed config does, with the real fleet task and no backend.

use std::fs;
use std::path::{Path, PathBuf};

use super::*;
use crate::fleet::stub::StubFleet;
use crate::settings::{Settings, parse};

struct World {
    tasks: Tasks,
    fleet: StubFleet,
    discovery: DiscoveryHandle,
}

/// A config with these tables.
fn settings(tables: &str) -> Settings {
    parse(&format!("[[listeners]]\naddr = \"127.0.0.1:1\"\n{tables}")).unwrap()
}

async fn open(tables: &str, notes: Option<PathBuf>) -> Discovery {
    let (settings, metrics) = (settings(tables), Metrics::new());
    let maps = crate::geo::Maps::open(&settings.geoip).unwrap();
    let (atlas, _) = Atlas::new(maps, metrics.clone());
    let config = (&settings.backends[..], &settings.discovery);
    let sockets = (&OpenSockets::default(), &mut Inherited::default());
    Discovery::open(config, notes, (atlas, metrics, Clock::start()), sockets).await.unwrap()
}

const A: &str = "[[backends]]\nid = \"a\"\nurl = \"ws://10.0.0.1:1\"\n";

fn registrar(addr: &str) -> String {
    format!("[discovery.registrar]\naddr = \"{addr}\"\nallow = [\"127.0.0.0/8\"]\n")
}

impl World {
    async fn start(tables: &str) -> Self {
        let (tasks, mut discovery) = (Tasks::new(), open(tables, None).await);
        let fleet = StubFleet::start_of(&discovery.backends());
        let told = (fleet.handle.clone(), Gate::default());
        let discovery = discovery.start(told, &tasks, &tasks.stop_token());
        Self { tasks, fleet, discovery }
    }

    async fn configure(&self, tables: &str) -> Result<(), DiscoveryError> {
        let Settings { backends, discovery, .. } = settings(tables);
        self.discovery.set_config(backends, discovery).await
    }

    /// Ids and capacities of the fleet.
    fn fleet(&self) -> Vec<(String, u32)> {
        let snapshot = self.fleet.handle.snapshot();
        let row = |view: &Arc<crate::fleet::BackendView>| (view.id.to_string(), view.capacity.0);
        snapshot.backends.iter().map(row).collect()
    }

    /// A server registers over that connection, at that port.
    async fn register(&self, connection: u64, port: u16) {
        let url = BackendUrl { host: "127.0.0.1".into(), port, path: "/kurento".into() };
        let found = Found::new(url, None);
        self.discovery.messages.send(Message::Registered { connection, found }).await.unwrap();
    }
}

fn named(rows: &[(&str, u32)]) -> Vec<(String, u32)> {
    rows.iter().map(|(id, capacity)| ((*id).to_owned(), *capacity)).collect()
}

#[tokio::test]
async fn another_config_counts_at_once_for_backends_and_rules() {
    let tables = format!("{A}{}", registrar("127.0.0.1:0"));
    let world = World::start(&tables).await;
    world.register(1, 7).await;
    let rule = "[[discovery.rules]]\ncapacity = 90\n";
    world.configure(&format!("{tables}{rule}")).await.unwrap();
    assert_eq!(world.fleet(), named(&[("a", 400), ("127.0.0.1-7", 90)]));
    let id = BackendId::parse("127.0.0.1-7").unwrap();
    assert_eq!(world.discovery.source_of(&id), Some(Source::Registrar));
    let b = "[[backends]]\nid = \"b\"\nurl = \"ws://10.0.0.2:1\"\n";
    world.configure(&format!("{b}{}", registrar("127.0.0.1:0"))).await.unwrap();
    assert_eq!(world.fleet(), named(&[("127.0.0.1-7", 400), ("b", 400)]));
    world.configure(b).await.unwrap();
    assert_eq!(world.fleet(), named(&[("b", 400)]), "without the registrar");
    world.tasks.stop();
}

#[tokio::test]
async fn an_address_that_cannot_be_bound_changes_nothing() {
    let world = World::start(A).await;
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = taken.local_addr().unwrap().to_string();
    let refused = world.configure(&registrar(&addr)).await;
    assert!(matches!(refused, Err(DiscoveryError::Bind { .. })), "{refused:?}");
    assert_eq!(world.fleet(), named(&[("a", 400)]));
    drop(taken);
    world.configure(&registrar(&addr)).await.unwrap();
    assert!(world.fleet().is_empty());
    // The same door, kept; then none.
    world.configure(&registrar(&addr)).await.unwrap();
    world.configure(A).await.unwrap();
    world.tasks.stop();
}

#[tokio::test]
async fn a_server_that_dials_again_before_its_old_connection_ends_stays() {
    let world =
        World::start(&format!("[discovery]\nhold_ms = 0\n{}", registrar("127.0.0.1:0"))).await;
    world.register(1, 7).await;
    world.register(2, 7).await;
    let gone = |connection| world.discovery.messages.send(Message::Unregistered { connection });
    gone(1).await.unwrap();
    let nobody = BackendId::parse("nobody").unwrap();
    // An order is answered after all that came before it.
    assert_eq!(world.discovery.remove(nobody.clone()).await, Err(ChangeError::Unknown));
    assert_eq!(world.fleet(), named(&[("127.0.0.1-7", 400)]));
    gone(2).await.unwrap();
    assert_eq!(world.discovery.remove(nobody).await, Err(ChangeError::Unknown));
    assert!(world.fleet().is_empty());
    world.tasks.stop();
}

/// A process that is killed when meetings are on a backend that was just found leaves it to the next.
#[tokio::test]
async fn what_is_found_is_noted_before_the_fleet_hears_of_it() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/tmp/found");
    let _ = fs::remove_dir_all(&dir); // it may not be there
    fs::create_dir_all(&dir).unwrap();
    let path = dir.join("backends.json");
    let tables = format!("{A}{}", registrar("127.0.0.1:0"));
    let (tasks, mut discovery) = (Tasks::new(), open(&tables, Some(path.clone())).await);
    let fleet = StubFleet::deaf(&discovery.backends());
    let told = (fleet.handle.clone(), Gate::default());
    let discovery = discovery.start(told, &tasks, &tasks.stop_token());
    let url = BackendUrl { host: "127.0.0.1".into(), port: 7, path: "/kurento".into() };
    let found = Found::new(url, None);
    discovery.messages.send(Message::Registered { connection: 1, found }).await.unwrap();
    let has = |id: &str| fs::read_to_string(&path).is_ok_and(|text| text.contains(id));
    while !has("127.0.0.1-7") {
        tokio::task::yield_now().await;
    }
    assert!(has("\"a\""), "the config may not name it when the next one starts");
    tasks.stop();
}
