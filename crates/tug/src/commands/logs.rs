//! `logs`: from the log's records to the caller's streams, in large writes.

use crate::context::Context;
use crate::flags::{Arguments, Command, Flag, Parsed};
use crate::quit::Quit;
use crate::value::moment;
use jiff::Timestamp;
use rustix::fd::BorrowedFd;
use rustix::io::Errno;
use std::fmt::Write;
use tug_monitor::log::{Begin, Item, Line, Lines, Reader, Stream};
use tug_monitor::{Client, Error};

pub(crate) static COMMAND: Command = Command {
    names: &["logs", "container logs"],
    usage: "[OPTIONS] CONTAINER",
    about: "Fetch the logs of a container",
    flags: &[&[
        Flag::switch("details", "Show extra details provided to logs"),
        Flag::switch("follow", "Follow log output").short('f'),
        Flag::value(
            "since",
            "string",
            "Show what is younger: a time (2024-01-02T13:23:37Z) or an age (42m)",
        ),
        Flag::value("tail", "string", "Number of lines to show from the end (default \"all\")")
            .short('n'),
        Flag::switch("timestamps", "Show timestamps").short('t'),
        Flag::value(
            "until",
            "string",
            "Show what is older: a time (2024-01-02T13:23:37Z) or an age (42m)",
        ),
    ]],
    arguments: Arguments::Exactly(1),
    verbatim: false,
    run,
};

fn run(ctx: &Context, parsed: &Parsed<'_>) -> Result<u8, Quit> {
    let wanted = Wanted::of(parsed, Timestamp::now())?;
    let source = ctx.engine.logs(parsed.first())?;
    // Connected before the log is looked at: nothing is missed in between.
    let client = match wanted.follow && source.running {
        true => connect(&source.run_dir)?,
        false => None,
    };
    let reader = wanted.reader(&source.dir)?;
    let mut printer = Printer::new(wanted.timestamps, wanted.details);
    let result = match client {
        Some(client) => follow(client, reader, &mut printer),
        None => all(reader, &mut printer),
    };
    result.map_err(Quit::from).map(|()| 0)
}

