//! The answers that differ behind the edge, each with the row of `docs/PROTOCOL.md` that tells why.
//!
//! A call that a refused one would have moved to another session, or that it would have ended, also
//! differs, and stands with it.

/// Answers of one recording that differ for one reason.
pub(super) struct Differs {
    file: &'static str,
    /// First cell of the row.
    pub(super) row: &'static str,
    /// Lines of the requests.
    lines: &'static [usize],
}

const fn differs(file: &'static str, row: &'static str, lines: &'static [usize]) -> Differs {
    Differs { file, row, lines }
}

const NOT_OWN: &str = "a session that is not the connection's own";
const NO_SESSION: &str = "a session that is no string, or empty";
const UNTOUCHED: &str = "`connect` or `keepAlive` with a session that has touched nothing";
const SESSIONS: &str = "`getSessions`";
const RELEASE_MANAGER: &str = "`release` of the manager";
const USED_AGAIN: &str = "an `id` used again";
const NO_ID: &str = "no `id` or null";
const GSTREAMER_FILTER: &str = "`create` of a `GStreamerFilter`";
const MALFORMED: &str = "malformed JSON";

/// All of them.
pub(super) const DIFFERENCES: &[Differs] = &[
    differs("a-server-manager", SESSIONS, &[21, 65]),
    differs("a-server-manager", RELEASE_MANAGER, &[71]),
    differs("c-media", GSTREAMER_FILTER, &[90, 109]),
    differs("d-transactions", "`newref` outside a transaction", &[47]),
    differs("d-transactions", "`transaction`, `closeSession` or `connect` in a transaction", &[49]),
    differs("d-transactions", NOT_OWN, &[57, 59]),
    differs("e-reconnect", NOT_OWN, &[155, 157, 184, 186]),
    differs("e-reconnect", UNTOUCHED, &[49, 56, 77, 83, 85]),
    differs("f-errors", MALFORMED, &[15, 24]),
    differs("f-errors", "an empty message", &[31]),
    differs("f-errors", "a value that is no object", &[38, 50, 57, 67]),
    differs("f-errors", "text behind the object", &[77]),
    differs("f-errors", "comments", &[87]),
    differs("f-errors", "an equal key twice", &[97]),
    differs("f-errors", "a batch", &[157, 169, 176]),
    differs("f-errors", NO_ID, &[246, 256, 266, 276, 308]),
    differs("f-errors", "`params` that are no object", &[318, 330, 337]),
    differs("f-errors", NO_SESSION, &[397, 399, 407, 417]),
    differs("f-errors", "`release`, `unref` or `unsubscribe` of what does not exist", &[577]),
    differs("f-errors", USED_AGAIN, &[631, 633, 647]),
    differs("f-errors", "nesting over `depth_max`", &[804, 814]),
    differs("g-sharing", SESSIONS, &[123]),
    differs("h-request-cache", "another's session in `ping`", &[15]),
    differs("h-request-cache", USED_AGAIN, &[10, 24, 28, 41, 43]),
    differs("j-gc", NOT_OWN, &[63]),
    differs("j-gc", MALFORMED, &[158]),
    differs("j-gc", SESSIONS, &[273]),
    differs("j2-gc", NOT_OWN, &[12, 14, 16, 18, 20, 22, 24, 26, 29]),
    differs("p-release-manager", RELEASE_MANAGER, &[15]),
];

/// Lines of `file` that differ, each with its row.
pub(super) fn of(file: &str) -> impl Iterator<Item = (usize, &'static str)> {
    let ours = DIFFERENCES.iter().filter(move |differs| differs.file == file);
    ours.flat_map(|differs| differs.lines.iter().map(|line| (*line, differs.row)))
}
