//! Guesses which name was meant by one that is misspelt.

/// The one of `names` that `wrong` most likely stands for; `None` if none is near: more than a third
/// of its letters would have to change.
pub(super) fn nearest<'a>(wrong: &str, names: &[&'a str]) -> Option<&'a str> {
    let near = |name: &&str| distance(wrong, name) <= (name.len() / 3).max(1);
    names.iter().copied().filter(near).min_by_key(|name| distance(wrong, name))
}

/// Letters to insert, remove or replace to get from one text to the other (Levenshtein).
fn distance(from: &str, to: &str) -> usize {
    let mut row: Vec<usize> = (0..=to.chars().count()).collect();
    for (i, a) in from.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, b) in to.chars().enumerate() {
            let replaced = diagonal + usize::from(a != b);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[to.chars().count()]
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
        for (from, to, edits) in [("", "", 0), ("", "ab", 2), ("kitten", "sitting", 3)] {
            assert_eq!(distance(from, to), edits);
        }
    }
}