/// `None` when it ended just now: then all there is to follow is there already.
fn connect(run_dir: &std::path::Path) -> Result<Option<Client>, Quit> {
    match Client::connect(run_dir) {
        Ok(client) => Ok(Some(client)),
        Err(Error::NotRunning) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn all(mut reader: Reader, printer: &mut Printer) -> Result<(), Failed> {
    while let Some(item) = reader.next_chunk()? {
        printer.print(&item)?;
    }
    printer.finish()
}

fn follow(mut client: Client, mut reader: Reader, printer: &mut Printer) -> Result<(), Failed> {
    let result = client.follow(&mut reader, |item| match item {
        Some(item) => printer.print(&item),
        None => printer.flush(),
    });
    match result {
        // It ended while it was asked for more, or was killed: what it had written is in the log.
        Err(Failed::Monitor(Error::MonitorGone | Error::NotRunning)) => all(reader, printer),
        Ok(()) => printer.finish(),
        Err(error) => Err(error),
    }
}

/// What the flags ask for.
struct Wanted {
    follow: bool,
    timestamps: bool,
    details: bool,
    /// Lines from the end.
    tail: Option<u64>,
    /// Nanoseconds since the epoch.
    since: Option<i64>,
    until: Option<i64>,
}

impl Wanted {
    fn of(parsed: &Parsed<'_>, now: Timestamp) -> Result<Self, Quit> {
        let time = |name: &str| -> Result<Option<i64>, Quit> {
            let Some(text) = parsed.text(name).filter(|text| !text.is_empty()) else {
                return Ok(None);
            };
            moment::parse(text, now)
                .map(Some)
                .map_err(|why| Quit::invalid(format!("invalid value for \"{name}\": {why}")))
        };
        Ok(Self {
            follow: parsed.on("follow"),
            timestamps: parsed.on("timestamps"),
            details: parsed.on("details"),
            tail: parsed.read("tail", tail)?.flatten(),
            since: time("since")?,
            until: time("until")?,
        })
    }

    fn reader(&self, dir: &std::path::Path) -> Result<Reader, Error> {
        let begin = match (self.tail, self.since) {
            (Some(lines), _) => Begin::Tail(lines),
            (None, Some(since)) => Begin::Since(since),
            (None, None) => Begin::Start,
        };
        let mut reader = Reader::open(dir, begin)?;
        if let Some(since) = self.since {
            reader = reader.since(since);
        }
        if let Some(until) = self.until {
            reader = reader.until(until);
        }
        Ok(reader)
    }
}

/// `all`, a number of lines, or a negative number, which is all.
fn tail(text: &str) -> Result<Option<u64>, &'static str> {
    match text.parse::<i64>() {
        Ok(lines) => Ok(u64::try_from(lines).ok()),
        Err(_) if text == "all" || text.is_empty() => Ok(None),
        Err(_) => Err("expected a number of lines or all"),
    }
}

/// Why printing ended early.
#[derive(Debug)]
enum Failed {
    Monitor(Error),
    Output(Errno),
}

impl From<Error> for Failed {
    fn from(error: Error) -> Self {
        Self::Monitor(error)
    }
}

impl From<Failed> for Quit {
    fn from(failed: Failed) -> Self {
        match failed {
            Failed::Monitor(error) => error.into(),
            Failed::Output(errno) => Self::io("write the log", &errno.into()),
        }
    }
}

/// Bytes gathered before they are written: a pipe's buffer.
const GATHER: usize = 64 << 10;

/// Writes chunks or stamped lines, gathered.
struct Printer {
    /// Lines are put together only where something stands before each.
    lines: Option<Lines>,
    stamps: Stamps,
    out: Sink,
}

impl Printer {
    fn new(timestamps: bool, details: bool) -> Self {
        Self {
            lines: (timestamps || details).then(Lines::new),
            stamps: Stamps::new(timestamps, details),
            out: Sink::new(),
        }
    }

    fn print(&mut self, item: &Item<'_>) -> Result<(), Failed> {
        let chunk = match item {
            Item::Chunk(chunk) => chunk,
            Item::Lost { bytes } => {
                let note = format!("[tug: about {bytes} bytes of the log are gone here]\n");
                return self.out.put(Stream::Stderr, note.as_bytes());
            }
        };
        match &mut self.lines {
            None => self.out.put(chunk.stream, chunk.bytes),
            Some(lines) => {
                let (stamps, out) = (&mut self.stamps, &mut self.out);
                lines.push(chunk, |line| stamped(stamps, out, &line))
            }
        }
    }

    fn finish(&mut self) -> Result<(), Failed> {
        if let Some(lines) = &mut self.lines {
            let (stamps, out) = (&mut self.stamps, &mut self.out);
            lines.finish(|line| stamped(stamps, out, &line))?;
        }
        self.flush()
    }

    fn flush(&mut self) -> Result<(), Failed> {
        self.out.flush()
    }
}

fn stamped(stamps: &mut Stamps, out: &mut Sink, line: &Line<'_>) -> Result<(), Failed> {
    out.put(line.stream, stamps.of(line.timestamp).as_bytes())?;
    out.put(line.stream, line.bytes)
}

/// What stands before a line. Seconds are written out once and kept: a million lines have few.
struct Stamps {
    timestamps: bool,
    details: bool,
    second: i64,
    /// `2024-01-02T13:23:37.`
    prefix: String,
    text: String,
}

impl Stamps {
    fn new(timestamps: bool, details: bool) -> Self {
        Self { timestamps, details, second: i64::MIN, prefix: String::new(), text: String::new() }
    }

    /// RFC 3339 with nine digits and `Z`, as Docker stamps; details are a blank, there being none.
    fn of(&mut self, timestamp: i64) -> &str {
        self.text.clear();
        if self.timestamps {
            let second = timestamp.div_euclid(1_000_000_000);
            if second != self.second {
                let time = Timestamp::from_second(second).unwrap_or_default();
                self.prefix = time.strftime("%Y-%m-%dT%H:%M:%S.").to_string();
                self.second = second;
            }
            self.text.push_str(&self.prefix);
            // Writing into a string does not fail.
            let _ = write!(self.text, "{:09}Z ", timestamp.rem_euclid(1_000_000_000));
        }
        if self.details {
            self.text.push(' ');
        }
        &self.text
    }
}

/// Both streams, gathered; one buffer when both go to the same place, so that their order is kept.
struct Sink {
    /// What is gathered, and for which stream.
    buffer: Vec<u8>,
    stream: Stream,
    joined: bool,
}

impl Sink {
    fn new() -> Self {
        let joined = same_file(rustix::stdio::stdout(), rustix::stdio::stderr());
        Self { buffer: Vec::with_capacity(2 * GATHER), stream: Stream::Stdout, joined }
    }

    fn put(&mut self, stream: Stream, bytes: &[u8]) -> Result<(), Failed> {
        let stream = if self.joined { Stream::Stdout } else { stream };
        if stream != self.stream {
            self.flush()?;
            self.stream = stream;
        }
        if self.buffer.is_empty() && bytes.len() >= GATHER {
            return self.write(bytes);
        }
        self.buffer.extend_from_slice(bytes);
        if self.buffer.len() >= GATHER { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> Result<(), Failed> {
        let buffer = std::mem::take(&mut self.buffer);
        let result = self.write(&buffer);
        self.buffer = buffer;
        self.buffer.clear();
        result
    }

    fn write(&self, mut bytes: &[u8]) -> Result<(), Failed> {
        let fd = match self.stream {
            Stream::Stdout => rustix::stdio::stdout(),
            Stream::Stderr => rustix::stdio::stderr(),
        };
        while !bytes.is_empty() {
            match rustix::io::write(fd, bytes) {
                Ok(count) => bytes = &bytes[count..],
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => wait_writable(fd)?,
                Err(errno) => return Err(Failed::Output(errno)),
            }
        }
        Ok(())
    }
}

/// The caller's stream was made non-blocking by somebody who shares it.
fn wait_writable(fd: BorrowedFd<'_>) -> Result<(), Failed> {
    use rustix::event::{PollFd, PollFlags, poll};
    match poll(&mut [PollFd::from_borrowed_fd(fd, PollFlags::OUT)], None) {
        Ok(_) | Err(Errno::INTR) => Ok(()),
        Err(errno) => Err(Failed::Output(errno)),
    }
}

fn same_file(one: BorrowedFd<'_>, other: BorrowedFd<'_>) -> bool {
    match (rustix::fs::fstat(one), rustix::fs::fstat(other)) {
        (Ok(one), Ok(other)) => (one.st_dev, one.st_ino) == (other.st_dev, other.st_ino),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flags;

    fn wanted(line: &str) -> Result<Wanted, Quit> {
        let words = line.split_whitespace().map(str::to_owned).collect();
        let now = Timestamp::from_second(1_700_000_000).unwrap();
        Wanted::of(&flags::parse(&COMMAND, words).unwrap(), now)
    }

    #[test]
    fn flags_are_read() {
        let all = wanted("x").unwrap();
        assert_eq!((all.tail, all.since, all.until, all.follow), (None, None, None, false));
        assert_eq!(wanted("-n 5 x").unwrap().tail, Some(5));
        assert_eq!(wanted("--tail all x").unwrap().tail, None);
        assert_eq!(wanted("--tail=-1 x").unwrap().tail, None);
        assert_eq!(wanted("-n0 x").unwrap().tail, Some(0));
        assert_eq!(wanted("--since 1m30s x").unwrap().since, Some(1_699_999_910_000_000_000));
        assert_eq!(
            wanted("--until 1700000000.5 x").unwrap().until,
            Some(1_700_000_000_500_000_000)
        );
        assert!(wanted("-ft x").unwrap().timestamps);
        assert_eq!(
            wanted("-n x x").err().unwrap().to_string(),
            "invalid argument \"x\" for \"-n, --tail\" flag: expected a number of lines or all"
        );
        assert!(
            wanted("--since yesterday x")
                .err()
                .unwrap()
                .to_string()
                .starts_with("invalid value for \"since\": ")
        );
    }

    #[test]
    fn stamps_have_nine_digits() {
        let mut stamps = Stamps::new(true, false);
        assert_eq!(stamps.of(1_700_000_000_000_000_001), "2023-11-14T22:13:20.000000001Z ");
        assert_eq!(stamps.of(1_700_000_000_120_000_000), "2023-11-14T22:13:20.120000000Z ");
        assert_eq!(stamps.of(1_700_000_061_000_000_000), "2023-11-14T22:14:21.000000000Z ");
        assert_eq!(Stamps::new(false, true).of(5), " ");
    }
}
