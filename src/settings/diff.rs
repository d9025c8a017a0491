//! What differs between two configs, key by key.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::Settings;
use super::declare::{Field, Key, Keys, Section, Value};

/// A path that nobody can guess keeps strangers from registering servers.
const SECRET: &str = "discovery.registrar.path";

/// One key that two configs say otherwise. Values stand as in a config file, on one line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// The key with the tables around it. An entry of an array of tables goes by what tells it from
    /// the others: `backends[kms-a].capacity`.
    pub key: String,
    /// What it was; `None` if it was not there.
    pub before: Option<String>,
    /// What it is; `None` if it is not there.
    pub after: Option<String>,
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.before, &self.after) {
            (Some(before), Some(after)) => write!(f, "{}: {before} -> {after}", self.key),
            (None, Some(after)) => write!(f, "{}: added {after}", self.key),
            (Some(before), None) => write!(f, "{}: removed {before}", self.key),
            (None, None) => f.write_str(&self.key),
        }
    }
}

/// All that differs between `old` and `new`, in the order of the file; what is gone comes last. An
/// entry of an array, or an optional table, that only one of them has is one change.
#[must_use]
pub fn diff(old: &Settings, new: &Settings) -> Vec<Change> {
    let (before, after) = (flatten(old), flatten(new));
    let (before_of, after_of) = (by_key(&before), by_key(&after));
    // A line below an entry is told with that, unless both have the entry.
    let is_told = |line: &Line| {
        let table = line.table.as_deref();
        table.is_none_or(|table| before_of.contains_key(table) && after_of.contains_key(table))
    };
    let changed = after.iter().filter(|line| is_told(line)).filter_map(|line| {
        let was = before_of.get(line.key.as_str());
        let is_same = was.is_some_and(|was| line.says_the_same_as(was));
        (!is_same).then(|| Change {
            key: line.key.clone(),
            before: was.map(|was| was.told()),
            after: Some(line.told()),
        })
    });
    let gone = before.iter().filter(|line| is_told(line) && !after_of.contains_key(&*line.key));
    let gone =
        gone.map(|line| Change { key: line.key.clone(), before: Some(line.told()), after: None });
    changed.chain(gone).collect()
}

fn by_key(lines: &[Line]) -> BTreeMap<&str, &Line> {
    lines.iter().map(|line| (line.key.as_str(), line)).collect()
}

/// One key and its value, or what goes by a key besides.
#[derive(Debug)]
struct Line {
    key: String,
    value: String,
    kind: Kind,
    /// The innermost table around it that need not be there.
    table: Option<String>,
}

#[derive(Debug)]
enum Kind {
    /// A key with a plain value.
    Value,
    /// A table that need not be there; its value is all that stands in it.
    Table,
    /// The order of the entries of an array of tables, which has a meaning in some. Carries their names.
    Order(Vec<String>),
}

impl Line {
    /// Its value, for logs and operators: not what may be a password.
    fn told(&self) -> String {
        match SECRET.strip_prefix(self.key.as_str()) {
            Some("") => "\"...\"".to_owned(),
            Some(rest) if rest.starts_with('.') => "{ ... }".to_owned(),
            Some(_) | None => self.value.clone(),
        }
    }

    /// Of two lines with the same key. What stands in a table is told by lines of its own, and so are
    /// entries that only one array has.
    fn says_the_same_as(&self, other: &Self) -> bool {
        match (&self.kind, &other.kind) {
            (Kind::Order(one), Kind::Order(other)) => {
                let common = |all: &[String], other: &[String]| -> Vec<String> {
                    all.iter().filter(|name| other.contains(name)).cloned().collect()
                };
                common(one, other) == common(other, one)
            }
            (Kind::Table, Kind::Table) => true,
            (Kind::Value | Kind::Table | Kind::Order(_), _) => self.value == other.value,
        }
    }
}

