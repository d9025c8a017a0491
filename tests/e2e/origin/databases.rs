//! Databases of one's own, and their replacement.

use geoip::writer::{Description, Value as Record, tree, write};

use super::*;

/// A database in which 203.0.113.0/24 is `longitude` degrees east.
fn database(longitude: f64) -> Vec<u8> {
    let about = Description {
        database_type: "Test-City".into(),
        text: "A test".into(),
        build_epoch: 1_780_000_000,
        ip_version: 4,
    };
    let location =
        vec![("latitude", Record::Double(0.0)), ("longitude", Record::Double(longitude))];
    let record = Record::Map(vec![("location", Record::Map(location))]);
    let network = u128::from(u32::from_be_bytes([203, 0, 113, 0])) << 96;
    write(&about, &tree(&[(network, 24, 0)]), &[record]).unwrap()
}

/// Puts `content` in the place of the database, as operators are told to.
fn replace(dir: &TempDir, content: &[u8]) {
    std::fs::write(dir.path().join("new.mmdb"), content).unwrap();
    std::fs::rename(dir.path().join("new.mmdb"), dir.path().join("own.mmdb")).unwrap();
}

/// Makes meetings from that network until one is seen at `expected`. The reserve is small, because
/// there may be many.
async fn becomes(edge: &Edge, name: &str, expected: f64) {
    let from = [("x-forwarded-for", "203.0.113.7")];
    let number = std::sync::atomic::AtomicU32::new(0);
    let look = || async {
        let number = number.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let seen = seen_at(edge, &format!("{name}-{number}"), (b"", &from)).await;
        (seen == Some(expected)).then_some(())
    };
    wait_for("the new place", look).await;
}

async fn logs(edge: &Edge, what: &str) {
    wait_for(what, || async { edge.process.stderr().contains(what).then_some(()) }).await;
}

#[tokio::test]
async fn a_database_is_replaced_while_the_edge_runs_and_a_bad_file_changes_nothing() {
    let dir = TempDir::create();
    replace(&dir, &database(11.0));
    let more = format!(
        "{TRUSTED}forwarded = \"x-forwarded-for\"\n[geoip]\ndatabases = [\"own.mmdb\"]\n\
         reload_seconds = 1\n[placement]\nreserve_legs = 1\n[log]\nfilter = \"info,pinfold::proxy::placement=debug\"\n"
    );
    let sims = KmsSim::start_all(["a"]).await;
    let edge = Edge::start_with(&sims, &more, dir).await;
    becomes(&edge, "before", 11.0).await;
    replace(edge.dir(), &database(22.0));
    becomes(&edge, "after", 22.0).await;

    replace(edge.dir(), b"no database at all");
    let told = "geoip database not replaced; the one before stays";
    logs(&edge, told).await;
    becomes(&edge, "bad", 22.0).await;
    replace(edge.dir(), &database(33.0));
    becomes(&edge, "again", 33.0).await;
    // What the edge thought is in its log too, and nobody's address.
    logs(&edge, "meeting placed meeting=\"again-0\" backend=a place=0.0,").await;
    assert!(!edge.process.stderr().contains("203.0.113.7"));

    // The built-in world comes last, and knows what the file does not.
    let mut europe = None;
    for (meeting, addr) in [("one", "193.0.6.139"), ("private", "192.168.1.1")] {
        let seen = seen_at(&edge, meeting, (b"", &[("x-forwarded-for", addr)])).await;
        europe = europe.or(seen.filter(|_| meeting == "one"));
        assert!(meeting == "one" || seen == Some(0.0), "{meeting}: {seen:?}");
    }
    assert!(europe.is_some_and(|east| (-10.0..30.0).contains(&east)), "{europe:?}");
}
