//! What a build tells while it runs. Who shows it decides how.

use crate::error::BuildError;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use tug_types::Explain;

/// A line of the progress view: a step of the Dockerfile, or something the builder does by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LineId(pub usize);

/// Something that happened.
#[derive(Clone, Debug)]
pub enum Event {
    /// It begins. Said once of every line, also of those that turn out to be cached.
    Started {
        /// Which.
        line: LineId,
        /// `[2/4] RUN make`
        name: String,
    },
    /// Its result was there.
    Cached {
        /// Which.
        line: LineId,
    },
    /// It is done.
    Done {
        /// Which.
        line: LineId,
    },
    /// It failed.
    Failed {
        /// Which.
        line: LineId,
        /// Why, in one line.
        error: String,
    },
    /// It was ended because something else failed.
    Cancelled {
        /// Which.
        line: LineId,
    },
    /// Output of a command.
    Output {
        /// Which.
        line: LineId,
        /// It came from the standard error.
        stderr: bool,
        /// As it was written.
        bytes: Vec<u8>,
    },
    /// A part of it: `transferring context: 8.25kB`.
    Part {
        /// Which.
        line: LineId,
        /// What it is called; said again with more when it goes on.
        name: String,
        /// So much is done.
        bytes: Option<u64>,
        /// It is over.
        done: bool,
    },
    /// Something the user should know of a line.
    Warning {
        /// Which.
        line: LineId,
        /// What.
        text: String,
    },
}

/// Is told of everything, from any thread.
pub trait Progress: Send + Sync {
    /// Something happened.
    fn event(&self, event: Event);
}

/// Nobody listens.
pub struct Silent;

impl Progress for Silent {
    fn event(&self, _: Event) {}
}

/// Numbers the lines of one build and says things about them.
pub(crate) struct Board {
    progress: Arc<dyn Progress>,
    next: AtomicUsize,
    by_vertex: Mutex<std::collections::HashMap<usize, VertexLine>>,
}

/// A vertex has a second line only when it has to be done again.
struct VertexLine {
    line: LineId,
    ended: bool,
}

impl Board {
    pub(crate) fn new(progress: Arc<dyn Progress>) -> Self {
        Self { progress, next: AtomicUsize::new(1), by_vertex: Mutex::default() }
    }

    /// Who listens.
    pub(crate) fn progress(&self) -> Arc<dyn Progress> {
        self.progress.clone()
    }

    pub(crate) fn tell(&self, event: Event) {
        self.progress.event(event);
    }

    /// A new line.
    pub(crate) fn start(&self, name: impl Into<String>) -> LineId {
        let line = LineId(self.next.fetch_add(1, Ordering::Relaxed));
        self.tell(Event::Started { line, name: name.into() });
        line
    }

    /// The line of a vertex, begun when it is first asked for.
    pub(crate) fn of_vertex(&self, vertex: usize, name: &str) -> LineId {
        let mut lines = self.by_vertex.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = lines.get(&vertex) {
            return known.line;
        }
        let line = self.start(name);
        lines.insert(vertex, VertexLine { line, ended: false });
        line
    }

    /// Nothing more is said on a vertex' line; whether that was so before is answered with `false`.
    pub(crate) fn end_vertex(&self, vertex: usize) -> bool {
        let mut lines = self.by_vertex.lock().unwrap_or_else(PoisonError::into_inner);
        lines.get_mut(&vertex).is_none_or(|known| !std::mem::replace(&mut known.ended, true))
    }

    /// A vertex begins: where its line has ended, a new one is due.
    pub(crate) fn begin_vertex(&self, vertex: usize) {
        let mut lines = self.by_vertex.lock().unwrap_or_else(PoisonError::into_inner);
        if lines.get(&vertex).is_some_and(|known| known.ended) {
            lines.remove(&vertex);
        }
    }

    pub(crate) fn done(&self, line: LineId) {
        self.tell(Event::Done { line });
    }

    pub(crate) fn part(&self, line: LineId, name: impl Into<String>, bytes: Option<u64>) {
        self.tell(Event::Part { line, name: name.into(), bytes, done: true });
    }

    /// A line around something that can fail: then the error says in which line it was.
    pub(crate) fn during<T>(
        &self,
        name: impl Into<String>,
        body: impl FnOnce(LineId) -> Result<T, BuildError>,
    ) -> Result<T, BuildError> {
        let title = name.into();
        let line = self.start(title.as_str());
        match body(line) {
            Ok(result) => {
                self.done(line);
                Ok(result)
            }
            Err(BuildError::Cancelled) => {
                self.tell(Event::Cancelled { line });
                Err(BuildError::Cancelled)
            }
            Err(error) => {
                self.tell(Event::Failed { line, error: error.root().failure().message });
                Err(BuildError::Step { title, error: Box::new(error), output: Vec::new() })
            }
        }
    }
}
