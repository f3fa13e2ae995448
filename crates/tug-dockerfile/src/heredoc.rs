//! Here-document marks: `<<EOF`, `<<-EOF`, `3<<"EOF"`.

use crate::ast::Heredoc;
use crate::expand::{ExpandError, Expander, NoVariables};

/// Reads a word as a here-document's mark; none when it is not one. The content is still empty.
///
/// # Errors
/// When the name's quotes do not match.
pub(crate) fn mark(word: &str) -> Result<Option<Heredoc>, ExpandError> {
    let Some((digits, rest)) = word.split_once("<<") else { return Ok(None) };
    if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Ok(None);
    }
    let (chomp, rest) = match rest.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, rest),
    };
    let name = rest.trim_start_matches(['\t', '\n', '\u{c}', '\r', ' ']);
    if name.is_empty() || name.contains('<') {
        return Ok(None);
    }
    // With and without its quotes: where that differs, some part of the name is quoted and the content
    // is taken as it stands.
    let plain = Expander { keep_unset: true, ..Expander::new('\\') };
    let unquoted = plain.expand(name, &NoVariables)?.words;
    let quoted = Expander { raw_quotes: true, ..plain }.expand(name, &NoVariables)?.words;
    let ([unquoted], [quoted]) = (unquoted.as_slice(), quoted.as_slice()) else { return Ok(None) };
    let quotes = |text: &str| text.matches(['\'', '"']).count();
    Ok(Some(Heredoc {
        name: unquoted.clone(),
        descriptor: digits.parse().unwrap_or(0),
        expand: quotes(unquoted) == quotes(quoted),
        chomp,
        content: String::new(),
    }))
}

/// Whether the whole word is a here-document's mark.
pub(crate) fn is_mark(word: &str) -> bool {
    matches!(mark(word), Ok(Some(_)))
}

/// All marks of an instruction's line. A line whose quotes do not match has none: it is the shell's
/// business then.
pub(crate) fn marks(line: &str) -> Result<Vec<Heredoc>, ExpandError> {
    let words =
        Expander { raw_quotes: true, raw_escapes: true, keep_unset: true, ..Expander::new('\\') };
    let Ok(expanded) = words.expand(line, &NoVariables) else { return Ok(Vec::new()) };
    let mut found = Vec::new();
    for word in &expanded.words {
        found.extend(mark(word)?);
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::{is_mark, mark, marks};

    #[test]
    fn marks_of_a_line() {
        for (line, found) in [
            ("RUN <<A", vec!["A +"]),
            ("RUN <<-A", vec!["A +-"]),
            ("RUN <<  A  > b", vec!["A +"]),
            // Blanks are part of the mark only right behind `<<`.
            ("RUN <<- A", vec![]),
            ("RUN << -A", vec!["-A +"]),
            ("RUN <<'A'", vec!["A "]),
            ("RUN <<A\"B\"", vec!["AB "]),
            ("RUN <<a\\'b", vec!["a'b +"]),
            ("RUN <<'a'b\\'c", vec!["ab'c "]),
            ("RUN <<'one two'", vec!["one two "]),
            ("RUN <<$A", vec!["$A +"]),
            ("RUN 4<<A", vec!["A +"]),
            ("RUN x<<A", vec![]),
            ("RUN <<A <<B", vec!["A +", "B +"]),
            ("RUN '<<A' \"<<B\"", vec![]),
            ("RUN <<A<<B", vec![]),
            ("RUN <<", vec![]),
            ("RUN <<'A", vec![]),
        ] {
            let texts: Vec<String> = marks(line)
                .unwrap()
                .iter()
                .map(|mark| {
                    let expand = if mark.expand { "+" } else { "" };
                    let chomp = if mark.chomp { "-" } else { "" };
                    format!("{} {expand}{chomp}", mark.name)
                })
                .collect();
            assert_eq!(texts, found, "{line}");
        }
    }

    #[test]
    fn words_that_are_marks_or_not() {
        for word in ["<<A", "<<- A", "<<\"A\"", "12<<A"] {
            assert!(is_mark(word), "{word}");
        }
        for word in ["", "A", "<<", "<<-", "<A", "<<<A", "<<A sh"] {
            assert!(matches!(mark(word), Ok(None)), "{word}");
        }
        assert!(mark("<<'A").is_err());
    }
}
