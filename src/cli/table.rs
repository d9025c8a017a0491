//! Tables for people: rows to text.

use crate::admin::{BackendRow, DrainRow, Then};

const BACKEND_COLUMNS: [&str; 5] = ["backend", "health", "meetings", "participants", "load"];

/// Space between columns.
const GAP: &str = "  ";

/// The backends as a table: a header, then a line each. Words stand left, numbers right; load is in
/// legs, used and at most: `12/400`. Below it, a line for each drain.
#[must_use]
pub fn of_backends(rows: &[BackendRow]) -> String {
    let mut lines = vec![BACKEND_COLUMNS.map(str::to_owned)];
    lines.extend(rows.iter().map(|row| {
        [
            row.id.clone(),
            health(row),
            row.meetings.to_string(),
            row.participants.to_string(),
            format!("{}/{}", row.load_legs, row.capacity_legs),
        ]
    }));
    let drains: String = rows.iter().filter_map(of_drain).collect();
    let gap = if drains.is_empty() { "" } else { "\n" };
    format!("{}{gap}{drains}", aligned(&lines, 2))
}

/// What the drain of a backend still has to do, in a line; `None` if it is not drained.
#[must_use]
pub fn of_drain(row: &BackendRow) -> Option<String> {
    let drain = row.drain.as_ref()?;
    let DrainRow { meetings, people, .. } = drain;
    let left = drain.left_ms.map_or_else(|| "not known".to_owned(), duration);
    let moved = match drain.deadline_ms {
        None => "never".to_owned(),
        Some(0) => "now".to_owned(),
        Some(ms) => format!("in {}", duration(ms)),
    };
    let then = match drain.then {
        Then::Stay => "stays",
        Then::Remove => "is removed",
    };
    let id = &row.id;
    Some(format!(
        "{id}: meetings {meetings}, people {people}, expected time left {left}; moves what is left \
         {moved}, then {then}\n"
    ))
}

/// Milliseconds as people read them: `1h 5m`, `5m 3s`, `3s`.
fn duration(ms: u64) -> String {
    let seconds = ms.div_ceil(1_000);
    let (hours, minutes, seconds) = (seconds / 3_600, seconds / 60 % 60, seconds % 60);
    match (hours, minutes) {
        (0, 0) => format!("{seconds}s"),
        (0, _) => format!("{minutes}m {seconds}s"),
        (_, _) => format!("{hours}h {minutes}m"),
    }
}

/// How a backend does and why, and that it does not stay, if it does not.
fn health(row: &BackendRow) -> String {
    let cause = row.out_cause.as_ref().map(|cause| format!(" ({cause})")).unwrap_or_default();
    let stay = if row.stay == "open" { String::new() } else { format!(", {}", row.stay) };
    format!("{}{cause}{stay}", row.health)
}

/// Writes `lines` so that cells of a column stand below each other, the first `words` columns left
/// and the others right.
pub(super) fn aligned<const N: usize>(lines: &[[String; N]], words: usize) -> String {
    let mut widths = [0; N];
    for line in lines {
        for (width, cell) in widths.iter_mut().zip(line) {
            *width = cell.chars().count().max(*width);
        }
    }
    let mut text = String::new();
    for line in lines {
        let cells = line.iter().zip(widths).enumerate().map(|(column, (cell, width))| {
            if column < words { format!("{cell:<width$}") } else { format!("{cell:>width$}") }
        });
        text.push_str(cells.collect::<Vec<_>>().join(GAP).trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::MediaRow;

    fn row(id: &str, health: &str, (meetings, participants): (u64, u64)) -> BackendRow {
        BackendRow {
            id: id.to_owned(),
            url: "ws://127.0.0.1:9001/kurento".to_owned(),
            source: Some("config".to_owned()),
            health: health.to_owned(),
            stay: "open".to_owned(),
            drain: None,
            takes_pins: true,
            server_id: None,
            version: None,
            capacity_legs: 400,
            load_legs: 12,
            measured_legs: 9,
            media: MediaRow::default(),
            meetings,
            participants,
            links: 0,
            cpu_count: None,
            cpu_percent: None,
            memory_kb: None,
            last_probe_ms: None,
            last_deep_ms: None,
            last_failure: None,
            out_cause: None,
            spared_cause: None,
        }
    }

    #[test]
    fn columns_line_up() {
        let rows = [row("kms-a", "healthy", (3, 12)), row("kms-paris", "ejected", (1_000, 0))];
        let expected = "\
backend    health   meetings  participants    load
kms-a      healthy         3            12  12/400
kms-paris  ejected      1000             0  12/400
";
        assert_eq!(of_backends(&rows), expected);
    }

    #[test]
    fn why_a_backend_is_out_is_shown() {
        let full =
            BackendRow { out_cause: Some("full".to_owned()), ..row("a", "ejected", (3, 12)) };
        assert!(of_backends(&[full]).contains("a        ejected (full)  "));
    }

    #[test]
    fn a_backend_that_does_not_stay_is_shown_as_such() {
        let draining = BackendRow { stay: "draining".to_owned(), ..row("a", "healthy", (3, 12)) };
        assert!(of_backends(&[draining]).contains("a        healthy, draining  "));
    }

    #[test]
    fn a_drain_tells_what_is_left_of_it() {
        let drain = |deadline_ms, then, left_ms| {
            let by = "operator".to_owned();
            let drain =
                DrainRow { since_ms: 0, deadline_ms, then, by, meetings: 3, people: 12, left_ms };
            let row = BackendRow { drain: Some(drain), ..row("a", "healthy", (3, 12)) };
            of_drain(&row).unwrap()
        };
        let told = drain(Some(3_500_000), Then::Remove, Some(3_600_000));
        let expected = "a: meetings 3, people 12, expected time left 1h 0m; moves what is left in \
                        58m 20s, then is removed\n";
        assert_eq!(told, expected);
        assert!(
            drain(Some(0), Then::Stay, Some(1_500)).contains("left 2s; moves what is left now")
        );
        assert!(drain(None, Then::Stay, None).contains("left not known; moves what is left never"));
        assert_eq!(of_drain(&row("a", "healthy", (3, 12))), None);
    }

    #[test]
    fn a_table_without_rows_is_its_header() {
        assert_eq!(of_backends(&[]), "backend  health  meetings  participants  load\n");
    }
}
