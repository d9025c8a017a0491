//! The config file as operators meet it: what is accepted, and what they are told.

use std::fs;
use std::path::{Path, PathBuf};

use proptest::prelude::*;

use super::*;

/// The smallest file that works.
const SMALLEST: &str = r#"
[[listeners]]
addr = "127.0.0.1:8888"

[[backends]]
id = "kms-a"
url = "ws://127.0.0.1:9001/kurento"
"#;

/// The mistakes in `SMALLEST` followed by `text`, one a line, without the name of the file.
fn mistakes(text: &str) -> Vec<String> {
    mistakes_in(&format!("{SMALLEST}{text}"))
}

fn mistakes_in(text: &str) -> Vec<String> {
    let errors = parse(text).expect_err("a mistake");
    errors.iter().map(|error| error.to_string().replace("<config>:", "")).collect()
}

#[test]
fn the_smallest_file_gives_the_defaults() {
    assert_eq!(parse(SMALLEST), Ok(Settings::example()));
}

#[test]
fn every_mistake_is_told_at_once_in_order() {
    let text = r#"
[[listeners]]
addr = "localhost:8888"
paht = "/kurento"
tls = { cert = 3 }

[[backends]]
id = "kms a"
url = "wss://kms"

[[backends]]
capacity = 0

[probe]
interval_ms = 50
jitter_percent = 2.5
colour = true

[log]
format = "xml"
"#;
    let expected = [
        "3:8: listeners[0].addr: found \"localhost:8888\", expected an IP address and port like \
         \"127.0.0.1:8888\"",
        "4:1: listeners[0].paht: found an unknown key, expected \"path\"",
        "5:7: listeners[0].tls.key: found nothing, expected the path of a PEM file",
        "5:16: listeners[0].tls.cert: found 3, expected the path of a PEM file",
        "8:6: backends[0].id: found \"kms a\", expected 1 to 64 letters, digits, '.', '_' or '-'",
        "9:7: backends[0].url: found \"wss://kms\", expected a URL like \
         \"ws://10.0.0.5:8888/kurento\" (wss:// to a backend is not supported yet)",
        "11:1: backends[1].id: found nothing, expected 1 to 64 letters, digits, '.', '_' or '-'",
        "11:1: backends[1].url: found nothing, expected a URL like \"ws://10.0.0.5:8888/kurento\"",
        "12:12: backends[1].capacity: found 0, expected an integer from 1 to 1000000 (legs)",
        "15:15: probe.interval_ms: found 50, expected an integer from 100 to 60000 (ms)",
        "16:18: probe.jitter_percent: found 2.5, expected an integer from 0 to 50 (percent)",
        "17:1: probe.colour: found an unknown key, expected one of interval_ms, jitter_percent, \
         timeout_ms, retry_ms, sample_ms, deep_ms, eject_after, readmit_after",
        "20:10: log.format: found \"xml\", expected \"pretty\" or \"json\"",
    ];
    assert_eq!(mistakes_in(text), expected);
}

#[test]
fn what_is_no_toml_is_told_with_its_place_beside_other_mistakes() {
    let found = mistakes("[probe]\ninterval_ms = \nretry_ms = 1\n[log\n");
    assert!(found[0].starts_with("9:"), "{found:?}");
    assert!(found.iter().any(|mistake| mistake.starts_with("10:12: probe.retry_ms: found 1,")));
    assert!(found.iter().any(|mistake| mistake.starts_with("11:")), "{found:?}");
    assert!(!found.iter().any(|mistake| mistake.contains("found nothing")), "{found:?}");
}

#[test]
fn nesting_without_end_is_refused() {
    for deep in ["[".repeat(100_000), "{a=".repeat(100_000)] {
        assert!(!mistakes_in(&format!("x = {deep}")).is_empty());
    }
    assert!(!mistakes_in(&format!("[{}]", "a.".repeat(100_000))).is_empty());
}

#[test]
fn tables_of_the_wrong_shape_are_refused() {
    assert_eq!(
        mistakes_in("listeners = []\nbackends = 3\nadmin = [1]\nlog = \"json\"\nprobes = 1"),
        [
            "1:13: listeners: found an empty array, expected at least one [[listeners]]",
            "2:12: backends: found 3, expected an array of tables",
            "3:9: admin: found an array, expected a table",
            "4:7: log: found \"json\", expected a table",
            "5:1: probes: found an unknown key, expected \"probe\"",
        ]
    );
    assert_eq!(
        mistakes_in(""),
        [
            "1:1: listeners: found nothing, expected at least one [[listeners]]",
            "1:1: backends: found nothing, expected at least one [[backends]], or a source in \
             [discovery]",
        ]
    );
}

