//! The caller's own terminal: raw while attached, its size.

use crate::Error;
use rustix::termios::{OptionalActions, Termios};
use std::os::fd::BorrowedFd;

/// Raw mode, ended by dropping.
#[derive(Debug)]
pub struct RawMode<'a> {
    terminal: BorrowedFd<'a>,
    before: Termios,
}

impl<'a> RawMode<'a> {
    /// Hands every key to the reader as it is typed. `None` when this is no terminal.
    ///
    /// # Errors
    /// [`Error::Terminal`].
    pub fn enter(terminal: BorrowedFd<'a>) -> Result<Option<Self>, Error> {
        if !rustix::termios::isatty(terminal) {
            return Ok(None);
        }
        let failed = |errno: rustix::io::Errno| Error::Terminal {
            step: "switch the terminal to raw mode",
            source: errno.into(),
        };
        let before = rustix::termios::tcgetattr(terminal).map_err(failed)?;
        let mut raw = before.clone();
        raw.make_raw();
        rustix::termios::tcsetattr(terminal, OptionalActions::Drain, &raw).map_err(failed)?;
        Ok(Some(Self { terminal, before }))
    }
}

impl Drop for RawMode<'_> {
    fn drop(&mut self) {
        let _ = rustix::termios::tcsetattr(self.terminal, OptionalActions::Drain, &self.before);
    }
}

/// Rows and columns of a terminal; `None` when it is none, or does not know.
pub fn size_of(terminal: BorrowedFd<'_>) -> Option<(u16, u16)> {
    let size = rustix::termios::tcgetwinsize(terminal).ok()?;
    (size.ws_row > 0 && size.ws_col > 0).then_some((size.ws_row, size.ws_col))
}
