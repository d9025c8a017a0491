//! Reads a parsed config file into settings and collects every mistake in it.

use std::collections::BTreeMap;
use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::declare::{Field, Key, Keys, Kind, Mismatch, Section, Value};
use super::error::{Place, SettingsError, Source};
use super::nearest::nearest;

/// Longest text shown as found, in characters.
const FOUND_MAX_LEN: usize = 60;

/// What reading a file brought to light besides the values.
pub(super) struct Findings<'t> {
    source: Source<'t>,
    /// Mistakes so far.
    pub(super) errors: Vec<SettingsError>,
    /// Where each key that was read stands, by its path: `backends[1].url`.
    spans: BTreeMap<String, Range<usize>>,
    /// Whether all of the text is TOML. If not, a key that is missing may just be unreadable.
    is_whole: bool,
}

/// Visits the keys of one table of the file and sets their fields.
struct Reader<'f, 't> {
    table: &'f DeTable<'t>,
    /// Where the table stands, and with what path.
    span: Range<usize>,
    path: String,
    /// The keys declared so far; any other is a mistake.
    known: Vec<&'static str>,
    findings: &'f mut Findings<'t>,
}

/// Reads `source` into a `S`. It holds examples in place of what the findings say is wrong.
pub(super) fn read_section<S: Section>(source: Source<'_>) -> (S, Findings<'_>) {
    let (document, syntax_errors) = DeTable::parse_recoverable(source.text);
    let errors = syntax_errors.iter().map(|error| SettingsError::Syntax {
        place: source.place(&error.span().unwrap_or_default()),
        message: error.message().replace('\n', " "),
    });
    read_document(source, &document, errors.collect())
}

/// Reads what `source` was parsed into, with these mistakes in its form.
pub(super) fn read_document<'t, S: Section>(
    source: Source<'t>,
    document: &Spanned<DeTable<'t>>,
    errors: Vec<SettingsError>,
) -> (S, Findings<'t>) {
    let is_whole = errors.is_empty();
    let mut findings = Findings { source, errors, spans: BTreeMap::new(), is_whole };
    let mut section = S::example();
    findings.read_table(document.get_ref(), document.span(), String::new(), &mut section);
    findings.drop_consequences();
    (section, findings)
}

impl<'t> Findings<'t> {
    fn read_table<S: Section>(
        &mut self,
        table: &DeTable<'t>,
        span: Range<usize>,
        path: String,
        section: &mut S,
    ) {
        let mut reader = Reader { table, span, path, known: Vec::new(), findings: self };
        section.keys(&mut reader);
        reader.refuse_unknown_keys();
    }

    /// Whether the text could be read as a whole.
    pub(super) const fn is_whole(&self) -> bool {
        self.is_whole
    }

    /// Whether `key` stands in the file with a value of its kind.
    pub(super) fn has(&self, key: &str) -> bool {
        self.spans.contains_key(key)
    }

    /// Where each key stands that was read.
    pub(super) fn places(&self) -> BTreeMap<String, Place> {
        let spans = self.spans.iter();
        spans.map(|(key, span)| (key.clone(), self.source.place(span))).collect()
    }

    /// Whether there is a mistake in `key`.
    pub(super) fn refuses(&self, key: &str) -> bool {
        let is_of = |error: &SettingsError| matches!(error, SettingsError::Value { key: of, .. } if of == key);
        self.errors.iter().any(is_of)
    }

    /// Adds a mistake in `key`: shown where that stands, else at its table, else at the top.
    pub(super) fn refuse(&mut self, key: &str, found: &str, expected: &str) {
        let table = key.rsplit_once('.').map_or("", |(table, _)| table);
        let span = self.spans.get(key).or_else(|| self.spans.get(table)).cloned();
        self.add(&span.unwrap_or_default(), key.to_owned(), found.to_owned(), expected.to_owned());
    }

    fn add(&mut self, span: &Range<usize>, key: String, found: String, expected: String) {
        let place = self.source.place(span);
        self.errors.push(SettingsError::Value { place, key, found, expected });
    }

