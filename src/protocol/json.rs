//! A validating one-pass JSON reader that finds members without building values.
//!
//! The hot path: every message of a client goes through here once. It is strict where Kurento's own
//! parser is strict or lax in a dangerous way, because Kurento answers text it cannot read by cutting
//! the connection and leaking the session. So besides the grammar it refuses nesting beyond a bound,
//! numbers that overflow a double, and escapes of half a surrogate pair. Comments and trailing text,
//! which Kurento would take, are refused too.

mod scan;

use std::borrow::Cow;

/// Why a text is not JSON that may be passed on. Positions are byte offsets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JsonError {
    /// Not JSON from this byte on.
    #[error("not JSON at byte {0}")]
    Malformed(usize),
    /// Arrays and objects nested deeper than the limit.
    #[error("nested deeper than the limit")]
    TooDeep,
}

/// A string as it stands in the text, between its quotes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Text<'a> {
    raw: &'a str,
    has_escapes: bool,
}

impl<'a> Text<'a> {
    /// The string that `raw`, a JSON value as [`Reader::value`] returns it, is; else `None`.
    #[must_use]
    pub fn of(raw: &'a str) -> Option<Self> {
        let raw = raw.strip_prefix('"')?.strip_suffix('"')?;
        Some(Self { raw, has_escapes: raw.contains('\\') })
    }

    /// Whether the string, escapes undone, equals `other`.
    #[must_use]
    pub fn is(self, other: &str) -> bool {
        if self.has_escapes { self.decode() == other } else { self.raw == other }
    }

    /// The string with its escapes undone; borrowed when there are none.
    #[must_use]
    pub fn decode(self) -> Cow<'a, str> {
        if self.has_escapes { Cow::Owned(unescape(self.raw)) } else { Cow::Borrowed(self.raw) }
    }
}

/// A reader standing somewhere in a text.
#[derive(Clone, Debug)]
pub struct Reader<'a> {
    text: &'a str,
    at: usize,
    depth_left: usize,
}

impl<'a> Reader<'a> {
    /// A reader at the start of `text` that lets arrays and objects nest `depth_max` deep.
    #[must_use]
    pub const fn new(text: &'a str, depth_max: usize) -> Self {
        Self { text, at: 0, depth_left: depth_max }
    }

    /// Byte offset of what is read next.
    #[must_use]
    pub const fn position(&self) -> usize {
        self.at
    }

    /// The first byte of the next value, spaces skipped; `None` at the end of the text.
    pub fn peek(&mut self) -> Option<u8> {
        self.skip_spaces();
        self.byte()
    }

    /// Reads an object and calls `on_member` with each key; `on_member` must read the value.
    ///
    /// # Errors
    /// What is not JSON, and whatever `on_member` returns.
    pub fn object<E: From<JsonError>>(
        &mut self,
        mut on_member: impl FnMut(Text<'a>, &mut Self) -> Result<(), E>,
    ) -> Result<(), E> {
        self.open(b'{')?;
        if self.peek() != Some(b'}') {
            loop {
                self.skip_spaces();
                let key = self.string()?;
                self.expect(b':')?;
                on_member(key, self)?;
                match self.peek() {
                    Some(b',') => self.at += 1,
                    _ => break,
                }
            }
        }
        Ok(self.close(b'}')?)
    }

    /// Reads an array and calls `on_item` with the index of each item; it must read the item.
    ///
    /// # Errors
    /// What is not JSON, and whatever `on_item` returns.
    pub fn array<E: From<JsonError>>(
        &mut self,
        mut on_item: impl FnMut(usize, &mut Self) -> Result<(), E>,
    ) -> Result<(), E> {
        self.open(b'[')?;
        if self.peek() != Some(b']') {
            for index in 0.. {
                on_item(index, self)?;
                match self.peek() {
                    Some(b',') => self.at += 1,
                    _ => break,
                }
            }
        }
        Ok(self.close(b']')?)
    }

    /// Reads any value and returns its text.
    ///
    /// # Errors
    /// What is not JSON.
    pub fn value(&mut self) -> Result<&'a str, JsonError> {
        self.skip_spaces();
        let start = self.at;
        match self.byte() {
            Some(b'{') => self.object(|_, reader| reader.value().map(drop))?,
            Some(b'[') => self.array(|_, reader| reader.value().map(drop))?,
            Some(b'"') => drop(self.string()?),
            Some(b'-' | b'0'..=b'9') => self.number()?,
            Some(b't') => self.word("true")?,
            Some(b'f') => self.word("false")?,
            Some(b'n') => self.word("null")?,
            _ => return Err(JsonError::Malformed(self.at)),
        }
        Ok(&self.text[start..self.at])
    }

