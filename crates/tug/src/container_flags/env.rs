//! Variables and labels: `NAME=value` from the command line and from files.

use super::Surroundings;
use crate::flags::Parsed;
use crate::quit::Quit;
use std::collections::BTreeMap;

/// Where `-e NAME` takes its value from.
pub(crate) type Variables<'a> = &'a dyn Fn(&str) -> Option<String>;

/// The value of one `-e`: a bare name takes the caller's value, or stays bare, which takes the
/// image's variable away.
///
/// # Errors
/// Docker's words for a text without a name.
pub(crate) fn assignment(text: &str, variables: Variables<'_>) -> Result<String, String> {
    match text.split_once('=') {
        Some(("", _)) => Err(format!("invalid environment variable: {text}")),
        None if text.is_empty() => Err("invalid environment variable: ".to_owned()),
        Some(_) => Ok(text.to_owned()),
        None => {
            Ok(variables(text).map_or_else(|| text.to_owned(), |value| format!("{text}={value}")))
        }
    }
}

/// Files first, then the command line, where the last of a name wins in the place of the first.
pub(crate) fn merge(from_files: Vec<String>, from_line: Vec<String>) -> Vec<String> {
    let name = |text: &str| text.split_once('=').map_or(text, |(name, _)| name).to_owned();
    let mut own: Vec<String> = Vec::new();
    for text in from_line {
        match own.iter_mut().find(|known| name(known) == name(&text)) {
            Some(known) => *known = text,
            None => own.push(text),
        }
    }
    from_files.into_iter().chain(own).collect()
}

/// The lines of an `--env-file`: comments and empty lines left out, a bare name taken from the caller
/// or dropped.
///
/// # Errors
/// When a name has blanks, or is missing.
pub(crate) fn read_file(text: &str, variables: Variables<'_>) -> Result<Vec<String>, String> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut list = Vec::new();
    for line in text.lines() {
        let line = line.trim_start();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let (name, value) = match line.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (line, None),
        };
        if name.is_empty() {
            return Err(format!("no variable name on line '{line}'"));
        }
        if name.contains(char::is_whitespace) {
            return Err(format!("variable '{name}' contains whitespaces"));
        }
        if let Some(value) = value.map(str::to_owned).or_else(|| variables(name)) {
            list.push(format!("{name}={value}"));
        }
    }
    Ok(list)
}

/// All variables of a command line.
pub(crate) fn variables(
    parsed: &Parsed<'_>,
    around: &Surroundings<'_>,
) -> Result<Vec<String>, Quit> {
    let mut from_files = Vec::new();
    for path in parsed.all("env-file") {
        let text = around.read_text(parsed, path)?;
        from_files.extend(
            read_file(&text, around.variable)
                .map_err(|why| parsed.wrong(format!("invalid env file ({path}): {why}")))?,
        );
    }
    let from_line = parsed.read_all("env", |text| assignment(text, around.variable))?;
    Ok(merge(from_files, from_line))
}

/// All labels of a command line; the command line wins over the files.
pub(crate) fn labels(
    parsed: &Parsed<'_>,
    around: &Surroundings<'_>,
) -> Result<BTreeMap<String, String>, Quit> {
    let mut labels = BTreeMap::new();
    for path in parsed.all("label-file") {
        let text = around.read_text(parsed, path)?;
        let lines = read_file(&text, &|_| None)
            .map_err(|why| parsed.wrong(format!("invalid label file ({path}): {why}")))?;
        labels.extend(lines.iter().map(|line| split(line)));
    }
    labels.extend(parsed.read_all("label", label)?);
    Ok(labels)
}

/// One `--label`.
///
/// # Errors
/// When it has no name.
pub(crate) fn label(text: &str) -> Result<(String, String), String> {
    let (name, value) = split(text);
    match name.is_empty() {
        true => Err(format!("invalid label '{text}': empty name")),
        false => Ok((name, value)),
    }
}

fn split(text: &str) -> (String, String) {
    let (name, value) = text.split_once('=').unwrap_or((text, ""));
    (name.to_owned(), value.to_owned())
}
