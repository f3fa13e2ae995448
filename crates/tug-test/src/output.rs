//! What a command said, and the questions tests ask about it.

use std::fmt;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

/// A finished command. The assertions panic with everything that was said.
pub struct Output {
    /// As a shell would show it, for messages.
    pub command: String,
    /// Exit code; 128 + n when signal n ended it.
    pub code: i32,
    /// Standard output as it came.
    pub bytes: Vec<u8>,
    /// Standard output as text.
    pub stdout: String,
    /// Standard error as text.
    pub stderr: String,
}

impl Output {
    /// From a program that was run to its end.
    pub fn of(command: &str, said: std::process::Output) -> Self {
        Self::new(command.to_owned(), said.status, said.stdout, &said.stderr)
    }

    pub(crate) fn new(command: String, status: ExitStatus, out: Vec<u8>, err: &[u8]) -> Self {
        let code = status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0));
        let stdout = String::from_utf8_lossy(&out).into_owned();
        let stderr = String::from_utf8_lossy(err).into_owned();
        Self { command, code, bytes: out, stdout, stderr }
    }

    /// Standard output without the last newline, of a command that must have succeeded.
    #[track_caller]
    pub fn ok(&self) -> &str {
        assert!(self.code == 0, "must succeed: {self}");
        self.stdout.strip_suffix('\n').unwrap_or(&self.stdout)
    }

    /// Standard output's lines, of a command that must have succeeded.
    #[track_caller]
    pub fn lines(&self) -> Vec<&str> {
        self.ok().lines().collect()
    }

    /// It must have ended with this code.
    #[track_caller]
    pub fn code(&self, code: i32) -> &Self {
        assert!(self.code == code, "must exit {code}: {self}");
        self
    }

    /// It must have ended with this code, said nothing on standard output and `tug: MESSAGE` as
    /// the first line of standard error, a hint at most below.
    #[track_caller]
    pub fn refused(&self, code: i32, message: &str) -> &Self {
        self.code(code);
        let first = self.stderr.lines().next().unwrap_or_default();
        assert!(first == format!("tug: {message}"), "must say `tug: {message}`: {self}");
        assert!(self.stderr.lines().count() <= 2, "one line and at most one hint: {self}");
        assert!(self.stdout.is_empty(), "errors go to standard error: {self}");
        self
    }

    /// Some line of standard error below the first holds `hint`.
    #[track_caller]
    pub fn hint(&self, hint: &str) -> &Self {
        let found = self.stderr.lines().skip(1).any(|line| line.contains(hint));
        assert!(found, "must hint `{hint}`: {self}");
        self
    }

    /// Standard error holds `text`.
    #[track_caller]
    pub fn says(&self, text: &str) -> &Self {
        assert!(self.stderr.contains(text), "must say `{text}` on standard error: {self}");
        self
    }

    /// Standard output, of a command that must have succeeded, holds `text`.
    #[track_caller]
    pub fn shows(&self, text: &str) -> &Self {
        assert!(self.ok().contains(text), "must show `{text}`: {self}");
        self
    }
}

impl fmt::Display for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let clip = |text: &str| match text.char_indices().nth(4000) {
            Some((at, _)) => format!("{}… ({} bytes)", &text[..at], text.len()),
            None => text.to_owned(),
        };
        writeln!(f, "\n$ {}\nexit code {}", self.command, self.code)?;
        writeln!(f, "--- stdout\n{}\n--- stderr\n{}", clip(&self.stdout), clip(&self.stderr))
    }
}

/// `text` with whatever differs from run to run replaced: ids, digests, loopback ports.
pub fn normal(text: &str) -> String {
    let mut normal = String::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let hex = rest.bytes().take_while(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')).count();
        let known = match hex {
            64 if normal.ends_with("sha256:") => Some("<DIGEST>"),
            64 => Some("<ID>"),
            12 => Some("<SHORT>"),
            _ => None,
        };
        if let Some(name) = known {
            normal += name;
            rest = &rest[hex..];
        } else if let Some(port) = rest.strip_prefix("127.0.0.1:") {
            normal += "<REGISTRY>";
            rest = port.trim_start_matches(|c: char| c.is_ascii_digit());
        } else {
            let length = hex.max(first.len_utf8());
            normal += &rest[..length];
            rest = &rest[length..];
        }
    }
    normal
}

#[cfg(test)]
mod tests {
    use super::normal;

    #[test]
    fn what_differs_is_replaced() {
        let id = "0123456789ab".repeat(5) + "cdef";
        let text = format!("a sha256:{id} of {id}, short 0123456789ab at 127.0.0.1:5000/x, face");
        assert_eq!(normal(&text), "a sha256:<DIGEST> of <ID>, short <SHORT> at <REGISTRY>/x, face");
    }
}
