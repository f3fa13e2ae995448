//! One command's wall-clock time, and many of them.

use std::io::{self, Read};
use std::process::{Command, Stdio};
use std::time::Instant;

/// Milliseconds from before the start of a command, whose output nobody reads, to its end.
///
/// # Errors
/// It could not be started, or failed.
pub(crate) fn time(command: &mut Command) -> io::Result<f64> {
    command.stdin(Stdio::null()).stdout(Stdio::null());
    let start = Instant::now();
    let status = command.status()?;
    let took = start.elapsed().as_secs_f64() * 1e3;
    if !status.success() {
        return Err(io::Error::other(format!("{command:?}: {status}")));
    }
    Ok(took)
}

/// The same with somebody reading all of the output from a pipe: /dev/null would take it for free.
///
/// # Errors
/// It could not be started, or failed.
pub(crate) fn time_read(command: &mut Command) -> io::Result<f64> {
    command.stdin(Stdio::null()).stdout(Stdio::piped());
    let start = Instant::now();
    let mut child = command.spawn()?;
    let mut piece = vec![0; 64 << 10];
    if let Some(pipe) = &mut child.stdout {
        while pipe.read(&mut piece)? > 0 {}
    }
    let status = child.wait()?;
    let took = start.elapsed().as_secs_f64() * 1e3;
    if !status.success() {
        return Err(io::Error::other(format!("{command:?}: {status}")));
    }
    Ok(took)
}

/// Measurements of one thing.
#[derive(Clone, Default)]
pub(crate) struct Times(Vec<f64>);

impl Times {
    pub(crate) fn push(&mut self, value: f64) {
        self.0.push(value);
    }

    pub(crate) fn mean(&self) -> f64 {
        self.0.iter().sum::<f64>() / self.0.len() as f64
    }

    pub(crate) fn median(&self) -> f64 {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        let middle = sorted.len() / 2;
        if sorted.len() % 2 == 1 {
            sorted[middle]
        } else {
            (sorted[middle.saturating_sub(1)] + sorted[middle]) / 2.0
        }
    }
}
