//! How fast output flows into a log, and out of it.
//!
//! The same program prints in every case. The floor is a pipe whose other end writes into a file.

use super::Site;
use super::clock::{Times, time_read};
use super::engine::Engine;
use super::table::{Limit, Table};
use std::fs::File;
use std::io::{self, Read, Write};
use std::process::{Command, Stdio};
use std::time::Instant;

const BYTES: u64 = 500_000_000;
/// A disk that begins to write back in the middle of one makes it half as fast: of so many, the median.
const ROUNDS: usize = 9;
const LINES: u64 = 1_000_000;

/// Measures and fills the table's last rows.
pub(crate) fn measure(site: &Site<'_>, engines: &[Engine], table: &mut Table) -> io::Result<()> {
    let tool = std::env::current_exe()?.to_string_lossy().into_owned();
    let volume = format!("{tool}:/tug-dev:ro");
    let bytes = BYTES.to_string();
    let print = ["-v", &volume, "busybox", "/tug-dev", "produce", &bytes];
    let rate = |seconds: f64| BYTES as f64 / 1e6 / seconds;
    let mut floor = Times::default();
    let mut detached = vec![Times::default(); engines.len()];
    let mut attached = detached.clone();
    for _ in 0..ROUNDS {
        floor.push(rate(through_a_pipe(site, &tool, &bytes)?));
        for (number, engine) in engines.iter().enumerate() {
            let start = Instant::now();
            engine.ok(&[&["run", "-d", "--name", "bench-logs"], &print[..]].concat())?;
            engine.ok(&["wait", "bench-logs"])?;
            detached[number].push(rate(start.elapsed().as_secs_f64()));
            engine.ok(&["rm", "-f", "bench-logs"])?;
            let run = [&["run", "--rm"], &print[..]].concat();
            attached[number].push(rate(time_read(&mut engine.command(&run))? / 1e3));
        }
    }
    let beside = Some(("pipe into file", floor.median()));
    table.row("printing 500 MB, detached", "MB/s", &detached, beside, Limit::RatioAtLeast(0.7));
    table.row("printing 500 MB, attached", "MB/s", &attached, beside, Limit::RatioAtLeast(0.7));
    reading(engines, table)
}

fn through_a_pipe(site: &Site<'_>, tool: &str, bytes: &str) -> io::Result<f64> {
    let path = site.disk.join("pipe-into-file");
    let start = Instant::now();
    let mut producer =
        Command::new(tool).args(["produce", bytes]).stdout(Stdio::piped()).spawn()?;
    let mut file = File::create(&path)?;
    let mut piece = vec![0; 64 << 10];
    if let Some(pipe) = &mut producer.stdout {
        loop {
            match pipe.read(&mut piece)? {
                0 => break,
                length => file.write_all(&piece[..length])?,
            }
        }
    }
    producer.wait()?;
    let took = start.elapsed().as_secs_f64();
    std::fs::remove_file(path)?;
    Ok(took)
}

fn reading(engines: &[Engine], table: &mut Table) -> io::Result<()> {
    let (mut whole, mut tail) = (Vec::new(), Vec::new());
    let lines = LINES.to_string();
    for engine in engines {
        engine.ok(&["run", "--name", "bench-logs", "busybox", "seq", "1", &lines])?;
        let (mut all, mut last) = (Times::default(), Times::default());
        for _ in 0..5 {
            all.push(time_read(&mut engine.command(&["logs", "bench-logs"]))?);
        }
        for _ in 0..50 {
            last.push(time_read(&mut engine.command(&["logs", "--tail", "10", "bench-logs"]))?);
        }
        engine.ok(&["rm", "bench-logs"])?;
        whole.push(all);
        tail.push(last);
    }
    table.row("logs of a million lines", "ms", &whole, None, Limit::Value(500.0));
    table.row("logs --tail 10 of them", "ms", &tail, None, Limit::Value(8.0));
    Ok(())
}

/// Prints so many bytes in lines of a hundred.
pub(crate) fn produce(bytes: &str) -> io::Result<()> {
    let mut left: usize = bytes.parse().map_err(io::Error::other)?;
    let mut line = b"0123456789".repeat(10);
    line[99] = b'\n';
    let block = line.repeat(640);
    let mut out = File::from(rustix::io::dup(rustix::stdio::stdout())?);
    while left > 0 {
        let length = left.min(block.len());
        out.write_all(&block[..length])?;
        left -= length;
    }
    Ok(())
}