fn flatten(settings: &Settings) -> Vec<Line> {
    let mut flat = Flat { lines: Vec::new(), path: String::new(), table: None };
    settings.clone().keys(&mut flat);
    flat.lines
}

/// Visits keys and makes a line of each.
struct Flat {
    lines: Vec<Line>,
    path: String,
    table: Option<String>,
}

impl Flat {
    fn path_of(&self, name: &str) -> String {
        if self.path.is_empty() { name.to_owned() } else { format!("{}.{name}", self.path) }
    }

    fn line(&mut self, key: String, value: String, kind: Kind) {
        self.lines.push(Line { key, value, kind, table: self.table.clone() });
    }

    /// A table that is always there, with what stands in it.
    fn inside<S: Section>(&mut self, path: String, section: &mut S) {
        let outer = std::mem::replace(&mut self.path, path);
        section.keys(self);
        self.path = outer;
    }

    /// A table that need not be there.
    fn entry<S: Section>(&mut self, path: String, section: &mut S) {
        self.line(path.clone(), Inline::of(section).shown(), Kind::Table);
        let outer = self.table.replace(path.clone());
        self.inside(path, section);
        self.table = outer;
    }

    fn array<S: Section>(&mut self, name: &'static str, entries: &mut [S]) {
        let path = self.path_of(name);
        let mut names: Vec<String> = Vec::new();
        for entry in entries.iter_mut() {
            let own = Inline::of(entry).name;
            let alike = names.iter().filter(|one| **one == own).count();
            names.push(if alike == 0 { own } else { format!("{own}#{}", alike + 1) });
        }
        self.line(path.clone(), format!("[{}]", names.join(", ")), Kind::Order(names.clone()));
        for (entry, name) in entries.iter_mut().zip(&names) {
            self.entry(format!("{path}[{name}]"), entry);
        }
    }
}

impl Keys for Flat {
    fn key(&mut self, key: Key, field: &mut dyn Field) {
        let (path, value) = (self.path_of(key.name), shown(&field.value()));
        self.line(path, value, Kind::Value);
    }

    fn section<S: Section>(&mut self, name: &'static str, _doc: &'static str, field: &mut S) {
        self.inside(self.path_of(name), field);
    }

    fn optional<S: Section>(
        &mut self,
        name: &'static str,
        _doc: &'static str,
        field: &mut Option<S>,
    ) {
        if let Some(section) = field {
            self.entry(self.path_of(name), section);
        }
    }

    fn list<S: Section>(&mut self, name: &'static str, _doc: &'static str, field: &mut Vec<S>) {
        self.array(name, field);
    }

    fn entries<S: Section>(&mut self, name: &'static str, _doc: &'static str, field: &mut Vec<S>) {
        self.array(name, field);
    }

    fn tables<S: Section>(&mut self, name: &'static str, _doc: &'static str, field: &mut Vec<S>) {
        self.array(name, field);
    }
}

/// Visits the keys of one table and writes it on one line.
#[derive(Default)]
struct Inline {
    members: Vec<String>,
    /// What tells it from others of its kind: the values it must have that stand first.
    name: String,
}

impl Inline {
    fn of<S: Section>(section: &mut S) -> Self {
        let mut inline = Self::default();
        section.keys(&mut inline);
        inline
    }

    fn shown(&self) -> String {
        format!("{{ {} }}", self.members.join(", "))
    }

    fn all<S: Section>(entries: &mut [S]) -> String {
        let entries: Vec<String> = entries.iter_mut().map(|one| Self::of(one).shown()).collect();
        format!("[{}]", entries.join(", "))
    }
}

impl Keys for Inline {
    fn key(&mut self, key: Key, field: &mut dyn Field) {
        let value = field.value();
        if self.members.is_empty() {
            self.name = match &value {
                Value::Text(text) => text.clone(),
                other => shown(other),
            };
        }
        self.members.push(format!("{} = {}", key.name, shown(&value)));
    }

