//! Ignore files, `.dockerignore` and `<Dockerfile>.dockerignore`, and `--exclude`.
//!
//! Rules, as Docker has them: patterns are relative to the context's root; the last one that fits a path
//! or one of its directories decides; `!` takes back in. A directory that is ignored is not entered unless
//! some `!` pattern could fit below it: [`Ignore::may_reenter`].

use crate::glob::{GlobError, Pattern};

/// An ordered list of patterns.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ignore {
    rules: Vec<Rule>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Rule {
    pattern: Pattern,
    /// `!`
    exception: bool,
}

/// What is known of a directory, so that what is in it need not be asked about its parents again.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// The path is left out.
    pub ignored: bool,
    /// Which patterns fitted it or one of its parents.
    fitted: Vec<bool>,
}

/// An ignore file that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {reason}")]
pub struct IgnoreError {
    /// The line, from 1; for patterns that come in a list, the place in it.
    pub line: usize,
    /// What is wrong with it.
    pub reason: IgnoreReason,
}

/// What is wrong with a pattern of an ignore file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IgnoreReason {
    /// `!` alone.
    #[error("illegal exclusion pattern: \"!\"")]
    LoneExclamation,
    /// A class or an escape that is not complete.
    #[error(transparent)]
    Glob(#[from] GlobError),
}

impl Ignore {
    /// Reads an ignore file.
    ///
    /// # Errors
    /// The first pattern that is none.
    pub fn parse(bytes: &[u8]) -> Result<Self, IgnoreError> {
        let text = String::from_utf8_lossy(bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(bytes));
        let mut ignore = Self::default();
        for (index, line) in text.lines().enumerate() {
            if line.starts_with('#') {
                continue;
            }
            let line = line.trim();
            let (mark, path) = match line.strip_prefix('!') {
                Some(path) => ("!", path.trim()),
                None => ("", line),
            };
            if line.is_empty() {
                continue;
            }
            let clean = if path.is_empty() { String::new() } else { clean(path) };
            let relative =
                clean.strip_prefix('/').filter(|rest| !rest.is_empty()).unwrap_or(&clean);
            let pattern = format!("{mark}{relative}");
            ignore.add(&pattern).map_err(|reason| IgnoreError { line: index + 1, reason })?;
        }
        Ok(ignore)
    }

    /// From patterns in a list, as `--exclude` gives them.
    ///
    /// # Errors
    /// The first pattern that is none.
    pub fn new<S: AsRef<str>>(patterns: impl IntoIterator<Item = S>) -> Result<Self, IgnoreError> {
        let mut ignore = Self::default();
        for (index, pattern) in patterns.into_iter().enumerate() {
            ignore
                .add(pattern.as_ref())
                .map_err(|reason| IgnoreError { line: index + 1, reason })?;
        }
        Ok(ignore)
    }

    fn add(&mut self, pattern: &str) -> Result<(), IgnoreReason> {
        let pattern = pattern.trim();
        if pattern.is_empty() {
            return Ok(());
        }
        let clean = clean(pattern);
        let (exception, text) = match clean.strip_prefix('!') {
            Some("") => return Err(IgnoreReason::LoneExclamation),
            Some(text) => (true, text),
            None => (false, clean.as_str()),
        };
        self.rules.push(Rule { pattern: Pattern::deep(text)?, exception });
        Ok(())
    }

    /// Whether there is no pattern.
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// Whether some pattern starts with `!`.
    pub fn has_exceptions(&self) -> bool {
        self.rules.iter().any(|rule| rule.exception)
    }

    /// Whether every entry of the root is left out by one pattern: `*`, `**` or `**/*`.
    pub(crate) fn leaves_out_everything(&self) -> bool {
        self.rules
            .iter()
            .any(|rule| !rule.exception && matches!(rule.pattern.as_str(), "*" | "**" | "**/*"))
    }

    /// Whether `path`, relative to the root and without `./`, is left out by itself or by a directory it
    /// is in: what a walk from the root down to it comes to.
    pub fn is_ignored(&self, path: &str) -> bool {
        let mut verdict = Verdict::default();
        let slashes = path.match_indices('/').map(|(at, _)| at).filter(|at| *at > 0);
        for end in slashes.chain([path.len()]) {
            verdict = self.verdict(&path[..end], &verdict);
        }
        verdict.ignored && path != "."
    }

    /// What becomes of `path`, an entry of the directory `parent` stands for; for the root's entries that
    /// is `Verdict::default()`.
    #[must_use]
    pub fn verdict(&self, path: &str, parent: &Verdict) -> Verdict {
        let mut verdict = Verdict { ignored: false, fitted: vec![false; self.rules.len()] };
        for (at, rule) in self.rules.iter().enumerate() {
            let inherited = parent.fitted.get(at).copied().unwrap_or(false);
            // A rule that would change nothing is not asked.
            let fitted =
                inherited || (rule.exception == verdict.ignored && rule.pattern.matches(path));
            verdict.fitted[at] = fitted;
            if fitted {
                verdict.ignored = !rule.exception;
            }
        }
        verdict
    }

    /// Whether the ignored directory `dir` has to be entered because a `!` pattern could fit below it.
    /// Never wrongly no.
    pub fn may_reenter(&self, dir: &str) -> bool {
        self.rules.iter().any(|rule| rule.exception && rule.pattern.may_match_below(dir))
    }
}

/// A path in its shortest form, as Go's `path.Clean` makes it: no `.`, no `..` that can be resolved, no
/// doubled or trailing slashes; `.` for nothing.
pub fn clean(path: &str) -> String {
    let rooted = path.starts_with('/');
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => match parts.last() {
                Some(&"..") | None if !rooted => parts.push(".."),
                None => {}
                Some(_) => {
                    parts.pop();
                }
            },
            part => parts.push(part),
        }
    }
    let joined = parts.join("/");
    match (rooted, joined.is_empty()) {
        (true, _) => format!("/{joined}"),
        (false, true) => ".".to_owned(),
        (false, false) => joined,
    }
}