#[test]
fn what_must_differ_may_not_be_repeated() {
    let repeated = r#"
[[listeners]]
addr = "127.0.0.1:8888"
[[listeners]]
addr = "127.0.0.1:9901"
[[backends]]
id = "kms-a"
url = "WS://127.0.0.1:9001"
"#;
    assert_eq!(
        mistakes(repeated),
        [
            "10:8: listeners[1].addr: found \"127.0.0.1:8888\", expected another value than \
             listeners[0].addr has",
            "12:8: listeners[2].addr: found \"127.0.0.1:9901\", expected another address than that \
             of [admin]",
            "14:6: backends[1].id: found \"kms-a\", expected another value than backends[0].id has",
            "15:7: backends[1].url: found \"ws://127.0.0.1:9001/kurento\", expected another value \
             than backends[0].url has",
        ]
    );
}

#[test]
fn port_zero_may_be_repeated_because_each_becomes_another() {
    let text = SMALLEST.replace(":8888", ":0")
        + "[[listeners]]\naddr = \"127.0.0.1:0\"\n[admin]\naddr = \"127.0.0.1:0\"\n";
    assert_eq!(parse(&text).unwrap().listeners.len(), 2);
}

#[test]
fn the_admin_api_is_not_shown_to_strangers_unasked() {
    let public = "[admin]\naddr = \"0.0.0.0:9901\"\n";
    assert_eq!(
        mistakes(public),
        ["9:8: admin.addr: found \"0.0.0.0:9901\", expected a loopback address, or allow_public \
          = true"]
    );
    assert!(parse(&format!("{SMALLEST}{public}allow_public = true")).is_ok());
    assert!(parse(&format!("{SMALLEST}[admin]\naddr = \"[::1]:1\"")).is_ok());
}

#[test]
fn keys_that_contradict_each_other_are_refused() {
    assert_eq!(
        mistakes("[shutdown]\ndeadline_ms = 1\n[placement]\nreserve_legs = 401\n"),
        [
            "9:15: shutdown.deadline_ms: found 1, expected at least accept_ms and close_window_ms (5000)",
            "10:1: placement.reserve_max_legs: found 400, expected at least reserve_legs (401)",
        ]
    );
}

#[test]
fn a_log_filter_is_checked() {
    let found = mistakes("[log]\nfilter = \"info,pinfold=loud\"\n");
    assert!(found[0].starts_with("9:10: log.filter: found \"info,pinfold=loud\""), "{found:?}");
    assert!(parse(&format!("{SMALLEST}[log]\nfilter = \"warn,pinfold=debug\"")).is_ok());
    assert_eq!(mistakes("[log]\nfilter = \" \"\n").len(), 1);
}

#[test]
fn values_reach_the_fields_they_name() {
    let text = r#"
[[listeners]]
addr = "[::1]:1"
path = "/a"
tls = { cert = "c.pem", key = "k.pem" }
[[backends]]
id = "b"
url = "ws://h"
capacity = 0x10
[placement]
band_km = 7.5
[log]
format = "json"
[limits]
write_timeout_ms = 1_000
"#;
    let settings = parse(text).unwrap();
    let tls = TlsFiles { cert: "c.pem".into(), key: "k.pem".into() };
    assert_eq!(settings.listeners[0].tls, Some(tls));
    assert_eq!(settings.listeners[0].path, "/a");
    assert_eq!(settings.backends[0].capacity.0, 16);
    assert!((settings.placement.rules.band_km - 7.5).abs() < f64::EPSILON);
    assert_eq!(settings.log.format, LogFormat::Json);
    assert_eq!(settings.limits.write_timeout.as_millis(), 1_000);
    assert_eq!(parse(&dump(&settings)), Ok(settings), "the dump reads back");
}

#[test]
fn the_dump_shows_every_key() {
    let dumped = dump(&Settings::example());
    for key in declared_keys(&example()) {
        assert!(dumped.contains(&format!("{key} = ")), "{key}");
    }
}

#[test]
fn the_example_file_is_current_and_shows_the_defaults() {
    let text = golden("config/pinfold.example.toml", &example());
    assert_eq!(parse(&text), Ok(Settings::example()));
    let uncommented = text.replace("\n# tls = ", "\ntls = ");
    let settings = parse(&uncommented).unwrap();
    assert_eq!(settings.listeners[0].tls, Some(TlsFiles::example()));
    let longest = text.lines().map(|line| line.chars().count()).max();
    assert!(longest <= Some(100), "{longest:?}");
}

