//! What went wrong, in the form that crosses crates, processes and finally reaches a person.
//!
//! Libraries raise their own typed errors and implement [`Explain`] for them; a front end asks for
//! the [`Failure`] and translates its [`Kind`] with one table (exit code, HTTP status). A `Failure`
//! is serialisable because the process that fails (PID 1 before exec, a monitor) is often not the
//! process that reports.

use serde::{Deserialize, Serialize};

/// The few kinds of failure the engine tells apart. Front ends translate them; nothing else is
/// encoded in them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// The named object does not exist.
    NotFound,
    /// The object is in a state, or a name or port is held, that forbids the operation.
    Conflict,
    /// The request itself makes no sense.
    Invalid,
    /// The caller, the kernel or a registry refuses.
    Denied,
    /// Something needed is not reachable or missing on this machine; trying later may help.
    Unavailable,
    /// The user or a signal ended the operation.
    Cancelled,
    /// The command to start was found but cannot be run: exit code 126.
    NotExecutable,
    /// The command to start was not found: exit code 127.
    CommandNotFound,
    /// A defect or an unexpected answer of the kernel.
    Internal,
}

/// One failure as reported: a line saying what was attempted, on what, and why it failed, and
/// where there is one, the next step.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// What front ends translate.
    pub kind: Kind,
    /// One line without the trailing newline.
    pub message: String,
    /// What to do next, as one line; a command where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// Who stands in the way, where only a layer above knows its name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<Subject>,
}

/// Something a failure is about that the crate raising it knows by number only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Subject {
    /// The container that has this address.
    ContainerAt(std::net::Ipv4Addr),
}

impl Failure {
    /// A failure without a hint.
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), hint: None, subject: None }
    }

    /// The same failure with its next step.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Failure {}

/// Implemented by every library error: how it is classified and what to do about it.
pub trait Explain: std::error::Error {
    /// How front ends classify it.
    fn kind(&self) -> Kind;

    /// The next step for the user, if there is a sensible one.
    fn hint(&self) -> Option<String> {
        None
    }

    /// Who stands in the way, where only a layer above knows its name.
    fn subject(&self) -> Option<Subject> {
        None
    }

    /// The whole chain of causes as one line, with kind and hint. The kernel's words come without Rust's number.
    fn failure(&self) -> Failure {
        let mut message = self.to_string();
        let mut cause = self.source();
        while let Some(error) = cause {
            message.push_str(": ");
            match error.downcast_ref::<std::io::Error>() {
                Some(error) => message.push_str(&plain(error)),
                None => message.push_str(&error.to_string()),
            }
            cause = error.source();
        }
        Failure { kind: self.kind(), message, hint: self.hint(), subject: self.subject() }
    }
}

/// `no such file or directory`, where Rust says `No such file or directory (os error 2)`.
fn plain(error: &std::io::Error) -> String {
    let text = error.to_string();
    let Some((words, _)) = text.split_once(" (os error") else { return text };
    let mut letters = words.chars();
    letters.next().map(|first| first.to_lowercase().chain(letters).collect()).unwrap_or_default()
}

impl Explain for Failure {
    fn kind(&self) -> Kind {
        self.kind
    }

    fn hint(&self) -> Option<String> {
        self.hint.clone()
    }

    fn failure(&self) -> Failure {
        self.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("open layer")]
    struct Outer(#[source] std::io::Error);

    impl Explain for Outer {
        fn kind(&self) -> Kind {
            Kind::Internal
        }
    }

    #[test]
    fn the_chain_of_causes_becomes_one_line() {
        let error = Outer(std::io::Error::other("disk on fire"));
        assert_eq!(error.failure().message, "open layer: disk on fire");
        let error = Outer(std::io::Error::from_raw_os_error(2));
        assert_eq!(error.failure().message, "open layer: no such file or directory");
    }
}
