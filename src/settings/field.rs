//! The types of fields that keys fill, and what text and numbers they take.

use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Duration;

use crate::model::Legs;

use super::declare::{Field, Mismatch, Value};

/// A field that a whole number fills.
trait Number: Sized {
    fn to_integer(&self) -> u64;

    /// `None` if the number does not fit the type.
    fn of_integer(number: u64) -> Option<Self>;
}

impl<T: Number> Field for T {
    fn value(&self) -> Value {
        Value::Integer(self.to_integer())
    }

    fn set(&mut self, value: Value) -> Result<(), Mismatch> {
        let Value::Integer(number) = value else { return Err(Mismatch::Kind) };
        *self = Self::of_integer(number).ok_or(Mismatch::Kind)?;
        Ok(())
    }
}

impl Number for u32 {
    fn to_integer(&self) -> u64 {
        u64::from(*self)
    }

    fn of_integer(number: u64) -> Option<Self> {
        Self::try_from(number).ok()
    }
}

impl Number for NonZeroU32 {
    fn to_integer(&self) -> u64 {
        u64::from(self.get())
    }

    fn of_integer(number: u64) -> Option<Self> {
        Self::new(u32::try_from(number).ok()?)
    }
}

impl Number for usize {
    fn to_integer(&self) -> u64 {
        u64::try_from(*self).unwrap_or(u64::MAX)
    }

    fn of_integer(number: u64) -> Option<Self> {
        Self::try_from(number).ok()
    }
}

impl Number for Legs {
    fn to_integer(&self) -> u64 {
        u64::from(self.0)
    }

    fn of_integer(number: u64) -> Option<Self> {
        u32::try_from(number).ok().map(Self)
    }
}

/// Milliseconds in the file.
impl Number for Duration {
    fn to_integer(&self) -> u64 {
        u64::try_from(self.as_millis()).unwrap_or(u64::MAX)
    }

    fn of_integer(number: u64) -> Option<Self> {
        Some(Self::from_millis(number))
    }
}

/// Percent in the file, a fraction inside.
impl Number for f64 {
    #[expect(clippy::cast_possible_truncation, reason = "of_integer made it: 0 to 100")]
    fn to_integer(&self) -> u64 {
        (self * 100.0).round() as u64
    }

    fn of_integer(number: u64) -> Option<Self> {
        u32::try_from(number).ok().map(|percent| Self::from(percent) / 100.0)
    }
}

impl Field for bool {
    fn value(&self) -> Value {
        Value::Flag(*self)
    }

    fn set(&mut self, value: Value) -> Result<(), Mismatch> {
        let Value::Flag(flag) = value else { return Err(Mismatch::Kind) };
        *self = flag;
        Ok(())
    }
}

/// A field that text fills, read by `parse`.
pub(super) struct Parsed<'a, T> {
    field: &'a mut T,
    parse: fn(&str) -> Result<T, Mismatch>,
    show: fn(&T) -> String,
}

impl<'a, T: ToString> Parsed<'a, T> {
    /// `field`, written as it displays itself.
    pub(super) fn new(field: &'a mut T, parse: fn(&str) -> Result<T, Mismatch>) -> Self {
        Self { field, parse, show: T::to_string }
    }
}

impl<'a, T: ToString> Parsed<'a, Option<T>> {
    /// `field`, written as what is in it displays itself, and as nothing if nothing is.
    pub(super) fn optional(
        field: &'a mut Option<T>,
        parse: fn(&str) -> Result<Option<T>, Mismatch>,
    ) -> Self {
        Self { field, parse, show: |field| field.as_ref().map(T::to_string).unwrap_or_default() }
    }
}

impl<'a> Parsed<'a, PathBuf> {
    /// A path to a file.
    pub(super) fn path(field: &'a mut PathBuf) -> Self {
        let parse = |text: &str| match text {
            "" => Err(Mismatch::Kind),
            path => Ok(PathBuf::from(path)),
        };
        Self { field, parse, show: |path| path.to_string_lossy().into_owned() }
    }
}

