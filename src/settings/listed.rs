//! Backends that stand in other files than the config: lists that are watched, and what the edge
//! itself notes of those it has found.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use serde_json::json;

use super::backend::BackendSettings;
use super::check::check_distinct;
use super::declare::{Keys, Kind, Mismatch, Section};
use super::error::{SettingsError, Source as SourceText};
use super::field::Parsed;
use super::json::{read_json, to_json};
use super::reader::{Findings, read_section};
use crate::policy::roster::Source;

/// Longest list, in bytes. A longer one is refused.
const FILE_MAX_LEN: u64 = 4 * 1024 * 1024;

/// Name shown for a backend that comes from no file.
const NO_FILE: &str = "<backend>";

/// A list of backends, as a file has it.
struct BackendList {
    backends: Vec<BackendSettings>,
}

impl Section for BackendList {
    fn example() -> Self {
        Self { backends: Vec::new() }
    }

    fn keys(&mut self, keys: &mut impl Keys) {
        keys.entries("backends", "The Kurento Media Servers.", &mut self.backends);
    }
}

/// A backend that was found, as it is noted for the next process.
#[derive(Clone, Debug, PartialEq)]
pub struct KeptBackend {
    /// Who named it.
    pub source: Source,
    /// The name that was looked up when it was found; `None` if there is none.
    pub found_as: Option<String>,
    /// What it was.
    pub backend: BackendSettings,
}

impl Section for KeptBackend {
    fn example() -> Self {
        Self { source: Source::Api, found_as: None, backend: BackendSettings::example() }
    }

    fn keys(&mut self, keys: &mut impl Keys) {
        keys.required(
            "source",
            &mut Parsed::new(&mut self.source, |text| Source::parse(text).ok_or(Mismatch::Kind)),
            Kind::Text("a source of backends"),
            "Who named it.",
        );
        let parse = |text: &str| Ok((!text.is_empty()).then(|| text.to_owned()));
        keys.value(
            "found_as",
            &mut Parsed::optional(&mut self.found_as, parse),
            Kind::Text("a name, or \"\""),
            "The name that was looked up.",
        );
        self.backend.keys(keys);
    }
}

/// All backends that were found.
struct KeptList {
    backends: Vec<KeptBackend>,
}

impl Section for KeptList {
    fn example() -> Self {
        Self { backends: Vec::new() }
    }

    fn keys(&mut self, keys: &mut impl Keys) {
        keys.entries("backends", "Backends that were found.", &mut self.backends);
    }
}

/// Reads the list of backends in the file `path`: JSON if its name ends in `.json`, else TOML.
///
/// # Errors
/// Every mistake, in the order of their places; or the one that the file cannot be read.
pub fn read_backends(path: &Path) -> Result<Vec<BackendSettings>, Vec<SettingsError>> {
    let text = read_text(path)?;
    let source = SourceText { file: path, text: &text };
    let is_json = path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("json"));
    let (list, mut findings) =
        if is_json { read_json::<BackendList>(source) } else { read_section(source) };
    check_distinct(&list.backends, &mut findings);
    outcome(list.backends, findings)
}

/// Reads one backend: a JSON object with the keys of `[[backends]]`.
///
/// # Errors
/// Every mistake, in the order of their places.
pub fn parse_backend(text: &str) -> Result<BackendSettings, Vec<SettingsError>> {
    let source = SourceText { file: Path::new(NO_FILE), text };
    let (backend, findings) = read_json::<BackendSettings>(source);
    outcome(backend, findings)
}

/// Reads back what [`write_kept`] wrote to the file `path`.
///
/// # Errors
/// Every mistake, in the order of their places; or the one that the file cannot be read.
pub fn read_kept(path: &Path) -> Result<Vec<KeptBackend>, Vec<SettingsError>> {
    let text = read_text(path)?;
    let (list, findings) = read_json::<KeptList>(SourceText { file: path, text: &text });
    outcome(list.backends, findings)
}

/// `backends` as the text of a file.
#[must_use]
pub fn write_kept(backends: &[KeptBackend]) -> String {
    let backends: Vec<_> = backends.iter().map(|kept| to_json(&mut kept.clone())).collect();
    let text = serde_json::to_string_pretty(&json!({ "backends": backends }));
    text.expect("string keys and plain values") + "\n"
}

fn outcome<T>(read: T, findings: Findings<'_>) -> Result<T, Vec<SettingsError>> {
    let mut errors = findings.errors;
    errors.sort_by(|a, b| a.place().cmp(&b.place()));
    if errors.is_empty() { Ok(read) } else { Err(errors) }
}

