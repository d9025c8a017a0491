//! How a key of the config file is declared: once, and everything else follows from it.
//!
//! A [`Section`] shows each of its fields to a visitor, [`Keys`], together with what the file may
//! say about it. Visitors that read a file, write one and write the JSON schema share those
//! declarations, so no key can be read and not documented, or documented and not read. The value a
//! field holds before reading is its default.

use std::ops::RangeInclusive;

use super::field::{Choice, Decimal};

/// What may stand in the file as one key.
#[derive(Clone, Debug)]
pub(super) struct Key {
    /// The name in the file, unit last.
    pub(super) name: &'static str,
    /// What it means, for operators: a sentence or two, no default and no range.
    pub(super) doc: &'static str,
    /// Which values are allowed.
    pub(super) kind: Kind,
    /// Has no default; the value a field starts with is only an example.
    pub(super) is_required: bool,
}

/// Which values a key takes.
#[derive(Clone, Debug)]
pub(super) enum Kind {
    /// A whole number of `unit`.
    Integer {
        /// What is counted, as operators read it: `ms`, `bytes`, `legs`.
        unit: &'static str,
        /// Smallest value allowed.
        min: u64,
        /// Largest value allowed.
        max: u64,
    },
    /// A number of `unit`, with or without a fraction.
    Decimal {
        /// What is counted, as operators read it: `km`, `degrees`.
        unit: &'static str,
        /// Smallest value allowed.
        min: f64,
        /// Largest value allowed.
        max: f64,
    },
    /// `true` or `false`.
    Flag,
    /// One of these words.
    Choice(Vec<&'static str>),
    /// Text of this form, described as in "expected …".
    Text(&'static str),
    /// An array of texts of this form.
    Texts(&'static str),
}

/// A value between file and field.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    /// For [`Kind::Integer`].
    Integer(u64),
    /// For [`Kind::Decimal`].
    Decimal(f64),
    /// For [`Kind::Flag`].
    Flag(bool),
    /// For [`Kind::Choice`] and [`Kind::Text`].
    Text(String),
    /// For [`Kind::Texts`].
    Texts(Vec<String>),
}

/// A field of checked settings that one key fills.
pub(super) trait Field {
    /// The value as the file would say it.
    fn value(&self) -> Value;

    /// Takes over `value`.
    ///
    /// # Errors
    /// It is not what the key takes.
    fn set(&mut self, value: Value) -> Result<(), Mismatch>;
}

/// A value is not what the key takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Mismatch {
    /// Not of its kind.
    Kind,
    /// Of its kind, and still no use. Carries the reason.
    Because(String),
}

/// A table of the file.
pub(super) trait Section: Sized {
    /// Defaults, and examples for the required keys.
    fn example() -> Self;

    /// Shows every key with its field to `keys`, in the order of the file.
    fn keys(&mut self, keys: &mut impl Keys);
}

/// A visitor of keys.
pub(super) trait Keys {
    /// One key with a plain value.
    fn key(&mut self, key: Key, field: &mut dyn Field);

    /// A table that is always there, if only with defaults.
    fn section<S: Section>(&mut self, name: &'static str, doc: &'static str, field: &mut S);

    /// An inline table that may be absent.
    fn optional<S: Section>(
        &mut self,
        name: &'static str,
        doc: &'static str,
        field: &mut Option<S>,
    );

    /// An array of tables with at least one entry.
    fn list<S: Section>(&mut self, name: &'static str, doc: &'static str, field: &mut Vec<S>);

    /// An array of tables that may be absent or empty.
    fn entries<S: Section>(&mut self, name: &'static str, doc: &'static str, field: &mut Vec<S>);

    /// An array of inline tables that may be absent or empty.
    fn tables<S: Section>(&mut self, name: &'static str, doc: &'static str, field: &mut Vec<S>);

    /// A table below a section of the file that may be absent; written with a header of its own, so
    /// nothing but such tables follows it.
    fn subtable<S: Section>(
        &mut self,
        name: &'static str,
        doc: &'static str,
        field: &mut Option<S>,
    ) {
        self.optional(name, doc, field);
    }

    /// An array of such tables that may be absent or empty.
    fn subtables<S: Section>(&mut self, name: &'static str, doc: &'static str, field: &mut Vec<S>) {
        self.tables(name, doc, field);
    }

    /// A whole number of `unit`.
    fn integer(
        &mut self,
        name: &'static str,
        field: &mut dyn Field,
        (unit, range): (&'static str, RangeInclusive<u64>),
        doc: &'static str,
    ) {
        let kind = Kind::Integer { unit, min: *range.start(), max: *range.end() };
        self.key(Key { name, doc, kind, is_required: false }, field);
    }

    /// A number of `unit`, with or without a fraction.
    fn decimal(
        &mut self,
        name: &'static str,
        field: &mut f64,
        (unit, range): (&'static str, RangeInclusive<f64>),
        doc: &'static str,
    ) {
        let kind = Kind::Decimal { unit, min: *range.start(), max: *range.end() };
        self.key(Key { name, doc, kind, is_required: false }, &mut Decimal(field));
    }

    /// One of a few words, each standing for a value.
    fn choice<T: Copy + PartialEq>(
        &mut self,
        name: &'static str,
        field: &mut T,
        choices: &'static [(&'static str, T)],
        doc: &'static str,
    ) {
        let kind = Kind::Choice(choices.iter().map(|(word, _)| *word).collect());
        self.key(Key { name, doc, kind, is_required: false }, &mut Choice { field, choices });
    }

    /// Any other key with a default.
    fn value(&mut self, name: &'static str, field: &mut dyn Field, kind: Kind, doc: &'static str) {
        self.key(Key { name, doc, kind, is_required: false }, field);
    }

    /// A key that has no default.
    fn required(
        &mut self,
        name: &'static str,
        field: &mut dyn Field,
        kind: Kind,
        doc: &'static str,
    ) {
        self.key(Key { name, doc, kind, is_required: true }, field);
    }
}

impl Kind {
    /// What is expected, to follow the word "expected".
    pub(super) fn expected(&self) -> String {
        match self {
            Self::Integer { unit, min, max } => format!("an integer from {min} to {max} ({unit})"),
            Self::Decimal { unit, min, max } => format!("a number from {min} to {max} ({unit})"),
            Self::Flag => "true or false".to_owned(),
            Self::Choice(words) => {
                let quoted: Vec<String> = words.iter().map(|word| format!("\"{word}\"")).collect();
                quoted.join(" or ")
            }
            Self::Text(form) | Self::Texts(form) => (*form).to_owned(),
        }
    }
}
