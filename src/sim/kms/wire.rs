//! JSON as KMS reads and writes it, which is as the library jsoncpp does.

use std::fmt::Write;

use serde::Deserialize;
use serde_json::Value;

/// Deepest nesting of arrays and objects that is read. Source: jsoncpp's default stack limit.
const DEPTH_MAX: usize = 1_000;

/// Nesting that is read at once; what lies deeper is checked in pieces of this depth and replaced by
/// null, because no call looks there. So no input decides how much stack is used.
const PIECE_DEPTH: usize = 100;

/// Reads the first JSON value of `text`; `None` if there is none, or if it is nested deeper than
/// 1,000.
///
/// Comments count as space, control characters may stand in strings, whatever follows the value is
/// ignored, and of two equal keys the last wins. Below a nesting of 100 the value is null, whatever stood there.
pub(super) fn read(text: &str) -> Option<Value> {
    let is_odd = |byte: u8| byte == b'/' || byte < b' ';
    let strict = if text.bytes().any(is_odd) { to_strict(text) } else { text.to_owned() };
    let (first, mut deeper) = split(&strict)?;
    while let Some(text) = deeper.pop() {
        let (piece, below) = split(text)?;
        read_piece(&piece)?;
        deeper.extend(below);
    }
    read_piece(&first)
}

fn read_piece(text: &str) -> Option<Value> {
    let mut reader = serde_json::Deserializer::from_str(text);
    Value::deserialize(&mut reader).ok()
}

/// The first value of `text` with null for all that is nested deeper than `PIECE_DEPTH`, and the
/// texts of those parts. Brackets are counted and not matched: that is left to who reads the pieces.
/// `None` if the text is nested too deep in itself.
fn split(text: &str) -> Option<(String, Vec<&str>)> {
    let (mut kept, mut cut) = (String::with_capacity(text.len()), Vec::new());
    let (mut depth, mut kept_to, mut cut_from) = (0, 0, 0);
    let (mut in_string, mut is_escaped) = (false, false);
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' if in_string => is_escaped = true,
            b'"' => in_string = !in_string,
            b'[' | b'{' if !in_string => {
                depth += 1;
                if depth > DEPTH_MAX {
                    return None;
                }
                if depth == PIECE_DEPTH + 1 {
                    kept.push_str(&text[kept_to..at]);
                    cut_from = at;
                }
            }
            b']' | b'}' if !in_string && depth > 0 => {
                if depth == PIECE_DEPTH + 1 {
                    kept.push_str("null");
                    kept_to = at + 1;
                    cut.push(&text[cut_from..=at]);
                }
                depth -= 1;
                if depth == 0 {
                    break;
                }
            }
            _ => {}
        }
    }
    // A part that never ends stays in the text, which is then malformed.
    kept.push_str(&text[kept_to..]);
    Some((kept, cut))
}

/// Writes `value` as KMS does: members in alphabetical order, no spaces, only ASCII.
pub(super) fn write(value: &Value) -> String {
    let text = value.to_string();
    if text.is_ascii() { text } else { only_ascii(&text) }
}

/// `value` as text where a text is wanted: jsoncpp takes numbers, booleans and null for it.
pub(super) fn as_text(value: &Value) -> Option<String> {
    match value {
        Value::Null => Some(String::new()),
        Value::Bool(flag) => Some(flag.to_string()),
        Value::Number(number) => Some(number.to_string()),
        Value::String(text) => Some(text.clone()),
        Value::Array(_) | Value::Object(_) => None,
    }
}

/// `text` with what is not ASCII as `\uXXXX`, in UTF-16 halves.
fn only_ascii(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len() + 64);
    for letter in text.chars() {
        if letter.is_ascii() {
            escaped.push(letter);
            continue;
        }
        for half in letter.encode_utf16(&mut [0; 2]) {
            let _ = write!(escaped, "\\u{half:04x}");
        }
    }
    escaped
}

/// `text` with `/* */` and `//` comments outside strings made into spaces, and control characters in
/// strings escaped.
fn to_strict(text: &str) -> String {
    let mut kept = String::with_capacity(text.len());
    let mut rest = text.chars().peekable();
    let mut in_string = false;
    while let Some(letter) = rest.next() {
        match letter {
            '\\' if in_string => {
                kept.push(letter);
                kept.extend(rest.next());
                continue;
            }
            '"' => in_string = !in_string,
            '\0'..='\x1f' if in_string => {
                let _ = write!(kept, "\\u{:04x}", u32::from(letter));
                continue;
            }
            '/' if !in_string && rest.peek() == Some(&'/') => {
                rest.by_ref().take_while(|c| *c != '\n').for_each(drop);
                kept.push(' ');
                continue;
            }
            '/' if !in_string && rest.peek() == Some(&'*') => {
                rest.next();
                let mut last = ' ';
                rest.by_ref()
                    .take_while(|c| {
                        let ends = last == '*' && *c == '/';
                        last = *c;
                        !ends
                    })
                    .for_each(drop);
                kept.push(' ');
                continue;
            }
            _ => {}
        }
        kept.push(letter);
    }
    kept
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn comments_trailing_text_and_double_keys_are_taken() {
        let value = json!({ "a": "// no /* comment */", "b": 2 });
        let text = "{/* c */\"a\":\"// no /* comment */\",\"b\":1, // x\n\"b\":2} tail";
        assert_eq!(read(text), Some(value));
        for text in ["", "{oops", "/* open", "//"] {
            assert_eq!(read(text), None, "{text}");
        }
    }

    #[test]
    fn nesting_is_read_to_a_thousand_and_checked_all_the_way_down() {
        let nested = |depth: usize, core: &str| {
            let (open, close) = ("[".repeat(depth - 1), "]".repeat(depth - 1));
            format!("{{\"x\":{open}{core}{close},\"y\":\"]}}\"}}")
        };
        assert_eq!(read(&nested(3, "7")), Some(json!({ "x": [[7]], "y": "]}" })));
        for depth in [100, 101, 102, 500, 1_000] {
            let value = read(&nested(depth, "{}")[..]);
            assert_eq!(value.is_some(), depth < 1_000, "{depth}");
            assert_eq!(read(&nested(depth, "7")).unwrap()["y"], "]}", "{depth}");
            assert_eq!(read(&nested(depth, "7,")), None, "{depth}");
            assert_eq!(read(&nested(depth, "7}{8")), None, "{depth}");
        }
        assert_eq!(read(&nested(1_001, "7")), None);
        assert_eq!(read(&"[".repeat(500)), None);
        assert!(read(&format!("[]{}", "[".repeat(2_000))).is_some(), "behind the value");
    }

    #[test]
    fn control_characters_may_stand_in_strings() {
        let value = json!({ "a": "line\n\ttab\u{1}" });
        assert_eq!(read("{\n\t\"a\": \"line\n\ttab\u{1}\"}"), Some(value));
    }

    #[test]
    fn text_outside_ascii_is_escaped_and_slashes_are_not() {
        let text = write(&json!({ "b": "café 日 😀 / \"q\"\n", "a": 0.0, "c": 1_u64 << 53 }));
        let expected = "{\"a\":0.0,\"b\":\"caf\\u00e9 \\u65e5 \\ud83d\\ude00 / \\\"q\\\"\\n\",\
                        \"c\":9007199254740992}";
        assert_eq!(text, expected);
        assert_eq!(write(&json!(18_446_744_073_709_551_616.0)), "1.8446744073709552e+19");
    }
}
