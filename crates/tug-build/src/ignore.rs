//! What of a context is not sent: `.dockerignore`, and `--exclude` of a `COPY`.

use rustix::fs::FileType;
use tug_dockerfile::{Ignore, IgnoreError};

/// Rules by which paths are hidden; none hide nothing.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rules(Option<Ignore>);

impl Rules {
    /// Of an ignore file.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, IgnoreError> {
        Ok(Self(Some(Ignore::parse(bytes)?).filter(|rules| !rules.is_empty())))
    }

    /// Of a list of patterns.
    pub(crate) fn new(patterns: &[String]) -> Result<Self, IgnoreError> {
        Ok(Self(Some(Ignore::new(patterns)?).filter(|rules| !rules.is_empty())))
    }

    /// As the checks want them.
    pub(crate) fn ignore(&self) -> Option<&Ignore> {
        self.0.as_ref()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// Whether a path is hidden. Patterns are text: what is none in a name matches as `\u{fffd}`.
    pub(crate) fn hides(&self, path: &[u8]) -> bool {
        let ignored = |rules: &Ignore| rules.is_ignored(&String::from_utf8_lossy(path));
        self.0.as_ref().is_some_and(ignored)
    }

    /// Whether a path is hidden, and with it everything that may be below it: it needs no looking at.
    pub(crate) fn prunes(&self, path: &[u8], kind: FileType) -> bool {
        let Some(rules) = &self.0 else { return false };
        let path = &String::from_utf8_lossy(path);
        let enter =
            || matches!(kind, FileType::Directory | FileType::Unknown) && rules.may_reenter(path);
        rules.is_ignored(path) && !enter()
    }
}