impl<T> Field for Parsed<'_, T> {
    fn value(&self) -> Value {
        Value::Text((self.show)(self.field))
    }

    fn set(&mut self, value: Value) -> Result<(), Mismatch> {
        let Value::Text(text) = value else { return Err(Mismatch::Kind) };
        *self.field = (self.parse)(&text)?;
        Ok(())
    }
}

/// A field that an array of texts fills.
pub(super) struct Texts<'a, T> {
    field: &'a mut T,
    parse: fn(&[String]) -> Result<T, Mismatch>,
    show: fn(&T) -> Vec<String>,
}

impl<'a, T> Texts<'a, T> {
    /// `field`, read by `parse` and written by `show`.
    pub(super) fn new(
        field: &'a mut T,
        parse: fn(&[String]) -> Result<T, Mismatch>,
        show: fn(&T) -> Vec<String>,
    ) -> Self {
        Self { field, parse, show }
    }
}

impl<T> Field for Texts<'_, T> {
    fn value(&self) -> Value {
        Value::Texts((self.show)(self.field))
    }

    fn set(&mut self, value: Value) -> Result<(), Mismatch> {
        let Value::Texts(texts) = value else { return Err(Mismatch::Kind) };
        *self.field = (self.parse)(&texts)?;
        Ok(())
    }
}

/// A field that a number with a fraction fills.
pub(super) struct Decimal<'a>(pub(super) &'a mut f64);

impl Field for Decimal<'_> {
    fn value(&self) -> Value {
        Value::Decimal(*self.0)
    }

    fn set(&mut self, value: Value) -> Result<(), Mismatch> {
        let Value::Decimal(number) = value else { return Err(Mismatch::Kind) };
        *self.0 = number;
        Ok(())
    }
}

/// A field that one of a few words fills.
pub(super) struct Choice<'a, T: 'static> {
    pub(super) field: &'a mut T,
    /// Each word and what it stands for; holds every value the field can have.
    pub(super) choices: &'static [(&'static str, T)],
}

impl<T: Copy + PartialEq> Field for Choice<'_, T> {
    fn value(&self) -> Value {
        let word = self.choices.iter().find(|(_, value)| value == self.field);
        Value::Text(word.map_or_else(String::new, |(word, _)| (*word).to_owned()))
    }

    fn set(&mut self, value: Value) -> Result<(), Mismatch> {
        let Value::Text(text) = value else { return Err(Mismatch::Kind) };
        let choice = self.choices.iter().find(|(word, _)| *word == text);
        *self.field = choice.ok_or(Mismatch::Kind)?.1;
        Ok(())
    }
}

/// Reads an IP address and port.
pub(super) fn parse_addr(text: &str) -> Result<SocketAddr, Mismatch> {
    text.parse().map_err(|_| Mismatch::Kind)
}

/// What [`parse_addr`] expects.
pub(super) const ADDR_FORM: &str = "an IP address and port like \"127.0.0.1:8888\"";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_takes_back_the_value_it_shows() {
        let mut seven = Duration::from_millis(7);
        let (mut near, mut degrees) = (0.05, -33.87);
        let mut place = Decimal(&mut degrees);
        let mut all: [&mut dyn Field; 5] =
            [&mut seven, &mut near, &mut place, &mut Legs(400), &mut true];
        for field in &mut all {
            let value = field.value();
            field.set(value.clone()).unwrap();
            assert_eq!(field.value(), value);
        }
        assert!((near - 0.05).abs() < f64::EPSILON);
    }

    #[test]
    fn a_word_that_is_no_choice_is_refused() {
        let mut number = 2;
        let mut field = Choice { field: &mut number, choices: &[("one", 1), ("two", 2)] };
        assert_eq!(field.value(), Value::Text("two".to_owned()));
        assert_eq!(field.set(Value::Text("three".to_owned())), Err(Mismatch::Kind));
        assert_eq!(field.set(Value::Text("one".to_owned())), Ok(()));
        assert_eq!(number, 1);
    }

    #[test]
    fn a_number_too_large_for_its_type_is_refused() {
        let mut legs = Legs(4);
        assert!(legs.set(Value::Integer(u64::from(u32::MAX) + 1)).is_err());
        assert_eq!(legs, Legs(4));
        let mut attempts = NonZeroU32::MIN;
        assert!(attempts.set(Value::Integer(0)).is_err());
    }
}
