//! The policy of a listener: a table of rows, read from above like a firewall's.

use std::fmt;

use super::TEXT_OPERATIONS;
use super::call::{Call, Given};
use super::pattern::Pattern;
use super::uri::UriPattern;
use crate::protocol::object::ObjectType;
use crate::protocol::request::Method;

/// Rows that stand below those of the operator, unless he has them himself.
///
/// A `GStreamerFilter` runs any pipeline that its creator writes down, file sinks included.
/// `dumpGstreamerDot` writes a file on the server at each call and answers nothing.
const BUILT_IN: [&str; 3] = [
    "deny create GStreamerFilter",
    "deny invoke GStreamerFilter setElementProperty",
    "deny invoke * dumpGstreamerDot",
];

/// Columns of a row: action, method, type, name, `uri=`.
const COLUMNS_MAX: usize = 5;

/// How many rows an operator may write. A message is compared with those of its method, one by one.
const ROWS_MAX: usize = 256;

/// Why a table cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PolicyError {
    /// This row, counted from 1, is not of the form; carries what is wrong with it.
    #[error("row {0}: {1}")]
    Row(usize, String),
    /// More rows than that.
    #[error("more than {0} rows")]
    TooLong(usize),
}

/// What clients of a listener may ask: the first row that fits a call decides; what no row fits is
/// allowed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    rows: Vec<Row>,
    /// The rows of each method, in the order of [`Method`].
    by_method: [Vec<Row>; Method::ALL.len()],
    /// For each of [`TEXT_OPERATIONS`], whether no row can be about it.
    is_silent_on: [bool; TEXT_OPERATIONS.len()],
}

impl Default for Policy {
    /// The built-in rows.
    fn default() -> Self {
        Self::parse(&[]).expect("the built-in rows are rows")
    }
}

impl Policy {
    /// Reads a table and puts the built-in rows below it, those left out that it holds already.
    ///
    /// A row is `ACTION METHOD [TYPE [NAME]] [uri=PATTERN]`. ACTION is `allow` or `deny`; METHOD one of
    /// the protocol's or `*`; TYPE that of the object, or of what is created; NAME the operation that
    /// is invoked, or the event that is subscribed to. `*` in TYPE and NAME stands for any
    /// characters. A TYPE with a dot is compared with module and name, else with the name alone.
    ///
    /// # Errors
    /// The first row that is none.
    pub fn parse(rows: &[String]) -> Result<Self, PolicyError> {
        if rows.len() > ROWS_MAX {
            return Err(PolicyError::TooLong(ROWS_MAX));
        }
        let read = |(index, text): (usize, &String)| {
            Row::parse(text).map_err(|why| PolicyError::Row(index + 1, why))
        };
        let mut table: Vec<Row> = rows.iter().enumerate().map(read).collect::<Result<_, _>>()?;
        for text in BUILT_IN {
            let row = Row::parse(text).expect("the built-in rows are rows");
            if !table.contains(&row) {
                table.push(row);
            }
        }
        let of = |method: Method| {
            let is_meant = |row: &&Row| row.method.is_none_or(|meant| meant == method);
            table.iter().filter(is_meant).cloned().collect::<Vec<Row>>()
        };
        let by_method = Method::ALL.map(of);
        let invokes = &by_method[Method::Invoke as usize];
        let is_silent_on =
            TEXT_OPERATIONS.map(|operation| invokes.iter().all(|row| !row.name.fits(operation)));
        Ok(Self { rows: table, by_method, is_silent_on })
    }

    /// The table as it is in force, a row each, column under column.
    pub fn rows(&self) -> impl Iterator<Item = String> {
        let rows: Vec<String> = self.rows.iter().map(Row::to_string).collect();
        let width = |at| {
            let cells = rows.iter().filter_map(|row| row.split(' ').nth(at));
            cells.map(str::len).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..COLUMNS_MAX).map(width).collect();
        rows.into_iter().map(move |row| {
            let cells = row.split(' ').zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
            cells.collect::<Vec<_>>().join(" ").trim_end().to_owned()
        })
    }

    /// Whether no row is about the operation at this place of [`TEXT_OPERATIONS`].
    pub(super) const fn is_silent_on(&self, operation: usize) -> bool {
        self.is_silent_on[operation]
    }

    /// Whether a call may go on.
    pub(super) fn allows(&self, call: &Call<'_>) -> bool {
        let rows = &self.by_method[call.method as usize];
        rows.iter().find(|row| row.fits(call)).is_none_or(|row| row.is_allowed)
    }
}

/// One row. Its method is told by where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Row {
    is_allowed: bool,
    /// `None` for each.
    method: Option<Method>,
    kind: Pattern,
    name: Pattern,
    uri: Option<UriPattern>,
}

