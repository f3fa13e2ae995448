//! What is shown while an image comes in: Docker's lines where nobody watches, a line per layer that
//! changes in place on a terminal.

use crate::environment;
use crate::text::human;
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::collections::HashMap;
use std::io::{IsTerminal, Write};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;
use tug_engine::{LayerState, Progress, PullEvent, PushEvent, PushProgress, PushState, Pushed};

/// Where it is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    Stdout,
    Stderr,
    Nowhere,
}

/// The progress for a target: live on a terminal.
pub(crate) fn on(target: Target) -> Arc<dyn Progress> {
    let live = match target {
        Target::Nowhere => return Arc::new(Silent),
        Target::Stdout => std::io::stdout().is_terminal(),
        Target::Stderr => std::io::stderr().is_terminal(),
    };
    match live {
        true => Arc::new(Live::new(target)),
        false => Arc::new(Plain { target, shown: Mutex::default() }),
    }
}

/// The same for a push.
pub(crate) fn of_push(target: Target) -> Box<dyn PushProgress> {
    let live = match target {
        Target::Nowhere => return Box::new(Silent),
        Target::Stdout => std::io::stdout().is_terminal(),
        Target::Stderr => std::io::stderr().is_terminal(),
    };
    match live {
        true => Box::new(Live::new(target)),
        false => Box::new(Plain { target, shown: Mutex::default() }),
    }
}

/// Nothing at all.
struct Silent;

impl PushProgress for Silent {
    fn event(&self, _: PushEvent) {}
}

impl Progress for Silent {
    fn event(&self, _: PullEvent) {}
}

/// A line for every step.
struct Plain {
    target: Target,
    /// The last line of each layer, so that none is repeated.
    shown: Mutex<HashMap<String, String>>,
}

impl Plain {
    /// A line about a layer, unless it says what the last one said.
    fn layer(&self, layer: &str, words: &str, line: &str) {
        let mut shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        let last = shown.insert(layer.to_owned(), words.to_owned());
        if last.as_deref() != Some(words) || words == RETRYING {
            write_line(self.target, &format!("{layer}: {line}"));
        }
    }
}

impl PushProgress for Plain {
    fn event(&self, event: PushEvent) {
        match &event {
            PushEvent::Layer { layer, state } => {
                if let Some(words) = push_words(state) {
                    let retrying = matches!(state, PushState::Retrying(..));
                    self.layer(layer, if retrying { RETRYING } else { &words }, &words);
                }
            }
            other => push_lines(other).iter().for_each(|line| write_line(self.target, line)),
        }
    }
}

impl Progress for Plain {
    fn event(&self, event: PullEvent) {
        let line = match &event {
            PullEvent::Layer { layer, state } => {
                let Some(words) = words(*state) else { return };
                if *state == LayerState::Downloaded {
                    // Done on the way, and said where Docker says it.
                    self.layer(layer, VERIFYING, VERIFYING);
                }
                return self.layer(layer, words, &described(*state, words));
            }
            other => match line(other) {
                Some(line) => line,
                None => return,
            },
        };
        write_line(self.target, &line);
    }
}

const RETRYING: &str = "Retrying";
const VERIFYING: &str = "Verifying Checksum";

/// Docker's words for a state; none for how far a download came.
fn words(state: LayerState) -> Option<&'static str> {
    match state {
        LayerState::AlreadyExists => Some("Already exists"),
        LayerState::Waiting => Some("Pulling fs layer"),
        LayerState::Downloading(..) => None,
        LayerState::Downloaded => Some("Download complete"),
        LayerState::Complete => Some("Pull complete"),
        LayerState::Retrying(..) => Some(RETRYING),
    }
}

fn described(state: LayerState, words: &str) -> String {
    match state {
        LayerState::Retrying(attempt, 1) => format!("{RETRYING} in 1 second (attempt {attempt})"),
        LayerState::Retrying(attempt, wait) => {
            format!("{RETRYING} in {wait} seconds (attempt {attempt})")
        }
        _ => words.to_owned(),
    }
}

/// Docker's words for a layer's way out; none for how far it came.
fn push_words(state: &PushState) -> Option<String> {
    Some(match state {
        PushState::Preparing => "Preparing".to_owned(),
        PushState::Pushing(..) => return None,
        PushState::Pushed => "Pushed".to_owned(),
        PushState::Exists => "Layer already exists".to_owned(),
        PushState::Mounted(from) => format!("Mounted from {from}"),
        PushState::Retrying(attempt, wait) => {
            described(LayerState::Retrying(*attempt, *wait), RETRYING)
        }
    })
}

