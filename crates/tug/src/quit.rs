//! How a command ends other than well: what is printed, and the exit code.
//!
//! One line says what was attempted and why it failed, a second what to do next:
//!
//! ```text
//! tug: No such container: wbe
//! hint: did you mean web?
//! ```

use crate::flags::Command;
use std::fmt;
use std::io;
use tug_types::{Explain, Failure, Kind};

/// Docker's code for its own failures of `run`, and for flags it does not understand.
pub(crate) const OWN_FAILURE: u8 = 125;
const NOT_EXECUTABLE: u8 = 126;
const COMMAND_NOT_FOUND: u8 = 127;
/// 128 + SIGPIPE: what a shell says of a program that nobody listened to any more.
const CLOSED_PIPE: u8 = 141;

/// A command's end by something that went wrong.
#[derive(Debug)]
pub(crate) struct Quit {
    failure: Option<Failure>,
    code: u8,
    missing: Option<Missing>,
}

/// What was looked for and is not here: an image can be pulled, a name may be mistyped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Missing {
    Image,
    Container(String),
}

impl Quit {
    /// A failure with exit code 1.
    pub(crate) fn failed(error: &dyn Explain) -> Self {
        Self::from(error.failure())
    }

    /// A request that makes no sense.
    pub(crate) fn invalid(message: impl Into<String>) -> Self {
        Self::from(Failure::new(Kind::Invalid, message))
    }

    /// Something about the streams or files of the caller.
    pub(crate) fn io(what: impl fmt::Display, error: &io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe {
            return Self::code(CLOSED_PIPE);
        }
        Self::from(Failure::new(Kind::Internal, format!("{what}: {}", plain(error))))
    }

    /// Flags or their values are wrong: exit code 125, in every command.
    pub(crate) fn usage(command: &Command, message: String) -> Self {
        let hint = format!("`{} --help` lists its flags", command.path());
        Self {
            code: OWN_FAILURE,
            ..Self::from(Failure::new(Kind::Invalid, message).with_hint(hint))
        }
    }

    /// Too few arguments or too many: exit code 1, as Docker has it.
    pub(crate) fn arguments(command: &Command, wrong: &str) -> Self {
        let message = format!("'{}' {wrong}", command.path());
        let hint = format!("usage is `{}`", crate::flags::usage_line(command));
        Self::from(Failure::new(Kind::Invalid, message).with_hint(hint))
    }

    /// Everything was said already; only the code is left.
    pub(crate) fn code(code: u8) -> Self {
        Self { failure: None, code, missing: None }
    }

    /// Replaces the hint when there is something closer to what the user may have meant.
    pub(crate) fn did_you_mean(self, close: Option<impl fmt::Display>) -> Self {
        match close {
            Some(close) => self.with_hint(format!("did you mean {close}?")),
            None => self,
        }
    }

    /// Replaces the hint.
    pub(crate) fn with_hint(mut self, hint: impl Into<String>) -> Self {
        if let Some(failure) = &mut self.failure {
            failure.hint = Some(hint.into());
        }
        self
    }

    /// Replaces the exit code.
    pub(crate) fn with_code(mut self, code: u8) -> Self {
        self.code = code;
        self
    }

    /// As `run` ends: 125 for tug's own failures, 126 and 127 for the command's.
    pub(crate) fn starting(self) -> Self {
        let own = self.failure.is_some().then_some(OWN_FAILURE);
        self.by_command(own)
    }

    /// As `exec` ends: 126 and 127 for the command's failures, 1 for tug's own.
    pub(crate) fn executing(self) -> Self {
        self.by_command(None)
    }

    fn by_command(self, otherwise: Option<u8>) -> Self {
        let code = match self.failure.as_ref().map(|failure| failure.kind) {
            Some(Kind::NotExecutable) => NOT_EXECUTABLE,
            Some(Kind::CommandNotFound) => COMMAND_NOT_FOUND,
            _ => otherwise.unwrap_or(self.code),
        };
        Self { code, ..self }
    }

    /// The exit code.
    pub(crate) fn exit_code(&self) -> u8 {
        self.code
    }

    /// What it failed for the want of.
    pub(crate) fn missing(&self) -> Option<&Missing> {
        self.missing.as_ref()
    }

    /// What kind of failure it was.
    pub(crate) fn kind(&self) -> Option<Kind> {
        self.failure.as_ref().map(|failure| failure.kind)
    }

    /// What goes to stderr: nothing, one line or two.
    pub(crate) fn report(&self) -> String {
        match &self.failure {
            None => String::new(),
            Some(Failure { message, hint: None, .. }) => format!("tug: {message}\n"),
            Some(Failure { message, hint: Some(hint), .. }) => {
                format!("tug: {message}\nhint: {hint}\n")
            }
        }
    }
}

/// The kernel's words without Rust's number behind them.
pub(crate) fn plain(error: &io::Error) -> String {
    let text = error.to_string();
    match text.split_once(" (os error") {
        Some((words, _)) => words.to_lowercase(),
        None => text,
    }
}

impl From<Failure> for Quit {
    fn from(failure: Failure) -> Self {
        let code = if failure.kind == Kind::Cancelled { 130 } else { 1 };
        Self { failure: Some(failure), code, missing: None }
    }
}

impl From<tug_engine::Error> for Quit {
    fn from(error: tug_engine::Error) -> Self {
        let missing = match &error {
            tug_engine::Error::NoImage { .. } | tug_engine::Error::NoPlatform { .. } => {
                Some(Missing::Image)
            }
            tug_engine::Error::NoContainer { name } => Some(Missing::Container(name.clone())),
            _ => None,
        };
        Self { missing, ..Self::failed(&error) }
    }
}

impl From<tug_monitor::Error> for Quit {
    fn from(error: tug_monitor::Error) -> Self {
        Self::failed(&error)
    }
}

impl fmt::Display for Quit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.failure.as_ref().map_or("", |failure| &failure.message))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_follow_the_kind_of_failure_and_the_command() {
        let quit = |kind| Quit::from(Failure::new(kind, "x"));
        assert_eq!(quit(Kind::NotFound).starting().exit_code(), 125);
        assert_eq!(quit(Kind::NotExecutable).starting().exit_code(), 126);
        assert_eq!(quit(Kind::CommandNotFound).starting().exit_code(), 127);
        assert_eq!(quit(Kind::CommandNotFound).executing().exit_code(), 127);
        assert_eq!(quit(Kind::NotFound).executing().exit_code(), 1);
        assert_eq!(quit(Kind::Conflict).exit_code(), 1);
        assert_eq!(quit(Kind::Cancelled).exit_code(), 130);
        assert_eq!(Quit::code(7).starting().exit_code(), 7);
    }

    #[test]
    fn a_report_has_one_line_and_a_hint() {
        let failure = Failure::new(Kind::NotFound, "No such container: x");
        assert_eq!(Quit::from(failure.clone()).report(), "tug: No such container: x\n");
        assert_eq!(
            Quit::from(failure.with_hint("`tug ps -a`")).report(),
            "tug: No such container: x\nhint: `tug ps -a`\n"
        );
        assert_eq!(Quit::code(3).report(), "");
    }

    #[test]
    fn a_closed_pipe_ends_quietly() {
        let error = io::Error::from(io::ErrorKind::BrokenPipe);
        let quit = Quit::io("write", &error);
        assert_eq!((quit.report(), quit.exit_code()), (String::new(), 141));
        let error = io::Error::from_raw_os_error(2);
        assert_eq!(Quit::io("open /x", &error).to_string(), "open /x: no such file or directory");
    }
}
