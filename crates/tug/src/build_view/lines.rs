//! Plain lines: `#5 [2/4] RUN make`, its output, `#5 DONE 1.2s`.

use super::{View, part};
use std::collections::HashMap;
use std::io::Write;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;
use tug_build::{Event, LineId, Progress};

/// Writes lines to stderr.
pub(super) struct Lines(Mutex<State>);

#[derive(Default)]
struct State {
    shown: HashMap<LineId, Shown>,
    /// The one whose block is being written.
    current: Option<LineId>,
}

struct Shown {
    name: String,
    begun: Instant,
    /// Output without its newline yet.
    partial: Vec<u8>,
    announced: bool,
}

impl Lines {
    pub(super) fn new() -> Self {
        Self(Mutex::default())
    }
}

impl Progress for Lines {
    fn event(&self, event: Event) {
        let mut out = Vec::new();
        self.0.lock().unwrap_or_else(PoisonError::into_inner).tell(event, &mut out);
        // Nobody can be told that nobody listens; the build itself goes on.
        let _ = std::io::stderr().lock().write_all(&out);
    }
}

impl View for Lines {
    fn close(&self, _: bool) {}
}

impl State {
    fn tell(&mut self, event: Event, out: &mut Vec<u8>) {
        match event {
            Event::Started { line, name } => {
                let shown =
                    Shown { name, begun: Instant::now(), partial: Vec::new(), announced: false };
                self.shown.insert(line, shown);
            }
            Event::Cached { line } => self.end(line, "CACHED", out),
            Event::Done { line } => {
                let text = format!("DONE {}", self.elapsed(line));
                self.end(line, &text, out);
            }
            Event::Failed { line, error } => self.end(line, &format!("ERROR: {error}"), out),
            Event::Cancelled { line } => self.end(line, "CANCELED", out),
            Event::Output { line, bytes, .. } => self.output(line, &bytes, out),
            // How far something came is for those who watch.
            Event::Part { done: false, .. } => {}
            Event::Part { line, name, bytes, done } => {
                self.turn_to(line, out);
                let done = if done { " done" } else { "" };
                push(out, line, &format!("{}{done}", part(&name, bytes)));
            }
            Event::Warning { line, text } => {
                if self.shown.contains_key(&line) {
                    self.turn_to(line, out);
                    push(out, line, &format!("WARNING: {text}"));
                } else {
                    out.extend(format!("WARNING: {text}\n").bytes());
                }
            }
        }
    }

    fn elapsed(&self, line: LineId) -> String {
        let elapsed = self.shown.get(&line).map(|shown| shown.begun.elapsed());
        format!("{:.1}s", elapsed.unwrap_or_default().as_secs_f64())
    }

    /// Begins or goes on with the block of a line.
    fn turn_to(&mut self, line: LineId, out: &mut Vec<u8>) {
        if self.current == Some(line) {
            return;
        }
        if let Some(current) = self.current.take()
            && self.shown.contains_key(&current)
        {
            push(out, current, "...");
        }
        if !out.is_empty() || self.current.is_none() {
            out.push(b'\n');
        }
        self.current = Some(line);
        if let Some(shown) = self.shown.get_mut(&line) {
            shown.announced = true;
            push(out, line, &shown.name.clone());
        }
    }

    fn end(&mut self, line: LineId, text: &str, out: &mut Vec<u8>) {
        self.turn_to(line, out);
        self.flush(line, out);
        push(out, line, text);
        self.shown.remove(&line);
        self.current = None;
    }

    fn output(&mut self, line: LineId, bytes: &[u8], out: &mut Vec<u8>) {
        self.turn_to(line, out);
        let Some(shown) = self.shown.get_mut(&line) else { return };
        let time = shown.begun.elapsed().as_secs_f64();
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            shown.partial.extend_from_slice(piece);
            if piece.ends_with(b"\n") {
                write_output(out, line, time, &std::mem::take(&mut shown.partial));
            }
        }
    }

    fn flush(&mut self, line: LineId, out: &mut Vec<u8>) {
        let Some(shown) = self.shown.get_mut(&line) else { return };
        if !shown.partial.is_empty() {
            let time = shown.begun.elapsed().as_secs_f64();
            write_output(out, line, time, &std::mem::take(&mut shown.partial));
        }
    }
}

fn write_output(out: &mut Vec<u8>, line: LineId, time: f64, text: &[u8]) {
    out.extend(format!("#{} {time:.3} ", line.0).bytes());
    // What was overwritten in place was not meant to stay.
    let text = text.strip_suffix(b"\n").unwrap_or(text);
    let text = text.strip_suffix(b"\r").unwrap_or(text);
    let last = text.rsplit(|byte| *byte == b'\r').next().unwrap_or(text);
    out.extend_from_slice(last);
    out.push(b'\n');
}

fn push(out: &mut Vec<u8>, line: LineId, text: &str) {
    out.extend(format!("#{} {text}\n", line.0).bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_buildkits() {
        let mut state = State::default();
        let mut out = Vec::new();
        let (one, two) = (LineId(1), LineId(2));
        let mut tell = |event| state.tell(event, &mut out);
        tell(Event::Started { line: one, name: "[1/2] FROM a".into() });
        tell(Event::Cached { line: one });
        tell(Event::Started { line: two, name: "[2/2] RUN b".into() });
        tell(Event::Output { line: two, stderr: false, bytes: b"he".to_vec() });
        tell(Event::Output { line: two, stderr: false, bytes: b"llo\nrest".to_vec() });
        tell(Event::Part { line: two, name: "size:".into(), bytes: Some(8250), done: true });
        tell(Event::Done { line: two });
        let text = String::from_utf8(out).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[..4], ["", "#1 [1/2] FROM a", "#1 CACHED", ""]);
        assert_eq!(lines[4], "#2 [2/2] RUN b");
        assert!(lines[5].starts_with("#2 0.0") && lines[5].ends_with(" hello"), "{text}");
        assert_eq!(lines[6], "#2 size: 8.25kB done");
        assert!(lines[7].ends_with(" rest"), "what had no newline is shown in the end");
        assert_eq!(lines[8], "#2 DONE 0.0s");
    }
}