/// The lines of a push that are about the whole image.
fn push_lines(event: &PushEvent) -> Vec<String> {
    match event {
        PushEvent::Repository { name } => vec![format!("The push refers to repository [{name}]")],
        PushEvent::Done(Pushed { reference, digest, size, .. }) => {
            let tag = reference.tag().unwrap_or("latest");
            vec![format!("{tag}: digest: {digest} size: {size}")]
        }
        PushEvent::Layer { .. } => Vec::new(),
    }
}

/// The lines that are about the whole image.
fn line(event: &PullEvent) -> Option<String> {
    match event {
        PullEvent::Resolving { reference } => {
            // As Docker has it: by digest, the whole name.
            let version = match reference.digest() {
                Some(digest) => reference.with_digest(*digest).to_string(),
                None => reference.tag().unwrap_or("latest").to_owned(),
            };
            Some(format!("{version}: Pulling from {}", reference.repository()))
        }
        PullEvent::Done { digest, newer, reference } => {
            let status = match newer {
                true => format!("Downloaded newer image for {}", reference.familiar()),
                false => format!("Image is up to date for {}", reference.familiar()),
            };
            Some(format!("Digest: {digest}\nStatus: {status}"))
        }
        PullEvent::TagDone { digest } => Some(format!("Digest: {digest}")),
        PullEvent::AllDone { newer: true, reference } => {
            Some(format!("Status: Downloaded newer image for {}", reference.familiar_name()))
        }
        PullEvent::AllDone { newer: false, reference } => {
            Some(format!("Status: Image is up to date for {}", reference.familiar_name()))
        }
        PullEvent::Layer { .. } => None,
    }
}

fn write_line(target: Target, line: &str) {
    let text = format!("{line}\n");
    // Nobody can be told that nobody listens; the pull itself goes on.
    let _ = match target {
        Target::Stdout => std::io::stdout().lock().write_all(text.as_bytes()),
        Target::Stderr => std::io::stderr().lock().write_all(text.as_bytes()),
        Target::Nowhere => Ok(()),
    };
}

/// A line per layer, redrawn.
struct Live {
    target: Target,
    bars: MultiProgress,
    layers: Mutex<HashMap<String, ProgressBar>>,
    /// When each layer began to move, and how far it was then.
    begun: Mutex<HashMap<String, (Instant, u64)>>,
}

impl Live {
    fn new(target: Target) -> Self {
        let draw = match target {
            Target::Stderr => ProgressDrawTarget::stderr(),
            _ => ProgressDrawTarget::stdout(),
        };
        let bars = MultiProgress::with_draw_target(draw);
        Self { target, bars, layers: Mutex::default(), begun: Mutex::default() }
    }

    /// Layers that did not come to an end stay as they were last seen.
    fn settle(&self) {
        let layers = self.layers.lock().unwrap_or_else(PoisonError::into_inner);
        layers.values().filter(|bar| !bar.is_finished()).for_each(ProgressBar::abandon);
    }

    fn bar(&self, layer: &str) -> ProgressBar {
        let mut layers = self.layers.lock().unwrap_or_else(PoisonError::into_inner);
        let make = || {
            let bar = self.bars.add(ProgressBar::new(0));
            bar.set_style(style("{prefix}: {msg}"));
            bar.set_prefix(layer.to_owned());
            bar
        };
        layers.entry(layer.to_owned()).or_insert_with(make).clone()
    }

    fn push_layer(&self, layer: &str, state: &PushState) {
        let bar = self.bar(layer);
        match state {
            PushState::Pushing(done, all) => self.moving(&bar, "Pushing", *done, *all),
            state => {
                bar.set_style(style("{prefix}: {msg}"));
                let message = push_words(state).unwrap_or_default();
                match state {
                    PushState::Preparing | PushState::Retrying(..) => bar.set_message(message),
                    _ => bar.finish_with_message(message),
                }
            }
        }
    }

    /// How far a layer came, and how fast.
    fn moving(&self, bar: &ProgressBar, verb: &str, done: u64, all: Option<u64>) {
        let speed = self.speed(bar, done);
        let Some(all) = all else {
            bar.set_style(style("{prefix}: {msg}"));
            return bar.set_message(format!("{verb} {}{speed}", human::size(done, 4)));
        };
        bar.set_message(format!("{}/{}{speed}", human::size(done, 4), human::size(all, 4)));
        bar.set_style(style(&TRANSFER.replace("VERB", verb)));
        bar.set_length(all);
        bar.set_position(done);
    }

