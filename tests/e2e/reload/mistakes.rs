//! A config that cannot be taken up changes nothing, and says where it is wrong.

use std::net::TcpListener;
use std::process::Command;

use super::{reload, start};
use crate::e2e::harness::{Edge, KmsSim};

async fn metric(edge: &Edge, name: &str) -> String {
    let (_, text) = edge.admin("/metrics").await;
    let line = text.lines().find_map(|line| line.strip_prefix(&format!("{name} ")));
    line.unwrap_or_else(|| panic!("{name} in {text}")).to_owned()
}

#[tokio::test]
async fn a_config_with_a_mistake_changes_nothing_and_says_where() {
    let sims = KmsSim::start_all(["a"]).await;
    let edge = start(&sims, "").await;
    let (client, _events) = edge.connect().await;
    let pipeline = client.create_pipeline(Some("standup")).await.unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let other = format!("[[listeners]]\naddr = \"{}\"\n", taken.local_addr().unwrap());
    let path = edge.dir().path().join("pinfold.toml");
    // What is right in the same file is not taken up either.
    for (more, place, what) in [
        ("path = \"/x\"\n[limits]\ncalls_max = 0\n", ":5:13: limits.calls_max", "from 1 to"),
        ("path = \"/x\"\n[limits\n", ":4:", ""),
        ("path = \"/x\"\n[pins]\nstore = \"memory\"\n", ":5:9: pins.store", "or a restart"),
        ("path = \"/x\"\n[pins]\nstate_dir = \"else\"\n", ":5:13: pins.state_dir", "or a restart"),
        ("path = \"/x\"\n[log]\nformat = \"json\"\n", ":5:10: log.format", "or a restart"),
        (&*format!("path = \"/x\"\n{other}"), ":5:8: listeners[1].addr", "an address that is free"),
        (
            "path = \"/x\"\ntls = { cert = \"no.pem\", key = \"no.pem\" }\n",
            ":4:16: listeners[0].tls.cert",
            "PEM",
        ),
        (
            "path = \"/x\"\n[geoip]\ndatabases = [\"no.mmdb\"]\n",
            ":5:13: geoip.databases",
            "MaxMind",
        ),
    ] {
        let told = reload(&edge, &sims, more).await.unwrap_err();
        let place = format!("{}{place}", path.display());
        assert!(told.contains(&place) && told.contains(what), "{place} in {told}");
        assert_eq!(metric(&edge, "pinfold_config_last_reload_success").await, "0");
        client.invoke(&pipeline, "getName", serde_json::json!({})).await.unwrap();
        edge.connect().await.0.ping().await.unwrap();
    }
    let logged = edge.process.stderr();
    assert!(
        logged.contains("limits.calls_max") && logged.contains("the one before stays"),
        "{logged}"
    );
    assert_eq!(reload(&edge, &sims, "").await, Ok(Vec::new()), "nothing of all that");
    assert_eq!(metric(&edge, "pinfold_config_last_reload_success").await, "1");
    for (outcome, count) in [("refused", "8"), ("unchanged", "1"), ("applied", "0")] {
        let name = format!("pinfold_config_reloads_total{{outcome=\"{outcome}\"}}");
        assert_eq!(metric(&edge, &name).await, count, "{outcome}");
    }
}

/// The command prints the difference, or the mistakes with exit status 1.
#[tokio::test]
async fn the_command_shows_what_came_of_it() {
    let sims = KmsSim::start_all(["a"]).await;
    let edge = start(&sims, "").await;
    let run = || {
        let admin = format!("http://{}", edge.admin_addr());
        let mut command = Command::new(env!("CARGO_BIN_EXE_pinfold"));
        let output = command.args(["reload", "--admin", &admin]).output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (output.status.code(), text(output.stdout), text(output.stderr))
    };
    let url = (&*sims[0].id, &*sims[0].url);
    edge.rewrite(&[url], "[limits]\ncalls_max = 7\n[reload]\nwatch_ms = 0\n");
    assert_eq!(run(), (Some(0), "limits.calls_max: 4096 -> 7\n".to_owned(), String::new()));
    assert!(run().1.contains("nothing to do"));
    edge.rewrite(&[url], "[limits]\ncalls_max = 7\nwat = 1\n");
    let (status, stdout, stderr) = run();
    assert_eq!((status, &*stdout), (Some(1), ""));
    assert!(stderr.contains("pinfold.toml:5:1: limits.wat: found an unknown key"), "{stderr}");
}