    /// Takes out mistakes on lines that are not even TOML.
    fn drop_consequences(&mut self) {
        let is_syntax = |error: &&SettingsError| matches!(error, SettingsError::Syntax { .. });
        let line = |error: &SettingsError| error.place().map(|place| place.line);
        let broken: Vec<_> = self.errors.iter().filter(is_syntax).map(line).collect();
        self.errors.retain(|error| is_syntax(&error) || !broken.contains(&line(error)));
    }
}

impl<'t> Reader<'_, 't> {
    /// The path of key `name` of this table.
    fn path_of(&self, name: &str) -> String {
        if self.path.is_empty() { name.to_owned() } else { format!("{}.{name}", self.path) }
    }

    /// The value of key `name`, if it stands in the file.
    fn find(&mut self, name: &'static str) -> Option<(&DeValue<'t>, Range<usize>)> {
        self.known.push(name);
        let value: &Spanned<DeValue<'t>> = self.table.get(name)?;
        Some((value.get_ref(), value.span()))
    }

    fn missing(&mut self, name: &str, expected: String) {
        if self.findings.is_whole {
            let (span, path) = (self.span.clone(), self.path_of(name));
            self.findings.add(&span, path, "nothing".to_owned(), expected);
        }
    }

    fn refuse_unknown_keys(self) {
        for (key, _) in self.table {
            let name = key.get_ref().as_ref();
            if self.known.contains(&name) {
                continue;
            }
            let expected = match nearest(name, &self.known) {
                Some(near) => format!("\"{near}\""),
                None => format!("one of {}", self.known.join(", ")),
            };
            let found = "an unknown key".to_owned();
            self.findings.add(&key.span(), self.path_of(name), found, expected);
        }
    }

    /// Reads `value` into `section` if it is a table.
    fn read_inner<S: Section>(
        &mut self,
        value: &DeValue<'t>,
        (span, path): (Range<usize>, String),
        section: &mut S,
    ) -> bool {
        let Some(table) = value.as_table() else {
            self.findings.add(&span, path, found(value), "a table".to_owned());
            return false;
        };
        self.findings.spans.insert(path.clone(), span.clone());
        self.findings.read_table(table, span, path, section);
        true
    }
}

impl<'t> Reader<'_, 't> {
    /// Reads each of `entries` of the array at `path` into `field`.
    fn read_entries<S: Section>(
        &mut self,
        entries: &[Spanned<DeValue<'t>>],
        path: &str,
        field: &mut Vec<S>,
    ) {
        for (index, entry) in entries.iter().enumerate() {
            let mut section = S::example();
            let at = (entry.span(), format!("{path}[{index}]"));
            self.read_inner(entry.get_ref(), at, &mut section);
            field.push(section);
        }
    }
}

impl Keys for Reader<'_, '_> {
    fn key(&mut self, key: Key, field: &mut dyn Field) {
        let path = self.path_of(key.name);
        let Some((value, span)) = self.find(key.name) else {
            if key.is_required {
                self.missing(key.name, key.kind.expected());
            }
            return;
        };
        let result = read_value(value, &key.kind).ok_or(Mismatch::Kind);
        let expected = match result.and_then(|value| field.set(value)) {
            Ok(()) => {
                self.findings.spans.insert(path, span);
                return;
            }
            Err(Mismatch::Kind) => key.kind.expected(),
            Err(Mismatch::Because(reason)) => format!("{} ({reason})", key.kind.expected()),
        };
        let found = found(value);
        self.findings.add(&span, path, found, expected);
    }

    fn section<S: Section>(&mut self, name: &'static str, _doc: &'static str, field: &mut S) {
        let path = self.path_of(name);
        self.known.push(name);
        if let Some(value) = self.table.get(name) {
            self.read_inner(value.get_ref(), (value.span(), path), field);
        }
    }