    /// ` 12.3MB/s` since the layer began to move; nothing before there is something to measure.
    fn speed(&self, bar: &ProgressBar, done: u64) -> String {
        let mut begun = self.begun.lock().unwrap_or_else(PoisonError::into_inner);
        let name = bar.prefix();
        let (at, before) = *begun.entry(name).or_insert_with(|| (Instant::now(), done));
        let seconds = at.elapsed().as_secs_f64();
        if seconds < 0.2 || done <= before {
            return String::new();
        }
        format!("  {}/s", human::size(((done - before) as f64 / seconds) as u64, 3))
    }

    fn layer(&self, layer: &str, state: LayerState) {
        let bar = self.bar(layer);
        match state {
            LayerState::Downloading(done, all) => self.moving(&bar, "Downloading", done, all),
            state => {
                let words = words(state).unwrap_or_default();
                bar.set_style(style("{prefix}: {msg}"));
                let message = described(state, words);
                match state {
                    LayerState::AlreadyExists | LayerState::Complete => {
                        bar.finish_with_message(message);
                    }
                    _ => bar.set_message(message),
                }
            }
        }
    }
}

/// As Docker draws it.
const TRANSFER: &str = "{prefix}: VERB [{bar:50}] {msg}";

fn style(template: &str) -> ProgressStyle {
    let coloured = match environment::no_color() {
        true => template.to_owned(),
        false => template.replace("{bar:50}", "{bar:50.cyan}"),
    };
    let style = ProgressStyle::with_template(&coloured);
    style.unwrap_or_else(|_| ProgressStyle::default_bar()).progress_chars("=> ")
}

impl Progress for Live {
    fn event(&self, event: PullEvent) {
        match &event {
            PullEvent::Layer { layer, state } => self.layer(layer, *state),
            other => {
                // Before the first layer, or after the last: nothing is drawn any more.
                self.settle();
                if let Some(line) = line(other) {
                    write_line(self.target, &line);
                }
                // Layers of the next tag get lines of their own, below this one.
                self.layers.lock().unwrap_or_else(PoisonError::into_inner).clear();
            }
        }
    }
}

impl PushProgress for Live {
    fn event(&self, event: PushEvent) {
        match &event {
            PushEvent::Layer { layer, state } => self.push_layer(layer, state),
            other => {
                self.settle();
                push_lines(other).iter().for_each(|line| write_line(self.target, line));
                // Layers of the next tag get lines of their own, below this one.
                self.layers.lock().unwrap_or_else(PoisonError::into_inner).clear();
            }
        }
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        self.settle();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tug_types::{Digest, ImageReference};

    #[test]
    fn lines_are_dockers() {
        let reference = ImageReference::parse("busybox").unwrap();
        let digest = Digest::from_sha256([0xab; 32]);
        let resolving = PullEvent::Resolving { reference: reference.clone() };
        assert_eq!(line(&resolving).unwrap(), "latest: Pulling from library/busybox");
        let done = |newer| PullEvent::Done { digest, newer, reference: reference.clone() };
        assert_eq!(
            line(&done(true)).unwrap(),
            format!("Digest: {digest}\nStatus: Downloaded newer image for busybox:latest")
        );
        assert!(
            line(&done(false)).unwrap().ends_with("Status: Image is up to date for busybox:latest")
        );
        let by_digest = reference.with_digest(digest);
        let whole = by_digest.to_string();
        let resolving = PullEvent::Resolving { reference: by_digest };
        assert_eq!(line(&resolving).unwrap(), format!("{whole}: Pulling from library/busybox"));
    }

    #[test]
    fn states_have_dockers_words() {
        for (state, text) in [
            (LayerState::Waiting, "Pulling fs layer"),
            (LayerState::AlreadyExists, "Already exists"),
            (LayerState::Downloaded, "Download complete"),
            (LayerState::Complete, "Pull complete"),
            (LayerState::Retrying(2, 5), "Retrying in 5 seconds (attempt 2)"),
            (LayerState::Retrying(1, 1), "Retrying in 1 second (attempt 1)"),
        ] {
            assert_eq!(described(state, words(state).unwrap()), text);
        }
        assert_eq!(words(LayerState::Downloading(1, Some(2))), None);
    }
}