impl Row {
    fn parse(text: &str) -> Result<Self, String> {
        let mut words = text.split_whitespace();
        let is_allowed = match words.next() {
            Some("allow") => true,
            Some("deny") => false,
            found => return Err(expected("allow or deny", found)),
        };
        let method = match words.next() {
            Some("*") => None,
            Some(name) => Some(method(name).ok_or_else(|| expected("a method or *", Some(name)))?),
            None => return Err(expected("a method or *", None)),
        };
        let mut columns: Vec<&str> = words.collect();
        let uri = columns.pop_if(|word| word.starts_with("uri="));
        let uri = uri.map(|word| {
            let takes_uri = matches!(method, Some(Method::Create | Method::Invoke));
            let pattern = UriPattern::parse(&word["uri=".len()..]);
            let what = "uri= with create or invoke only";
            let pattern = pattern.ok_or_else(|| expected(UriPattern::FORM, Some(word)));
            if takes_uri { pattern } else { Err(expected(what, Some(word))) }
        });
        let has_name = matches!(method, Some(Method::Invoke | Method::Subscribe));
        let columns_max = if has_name { 2 } else { 1 };
        if let Some(more) = columns.get(columns_max) {
            return Err(expected("nothing more", Some(more)));
        }
        let pattern = |at: usize| Pattern::new(columns.get(at).copied().unwrap_or("*"));
        let (kind, name) = (pattern(0), pattern(1));
        Ok(Self { is_allowed, method, kind, name, uri: uri.transpose()? })
    }

    fn fits(&self, call: &Call<'_>) -> bool {
        self.fits_name(call) && self.fits_kind(call) && self.fits_uri(call)
    }

    fn fits_name(&self, call: &Call<'_>) -> bool {
        self.name.is_any() || call.name().is_some_and(|name| self.name.fits(&name.decode()))
    }

    fn fits_kind(&self, call: &Call<'_>) -> bool {
        self.kind.is_any()
            || call.has_kind(|ObjectType { module, name }| {
                if !self.kind.as_str().contains('.') {
                    return self.kind.fits(name);
                }
                self.kind.fits(&format!("{}.{name}", module.unwrap_or("kurento")))
            })
    }

    fn fits_uri(&self, call: &Call<'_>) -> bool {
        let Some(pattern) = &self.uri else { return true };
        match call.uri() {
            Given::Nothing => false,
            Given::Unreadable => !self.is_allowed,
            Given::Uri(uri) => pattern.covers(uri),
        }
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let action = if self.is_allowed { "allow" } else { "deny" };
        let method = self.method.map_or("*", Method::name);
        write!(f, "{action} {method}")?;
        let (kind, name) = (self.kind.as_str(), self.name.as_str());
        if !self.name.is_any() {
            write!(f, " {kind} {name}")?;
        } else if !self.kind.is_any() {
            write!(f, " {kind}")?;
        }
        self.uri.as_ref().map_or(Ok(()), |uri| write!(f, " {uri}"))
    }
}

fn method(name: &str) -> Option<Method> {
    Method::ALL.into_iter().find(|method| method.name() == name)
}