fn read_text(path: &Path) -> Result<String, Vec<SettingsError>> {
    let unreadable = |error: io::Error| {
        vec![SettingsError::Unreadable { file: path.to_owned(), reason: error.to_string() }]
    };
    let mut text = String::new();
    let file = File::open(path).map_err(unreadable)?;
    file.take(FILE_MAX_LEN + 1).read_to_string(&mut text).map_err(unreadable)?;
    if text.len() as u64 > FILE_MAX_LEN {
        let reason = format!("longer than {FILE_MAX_LEN} bytes");
        return Err(unreadable(io::Error::other(reason)));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    /// A file of this name and content, in a directory of its own.
    fn file(name: &str, content: &str) -> PathBuf {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/tmp/listed");
        std::fs::create_dir_all(&dir).unwrap();
        let path = dir.join(name);
        std::fs::write(&path, content).unwrap();
        path
    }

    fn mistakes(name: &str, content: &str) -> Vec<String> {
        let path = file(name, content);
        let shown = format!("{}:", path.display());
        let errors = read_backends(&path).expect_err("a mistake");
        errors.iter().map(|error| error.to_string().replace(&shown, "")).collect()
    }

    #[test]
    fn json_and_toml_say_the_same() {
        let toml = "[[backends]]\nid = \"a\"\nurl = \"ws://10.0.0.5\"\nprice = 1.5\n\
                    labels = [\"region=eu\"]\nplace = { latitude = 1, longitude = 2.5 }\n";
        let json = r#"{"backends": [{"id": "a", "url": "ws://10.0.0.5", "price": 1.5,
            "labels": ["region=eu"], "place": {"latitude": 1, "longitude": 2.5}, "weight": null}]}"#;
        let read = read_backends(&file("same.toml", toml)).unwrap();
        assert_eq!(read.len(), 1);
        assert_eq!(read, read_backends(&file("same.json", json)).unwrap());
        assert_eq!(read_backends(&file("none.json", "{\"backends\": []}")).unwrap(), []);
    }

    #[test]
    fn mistakes_in_json_are_told_as_in_the_config() {
        let text = "{\n  \"backends\": [\n    {\"id\": \"a b\", \"url\": 5,\n     \"wieght\": 2}]}";
        assert_eq!(
            mistakes("bad.json", text),
            [
                "3:12: backends[0].id: found \"a b\", expected 1 to 64 letters, digits, '.', '_' or \
                 '-'",
                "3:26: backends[0].url: found 5, expected a URL like \"ws://10.0.0.5:8888/kurento\"",
                "4:16: backends[0].wieght: found an unknown key, expected \"weight\"",
            ]
        );
        let same = r#"{"id": "a", "url": "ws://10.0.0.5"}"#;
        let twice = mistakes("twice.json", &format!("{{\"backends\": [{same}, {same}]}}"));
        assert_eq!(twice.len(), 2, "id and url: {twice:?}");
        assert_eq!(
            mistakes("half.json", "{\"backends\": [{\"id\":"),
            ["1:20: EOF while parsing a value"]
        );
        assert_eq!(mistakes("list.json", "[]"), ["1:1: expected a JSON object"]);
        let deep = "[".repeat(100_000) + &"]".repeat(100_000);
        assert_eq!(mistakes("deep.json", &format!("{{\"backends\": {deep}}}")).len(), 1);
    }

    #[test]
    fn what_is_kept_reads_back() {
        let mut backend = parse_backend(
            r#"{"id": "a", "url": "ws://10.0.0.5/x", "capacity": 7, "place": {"latitude": -1.25,
                "longitude": 2}, "report_url": "http://10.0.0.5:9100/report"}"#,
        );
        let api =
            KeptBackend { source: Source::Api, found_as: None, backend: backend.clone().unwrap() };
        backend.as_mut().unwrap().place = None;
        let dns = KeptBackend {
            source: Source::Dns("srv _kms._tcp.example".into()),
            found_as: Some("kms-1.example".to_owned()),
            backend: backend.unwrap(),
        };
        let path = file("kept.json", &write_kept(&[api.clone(), dns.clone()]));
        assert_eq!(read_kept(&path), Ok(vec![api, dns]));
        assert!(read_kept(&file("damaged.json", "{\"backends\": [{\"id\": \"a\"}]}")).is_err());
    }
}
