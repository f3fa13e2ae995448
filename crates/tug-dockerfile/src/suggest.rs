//! "did you mean": the nearest of some words, by edit distance under 3.

/// The option nearest to `word`; none when `word` itself is one of them.
pub(crate) fn nearest<'a>(
    word: &str,
    options: impl IntoIterator<Item = &'a str>,
    case_sensitive: bool,
) -> Option<String> {
    let fold = |text: &str| if case_sensitive { text.to_owned() } else { text.to_lowercase() };
    let wanted = fold(word);
    let mut best: Option<(usize, String)> = None;
    for option in options {
        let option = fold(option);
        if option == wanted {
            return None;
        }
        let distance = distance(&wanted, &option);
        if distance < best.as_ref().map_or(3, |(least, _)| *least) {
            best = Some((distance, option));
        }
    }
    let (_, found) = best?;
    Some(if case_sensitive { found } else { in_case_of(word, found) })
}

/// `found` in capitals when `model` is.
fn in_case_of(model: &str, found: String) -> String {
    if model != model.to_lowercase() && model == model.to_uppercase() {
        found.to_uppercase()
    } else {
        found
    }
}

/// Levenshtein distance in characters.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    if a.len() > 200 || b.len() > 200 {
        return usize::MAX;
    }
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, left) in a.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, right) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(left != *right);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::nearest;

    #[test]
    fn the_nearest_word_in_the_case_of_the_wrong_one() {
        let names = ["RUN", "FROM", "COPY", "ENTRYPOINT"];
        assert_eq!(nearest("RUNN", names, false).as_deref(), Some("RUN"));
        assert_eq!(nearest("cop", names, false).as_deref(), Some("copy"));
        assert_eq!(nearest("FORM", names, false).as_deref(), Some("FROM"));
        assert_eq!(nearest("EVERYTHING", names, false), None);
        assert_eq!(nearest("run", names, false), None);
    }
}