    fn section<S: Section>(&mut self, name: &'static str, _doc: &'static str, field: &mut S) {
        self.members.push(format!("{name} = {}", Self::of(field).shown()));
    }

    fn optional<S: Section>(
        &mut self,
        name: &'static str,
        _doc: &'static str,
        field: &mut Option<S>,
    ) {
        if let Some(section) = field {
            self.members.push(format!("{name} = {}", Self::of(section).shown()));
        }
    }

    fn list<S: Section>(&mut self, name: &'static str, _doc: &'static str, field: &mut Vec<S>) {
        self.members.push(format!("{name} = {}", Self::all(field)));
    }

    fn entries<S: Section>(&mut self, name: &'static str, _doc: &'static str, field: &mut Vec<S>) {
        self.members.push(format!("{name} = {}", Self::all(field)));
    }

    fn tables<S: Section>(&mut self, name: &'static str, _doc: &'static str, field: &mut Vec<S>) {
        self.members.push(format!("{name} = {}", Self::all(field)));
    }
}

/// `value` as in a config file, on one line.
fn shown(value: &Value) -> String {
    match value {
        Value::Integer(number) => number.to_string(),
        Value::Decimal(number) => number.to_string(),
        Value::Flag(flag) => flag.to_string(),
        Value::Text(text) => quoted(text),
        Value::Texts(texts) => {
            let texts: Vec<String> = texts.iter().map(|text| quoted(text)).collect();
            format!("[{}]", texts.join(", "))
        }
    }
}

/// Always one line: a basic string, whatever is in it.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::parse;

    const BASE: &str = r#"
