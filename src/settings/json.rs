//! JSON in place of TOML: the same keys, the same mistakes, each with its place.

use std::collections::BTreeMap;

use serde_json::value::RawValue;
use serde_json::{Map, Value as Json, json};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::declare::{Field, Key, Keys, Section, Value};
use super::error::{Place, SettingsError, Source};
use super::reader::{Findings, read_document};

/// Deepest nesting that is looked into. No key lies as deep, so what does is of a wrong kind anyway.
const DEPTH_MAX: usize = 16;

/// Reads `source`, a JSON object, into a `S`, as `read_section` does TOML. A member that is `null`
/// counts as left out.
pub(super) fn read_json<S: Section>(source: Source<'_>) -> (S, Findings<'_>) {
    let (document, error) = match serde_json::from_str::<&RawValue>(source.text) {
        Ok(raw) => document(raw, source),
        Err(error) => (Spanned::new(0..0, DeTable::new()), Some(syntax_error(source, &error))),
    };
    read_document(source, &document, error.into_iter().collect())
}

/// What `raw`, all of the text, is in terms of TOML; an empty table and a mistake if it is no object.
fn document<'t>(
    raw: &'t RawValue,
    source: Source<'t>,
) -> (Spanned<DeTable<'t>>, Option<SettingsError>) {
    let value = to_toml(raw, source.text, DEPTH_MAX);
    let span = value.span();
    match value.into_inner() {
        DeValue::Table(table) => (Spanned::new(span, table), None),
        _ => {
            let error = SettingsError::Syntax {
                place: source.place(&span),
                message: "expected a JSON object".to_owned(),
            };
            (Spanned::new(span, DeTable::new()), Some(error))
        }
    }
}

/// `raw` is a part of `text`, so its place in memory tells that in the text.
fn to_toml<'t>(raw: &'t RawValue, text: &'t str, depth: usize) -> Spanned<DeValue<'t>> {
    let json = raw.get();
    let start = json.as_ptr().addr() - text.as_ptr().addr();
    let value = match json.as_bytes().first() {
        Some(b'{') if depth > 0 => DeValue::Table(to_table(json, text, depth - 1)),
        Some(b'[') if depth > 0 => {
            let entries: Vec<&RawValue> = serde_json::from_str(json).unwrap_or_default();
            let entries = entries.into_iter().map(|entry| to_toml(entry, text, depth - 1));
            DeValue::Array(entries.collect())
        }
        Some(b'"') => {
            DeValue::String(serde_json::from_str::<String>(json).unwrap_or_default().into())
        }
        Some(b't') => DeValue::Boolean(true),
        Some(b'f') => DeValue::Boolean(false),
        Some(b'-' | b'0'..=b'9') => match DeValue::parse(json) {
            Ok(number) => number.into_inner(),
            Err(_) => DeValue::Table(DeTable::new()),
        },
        // Too deep, or null where a value has to be: no key takes a table without keys.
        _ => DeValue::Table(DeTable::new()),
    };
    Spanned::new(start..start + json.len(), value)
}

fn to_table<'t>(json: &'t str, text: &'t str, depth: usize) -> DeTable<'t> {
    let members: BTreeMap<String, &RawValue> = serde_json::from_str(json).unwrap_or_default();
    let mut table = DeTable::new();
    for (name, value) in members {
        if value.get() != "null" {
            let value = to_toml(value, text, depth);
            table.insert(Spanned::new(value.span(), name.into()), value);
        }
    }
    table
}

fn syntax_error(source: Source<'_>, error: &serde_json::Error) -> SettingsError {
    let place =
        Place { file: source.file.to_owned(), line: error.line(), column: error.column().max(1) };
    let message = error.to_string();
    let message = message.split(" at line ").next().unwrap_or_default().to_owned();
    SettingsError::Syntax { place, message }
}

/// All keys of `section` as a JSON object; those of an optional table that is not set are left out.
pub(super) fn to_json<S: Section>(section: &mut S) -> Map<String, Json> {
    let mut writer = JsonWriter::default();
    section.keys(&mut writer);
    writer.members
}

#[derive(Default)]
struct JsonWriter {
    members: Map<String, Json>,
}

impl Keys for JsonWriter {
    fn key(&mut self, key: Key, field: &mut dyn Field) {
        let value = match field.value() {
            Value::Integer(number) => json!(number),
            Value::Decimal(number) => json!(number),
            Value::Flag(flag) => json!(flag),
            Value::Text(text) => json!(text),
            Value::Texts(texts) => json!(texts),
        };
        self.members.insert(key.name.to_owned(), value);
    }

    fn section<S: Section>(&mut self, name: &'static str, _doc: &'static str, field: &mut S) {
        self.members.insert(name.to_owned(), to_json(field).into());
    }

    fn optional<S: Section>(
        &mut self,
        name: &'static str,
        doc: &'static str,
        field: &mut Option<S>,
    ) {
        if let Some(section) = field {
            self.section(name, doc, section);
        }
    }

    fn list<S: Section>(&mut self, name: &'static str, _doc: &'static str, field: &mut Vec<S>) {
        let entries: Vec<_> = field.iter_mut().map(to_json).collect();
        self.members.insert(name.to_owned(), json!(entries));
    }

    fn entries<S: Section>(&mut self, name: &'static str, doc: &'static str, field: &mut Vec<S>) {
        self.list(name, doc, field);
    }

    fn tables<S: Section>(&mut self, name: &'static str, doc: &'static str, field: &mut Vec<S>) {
        self.list(name, doc, field);
    }
}
