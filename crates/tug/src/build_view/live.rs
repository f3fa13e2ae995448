//! The view on a terminal: `[+] Building 3.5s (9/9) FINISHED`, a line a step, the last lines of running
//! commands under them. Drawn anew ten times a second by a thread of its own.

use super::{View, part};
use std::collections::{BTreeMap, VecDeque};
use std::fmt::Write as _;
use std::io::Write;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tug_build::{Event, LineId, Progress};

/// How often.
const PERIOD: Duration = Duration::from_millis(100);
/// Lines of output under a running command.
const WINDOW: usize = 6;
/// A failed command's output that is kept for the end.
const KEPT: usize = 80;
/// The name of the builder at the right edge of the first line.
const BUILDER: &str = "tug:default";

/// Draws to stderr.
pub(super) struct Live {
    shared: Arc<Shared>,
    thread: Mutex<Option<std::thread::JoinHandle<()>>>,
}

struct Shared {
    state: Mutex<State>,
    closed: Condvar,
}

struct State {
    begun: Instant,
    rows: BTreeMap<LineId, Row>,
    /// Lines on the screen that the next drawing replaces.
    drawn: usize,
    over: bool,
    failed: bool,
    colour: bool,
}

struct Row {
    name: String,
    begun: Instant,
    ended: Option<Duration>,
    outcome: Outcome,
    parts: Vec<(String, Option<u64>)>,
    output: VecDeque<String>,
    partial: String,
    warnings: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Running,
    Done,
    Cached,
    Failed,
    Cancelled,
}

impl Live {
    pub(super) fn new(no_colour: bool) -> Self {
        let state = State {
            begun: Instant::now(),
            rows: BTreeMap::new(),
            drawn: 0,
            over: false,
            failed: false,
            colour: !no_colour,
        };
        let shared = Arc::new(Shared { state: Mutex::new(state), closed: Condvar::new() });
        let drawing = shared.clone();
        // Without the thread the view is drawn once, at the end.
        let thread = std::thread::Builder::new()
            .name("tug-view".to_owned())
            .spawn(move || draw_on(&drawing))
            .ok();
        Self { shared, thread: Mutex::new(thread) }
    }
}

fn draw_on(shared: &Shared) {
    let mut state = shared.state.lock().unwrap_or_else(PoisonError::into_inner);
    while !state.over {
        let (next, _) =
            shared.closed.wait_timeout(state, PERIOD).unwrap_or_else(PoisonError::into_inner);
        state = next;
        if !state.over {
            state.draw();
        }
    }
}

impl Progress for Live {
    fn event(&self, event: Event) {
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner).tell(event);
    }
}

impl View for Live {
    fn close(&self, failed: bool) {
        {
            let mut state = self.shared.state.lock().unwrap_or_else(PoisonError::into_inner);
            state.failed = failed;
            state.over = true;
            state.draw();
            self.shared.closed.notify_all();
        }
        if let Some(thread) = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take() {
            let _ = thread.join();
        }
    }
}

impl State {
    fn tell(&mut self, event: Event) {
        match event {
            Event::Started { line, name } => {
                let row = Row {
                    name,
                    begun: Instant::now(),
                    ended: None,
                    outcome: Outcome::Running,
                    parts: Vec::new(),
                    output: VecDeque::new(),
                    partial: String::new(),
                    warnings: Vec::new(),
                };
                self.rows.insert(line, row);
            }
            Event::Cached { line } => self.end(line, Outcome::Cached),
            Event::Done { line } => self.end(line, Outcome::Done),
            Event::Failed { line, .. } => self.end(line, Outcome::Failed),
            Event::Cancelled { line } => self.end(line, Outcome::Cancelled),
            Event::Output { line, bytes, .. } => {
                if let Some(row) = self.rows.get_mut(&line) {
                    row.print(&bytes);
                }
            }
            Event::Part { line, name, bytes, .. } => {
                let Some(row) = self.rows.get_mut(&line) else { return };
                match row.parts.iter_mut().find(|(known, _)| *known == name) {
                    Some(known) => known.1 = bytes,
                    None => row.parts.push((name, bytes)),
                }
            }
            Event::Warning { line, text } => {
                if let Some(row) = self.rows.get_mut(&line) {
                    row.warnings.push(text);
                }
            }
        }
    }

    fn end(&mut self, line: LineId, outcome: Outcome) {
        if let Some(row) = self.rows.get_mut(&line) {
            row.outcome = outcome;
            row.ended = Some(row.begun.elapsed());
        }
    }

    /// Replaces what was drawn before.
    fn draw(&mut self) {
        let size = rustix::termios::tcgetwinsize(rustix::stdio::stderr());
        let (height, width) = size.map_or((24, 80), |size| {
            (usize::from(size.ws_row).max(5), usize::from(size.ws_col).max(20))
        });
        let mut lines = self.lines(width);
        if !self.over && lines.len() > height - 1 {
            // The head and the latest.
            let cut = lines.len() - (height - 2);
            lines.drain(1..=cut);
        }
        let mut out = String::from("\x1b[?25l");
        if self.drawn > 0 {
            let _ = write!(out, "\x1b[{}A\r\x1b[0J", self.drawn);
        }
        for line in &lines {
            out.push_str(line);
            out.push('\n');
        }
        out.push_str("\x1b[?25h");
        self.drawn = lines.len();
        // Nobody can be told that nobody listens.
        let _ = std::io::stderr().lock().write_all(out.as_bytes());
    }

