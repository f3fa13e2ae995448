//! Running a program with a limit on its time, and looking at processes through /proc.

use crate::output::Output;
use std::io::{Read, Write};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// No command of a test may take longer; one that does hangs.
pub const LIMIT: Duration = Duration::from_secs(120);

/// A program that was started and not yet waited for. Dropping it kills it.
pub struct Running {
    child: Child,
    command: String,
    readers: Option<[std::thread::JoinHandle<Vec<u8>>; 2]>,
    started: Instant,
}

impl Running {
    /// Starts `command`, its output collected, its standard input a pipe.
    pub fn start(mut command: Command) -> Self {
        let shown = show(&command);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|error| panic!("start {shown}: {error}"));
        let readers = (child.stdout.take().map(collect), child.stderr.take().map(collect));
        let readers = match readers {
            (Some(out), Some(err)) => Some([out, err]),
            _ => None,
        };
        Self { child, command: shown, readers, started: Instant::now() }
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Writes to its standard input, which stays open. A reader that is gone is no error.
    pub fn write(&mut self, bytes: &[u8]) {
        if let Some(stdin) = &mut self.child.stdin {
            drop(stdin.write_all(bytes).and_then(|()| stdin.flush()));
        }
    }

    /// Ends its standard input.
    pub fn close_stdin(&mut self) {
        drop(self.child.stdin.take());
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: rustix::process::Signal) {
        kill(self.pid(), signal);
    }

    /// Whether it has not ended yet.
    pub fn alive(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Waits for its end and that of its output. Panics when it takes longer than [`LIMIT`].
    pub fn wait(mut self) -> Output {
        self.close_stdin();
        let status = loop {
            match self.child.try_wait() {
                Ok(Some(status)) => break status,
                Ok(None) if self.started.elapsed() < LIMIT => {
                    std::thread::sleep(Duration::from_millis(1));
                }
                other => {
                    drop(self.child.kill());
                    panic!("{} did not end within {LIMIT:?}: {other:?}", self.command);
                }
            }
        };
        let [out, err] = self.readers.take().unwrap_or_else(|| panic!("waited for twice"));
        // The output ends when nobody has it open any more: something left behind must not.
        let end = Instant::now() + Duration::from_secs(20);
        while !(out.is_finished() && err.is_finished()) {
            assert!(Instant::now() < end, "{}: something keeps its output open", self.command);
            std::thread::sleep(Duration::from_millis(1));
        }
        let joined = |reader: std::thread::JoinHandle<Vec<u8>>| reader.join().unwrap_or_default();
        Output::new(std::mem::take(&mut self.command), status, joined(out), &joined(err))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.readers.is_some() && self.alive() {
            drop(self.child.kill());
            drop(self.child.wait());
        }
    }
}

fn collect(mut from: impl Read + Send + 'static) -> std::thread::JoinHandle<Vec<u8>> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        drop(from.read_to_end(&mut bytes));
        bytes
    })
}

fn show(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    let quote = |word: &std::ffi::OsStr| {
        let word = word.to_string_lossy();
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=@,%+".contains(c);
        if !word.is_empty() && word.chars().all(plain) {
            word.into_owned()
        } else {
            format!("'{word}'")
        }
    };
    words.map(quote).collect::<Vec<_>>().join(" ")
}

/// Runs a program of the host to its end, without input.
pub fn run(program: &str, arguments: &[&str]) -> Output {
    let mut command = Command::new(program);
    command.args(arguments);
    Running::start(command).wait()
}

/// Sends a signal to a process of the test's own; one that is gone is no error.
pub fn kill(pid: u32, signal: rustix::process::Signal) {
    if let Some(pid) = i32::try_from(pid).ok().and_then(rustix::process::Pid::from_raw) {
        let _ = rustix::process::kill_process(pid, signal);
    }
}

/// SIGKILL, and its effect: a killed process holds its locks until it is scheduled to die.
pub fn kill_and_wait(pid: u32) {
    kill(pid, rustix::process::Signal::KILL);
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(30);
    let name = pid.to_string();
    while std::path::Path::new("/proc").join(&name).exists() && !is_zombie(&name) {
        assert!(std::time::Instant::now() < deadline, "process {pid} does not die");
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
}

/// Every process whose command line, environment or mounts mention `text`, as `PID: command line`.
/// Zombies and the caller do not count.
pub fn mentioning(text: &str) -> Vec<String> {
    let own = std::process::id().to_string();
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
        let pid = entry.file_name().to_string_lossy().into_owned();
        if pid == own || !pid.bytes().all(|b| b.is_ascii_digit()) || is_zombie(&pid) {
            continue;
        }
        let read = |file: &str| std::fs::read(format!("/proc/{pid}/{file}")).unwrap_or_default();
        let holds = |file: &str| contains(&read(file), text.as_bytes());
        if holds("cmdline") || holds("environ") || holds("mountinfo") {
            let command = String::from_utf8_lossy(&read("cmdline")).replace('\0', " ");
            found.push(format!("process {pid}: {command}"));
        }
    }
    found
}

/// Whether a process runs this very file. Not by name: one in a mount namespace of its own has an
/// executable that no path leads to.
pub fn executes(pid: u32, program: &std::path::Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    let file = |path: &std::path::Path| std::fs::metadata(path).map(|m| (m.dev(), m.ino())).ok();
    let own = file(std::path::Path::new(&format!("/proc/{pid}/exe")));
    own.is_some() && own == file(program)
}

fn is_zombie(pid: &str) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_none_or(|(_, rest)| rest.starts_with(['Z', 'X']))
}

fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    haystack.windows(needle.len()).any(|window| window == needle)
}
