//! What a registry says when it refuses: the distribution specification's error list, cut down to
//! one line that is safe to show on a terminal.

use reqwest::header::{HeaderMap, RETRY_AFTER};
use serde::Deserialize;
use std::time::Duration;

/// More of a foreign text than this is not shown.
const LONGEST_TEXT: usize = 300;

/// A registry's own words.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Refusal {
    /// The first error's code, upper case, as the specification spells it; empty when there is none.
    pub(crate) code: String,
    /// `denied: requested access to the resource is denied`; empty when it said nothing readable.
    pub(crate) text: String,
}

#[derive(Deserialize)]
struct Body {
    #[serde(default)]
    errors: Vec<Entry>,
    /// Token servers and some registries answer `{"message": …}` or `{"details": …}` instead.
    #[serde(alias = "details", alias = "error_description")]
    message: Option<String>,
}

#[derive(Deserialize)]
struct Entry {
    #[serde(default)]
    code: String,
    #[serde(default)]
    message: String,
}

impl Refusal {
    /// Reads an error answer's body; anything else than the specified JSON gives an empty refusal.
    pub(crate) fn read(body: &[u8]) -> Self {
        let Ok(body) = serde_json::from_slice::<Body>(body) else {
            return Self::default();
        };
        let Some(first) = body.errors.first() else {
            return Self { code: String::new(), text: clean(&body.message.unwrap_or_default()) };
        };
        let name = first.code.to_lowercase().replace('_', " ");
        let text = match first.message.as_str() {
            "" => name,
            message if message.eq_ignore_ascii_case(&name) || name.is_empty() => message.to_owned(),
            message => format!("{name}: {message}"),
        };
        Self { code: first.code.to_uppercase(), text: clean(&text) }
    }
}

/// One line without control characters, of bounded length.
pub(crate) fn clean(text: &str) -> String {
    let printable = text.chars().map(|c| if c.is_control() { ' ' } else { c });
    let mut line: String = printable.take(LONGEST_TEXT).collect();
    if text.chars().count() > LONGEST_TEXT {
        line.push('…');
    }
    line.trim().to_owned()
}

/// `Retry-After`, in seconds or as a date; a date gone by is no wait.
pub(crate) fn retry_after(headers: &HeaderMap, now: jiff::Timestamp) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = jiff::fmt::rfc2822::parse(&text.replace("GMT", "+0000")).ok()?;
    Some(Duration::try_from(date.timestamp().duration_since(now)).unwrap_or(Duration::ZERO))
}

#[cfg(test)]
mod tests {
    use super::*;
    use reqwest::header::HeaderValue;

    #[test]
    fn the_registrys_words_become_one_line() {
        let read = |body: &str| Refusal::read(body.as_bytes()).text;
        assert_eq!(
            read(r#"{"errors":[{"code":"DENIED","message":"no such\n\u001b[31mluck"}]}"#),
            "denied: no such  [31mluck"
        );
        let unknown = r#"{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown"}]}"#;
        assert_eq!(read(unknown), "manifest unknown");
        assert_eq!(
            read(r#"{"details":"incorrect username or password"}"#),
            "incorrect username or password"
        );
        assert_eq!(read("<html>"), "");
        let long = format!(r#"{{"message":"{}"}}"#, "x".repeat(1000));
        assert_eq!(read(&long).chars().count(), LONGEST_TEXT + 1);
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let wait = |text: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(RETRY_AFTER, HeaderValue::from_static(text));
            retry_after(&headers, "2015-10-21T07:27:00Z".parse().unwrap())
        };
        assert_eq!(wait("7"), Some(Duration::from_secs(7)));
        assert_eq!(wait("Wed, 21 Oct 2015 07:28:00 GMT"), Some(Duration::from_secs(60)));
        assert_eq!(wait("Wed, 21 Oct 2015 07:26:00 GMT"), Some(Duration::ZERO));
        assert_eq!(wait("soon"), None);
    }
}
