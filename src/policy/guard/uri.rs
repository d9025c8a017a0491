//! URIs that media servers are told to open, and the patterns that say which they may.
//!
//! Two readers of one URI must not differ: what has a user, dots that climb, encoded separators or
//! anything else that some reader takes otherwise is not read at all. Such a URI fits no pattern that
//! allows, and every pattern that denies.

use std::borrow::Cow;
use std::fmt;

use super::pattern::Pattern;

/// Schemes whose readers all end the path where the query or the fragment begins.
const HAVE_QUERIES: [&str; 6] = ["http", "https", "ws", "wss", "rtsp", "rtsps"];

/// A URI in its parts, each in one spelling.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Uri {
    /// In lower case.
    scheme: String,
    /// In lower case; empty for a file here.
    host: String,
    /// The one that is named, else the scheme's usual one.
    port: Option<u16>,
    /// Without query and fragment, percent-encoding undone.
    path: String,
}

impl Uri {
    /// Reads `text`; `None` for what two readers might take differently.
    pub(super) fn read(text: &str) -> Option<Self> {
        if !text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\') {
            return None;
        }
        let (scheme, rest) = text.split_once("://")?;
        let scheme = read_scheme(scheme)?;
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, rest) = rest.split_at(end);
        let path = without_query(&scheme, rest)?;
        let (host, port) = read_authority(authority)?;
        let host = match (scheme.as_str(), host.as_str()) {
            ("file", "" | "localhost") => String::new(),
            ("file", _) | (_, "") => return None,
            _ => host,
        };
        let port = port.or_else(|| usual_port(&scheme));
        Some(Self { scheme, host, port, path: read_path(path)? })
    }
}

/// The path in `text`, all that follows the authority.
///
/// To most schemes a media server knows, `?` and `#` mean nothing, and the whole is the path: of a file
/// it opens `a?/../../etc/x`. Source: `gst_uri_get_location` of `GStreamer`. librtmp finds more of the
/// path in the query.
fn without_query<'a>(scheme: &str, text: &'a str) -> Option<&'a str> {
    let end = text.find(['?', '#']).unwrap_or(text.len());
    (end == text.len() || HAVE_QUERIES.contains(&scheme)).then(|| &text[..end])
}

fn read_scheme(text: &str) -> Option<String> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.');
    let is_scheme = text.starts_with(|c: char| c.is_ascii_alphabetic());
    (is_scheme && text.bytes().all(is_plain)).then(|| text.to_ascii_lowercase())
}

/// Host in lower case, and the port if one is named.
fn read_authority(text: &str) -> Option<(String, Option<u16>)> {
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, Some(read_port(port)?)),
        _ => (text, None),
    };
    is_host(host).then(|| (host.to_ascii_lowercase(), port))
}

fn read_port(text: &str) -> Option<u16> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

/// Whether `text` is a name, an address, or an address of version 6 in brackets.
fn is_host(text: &str) -> bool {
    let is_of_name = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
    let is_of_address = |byte: u8| byte.is_ascii_hexdigit() || matches!(byte, b':' | b'.');
    match text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        Some(address) => address.bytes().all(is_of_address),
        None => !text.ends_with('.') && text.bytes().all(is_of_name),
    }
}

fn usual_port(scheme: &str) -> Option<u16> {
    match scheme {
        "http" | "ws" => Some(80),
        "https" | "wss" => Some(443),
        "rtsp" => Some(554),
        "rtsps" => Some(322),
        "rtmp" => Some(1935),
        _ => None,
    }
}

/// Undoes percent-encoding, once. Refuses what climbs, what is empty, and what a second reading would
/// change.
fn read_path(text: &str) -> Option<String> {
    let decoded = decode(text)?;
    let mut segments = decoded.split('/').skip(1).peekable();
    while let Some(segment) = segments.next() {
        let is_last = segments.peek().is_none();
        if segment == "." || segment == ".." || segment.is_empty() && !is_last {
            return None;
        }
    }
    Some(decoded.into_owned())
}

fn decode(text: &str) -> Option<Cow<'_, str>> {
    if !text.contains('%') {
        return Some(Cow::Borrowed(text));
    }
    let mut decoded = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            decoded.push(byte);
            continue;
        }
        let mut digit = || char::from(bytes.next()?).to_digit(16);
        let value = u8::try_from(digit()? << 4 | digit()?).ok()?;
        if value.is_ascii_control() || matches!(value, b'%' | b'/' | b'\\' | b'.' | b'?' | b'#') {
            return None;
        }
        decoded.push(value);
    }
    String::from_utf8(decoded).ok().map(Cow::Owned)
}

/// Which URIs: `SCHEME://HOST[:PORT][/PATH]`.
///
/// `*` may stand for the scheme, for any part of the host, and for the port. Without a port, the
/// scheme's usual one. A path covers itself and what is below it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct UriPattern {
    text: String,
    scheme: Pattern,
    host: Pattern,
    port: Port,
    path: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Port {
    Any,
    Usual,
    This(u16),
}

impl UriPattern {
    /// What [`Self::parse`] expects.
    pub(super) const FORM: &'static str = "a pattern like uri=https://*.example.org/clips/";