fn expected(what: &str, found: Option<&str>) -> String {
    match found {
        Some(found) => format!("expected {what}, found {found:?}"),
        None => format!("expected {what}"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::protocol::request::parse_request;

    fn policy(rows: &[&str]) -> Policy {
        Policy::parse(&rows.iter().map(|row| (*row).to_owned()).collect::<Vec<_>>()).unwrap()
    }

    fn allows(policy: &Policy, method: &str, params: &serde_json::Value) -> bool {
        let text = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params});
        let text = text.to_string();
        let request = parse_request(&text, 64).unwrap();
        policy.allows(&Call::alone(request.method, &request.params))
    }

    fn creates(policy: &Policy, kind: &str, uri: &str) -> bool {
        allows(policy, "create", &json!({"type": kind, "constructorParams": {"uri": uri}}))
    }

    #[test]
    fn the_first_row_that_fits_decides_and_what_none_fits_is_allowed() {
        let policy = policy(&[
            "allow create PlayerEndpoint uri=https://cdn.example.org/clips/",
            "deny  create PlayerEndpoint",
            "deny create chroma.*",
            "deny release MediaPipeline",
            "deny subscribe * Media*",
        ]);
        assert!(creates(&policy, "PlayerEndpoint", "https://cdn.example.org/clips/a"));
        assert!(creates(&policy, "kurento.PlayerEndpoint", "https://cdn.example.org/clips/a"));
        for uri in ["file:///etc/passwd", "https://cdn.example.org/clips/../a", "newref:0"] {
            assert!(!creates(&policy, "PlayerEndpoint", uri), "{uri}");
        }
        assert!(!allows(&policy, "create", &json!({"type": "PlayerEndpoint"})));
        assert!(!creates(&policy, "chroma.ChromaFilter", ""));
        assert!(creates(&policy, "WebRtcEndpoint", ""));
        let pipeline = "42f11eab-5c0d-42c7-88c1-2dad584b2ae0_kurento.MediaPipeline";
        assert!(!allows(&policy, "release", &json!({"object": pipeline})));
        assert!(allows(&policy, "describe", &json!({"object": pipeline})));
        let event = |name: &str| json!({"object": pipeline, "type": name});
        assert!(!allows(&policy, "subscribe", &event("MediaFlowInStateChanged")));
        assert!(allows(&policy, "subscribe", &event("Error")));
    }

    #[test]
    fn most_traffic_is_read_only_if_a_row_is_about_it() {
        let is_silent = |rows: &[&str]| {
            let policy = policy(rows);
            (0..TEXT_OPERATIONS.len()).all(|at| policy.is_silent_on(at))
        };
        assert!(is_silent(&[]) && is_silent(&["deny create *", "deny invoke * setStun*"]));
        for row in ["deny *", "allow invoke", "deny invoke RtpEndpoint", "deny invoke * add*"] {
            assert!(!is_silent(&[row]), "{row}");
        }
    }

    #[test]
    fn what_a_deny_row_cannot_read_it_refuses() {
        let policy = policy(&["deny create RecorderEndpoint uri=file:///etc/"]);
        assert!(!creates(&policy, "RecorderEndpoint", "file:///etc/passwd"));
        assert!(!creates(&policy, "RecorderEndpoint", "file:////etc/passwd"));
        assert!(!creates(&policy, "RecorderEndpoint", "file://localhost/%65tc/passwd"));
        assert!(creates(&policy, "RecorderEndpoint", "file:///var/spool/a.webm"));
        let twice = concat!(
            r#"{"jsonrpc":"2.0","id":1,"method":"create","params":{"type":"RecorderEndpoint","#,
            r#""constructorParams":{"uri":"file:///etc/a","u\u0072i":"file:///var/a"}}}"#
        );
        let request = parse_request(twice, 64).unwrap();
        assert!(!policy.allows(&Call::alone(request.method, &request.params)));
    }

    #[test]
    fn dangerous_things_are_off_until_an_operator_allows_them() {
        let policy_by_default = Policy::default();
        let filter = concat!(
            "42f11eab-5c0d-42c7-88c1-2dad584b2ae0_kurento.MediaPipeline/",
            "1cb3b4c4-8a4c-4f5d-9a0e-0a2c2c6b7d11_kurento.GStreamerFilter"
        );
        let invoke = |operation: &str| json!({"object": filter, "operation": operation});
        for kind in ["GStreamerFilter", "kurento.GStreamerFilter", "other.GStreamerFilter"] {
            assert!(!creates(&policy_by_default, kind, ""), "{kind}");
        }
        for operation in ["setElementProperty", "dumpGstreamerDot"] {
            assert!(!allows(&policy_by_default, "invoke", &invoke(operation)), "{operation}");
        }
        assert!(allows(&policy_by_default, "invoke", &invoke("getGstreamerDot")));
        let allowing = policy(&["allow create GStreamerFilter"]);
        assert!(creates(&allowing, "GStreamerFilter", ""));
        assert!(!allows(&allowing, "invoke", &invoke("setElementProperty")));
    }

    #[test]
    fn the_table_in_force_reads_back_as_the_same_table() {
        let policy = policy(&[
            "allow  invoke * get*",
            "allow create RecorderEndpoint uri=file:///var/spool/",
            "deny * ServerManager",
            "deny transaction",
        ]);
        let rows: Vec<String> = policy.rows().collect();
        let table = [
            "allow invoke      *                get*",
            "allow create      RecorderEndpoint uri=file:///var/spool/",
            "deny  *           ServerManager",
            "deny  transaction",
            "deny  create      GStreamerFilter",
            "deny  invoke      GStreamerFilter  setElementProperty",
            "deny  invoke      *                dumpGstreamerDot",
        ];
        assert_eq!(rows, table);
        assert_eq!(Policy::parse(&rows), Ok(policy));
    }

    #[test]
    fn a_row_that_is_none_is_refused_with_its_number() {
        for (row, why) in [
            ("", "expected allow or deny"),
            ("permit create", "expected allow or deny, found \"permit\""),
            ("allow", "expected a method or *"),
            ("allow pi\\ng", "expected a method or *, found \"pi\\\\ng\""),
            ("allow invent", "expected a method or *, found \"invent\""),
            ("deny create A B", "expected nothing more, found \"B\""),
            ("deny invoke A b c", "expected nothing more, found \"c\""),
            (
                "deny release A uri=http://x/",
                "expected uri= with create or invoke only, found \"uri=http://x/\"",
            ),
        ] {
            let rows = ["allow *".to_owned(), row.to_owned()];
            let error = Policy::parse(&rows).unwrap_err();
            assert_eq!(error, PolicyError::Row(2, why.to_owned()), "{row}");
        }
        assert!(Policy::parse(&["deny create A uri=x".to_owned()]).is_err());
        assert!(Policy::parse(&vec!["allow *".to_owned(); 257]).is_err());
    }
}
