//! Writes settings as a config file: plain, or as the commented example.

use std::fmt::Write;

use super::Settings;
use super::declare::{Field, Key, Keys, Kind, Section, Value};

/// Longest line of a comment, in characters.
const COMMENT_MAX_LEN: usize = 98;

/// Stands above the example.
const EXAMPLE_HEAD: &str = "\
# Example configuration of Pinfold: every key with its meaning, unit, default and range.
# Generated from the declarations in src/settings; valid as it stands. Keys marked \"required\" show
# an example, all others their default and can be left out.
";

/// The effective settings as a config file: every key; one that is not set stands in a comment.
#[must_use]
pub fn dump(settings: &Settings) -> String {
    write(settings.clone(), false, String::new())
}

/// The commented example file.
#[must_use]
pub fn example() -> String {
    write(Settings::example(), true, EXAMPLE_HEAD.to_owned())
}

fn write(mut settings: Settings, has_comments: bool, head: String) -> String {
    let mut writer = Writer { text: head, has_comments, is_inline: false, path: "" };
    settings.keys(&mut writer);
    writer.text.trim_start().to_owned()
}

/// Visits keys and appends each to a TOML text.
struct Writer {
    text: String,
    has_comments: bool,
    /// Whether the table at hand is written on one line.
    is_inline: bool,
    /// The section at hand, of those that the file always has.
    path: &'static str,
}

impl Writer {
    fn header(&mut self, header: &str, doc: &str) {
        self.text.push('\n');
        if self.has_comments {
            self.comment(doc);
        }
        self.line(header);
    }

    fn comment(&mut self, text: &str) {
        for line in wrap(text, COMMENT_MAX_LEN - "# ".len()) {
            self.line(&format!("# {line}"));
        }
    }

    fn line(&mut self, line: &str) {
        self.text.push_str(line);
        self.text.push('\n');
    }

    /// `section` as an inline table.
    fn inline<S: Section>(&mut self, section: &mut S) -> String {
        let mut inner =
            Self { text: String::new(), has_comments: false, is_inline: true, path: self.path };
        section.keys(&mut inner);
        format!("{{ {} }}", inner.text)
    }

    /// `section` as a table that is not set: all of it in comments.
    fn commented<S: Section>(&mut self, (header, doc): (&str, &str), section: &mut S) {
        let (has_comments, path) = (self.has_comments, self.path);
        let mut inner = Self { text: String::new(), has_comments, is_inline: false, path };
        inner.header(header, doc);
        section.keys(&mut inner);
        for line in inner.text.lines() {
            let is_comment = line.is_empty() || line.starts_with('#');
            self.line(&if is_comment { line.to_owned() } else { format!("# {line}") });
        }
    }
}

impl Keys for Writer {
    fn key(&mut self, key: Key, field: &mut dyn Field) {
        let value = to_toml(&field.value());
        if self.is_inline {
            let comma = if self.text.is_empty() { "" } else { ", " };
            write!(self.text, "{comma}{} = {value}", key.name).expect("a String takes all text");
            return;
        }
        if self.has_comments {
            self.text.push('\n');
            self.comment(key.doc);
            self.comment(&describe(&key, &value));
        }
        self.line(&format!("{} = {value}", key.name));
    }

    fn section<S: Section>(&mut self, name: &'static str, doc: &'static str, field: &mut S) {
        self.header(&format!("[{name}]"), doc);
        self.path = name;
        field.keys(self);
    }

    fn subtable<S: Section>(
        &mut self,
        name: &'static str,
        doc: &'static str,
        field: &mut Option<S>,
    ) {
        let header = format!("[{}.{name}]", self.path);
        match field {
            Some(section) => {
                self.header(&header, doc);
                section.keys(self);
            }
            None => {
                let doc = format!("{doc} Not set by default.");
                self.commented((&header, &doc), &mut S::example());
            }
        }
    }