    fn lines(&self, width: usize) -> Vec<String> {
        let done = self.rows.values().filter(|row| row.outcome != Outcome::Running).count();
        let total = self.begun.elapsed().as_secs_f64();
        let finished = match (self.over, self.failed) {
            (true, false) => " FINISHED",
            _ => "",
        };
        let head = format!("[+] Building {total:.1}s ({done}/{}){finished}", self.rows.len());
        let mut lines = vec![spread(&head, BUILDER, width)];
        for row in self.rows.values() {
            row.draw(&mut lines, width, self.colour);
        }
        lines
    }
}

impl Row {
    fn print(&mut self, bytes: &[u8]) {
        let text = String::from_utf8_lossy(bytes);
        let mut chars = text.chars().peekable();
        while let Some(c) = chars.next() {
            match c {
                // A carriage return before a newline is the end of a line, alone it begins it anew.
                '\r' if chars.peek() == Some(&'\n') => {}
                '\n' => {
                    self.output.push_back(std::mem::take(&mut self.partial));
                    if self.output.len() > KEPT {
                        self.output.pop_front();
                    }
                }
                '\r' => self.partial.clear(),
                '\t' => self.partial.push_str("    "),
                // Colours and what moves the cursor would break the view.
                '\x1b' => skip_sequence(&mut chars),
                c if c.is_control() => {}
                c => self.partial.push(c),
            }
        }
    }

    fn draw(&self, lines: &mut Vec<String>, width: usize, colour: bool) {
        let time = self.ended.unwrap_or_else(|| self.begun.elapsed()).as_secs_f64();
        let (mark, paint) = match self.outcome {
            Outcome::Cached => ("CACHED ", "34"),
            Outcome::Failed => ("ERROR ", "31"),
            Outcome::Cancelled => ("CANCELED ", "33"),
            Outcome::Done => ("", "34"),
            Outcome::Running => ("", ""),
        };
        let text = spread(&format!(" => {mark}{}", self.name), &format!("{time:.1}s"), width);
        lines.push(painted(text, paint, colour));
        for (name, bytes) in &self.parts {
            let text =
                spread(&format!(" => => {}", part(name, *bytes)), &format!("{time:.1}s"), width);
            lines.push(painted(text, paint, colour));
        }
        for warning in &self.warnings {
            lines.push(painted(cut(&format!(" => => WARNING: {warning}"), width), "33", colour));
        }
        if self.outcome == Outcome::Running {
            let all = self.output.iter().map(String::as_str);
            let partial = Some(self.partial.as_str()).filter(|text| !text.is_empty());
            let shown: Vec<&str> = all.chain(partial).collect();
            for line in shown.iter().skip(shown.len().saturating_sub(WINDOW)) {
                lines.push(painted(cut(&format!(" => => # {line}"), width), "2", colour));
            }
        }
    }
}

/// The rest of a terminal's control sequence (ECMA-48): a letter ends `ESC [`, a bell or `ESC \` ends `ESC ]`.
fn skip_sequence(chars: &mut std::iter::Peekable<std::str::Chars<'_>>) {
    match chars.next() {
        Some('[') => drop(chars.find(|c| ('@'..='~').contains(c))),
        Some(']') => {
            let mut before = ' ';
            let _ = chars.find(|c| {
                let ends = *c == '\x07' || (before == '\x1b' && *c == '\\');
                before = *c;
                ends
            });
        }
        _ => {}
    }
}

/// One text at the left edge, another at the right.
fn spread(left: &str, right: &str, width: usize) -> String {
    let room = width.saturating_sub(right.chars().count() + 1);
    let left = cut(left, room);
    let gap = width.saturating_sub(left.chars().count() + right.chars().count());
    format!("{left}{}{right}", " ".repeat(gap))
}

fn cut(text: &str, width: usize) -> String {
    text.chars().take(width).collect()
}

fn painted(text: String, paint: &str, colour: bool) -> String {
    match colour && !paint.is_empty() {
        true => format!("\x1b[{paint}m{text}\x1b[0m"),
        false => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state() -> State {
        State {
            begun: Instant::now(),
            rows: BTreeMap::new(),
            drawn: 0,
            over: false,
            failed: false,
            colour: false,
        }
    }

    #[test]
    fn the_view_is_the_one_people_know() {
        let mut state = state();
        let line = LineId;
        state.tell(Event::Started { line: line(1), name: "[internal] load .dockerignore".into() });
        let bytes = Some(2);
        let name = "transferring context:".to_owned();
        state.tell(Event::Part { line: line(1), name, bytes, done: true });
        state.tell(Event::Done { line: line(1) });
        state.tell(Event::Started { line: line(2), name: "[2/4] WORKDIR /app".into() });
        state.tell(Event::Cached { line: line(2) });
        state.tell(Event::Started { line: line(3), name: "[4/4] RUN npm install".into() });
        let output = b"\x1b[1;31mone\x1b[0m\r\ntwo\r50%\r60%\x1b[1A\x1b]0;title\x07\n".to_vec();
        state.tell(Event::Output { line: line(3), stderr: false, bytes: output });
        let lines = state.lines(60);
        assert!(lines[0].starts_with("[+] Building 0.0s (2/3) ") && lines[0].ends_with(BUILDER));
        assert!(
            lines[1].starts_with(" => [internal] load .dockerignore ")
                && lines[1].ends_with("0.0s")
        );
        assert!(lines[2].starts_with(" => => transferring context: 2B "));
        assert!(lines[3].starts_with(" => CACHED [2/4] WORKDIR /app "));
        assert!(lines[4].starts_with(" => [4/4] RUN npm install "));
        assert_eq!(lines[5..], [" => => # one", " => => # 60%"]);
        assert!(lines[..5].iter().all(|line| line.chars().count() == 60), "{lines:?}");
        state.over = true;
        assert!(state.lines(60)[0].contains(" FINISHED "));
    }
}
