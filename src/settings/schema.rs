//! Writes the JSON schema of the config file, for editors.

use serde_json::{Map, Value as Json, json};

use super::Settings;
use super::declare::{Field, Key, Keys, Kind, Section, Value};

/// The JSON schema (draft 2020-12) of the config file, as text that ends in a newline.
///
/// It says what one key can say; what several keys say together is left to the reader.
#[must_use]
pub fn schema() -> String {
    let mut schema = object_of(&mut Settings::example());
    schema.insert("$schema".into(), "https://json-schema.org/draft/2020-12/schema".into());
    schema.insert("title".into(), "Configuration of Pinfold".into());
    let text = serde_json::to_string_pretty(&schema).expect("string keys and plain values");
    text + "\n"
}

/// Visits the keys of a table and collects its properties.
#[derive(Default)]
struct SchemaWriter {
    properties: Map<String, Json>,
    required: Vec<&'static str>,
}

fn object_of<S: Section>(section: &mut S) -> Map<String, Json> {
    let mut writer = SchemaWriter::default();
    section.keys(&mut writer);
    let mut object = Map::new();
    object.insert("type".into(), "object".into());
    object.insert("additionalProperties".into(), false.into());
    object.insert("properties".into(), writer.properties.into());
    if !writer.required.is_empty() {
        object.insert("required".into(), writer.required.into());
    }
    object
}

impl SchemaWriter {
    fn add(&mut self, name: &str, doc: &str, mut schema: Map<String, Json>) {
        schema.insert("description".into(), doc.into());
        self.properties.insert(name.to_owned(), schema.into());
    }
}

impl Keys for SchemaWriter {
    fn key(&mut self, key: Key, field: &mut dyn Field) {
        let (mut schema, doc) = match key.kind {
            Kind::Integer { unit, min, max } => {
                let doc = format!("{} Unit: {unit}.", key.doc);
                (json!({"type": "integer", "minimum": min, "maximum": max}), doc)
            }
            Kind::Decimal { unit, min, max } => {
                let doc = format!("{} Unit: {unit}.", key.doc);
                (json!({"type": "number", "minimum": min, "maximum": max}), doc)
            }
            Kind::Flag => (json!({"type": "boolean"}), key.doc.to_owned()),
            Kind::Choice(words) => (json!({"enum": words}), key.doc.to_owned()),
            Kind::Texts(form) => (
                json!({"type": "array", "items": {"type": "string"}}),
                format!("{} Expects {form}.", key.doc),
            ),
            Kind::Text(form) => (json!({"type": "string"}), format!("{} Expects {form}.", key.doc)),
        };
        let value = match field.value() {
            Value::Integer(number) => json!(number),
            Value::Decimal(number) => json!(number),
            Value::Flag(flag) => json!(flag),
            Value::Text(text) => json!(text),
            Value::Texts(texts) => json!(texts),
        };
        if key.is_required {
            self.required.push(key.name);
            schema["examples"] = json!([value]);
        } else {
            schema["default"] = value;
        }
        schema["description"] = doc.into();
        self.properties.insert(key.name.to_owned(), schema);
    }

    fn section<S: Section>(&mut self, name: &'static str, doc: &'static str, field: &mut S) {
        self.add(name, doc, object_of(field));
    }

    fn optional<S: Section>(
        &mut self,
        name: &'static str,
        doc: &'static str,
        field: &mut Option<S>,
    ) {
        let section = field.get_or_insert_with(S::example);
        self.add(name, doc, object_of(section));
    }

    fn tables<S: Section>(&mut self, name: &'static str, doc: &'static str, _field: &mut Vec<S>) {
        let mut schema = Map::new();
        schema.insert("type".into(), "array".into());
        schema.insert("default".into(), json!([]));
        schema.insert("items".into(), object_of(&mut S::example()).into());
        self.add(name, doc, schema);
    }

    fn entries<S: Section>(&mut self, name: &'static str, doc: &'static str, field: &mut Vec<S>) {
        self.tables(name, doc, field);
    }

    fn list<S: Section>(&mut self, name: &'static str, doc: &'static str, _field: &mut Vec<S>) {
        self.required.push(name);
        let mut schema = Map::new();
        schema.insert("type".into(), "array".into());
        schema.insert("minItems".into(), 1.into());
        schema.insert("items".into(), object_of(&mut S::example()).into());
        self.add(name, doc, schema);
    }
}