    fn subtables<S: Section>(&mut self, name: &'static str, doc: &'static str, field: &mut Vec<S>) {
        let header = format!("[[{}.{name}]]", self.path);
        if field.is_empty() {
            let doc = format!("{doc} None by default.");
            self.commented((&header, &doc), &mut S::example());
        }
        for section in field {
            self.header(&header, doc);
            section.keys(self);
        }
    }

    fn optional<S: Section>(
        &mut self,
        name: &'static str,
        doc: &'static str,
        field: &mut Option<S>,
    ) {
        if self.has_comments {
            self.text.push('\n');
            self.comment(&format!("{doc} Not set by default."));
        }
        match field {
            Some(section) => {
                let value = self.inline(section);
                self.line(&format!("{name} = {value}"));
            }
            None => {
                let value = self.inline(&mut S::example());
                self.line(&format!("# {name} = {value}"));
            }
        }
    }

    fn tables<S: Section>(&mut self, name: &'static str, doc: &'static str, field: &mut Vec<S>) {
        if self.has_comments {
            self.text.push('\n');
            self.comment(&format!("{doc} None by default."));
        }
        if field.is_empty() {
            let entry = self.inline(&mut S::example());
            self.line(&format!("# {name} = [{entry}]"));
            return;
        }
        let entries: Vec<String> = field.iter_mut().map(|one| self.inline(one)).collect();
        let lines: String = entries.iter().map(|entry| format!("  {entry},\n")).collect();
        self.line(&format!("{name} = [\n{lines}]"));
    }

    fn list<S: Section>(&mut self, name: &'static str, doc: &'static str, field: &mut Vec<S>) {
        for section in field {
            self.header(&format!("[[{name}]]"), doc);
            section.keys(self);
        }
    }

    fn entries<S: Section>(&mut self, name: &'static str, doc: &'static str, field: &mut Vec<S>) {
        self.list(name, doc, field);
    }
}

/// Default, unit and range of `key`, as a comment says them.
fn describe(key: &Key, value: &str) -> String {
    let default =
        if key.is_required { "Required.".to_owned() } else { format!("Default {value}.") };
    match key.kind {
        Kind::Integer { unit, min, max } => {
            format!("{default} Unit: {unit}. Range {min} to {max}.")
        }
        Kind::Decimal { unit, min, max } => {
            format!("{default} Unit: {unit}, with a fraction or without. Range {min} to {max}.")
        }
        Kind::Flag => default,
        Kind::Texts(_) => format!("Expects {}.", key.kind.expected()),
        Kind::Choice(_) | Kind::Text(_) => format!("{default} Expects {}.", key.kind.expected()),
    }
}

/// Writes `value` as TOML.
fn to_toml(value: &Value) -> String {
    match value {
        Value::Integer(number) => number.to_string(),
        Value::Decimal(number) => number.to_string(),
        Value::Flag(flag) => flag.to_string(),
        Value::Text(text) => quoted(text),
        Value::Texts(texts) if texts.is_empty() => "[]".to_owned(),
        Value::Texts(texts) => {
            let lines: String = texts.iter().map(|text| format!("  {},\n", quoted(text))).collect();
            format!("[\n{lines}]")
        }
    }
}

fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

/// Breaks `text` at spaces into lines of at most `len` characters, longer only for a longer word.
fn wrap(text: &str, len: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.len() + 1 + word.len() <= len => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_quoted_as_toml_wants_it() {
        for text in ["plain", "a \"b\"", "C:\\keys", "it's", "line\nbreak", "\u{7f}"] {
            let toml = format!("x = {}", to_toml(&Value::Text(text.to_owned())));
            let table: toml::Table = toml.parse().unwrap();
            assert_eq!(table["x"].as_str(), Some(text));
        }
    }

    #[test]
    fn lines_break_at_spaces() {
        assert_eq!(wrap("ab cd  ef", 5), ["ab cd", "ef"]);
        assert_eq!(wrap("abcdefgh i", 5), ["abcdefgh", "i"]);
        assert!(wrap("", 5).is_empty());
    }
}
