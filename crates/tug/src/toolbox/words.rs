//! A line into words: quotes, backslashes and variables; what the toolbox cannot do is told.

/// Splits a line.
///
/// # Errors
/// One line about what is wrong with it.
pub(super) fn split(
    line: &str,
    variable: &dyn Fn(&str) -> String,
) -> Result<Vec<String>, &'static str> {
    const NO_SHELL: &str = "the toolbox has no pipes, redirections or lists; one command a line";
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut chars = line.chars().peekable();
    let mut in_double = false;
    while let Some(c) = chars.next() {
        match c {
            '"' => {
                in_double = !in_double;
                word.get_or_insert_default();
            }
            '\'' if !in_double => {
                let word = word.get_or_insert_default();
                loop {
                    match chars.next() {
                        Some('\'') => break,
                        Some(c) => word.push(c),
                        None => return Err("a quote is not closed"),
                    }
                }
            }
            '\\' => word.get_or_insert_default().extend(chars.next()),
            '$' => {
                let braced = chars.next_if_eq(&'{').is_some();
                let mut name = String::new();
                if !braced && chars.next_if_eq(&'?').is_some() {
                    name.push('?');
                }
                while let Some(c) =
                    chars.next_if(|c| c.is_ascii_alphanumeric() || *c == '_' || braced && *c != '}')
                {
                    name.push(c);
                }
                if braced && chars.next().is_none() {
                    return Err("a brace is not closed");
                }
                let value = if name.is_empty() { "$".to_owned() } else { variable(&name) };
                word.get_or_insert_default().push_str(&value);
            }
            '#' if !in_double && word.is_none() => break,
            '|' | '<' | '>' | ';' | '&' | '`' | '(' | ')' if !in_double => return Err(NO_SHELL),
            c if c.is_whitespace() && !in_double => words.extend(word.take()),
            c => word.get_or_insert_default().push(c),
        }
    }
    if in_double {
        return Err("a quote is not closed");
    }
    words.extend(word);
    Ok(words)
}
