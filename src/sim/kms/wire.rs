//! JSON as KMS reads and writes it, which is as the library jsoncpp does.

use std::fmt::Write;

use serde::Deserialize;
use serde_json::Value;

/// Reads the first JSON value of `text`; `None` if there is none.
///
/// Comments count as space, whatever follows the value is ignored, and of two equal keys the last
/// wins. Nesting deeper than 127 is refused; KMS goes to 1,000.
pub(super) fn read(text: &str) -> Option<Value> {
    let stripped = if text.contains('/') { without_comments(text) } else { text.to_owned() };
    let mut reader = serde_json::Deserializer::from_str(&stripped);
    Value::deserialize(&mut reader).ok()
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

/// `text` with `/* */` and `//` comments outside strings made into spaces.
fn without_comments(text: &str) -> String {
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
    fn text_outside_ascii_is_escaped_and_slashes_are_not() {
        let text = write(&json!({ "b": "café 日 😀 / \"q\"\n", "a": 0.0, "c": 1_u64 << 53 }));
        let expected = "{\"a\":0.0,\"b\":\"caf\\u00e9 \\u65e5 \\ud83d\\ude00 / \\\"q\\\"\\n\",\
                        \"c\":9007199254740992}";
        assert_eq!(text, expected);
        assert_eq!(write(&json!(18_446_744_073_709_551_616.0)), "1.8446744073709552e+19");
    }
}