#[test]
fn the_schema_is_current_and_names_every_key_of_the_example() {
    let text = golden("config/schema.json", &schema());
    let schema: serde_json::Value = serde_json::from_str(&text).unwrap();
    for key in declared_keys(&example()) {
        assert!(text.contains(&format!("\"{key}\": {{")), "{key}");
    }
    let interval = &schema["properties"]["probe"]["properties"]["interval_ms"];
    assert_eq!(interval["default"], 2_000);
    assert_eq!(interval["maximum"], 60_000);
    let backend = &schema["properties"]["backends"]["items"];
    assert_eq!(backend["required"], serde_json::json!(["id", "url"]));
}

proptest! {
    /// Whatever is done to a file, it is read or refused with places inside it; never a panic.
    #[test]
    fn a_damaged_file_is_read_or_refused(
        start in 0..8_000_usize,
        len in 0..20_usize,
        inserted in "[\\[\\]{}=\"'#.,\\n a-c0-9_é\\\\-]{0,8}",
    ) {
        let mut text = example();
        let start = text.floor_char_boundary(start);
        let end = text.floor_char_boundary(start + len);
        text.replace_range(start..end, &inserted);
        match parse(&text) {
            Ok(settings) => prop_assert_eq!(parse(&dump(&settings)), Ok(settings)),
            Err(errors) => {
                let lines = text.lines().count();
                let is_inside = |place: &Place| (1..=lines + 1).contains(&place.line);
                prop_assert!(!errors.is_empty());
                prop_assert!(errors.iter().all(|error| error.place().is_some_and(is_inside)));
            }
        }
    }
}

/// The names of the keys in a generated example, also of those commented out.
fn declared_keys(example: &str) -> Vec<&str> {
    let keys: Vec<&str> = example
        .lines()
        .filter_map(|line| line.trim_start_matches("# ").split_once(" = "))
        .map(|(name, _)| name)
        .filter(|name| name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'))
        .collect();
    assert!(keys.len() > 35, "{keys:?}");
    keys
}

/// Compares `generated` with the file `name` of the repository, or rewrites that if asked to.
fn golden(name: &str, generated: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, generated).unwrap();
    }
    let text = fs::read_to_string(&path).unwrap();
    assert_eq!(text, generated, "{name} is not current: run with UPDATE_GOLDEN=1");
    text
}

/// A directory for one test, emptied before it.
fn directory(name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/tmp").join(name);
    let _ = fs::remove_dir_all(&path);
    fs::create_dir_all(&path).unwrap();
    path
}

#[test]
fn tls_files_are_found_beside_the_config_file_and_must_belong_together() {
    let directory = directory("settings-tls");
    let [ours, other] =
        [(); 2].map(|()| rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap());
    fs::write(directory.join("cert.pem"), ours.cert.pem()).unwrap();
    fs::write(directory.join("key.pem"), ours.signing_key.serialize_pem()).unwrap();
    fs::write(directory.join("other.pem"), other.signing_key.serialize_pem()).unwrap();
    fs::write(directory.join("empty.pem"), "").unwrap();
    let config = directory.join("pinfold.toml");
    let read_with = |cert: &str, key: &str| {
        let tls = format!("tls = {{ cert = \"{cert}\", key = \"{key}\" }}\n[[backends]]");
        fs::write(&config, SMALLEST.replace("[[backends]]", &tls)).unwrap();
        read(&config)
    };
    let settings = read_with("cert.pem", "key.pem").unwrap();
    assert_eq!(settings.listeners[0].tls.as_ref().unwrap().cert, directory.join("cert.pem"));
    let cases = [
        ("cert.pem", "other.pem", "tls.key: found "),
        ("cert.pem", "none.pem", "tls.key: found "),
        ("empty.pem", "key.pem", "tls.cert: found "),
        ("none.pem", "key.pem", "tls.cert: found "),
    ];
    for (cert, key, expected) in cases {
        let errors = read_with(cert, key).unwrap_err();
        assert_eq!(errors.len(), 1);
        assert!(errors[0].to_string().contains(expected), "{}", errors[0]);
    }
}

#[test]
fn a_file_that_is_not_there_is_one_mistake() {
    let errors = read(Path::new("no/such.toml")).unwrap_err();
    assert!(errors[0].to_string().starts_with("no/such.toml: cannot be read: "));
    assert_eq!(errors[0].place(), None);
}
