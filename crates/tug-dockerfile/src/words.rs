//! Splitting an instruction's line: keyword, flags, words. Quotes and variables stay in place.

use std::ops::Range;

/// A word and the bytes of the line it was taken from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Word {
    pub(crate) text: String,
    pub(crate) range: Range<usize>,
}

/// What separates a keyword from its arguments, and words without quotes from each other.
pub(crate) fn is_blank(c: char) -> bool {
    matches!(c, '\t' | '\u{b}' | '\u{c}' | '\r' | ' ')
}

/// `range` without white space around it.
pub(crate) fn trimmed(line: &str, range: Range<usize>) -> Range<usize> {
    let text = &line[range.clone()];
    let start = range.start + (text.len() - text.trim_start().len());
    start..start + text.trim().len()
}

/// The first word of `range`, and what follows.
pub(crate) fn keyword(line: &str, range: Range<usize>) -> (Word, Range<usize>) {
    let range = trimmed(line, range);
    let text = &line[range.clone()];
    let end = range.start + text.find(is_blank).unwrap_or(text.len());
    let word = Word { text: line[range.start..end].to_owned(), range: range.start..end };
    let rest = line[end..range.end].trim_start_matches(is_blank);
    (word, range.end - rest.len()..range.end)
}

/// The words that start with `--` at the front of `range`, quotes and escapes taken away, and what
/// follows. `--` alone ends them.
pub(crate) fn flags(line: &str, range: Range<usize>, escape: char) -> (Vec<Word>, Range<usize>) {
    let mut found = Vec::new();
    let mut at = range.start;
    loop {
        let rest = &line[at..range.end];
        at += rest.len() - rest.trim_start().len();
        if !line[at..range.end].starts_with("--") {
            break;
        }
        let (text, quoted, length) = flag(&line[at..range.end], escape);
        let word = Word { text, range: at..at + length };
        at += length;
        if word.text == "--" {
            break;
        }
        if quoted || !word.text.is_empty() {
            found.push(word);
        }
    }
    (found, trimmed(line, at..range.end))
}

/// One flag: its text without quotes, whether there were quotes, and how many bytes it takes.
fn flag(rest: &str, escape: char) -> (String, bool, usize) {
    let mut text = String::new();
    let mut quote = None;
    let mut quoted = false;
    let mut chars = rest.char_indices();
    while let Some((at, c)) = chars.next() {
        match quote {
            None if c.is_whitespace() => return (text, quoted, at),
            None if c == '\'' || c == '"' => {
                quote = Some(c);
                quoted = true;
            }
            Some(open) if c == open => quote = None,
            // At the very end it goes.
            _ if c == escape => text.extend(chars.next().map(|(_, escaped)| escaped)),
            _ => text.push(c),
        }
    }
    (text, quoted, rest.len())
}

/// Words separated by white space, where quotes and escapes keep it together; both stay in place.
pub(crate) fn quoted(line: &str, range: Range<usize>, escape: char) -> Vec<Word> {
    let mut words = Vec::new();
    let mut start = None;
    let mut quote = None;
    let mut chars = line[range.clone()].char_indices().map(|(at, c)| (at + range.start, c));
    while let Some((at, c)) = chars.next() {
        if quote.is_none() && c.is_whitespace() {
            if let Some(start) = start.take() {
                words.push(Word { text: line[start..at].to_owned(), range: start..at });
            }
            continue;
        }
        start.get_or_insert(at);
        match quote {
            Some(open) if c == open => quote = None,
            None if c == '\'' || c == '"' => quote = Some(c),
            _ => {}
        }
        if c == escape && quote != Some('\'') && chars.next().is_none() {
            // An escape character at the very end goes.
            let first = start.take().unwrap_or(at);
            if first < at {
                words.push(Word { text: line[first..at].to_owned(), range: first..at });
            }
            return words;
        }
    }
    if let Some(start) = start {
        words.push(Word { text: line[start..range.end].to_owned(), range: start..range.end });
    }
    words
}

/// Words separated by blanks, quotes meaning nothing.
pub(crate) fn plain(line: &str, range: Range<usize>) -> Vec<Word> {
    let mut words = Vec::new();
    let mut at = range.start;
    for part in line[range].split(is_blank) {
        if !part.is_empty() {
            words.push(Word { text: part.to_owned(), range: at..at + part.len() });
        }
        at += part.len() + 1;
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(words: &[Word]) -> Vec<&str> {
        words.iter().map(|word| word.text.as_str()).collect()
    }

    #[test]
    fn flags_end_at_the_first_other_word() {
        let line = "COPY --from=a --chown=\"x y\":z --a\\ b=c -- --d e";
        let (word, rest) = keyword(line, 0..line.len());
        let (found, rest) = flags(line, rest, '\\');
        assert_eq!((word.text.as_str(), &line[rest]), ("COPY", "--d e"));
        assert_eq!(texts(&found), ["--from=a", "--chown=x y:z", "--a b=c"]);
        assert_eq!(&line[found[1].range.clone()], "--chown=\"x y\":z");
        let (found, rest) = flags("a --b", 0..5, '\\');
        assert_eq!((found.len(), rest), (0, 0..5));
    }

    #[test]
    fn quotes_and_escapes_keep_words_together() {
        for (line, words) in [
            ("a=b c=d", vec!["a=b", "c=d"]),
            ("a=\"b c\" d='e f'", vec!["a=\"b c\"", "d='e f'"]),
            ("a=b\\ c d", vec!["a=b\\ c", "d"]),
            ("a='b\\' c", vec!["a='b\\'", "c"]),
            ("a=\"b\\\" c\" d", vec!["a=\"b\\\" c\"", "d"]),
            ("a=b\\", vec!["a=b"]),
            ("a \\", vec!["a"]),
            ("  a  ", vec!["a"]),
            ("a=\"b c", vec!["a=\"b c"]),
        ] {
            assert_eq!(texts(&quoted(line, 0..line.len(), '\\')), words, "{line}");
        }
    }
}
