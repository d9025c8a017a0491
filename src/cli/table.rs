//! Tables for people: rows to text.

use crate::admin::BackendRow;

const BACKEND_COLUMNS: [&str; 5] = ["backend", "health", "meetings", "participants", "load"];

/// Space between columns.
const GAP: &str = "  ";

/// The backends as a table: a header, then a line each. Words stand left, numbers right; load is in
/// legs, used and at most: `12/400`.
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
    aligned(&lines, 2)
}

/// How a backend does, and that it does not stay, if it does not.
fn health(row: &BackendRow) -> String {
    if row.stay == "open" { row.health.clone() } else { format!("{}, {}", row.health, row.stay) }
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
            health: health.to_owned(),
            stay: "open".to_owned(),
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
            last_failure: None,
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
    fn a_backend_that_does_not_stay_is_shown_as_such() {
        let draining = BackendRow { stay: "draining".to_owned(), ..row("a", "healthy", (3, 12)) };
        assert!(of_backends(&[draining]).contains("a        healthy, draining  "));
    }

    #[test]
    fn a_table_without_rows_is_its_header() {
        assert_eq!(of_backends(&[]), "backend  health  meetings  participants  load\n");
    }
}