[[listeners]]
addr = "127.0.0.1:8888"
[[backends]]
id = "a"
url = "ws://10.0.0.1"
[[backends]]
id = "b"
url = "ws://10.0.0.2"
"#;

    /// What differs between the first text and the second, both after `BASE`.
    fn changes(before: &str, after: &str) -> Vec<String> {
        changes_between(&format!("{BASE}{before}"), &format!("{BASE}{after}"))
    }

    fn changes_between(before: &str, after: &str) -> Vec<String> {
        let [before, after] = [before, after].map(|text| parse(text).unwrap());
        diff(&before, &after).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn what_may_be_a_password_is_not_told() {
        let with = |path: &str| {
            let keys = "addr = \"127.0.0.1:8890\"\nallow = [\"10.0.0.0/8\"]";
            format!("[discovery.registrar]\n{keys}\npath = \"/{path}\"\n")
        };
        let told = changes(&with("secret-1"), &with("secret-2"));
        assert_eq!(told, ["discovery.registrar.path: \"...\" -> \"...\""]);
        assert_eq!(changes("", &with("secret")), ["discovery.registrar: added { ... }"]);
    }

    #[test]
    fn each_key_that_says_something_else_is_told_in_the_order_of_the_file() {
        let after =
            "[limits]\ncalls_max = 5\n[log]\nfilter = \"debug\"\n[placement]\nkm_weight = 2\n";
        assert_eq!(
            changes("", after),
            [
                "placement.km_weight: 1 -> 2",
                "limits.calls_max: 4096 -> 5",
                "log.filter: \"info\" -> \"debug\""
            ]
        );
        assert_eq!(
            changes(after, "[log]\nfilter = \"debug\"\n"),
            ["placement.km_weight: 2 -> 1", "limits.calls_max: 5 -> 4096"]
        );
    }

    #[test]
    fn the_same_written_otherwise_is_no_change() {
        assert!(changes("", "").is_empty());
        assert!(changes("", "[limits]\ncalls_max = 4_096\n# more\n").is_empty());
        let policy = |space: &str| {
            BASE.replace("8888\"", &format!("8888\"\npolicy = [\"allow{space}create\"]"))
        };
        assert!(changes_between(&policy(" "), &policy("   ")).is_empty());
    }

    #[test]
    fn an_entry_goes_by_its_name_wherever_it_stands() {
        let without_a = BASE.replace("[[backends]]\nid = \"a\"\nurl = \"ws://10.0.0.1\"\n", "");
        let gone = changes_between(BASE, &without_a);
        assert_eq!(gone.len(), 1, "{gone:?}");
        assert!(
            gone[0].starts_with("backends[a]: removed { id = \"a\", url = \"ws://10.0.0.1"),
            "{gone:?}"
        );
        let back = changes_between(&without_a, BASE);
        assert!(back[0].starts_with("backends[a]: added { id = \"a\","), "{back:?}");
        let busier = BASE.replace("id = \"b\"", "id = \"b\"\ncapacity = 7");
        assert_eq!(changes_between(BASE, &busier), ["backends[b].capacity: 400 -> 7"]);
    }

    #[test]
    fn an_order_is_a_change_of_its_own() {
        let entry = |id: &str, last: u8| {
            format!("[[backends]]\nid = \"{id}\"\nurl = \"ws://10.0.0.{last}\"\n")
        };
        let head = "[[listeners]]\naddr = \"127.0.0.1:8888\"\n";
        let [ab, ba] =
            [[entry("a", 1), entry("b", 2)].concat(), [entry("b", 2), entry("a", 1)].concat()]
                .map(|backends| format!("{head}{backends}"));
        assert_eq!(changes_between(&ab, &ba), ["backends: [a, b] -> [b, a]"]);
    }

    #[test]
    fn a_table_that_need_not_be_there_is_one_change_and_its_keys_are_others() {
        let tls = |cert: &str| {
            BASE.replace("8888\"", &format!("8888\"\ntls = {{ cert = \"{cert}\", key = \"k\" }}"))
        };
        assert_eq!(
            changes_between(BASE, &tls("c")),
            ["listeners[127.0.0.1:8888].tls: added { cert = \"c\", key = \"k\" }"]
        );
        assert_eq!(
            changes_between(&tls("c"), &tls("d")),
            ["listeners[127.0.0.1:8888].tls.cert: \"c\" -> \"d\""]
        );
        assert_eq!(
            changes_between(&tls("c"), BASE),
            ["listeners[127.0.0.1:8888].tls: removed { cert = \"c\", key = \"k\" }"]
        );
    }

    #[test]
    fn tables_within_a_section_are_told_like_others() {
        let one = |latitude: &str| {
            format!(
                "[geoip]\noverrides = [{{ net = \"10.0.0.0/8\", latitude = {latitude}, longitude = 2.5 }}]\n"
            )
        };
        let added = changes("", &one("48"));
        assert!(added[0].starts_with("geoip.overrides[10.0.0.0/8]: added { net ="), "{added:?}");
        assert_eq!(
            changes(&one("48"), &one("49.5")),
            ["geoip.overrides[10.0.0.0/8].latitude: 48 -> 49.5"]
        );
    }

    #[test]
    fn texts_stay_on_one_line() {
        let labels =
            |rows: &str| BASE.replace("id = \"a\"", &format!("id = \"a\"\nlabels = {rows}"));
        assert_eq!(
            changes_between(BASE, &labels("[\"x=1\", \"y=2\"]")),
            ["backends[a].labels: [] -> [\"x=1\", \"y=2\"]"]
        );
    }

    /// Two listeners may ask for any free port.
    #[test]
    fn entries_of_one_name_are_counted() {
        let any = "[[listeners]]\naddr = \"127.0.0.1:0\"\n";
        let both = format!("{any}{any}{}", &BASE[BASE.find("[[backends]]").unwrap()..]);
        let other = both.replacen(any, &format!("{any}path = \"/x\"\n"), 2).replacen(
            "path = \"/x\"\n",
            "",
            1,
        );
        assert_eq!(
            changes_between(&both, &other),
            ["listeners[127.0.0.1:0#2].path: \"/kurento\" -> \"/x\""]
        );
    }
}
