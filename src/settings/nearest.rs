//! Guesses which name was meant by one that is misspelt.

/// Longest text that is taken for a misspelt name, in bytes.
const WRONG_MAX_LEN: usize = 64;

/// The one of `names` that `wrong` most likely stands for; `None` if none is near: more than a third
/// of its letters would have to change.
pub(super) fn nearest<'a>(wrong: &str, names: &[&'a str]) -> Option<&'a str> {
    if wrong.len() > WRONG_MAX_LEN {
        return None;
    }
    let near = |name: &&str| distance(wrong, name) <= (name.len() / 3).max(1);
    names.iter().copied().filter(near).min_by_key(|name| distance(wrong, name))
}

/// Letters to insert, remove, replace or swap with their neighbour to get from one text to the other.
///
/// Source: the restricted edit distance of Damerau, "A technique for computer detection and
/// correction of spelling errors", 1964.
fn distance(from: &str, to: &str) -> usize {
    let (from, to): (Vec<char>, Vec<char>) = (from.chars().collect(), to.chars().collect());
    let mut rows: Vec<Vec<usize>> = vec![(0..=to.len()).collect()];
    for i in 1..=from.len() {
        let mut row = vec![i];
        for j in 1..=to.len() {
            let is_equal = from[i - 1] == to[j - 1];
            let mut edits = rows[i - 1][j - 1] + usize::from(!is_equal);
            edits = edits.min(rows[i - 1][j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && from[i - 1] == to[j - 2] && from[i - 2] == to[j - 1] {
                edits = edits.min(rows[i - 2][j - 2] + 1);
            }
            row.push(edits);
        }
        rows.push(row);
    }
    rows[from.len()][to.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misspelt_name_finds_its_neighbour() {
        let names = ["interval_ms", "timeout_ms", "id"];
        assert_eq!(nearest("intervall_ms", &names), Some("interval_ms"));
        assert_eq!(nearest("timeout", &names), Some("timeout_ms"));
        assert_eq!(nearest("ids", &names), Some("id"));
        assert_eq!(nearest("colour", &names), None);
    }

    #[test]
    fn the_distance_counts_edits() {
        for (from, to, edits) in
            [("", "", 0), ("", "ab", 2), ("kitten", "sitting", 3), ("paht", "path", 1)]
        {
            assert_eq!(distance(from, to), edits);
        }
    }
}
