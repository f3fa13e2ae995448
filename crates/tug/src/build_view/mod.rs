//! What is shown while a build runs, in BuildKit's forms: a view that changes in place on a terminal, lines
//! elsewhere, JSON for programs.

mod json;
mod lines;
mod live;

use crate::environment;
use std::io::IsTerminal;
use std::sync::Arc;
use tug_build::{Event, Progress, Silent};

/// `--progress`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Auto,
    Tty,
    Plain,
    Quiet,
    RawJson,
}

impl Kind {
    /// Reads the flag's value.
    ///
    /// # Errors
    /// What it may be.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        Ok(match text {
            "auto" | "" => Self::Auto,
            "tty" => Self::Tty,
            "plain" => Self::Plain,
            "quiet" | "none" => Self::Quiet,
            "rawjson" => Self::RawJson,
            other => {
                return Err(format!(
                    "invalid progress mode {other:?}: expected auto, tty, plain, rawjson or quiet"
                ));
            }
        })
    }
}

impl Kind {
    /// Whether everything commands print is shown as it comes, and stays.
    pub(crate) fn keeps_output(self) -> bool {
        match self {
            Self::Plain | Self::RawJson => true,
            Self::Auto => !std::io::stderr().is_terminal(),
            Self::Tty | Self::Quiet => false,
        }
    }
}

/// A view of one build.
pub(crate) trait View: Progress {
    /// The build is over; nothing is drawn after this.
    fn close(&self, failed: bool);
}

struct Nothing;

impl Progress for Nothing {
    fn event(&self, event: Event) {
        Silent.event(event);
    }
}

impl View for Nothing {
    fn close(&self, _: bool) {}
}

/// The view asked for, on stderr.
///
/// # Errors
/// When a terminal is asked for and there is none.
pub(crate) fn open(kind: Kind) -> Result<Arc<dyn View>, String> {
    let terminal = std::io::stderr().is_terminal();
    Ok(match kind {
        Kind::Quiet => Arc::new(Nothing),
        Kind::RawJson => Arc::new(json::Json::new()),
        Kind::Tty if !terminal => {
            return Err("failed to get console: stderr is not a terminal".to_owned());
        }
        Kind::Tty => Arc::new(live::Live::new(environment::no_color())),
        Kind::Auto if terminal => Arc::new(live::Live::new(environment::no_color())),
        Kind::Auto | Kind::Plain => Arc::new(lines::Lines::new()),
    })
}

/// A name with its amount: `transferring context: 8.25kB`.
pub(crate) fn part(name: &str, bytes: Option<u64>) -> String {
    match bytes {
        Some(bytes) => format!("{name} {}", crate::text::human::size(bytes, 4)),
        None => name.to_owned(),
    }
}
