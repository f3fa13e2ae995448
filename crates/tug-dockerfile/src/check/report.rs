//! What the build checks found, as text and as JSON, in the forms `docker build --check` prints.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::sync::Arc;

use serde_json::json;

use crate::check::Rule;
use crate::diagnostic::Diagnostic;
use crate::source::Source;
use crate::span::Span;

/// One finding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning {
    /// The rule.
    pub rule: Rule,
    /// What it says of this place.
    pub message: String,
    /// The lines concerned.
    pub span: Span,
}

/// All findings of a file.
#[derive(Clone, Debug)]
pub struct Report {
    /// The file.
    pub source: Arc<Source>,
    /// In the order they were found.
    pub warnings: Vec<Warning>,
    /// What would make the build fail; nothing behind it was checked.
    pub error: Option<Diagnostic>,
    /// A warning fails the build: `# check=error=true`.
    pub warnings_are_errors: bool,
}

impl Warning {
    /// `Rule: message (line 3)`, as a build prints it.
    pub fn short(&self) -> String {
        let line = self.span.line();
        let place = if line > 0 { format!(" (line {line})") } else { String::new() };
        format!("{}: {}{place}", self.rule.name(), self.message)
    }
}

impl Report {
    /// Of a file that cannot be parsed.
    pub fn unreadable(error: Diagnostic) -> Self {
        let source = error.source_text().clone();
        Self { source, warnings: Vec::new(), error: Some(error), warnings_are_errors: false }
    }

    /// The message a build fails with when warnings are errors and there are some.
    pub fn violation(&self) -> Option<String> {
        if !self.warnings_are_errors || self.warnings.is_empty() {
            return None;
        }
        let rules: BTreeSet<&str> =
            self.warnings.iter().map(|warning| warning.rule.name()).collect();
        let rules: Vec<&str> = rules.into_iter().collect();
        Some(format!("lint violation found for rules: {}", rules.join(", ")))
    }

    /// ` 2 warnings found (use docker --debug to expand):` and a line for each: what follows a build.
    /// `expand` names the command that shows more. Empty without warnings.
    pub fn summary(&self, expand: &str) -> String {
        let count = match self.warnings.len() {
            0 => return String::new(),
            1 => "1 warning".to_owned(),
            many => format!("{many} warnings"),
        };
        let mut out = format!(" {count} found (use {expand} to expand):\n");
        for warning in &self.warnings {
            let _ = writeln!(out, " - {}", warning.short());
        }
        out
    }

    /// What `--check` prints of the warnings. `failing`: there is an error, which is told elsewhere.
    pub fn to_text(&self, failing: bool) -> String {
        let mut out = match self.warnings.len() {
            0 if failing => String::new(),
            0 => return "Check complete, no warnings found.\n".to_owned(),
            1 => "Check complete, 1 warning has been found!\n".to_owned(),
            many => format!("Check complete, {many} warnings have been found!\n"),
        };
        let mut sorted: Vec<&Warning> = self.warnings.iter().collect();
        sorted.sort_by_key(|warning| warning.span.line());
        for warning in sorted {
            out.push_str(&self.warning_text(warning));
        }
        out
    }

    /// One warning with its page and lines.
    pub fn warning_text(&self, warning: &Warning) -> String {
        let url = warning.rule.url();
        let separator = if url.is_empty() { "" } else { " - " };
        format!(
            "\nWARNING: {}{separator}{url}\n{}\n{}",
            warning.rule.name(),
            warning.message,
            self.source.excerpt(warning.span)
        )
    }

    /// What `--call check,format=json` prints, without a line end. `error` is what a build would fail with,
    /// and where.
    pub fn to_json(&self, error: Option<(&str, Span)>) -> String {
        let warnings: Vec<_> = self
            .warnings
            .iter()
            .map(|warning| {
                let mut object = json!({
                    "ruleName": warning.rule.name(),
                    "description": warning.rule.description(),
                    "detail": warning.message,
                    "location": location(warning.span),
                });
                let url = warning.rule.url();
                if !url.is_empty() {
                    object["url"] = url.into();
                }
                object
            })
            .collect();
        let mut report = json!({
            "warnings": warnings,
            "sources": [{
                "filename": self.source.name(),
                "language": "Dockerfile",
                "data": base64(self.source.text().as_bytes()),
            }],
        });
        if let Some((message, span)) = error {
            report["buildError"] = json!({ "message": message, "location": location(span) });
        }
        format!("{report:#}")
    }
}

/// One range for each line, as BuildKit has it.
pub(crate) fn location(span: Span) -> serde_json::Value {
    if span.line() == 0 {
        return json!({});
    }
    let ranges: Vec<_> = span
        .lines()
        .map(|line| json!({ "start": { "line": line }, "end": { "line": line } }))
        .collect();
    json!({ "ranges": ranges })
}

pub(crate) fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let word = chunk.iter().fold(0_u32, |word, byte| word << 8 | u32::from(*byte))
            << (8 * (3 - chunk.len()));
        for digit in 0..4 {
            let index = (word >> (18 - 6 * digit)) & 63;
            out.push(if digit <= chunk.len() { char::from(DIGITS[index as usize]) } else { '=' });
        }
    }
    out
}

#[cfg(test)]
mod tests {
    #[test]
    fn base64_of_every_remainder() {
        for (text, encoded) in
            [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg==")]
        {
            assert_eq!(super::base64(text.as_bytes()), encoded);
        }
    }
}