    fn optional<S: Section>(
        &mut self,
        name: &'static str,
        _doc: &'static str,
        field: &mut Option<S>,
    ) {
        let path = self.path_of(name);
        self.known.push(name);
        if let Some(value) = self.table.get(name) {
            let mut section = S::example();
            let is_read = self.read_inner(value.get_ref(), (value.span(), path), &mut section);
            *field = is_read.then_some(section);
        }
    }

    fn list<S: Section>(&mut self, name: &'static str, _doc: &'static str, field: &mut Vec<S>) {
        field.clear();
        let path = self.path_of(name);
        self.known.push(name);
        let Some(value) = self.table.get(name) else {
            return self.missing(name, format!("at least one [[{name}]]"));
        };
        let entries = match value.get_ref() {
            DeValue::Array(entries) if !entries.is_empty() => entries,
            other => {
                let expected = format!("at least one [[{name}]]");
                return self.findings.add(&value.span(), path, found(other), expected);
            }
        };
        self.read_entries(entries, &path, field);
    }

    fn entries<S: Section>(&mut self, name: &'static str, doc: &'static str, field: &mut Vec<S>) {
        // Unlike that of a key with a default, the example is none.
        field.clear();
        self.tables(name, doc, field);
    }

    fn tables<S: Section>(&mut self, name: &'static str, _doc: &'static str, field: &mut Vec<S>) {
        let path = self.path_of(name);
        self.known.push(name);
        let Some(value) = self.table.get(name) else { return };
        let DeValue::Array(entries) = value.get_ref() else {
            let expected = "an array of tables".to_owned();
            return self.findings.add(&value.span(), path, found(value.get_ref()), expected);
        };
        field.clear();
        self.findings.spans.insert(path.clone(), value.span());
        self.read_entries(entries, &path, field);
    }
}

/// Takes `value` if it is of `kind` and in its range.
fn read_value(value: &DeValue<'_>, kind: &Kind) -> Option<Value> {
    match (kind, value) {
        (Kind::Integer { min, max, .. }, DeValue::Integer(integer)) => {
            u64::from_str_radix(integer.as_str(), integer.radix())
                .ok()
                .filter(|number| (min..=max).contains(&number))
                .map(Value::Integer)
        }
        (Kind::Decimal { min, max, .. }, value) => {
            let number = decimal(value)?;
            (*min..=*max).contains(&number).then_some(Value::Decimal(number))
        }
        (Kind::Flag, DeValue::Boolean(flag)) => Some(Value::Flag(*flag)),
        (Kind::Choice(_) | Kind::Text(_), DeValue::String(text)) => {
            Some(Value::Text(text.as_ref().to_owned()))
        }
        (Kind::Texts(_), DeValue::Array(entries)) => {
            let texts = entries.iter().map(|entry| entry.get_ref().as_str().map(str::to_owned));
            texts.collect::<Option<_>>().map(Value::Texts)
        }
        _ => None,
    }
}

/// The number that `value` is, written with a fraction or without.
fn decimal(value: &DeValue<'_>) -> Option<f64> {
    match value {
        DeValue::Float(float) => float.as_str().parse().ok(),
        DeValue::Integer(integer) if integer.radix() == 10 => integer.as_str().parse().ok(),
        _ => None,
    }
}

/// Shows `value` as a mistake: plain values as they stand, shortened; the others by their kind.
fn found(value: &DeValue<'_>) -> String {
    let text = match value {
        DeValue::String(text) => format!("{text:?}"),
        DeValue::Integer(integer) => integer.to_string(),
        DeValue::Float(float) => float.to_string(),
        DeValue::Boolean(flag) => flag.to_string(),
        DeValue::Datetime(datetime) => datetime.to_string(),
        DeValue::Array(entries) if entries.is_empty() => "an empty array".to_owned(),
        DeValue::Array(_) => "an array".to_owned(),
        DeValue::Table(_) => "a table".to_owned(),
    };
    if text.chars().count() <= FOUND_MAX_LEN {
        return text;
    }
    let start: String = text.chars().take(FOUND_MAX_LEN).collect();
    format!("{start}…")
}
