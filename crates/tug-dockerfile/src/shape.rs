//! An instruction's outer form: keyword, flags, and arguments split the way the keyword asks for,
//! before anybody asks what they mean.

use std::ops::Range;

use crate::fault::Fault;
use crate::problem::Problem;
use crate::words::{self, Word};

/// Every keyword, in capitals.
pub(crate) const KEYWORDS: [&str; 18] = [
    "ADD",
    "ARG",
    "CMD",
    "COPY",
    "ENTRYPOINT",
    "ENV",
    "EXPOSE",
    "FROM",
    "HEALTHCHECK",
    "LABEL",
    "MAINTAINER",
    "ONBUILD",
    "RUN",
    "SHELL",
    "STOPSIGNAL",
    "USER",
    "VOLUME",
    "WORKDIR",
];

/// An instruction's outer form.
#[derive(Debug)]
pub(crate) struct Shape {
    /// As written.
    pub(crate) keyword: Word,
    /// The known keyword in capitals, none for another word.
    pub(crate) name: Option<&'static str>,
    pub(crate) flags: Vec<Word>,
    pub(crate) body: Body,
    /// All arguments.
    pub(crate) rest: Range<usize>,
}

/// The arguments.
#[derive(Debug)]
pub(crate) enum Body {
    /// A JSON array of strings.
    Json(Vec<String>),
    /// One string, perhaps empty.
    Text(Word),
    /// Words.
    Words(Vec<Word>),
    /// Name and value.
    Pairs(Vec<Pair>),
    /// `HEALTHCHECK`'s type and what follows it.
    Typed(Word, Box<Body>),
    /// `ONBUILD`'s trigger, none when nothing follows.
    Trigger(Option<Box<Shape>>),
}

#[derive(Debug)]
pub(crate) struct Pair {
    pub(crate) key: String,
    pub(crate) value: String,
    pub(crate) legacy: bool,
    pub(crate) range: Range<usize>,
}

impl Shape {
    pub(crate) fn of(line: &str, escape: char) -> Result<Self, Fault> {
        Self::within(line, 0..line.len(), escape, true)
    }

    fn within(line: &str, range: Range<usize>, escape: char, outer: bool) -> Result<Self, Fault> {
        let (keyword, rest) = words::keyword(line, range);
        let (flags, rest) = words::flags(line, rest, escape);
        let name = KEYWORDS.into_iter().find(|name| name.eq_ignore_ascii_case(&keyword.text));
        let text = || Word { text: line[rest.clone()].to_owned(), range: rest.clone() };
        let body = match name.unwrap_or_default() {
            "ADD" | "COPY" | "VOLUME" => match json(line, &rest)? {
                Some(list) => Body::Json(list),
                None => Body::Words(words::plain(line, rest.clone())),
            },
            "CMD" | "ENTRYPOINT" | "RUN" | "SHELL" => match json(line, &rest)? {
                Some(list) => Body::Json(list),
                None => Body::Text(text()),
            },
            "ARG" => Body::Words(words::quoted(line, rest.clone(), escape)),
            "ENV" => Body::Pairs(pairs(line, &rest, "ENV", escape)?),
            "LABEL" => Body::Pairs(pairs(line, &rest, "LABEL", escape)?),
            "EXPOSE" | "FROM" => Body::Words(words::plain(line, rest.clone())),
            "HEALTHCHECK" => healthcheck(line, &rest)?,
            // A trigger within a trigger is refused later; it need not be looked into.
            "ONBUILD" if rest.is_empty() || !outer => Body::Trigger(None),
            "ONBUILD" => {
                Body::Trigger(Some(Box::new(Self::within(line, rest.clone(), escape, false)?)))
            }
            _ => Body::Text(text()),
        };
        Ok(Self { keyword, name, flags, body, rest })
    }

    /// Whether here-documents may follow its line.
    pub(crate) fn takes_heredocs(&self) -> bool {
        match (&self.body, self.name) {
            (Body::Trigger(Some(trigger)), _) => trigger.takes_heredocs(),
            (Body::Json(_), _) => false,
            (_, name) => matches!(name, Some("ADD" | "COPY" | "RUN")),
        }
    }
}

/// The strings of a JSON array; none when the text is no valid JSON array, which makes it shell form.
fn json(line: &str, range: &Range<usize>) -> Result<Option<Vec<String>>, Fault> {
    let text = line[range.clone()].trim_start();
    if !text.starts_with('[') {
        return Ok(None);
    }
    let Ok(values) = serde_json::from_str::<Vec<serde_json::Value>>(text) else { return Ok(None) };
    let strings: Option<Vec<String>> = values
        .into_iter()
        .map(|value| match value {
            serde_json::Value::String(text) => Some(text),
            _ => None,
        })
        .collect();
    strings.map(Some).ok_or_else(|| Fault::at(Problem::NotOnlyStrings, range.clone()))
}

/// `name=value…`, or in the old form `name value`.
fn pairs(
    line: &str,
    range: &Range<usize>,
    instruction: &'static str,
    escape: char,
) -> Result<Vec<Pair>, Fault> {
    let words = words::quoted(line, range.clone(), escape);
    let Some(first) = words.first() else { return Ok(Vec::new()) };
    if !first.text.contains('=') {
        let text = &line[range.clone()];
        let Some((key, value)) = text.split_once(words::is_blank) else {
            return Err(Fault::at(Problem::TwoArguments { instruction }, range.clone()));
        };
        return Ok(vec![Pair {
            key: key.to_owned(),
            value: value.trim_start_matches(words::is_blank).to_owned(),
            legacy: true,
            range: range.clone(),
        }]);
    }
    words
        .into_iter()
        .map(|word| match word.text.split_once('=') {
            Some((key, value)) => {
                Ok(Pair { key: key.into(), value: value.into(), legacy: false, range: word.range })
            }
            None => Err(Fault::at(Problem::NoEqualsSign { word: word.text.clone() }, word.range)),
        })
        .collect()
}

fn healthcheck(line: &str, rest: &Range<usize>) -> Result<Body, Fault> {
    let text = &line[rest.clone()];
    let end = rest.start + text.find(char::is_whitespace).unwrap_or(text.len());
    let kind = Word { text: line[rest.start..end].to_owned(), range: rest.start..end };
    let behind = words::trimmed(line, end..rest.end);
    let body = match json(line, &behind)? {
        Some(list) => Body::Json(list),
        None => Body::Text(Word { text: line[behind.clone()].to_owned(), range: behind }),
    };
    Ok(Body::Typed(kind, Box::new(body)))
}
