//! Did you mean: the closest of some names.

/// The name nearest to what was written, if one is near enough to be worth a word.
pub(crate) fn closest<'a>(text: &str, names: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let limit = match text.chars().count() {
        0..=3 => 1,
        4..=5 => 2,
        _ => 3,
    };
    let near = names.into_iter().filter_map(|name| {
        let distance =
            if text.len() >= 3 && name.starts_with(text) { 1 } else { distance(text, name) };
        (distance <= limit && distance < name.chars().count()).then_some((distance, name))
    });
    near.min_by_key(|(distance, _)| *distance).map(|(_, name)| name)
}

/// Edits (insert, delete, replace, swap neighbours) from one text to the other.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut rows: Vec<Vec<usize>> = vec![(0..=b.len()).collect()];
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let replace = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut best = replace.min(rows[i - 1][j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                best = best.min(rows[i - 2][j - 2] + 1);
            }
            row.push(best);
        }
        rows.push(row);
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn typing_errors_are_seen_through_and_other_words_are_not() {
        let names = ["run", "rm", "rmi", "ps", "images", "inspect", "container", "start", "stop"];
        for (text, close) in [
            ("rnu", Some("run")),
            ("imges", Some("images")),
            ("inspct", Some("inspect")),
            ("cont", Some("container")),
            ("strat", Some("start")),
            ("p", Some("ps")),
            ("foo", None),
            ("frobnicate", None),
            ("x", None),
        ] {
            assert_eq!(closest(text, names), close, "{text}");
        }
    }
}