    /// Reads any value and calls `on_text` with each string in it, at any depth; keys are none.
    ///
    /// # Errors
    /// What is not JSON, and whatever `on_text` returns.
    pub fn texts<E: From<JsonError>>(
        &mut self,
        on_text: &mut dyn FnMut(Text<'a>) -> Result<(), E>,
    ) -> Result<(), E> {
        match self.peek() {
            Some(b'{') => self.object(|_, reader| reader.texts(on_text)),
            Some(b'[') => self.array(|_, reader| reader.texts(on_text)),
            Some(b'"') => on_text(self.string()?),
            _ => Ok(self.value().map(drop)?),
        }
    }

    /// Reads a string.
    ///
    /// # Errors
    /// What is not a JSON string.
    pub fn string(&mut self) -> Result<Text<'a>, JsonError> {
        self.expect(b'"')?;
        let start = self.at;
        let mut has_escapes = false;
        loop {
            let stop = scan::string_end(self.text.as_bytes(), self.at);
            has_escapes |= stop.has_escapes;
            self.at = stop.at;
            match self.byte() {
                Some(b'"') => break,
                Some(b'\\') => self.escape()?,
                _ => return Err(JsonError::Malformed(self.at)),
            }
            has_escapes = true;
        }
        let raw = &self.text[start..self.at];
        self.at += 1;
        Ok(Text { raw, has_escapes })
    }

    /// Checks that only space is left.
    ///
    /// # Errors
    /// `Malformed` where something else stands.
    pub fn end(&mut self) -> Result<(), JsonError> {
        match self.peek() {
            None => Ok(()),
            Some(_) => Err(JsonError::Malformed(self.at)),
        }
    }