    /// Reads a pattern; `None` for what is none.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (scheme, rest) = text.split_once("://")?;
        let is_scheme = scheme == "*" || read_scheme(scheme).is_some();
        let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, "*")) => (host, Port::Any),
            Some((host, port)) if !port.ends_with(']') => (host, Port::This(read_port(port)?)),
            _ if scheme == "*" => (authority, Port::Any),
            _ => (authority, Port::Usual),
        };
        let is_host = is_host(&host.replace('*', "x"));
        let is_path =
            read_path(path).is_some_and(|read| read == path) && !path.contains(['?', '#']);
        (is_scheme && is_host && is_path).then(|| Self {
            text: text.to_owned(),
            scheme: Pattern::new(&scheme.to_ascii_lowercase()),
            host: Pattern::new(&host.to_ascii_lowercase()),
            port,
            path: path.to_owned(),
        })
    }

    /// Whether `uri` is one of those meant.
    pub(super) fn covers(&self, uri: &Uri) -> bool {
        let is_port = match self.port {
            Port::Any => true,
            Port::Usual => uri.port == usual_port(&uri.scheme),
            Port::This(port) => uri.port == Some(port),
        };
        is_port
            && self.scheme.fits(&uri.scheme)
            && self.host.fits(&uri.host)
            && uri.path.strip_prefix(&self.path).is_some_and(|rest| {
                rest.is_empty()
                    || self.path.is_empty()
                    || self.path.ends_with('/')
                    || rest.starts_with('/')
            })
    }
}

impl fmt::Display for UriPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "uri={}", self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn covers(pattern: &str, uri: &str) -> bool {
        let uri = Uri::read(uri).unwrap_or_else(|| panic!("{uri} can be read"));
        UriPattern::parse(pattern).unwrap().covers(&uri)
    }

    #[test]
    fn a_pattern_covers_scheme_host_port_and_what_is_below_its_path() {
        for (pattern, uri) in [
            ("https://cdn.example.org/clips/", "https://cdn.example.org/clips/a.webm"),
            ("https://cdn.example.org/clips/", "HTTPS://CDN.Example.ORG:443/clips/a.webm?t=../x"),
            ("https://cdn.example.org/clips", "https://cdn.example.org/clips"),
            ("https://cdn.example.org/clips", "https://cdn.example.org/clips/b/c"),
            ("https://cdn.example.org/clips/", "https://cdn.example.org/%63lips/a%20b"),
            ("https://*.example.org", "https://a.b.example.org/any"),
            ("https://*.example.org", "https://a.b.example.org"),
            ("rtsp://10.0.0.5:8554/", "rtsp://10.0.0.5:8554/cam?user=../x#y"),
            ("http://*:*", "http://h:22/"),
            ("file:///var/spool/", "file:///var/spool/x.webm"),
            ("file:///var/spool/", "file://localhost/var/spool/x.webm"),
            ("*://media.example.org", "rtmp://media.example.org/live"),
            ("http://[::1]:8000/", "http://[::1]:8000/a"),
        ] {
            assert!(covers(pattern, uri), "{pattern} covers {uri}");
        }
        for (pattern, uri) in [
            ("https://cdn.example.org/clips/", "http://cdn.example.org/clips/a"),
            ("https://cdn.example.org/clips/", "https://cdn.example.org/clipsy"),
            ("https://cdn.example.org/clips", "https://cdn.example.org/clipsy"),
            ("https://cdn.example.org/clips/", "https://cdn.example.org/Clips/a"),
            ("https://cdn.example.org", "https://cdn.example.org:22/"),
            ("https://cdn.example.org", "https://cdn.example.org.evil.net/"),
            ("https://*.example.org", "https://example.org/"),
            ("https://*.example.org", "https://evilexample.org/"),
            ("file:///var/spool/", "file:///var/spool"),
            ("file:///var/spool/", "http://x/var/spool/y"),
        ] {
            assert!(!covers(pattern, uri), "{pattern} does not cover {uri}");
        }
    }

    #[test]
    fn what_two_readers_might_take_differently_is_not_read() {
        for uri in [
            "",
            "x.webm",
            "/etc/passwd",
            "file:/etc/passwd",
            "file://elsewhere/etc/passwd",
            "https:///clips/a",
            "https://user@cdn.example.org/clips/a",
            "https://cdn.example.org@evil.net/clips/a",
            "https://cdn.example.org:44x/",
            "https://cdn.example.org:99999/",
            "https://cdn.example.org./clips/",
            "https://cdn%2eexample.org/",
            "https://cdn.example.org/clips/../private",
            "https://cdn.example.org/clips/./a",
            "https://cdn.example.org/clips//a",
            "https://cdn.example.org/clips/%2e%2e/private",
            "https://cdn.example.org/clips%2f..%2fprivate",
            "https://cdn.example.org/%25%32%65",
            "https://cdn.example.org/%0a",
            "https://cdn.example.org/%zz",
            "https://cdn.example.org/%f",
            "https://cdn.example.org/%ff",
            "https://cdn.example.org/a b",
            "https://cdn.example.org\\@evil.net/",
            "https://exämple.org/",
            "1https://cdn.example.org/",
            "file:///var/spool/a?/../../../etc/cron.d/x",
            "file:///var/spool/a#/../../../etc/cron.d/x",
            "file://?/etc/passwd",
            "FILE:///var/spool/a?",
            "rtmp://media.example.org/live?slist=private",
            "srt://media.example.org/?mode=listener",
        ] {
            assert_eq!(Uri::read(uri), None, "{uri}");
        }
    }

    #[test]
    fn a_pattern_that_could_never_fit_is_refused() {
        for pattern in [
            "",
            "cdn.example.org",
            "https:/x",
            "https://user@x/",
            "https://x:port/",
            "https://x/../y",
            "https://x/a?b",
            "https://x/%41",
            "ht*p://x/",
        ] {
            assert_eq!(UriPattern::parse(pattern), None, "{pattern}");
        }
        let pattern = UriPattern::parse("https://*.Example.org:*/a/").unwrap();
        assert_eq!(pattern.to_string(), "uri=https://*.Example.org:*/a/");
    }
}