    fn byte(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn skip_spaces(&mut self) {
        while let Some(b' ' | b'\n' | b'\r' | b'\t') = self.byte() {
            self.at += 1;
        }
    }

    fn expect(&mut self, byte: u8) -> Result<(), JsonError> {
        if self.peek() != Some(byte) {
            return Err(JsonError::Malformed(self.at));
        }
        self.at += 1;
        Ok(())
    }

    fn open(&mut self, bracket: u8) -> Result<(), JsonError> {
        self.expect(bracket)?;
        self.depth_left = self.depth_left.checked_sub(1).ok_or(JsonError::TooDeep)?;
        Ok(())
    }

    fn close(&mut self, bracket: u8) -> Result<(), JsonError> {
        self.depth_left += 1;
        self.expect(bracket)
    }

    fn word(&mut self, word: &str) -> Result<(), JsonError> {
        if !self.text.as_bytes()[self.at..].starts_with(word.as_bytes()) {
            return Err(JsonError::Malformed(self.at));
        }
        self.at += word.len();
        Ok(())
    }

    /// Reads a number. One that needs an exponent or is very long is also checked for overflow.
    fn number(&mut self) -> Result<(), JsonError> {
        let start = self.at;
        self.at += usize::from(self.byte() == Some(b'-'));
        match self.byte() {
            Some(b'0') => self.at += 1,
            _ => self.digits()?,
        }
        if self.byte() == Some(b'.') {
            self.at += 1;
            self.digits()?;
        }
        let has_exponent = matches!(self.byte(), Some(b'e' | b'E'));
        if has_exponent {
            self.at += 1;
            self.at += usize::from(matches!(self.byte(), Some(b'+' | b'-')));
            self.digits()?;
        }
        let number = &self.text[start..self.at];
        let may_overflow = has_exponent || number.len() > 300;
        if may_overflow && !number.parse().is_ok_and(f64::is_finite) {
            return Err(JsonError::Malformed(start));
        }
        Ok(())
    }

    fn digits(&mut self) -> Result<(), JsonError> {
        let start = self.at;
        while let Some(b'0'..=b'9') = self.byte() {
            self.at += 1;
        }
        if self.at == start { Err(JsonError::Malformed(start)) } else { Ok(()) }
    }

    /// Reads one escape, and both of a surrogate pair.
    fn escape(&mut self) -> Result<(), JsonError> {
        let start = self.at;
        self.at += 1;
        match self.byte() {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => self.at += 1,
            Some(b'u') => {
                let unit = self.code_unit()?;
                let is_pair = (0xd800..0xdc00).contains(&unit);
                if is_pair {
                    self.word("\\")?;
                    let low = self.code_unit()?;
                    if !(0xdc00..0xe000).contains(&low) {
                        return Err(JsonError::Malformed(start));
                    }
                } else if (0xdc00..0xe000).contains(&unit) {
                    return Err(JsonError::Malformed(start));
                }
            }
            _ => return Err(JsonError::Malformed(start)),
        }
        Ok(())
    }

    /// Reads `u` and four hexadecimal digits.
    fn code_unit(&mut self) -> Result<u16, JsonError> {
        let error = JsonError::Malformed(self.at);
        let bytes = self.text.as_bytes().get(self.at..self.at + 5).ok_or(error)?;
        if bytes[0] != b'u' {
            return Err(error);
        }
        self.at += 5;
        bytes[1..].iter().try_fold(0, |unit, &byte| {
            let digit = char::from(byte).to_digit(16).ok_or(error)?;
            Ok(unit << 4 | u16::try_from(digit).expect("below 16"))
        })
    }
}

/// Undoes the escapes of a string that `Reader::string` has accepted.
fn unescape(raw: &str) -> String {
    serde_json::from_str(&format!("\"{raw}\"")).expect("the reader accepts no other strings")
}

/// `text` as a JSON string, with its quotes.
#[must_use]
pub fn quote(text: &str) -> String {
    serde_json::to_string(text).expect("a string always serializes")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(text: &str) -> Result<(), JsonError> {
        let mut reader = Reader::new(text, 4);
        reader.value()?;
        reader.end()
    }

    #[test]
    fn reads_what_is_json() {
        for text in
            ["{}", " [1, -0.5e+3, true,false , null] ", r#"{"a":{"b":["\u00e9\ud83d\ude00\/"]}}"#]
        {
            assert_eq!(read(text), Ok(()), "{text}");
        }
    }

    #[test]
    fn refuses_what_is_not_and_what_would_cut_a_backend() {
        for text in [
            "",
            "{",
            "{]",
            "{\"a\":1,}",
            "[1,]",
            "{'a':1}",
            "01",
            "1.",
            "1e",
            "-",
            "tru",
            "\"\n\"",
            "\"\\x\"",
            "\"\\u12g4\"",
            "{} x",
            "/* c */ {}",
            "1e999",
            "-1e400",
            r#""\ud800""#,
            r#""\ud800\u0041""#,
            r#""\udc00""#,
            "\"abc",
            "{\"a\" 1}",
        ] {
            assert!(matches!(read(text), Err(JsonError::Malformed(_))), "{text}");
        }
        assert_eq!(read(&format!("[{}]", "9".repeat(400))), Err(JsonError::Malformed(1)));
        assert_eq!(read("[[[[[]]]]]"), Err(JsonError::TooDeep));
        assert_eq!(read("[[[[]]], [[[1]]]]"), Ok(()));
    }

    #[test]
    fn the_deepest_nesting_a_setting_allows_fits_the_stack() {
        let text = format!("{}1{}", "[".repeat(900), "]".repeat(900));
        assert!(Reader::new(&text, 900).value().is_ok());
    }

    #[test]
    fn keys_and_strings_compare_with_their_escapes_undone() {
        let mut found = None;
        let mut reader = Reader::new(r#"{"\u0069d":"a\/b"}"#, 4);
        reader
            .object(|key, r| {
                assert!(key.is("id"));
                found = Some(r.string()?);
                Ok::<_, JsonError>(())
            })
            .unwrap();
        assert_eq!(found.unwrap().decode(), "a/b");
    }

    #[test]
    fn strings_are_found_at_any_depth_and_keys_are_none() {
        let mut found = Vec::new();
        let text = r#" {"a":["\u0062",1,{"c":"d"}],"e":null,"f":"g"} "#;
        Reader::new(text, 4)
            .texts(&mut |text| {
                found.push(text.decode());
                Ok::<_, JsonError>(())
            })
            .unwrap();
        assert_eq!(found, ["b", "d", "g"]);
    }

    proptest! {
        /// The reader accepts what serde_json accepts, on JSON mutated at one place.
        #[test]
        fn agrees_with_serde_json(
            text in r#"[\[\]{}":,\\ua0-9eE.+\- tfn\x00-\x1fé]{0,24}"#,
            wrapped in any::<bool>(),
            // Strings of any length meet all the ways in which they are scanned.
            before in 0usize..70,
            after in 0usize..70,
        ) {
            let (before, after) = ("x".repeat(before), "y".repeat(after));
            let wrap = |text| format!(r#"{{"a":"{before}{text}{after}"}}"#);
            let text = if wrapped { wrap(text) } else { text };
            let theirs = serde_json::from_str::<serde_json::Value>(&text).is_ok();
            let mut reader = Reader::new(&text, 128);
            let ours = reader.value().and_then(|_| reader.end()).is_ok();
            prop_assert_eq!(ours, theirs, "{}", text);
        }
    }
}
