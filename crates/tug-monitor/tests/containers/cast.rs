//! The parts this binary plays besides the tests.

use std::fs::File;
use std::io::Write;
use std::os::fd::AsFd;
use std::path::Path;
use std::process::{Child, Command};
use tug_monitor::log::{Begin, Reader};
use tug_monitor::{Attach, AttachEnd, Client};

/// argv[0] of the reaper: followed by a file to append a line to.
pub(crate) const REAPER: &str = "test-reaper";
/// argv[0] of an attached client: followed by the run directory, the log's, and words: `tty`,
/// `stdin`, `start` (from the run's beginning), `proxy`, `redraw`.
pub(crate) const ATTACH: &str = "test-attach";

/// Plays a part and answers its exit status; `None` when the name is none of ours.
pub(crate) fn play(part: &str, args: &[String]) -> Option<i32> {
    match part {
        tug_monitor::MONITOR => Some(tug_monitor::run_monitor()),
        REAPER => {
            let mut file = File::options().create(true).append(true).open(&args[0]).unwrap();
            file.write_all(b"reaped\n").unwrap();
            Some(0)
        }
        ATTACH => Some(attach(Path::new(&args[0]), Path::new(&args[1]), &args[2..])),
        _ => None,
    }
}

/// Starts this binary in a part.
#[expect(clippy::disallowed_methods, reason = "the test's own cast")]
pub(crate) fn command(part: &str) -> Command {
    use std::os::unix::process::CommandExt;
    let mut command = Command::new("/proc/self/exe");
    command.arg0(part);
    command
}

/// A child that does not outlive its test.
pub(crate) struct Actor(pub(crate) Child);

impl Drop for Actor {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn attach(run_dir: &Path, log: &Path, words: &[String]) -> i32 {
    let has = |word: &str| words.iter().any(|given| given == word);
    let client = match Client::connect(run_dir) {
        Ok(client) => client,
        Err(error) => {
            crate::say(&format!("{error:?}"));
            return 99;
        }
    };
    let welcome = client.welcome();
    let begin = if has("start") { welcome.log_start } else { welcome.log_end };
    let (stdin, stdout, stderr) = (std::io::stdin(), std::io::stdout(), std::io::stderr());
    let mut attach = Attach {
        client,
        reader: Reader::open(log, Begin::Offset(begin)).unwrap(),
        stdin: has("stdin").then(|| stdin.as_fd()),
        stdout: Some(stdout.as_fd()),
        stderr: Some(stderr.as_fd()),
        tty: has("tty"),
        detach_keys: vec![0x10, 0x11],
        sig_proxy: has("proxy"),
        redraw: has("redraw"),
    };
    match attach.run(&mut |_, _| {}) {
        Ok(AttachEnd::Exited(record)) => record.exit_code,
        Ok(AttachEnd::Detached) => 200,
        Ok(AttachEnd::MonitorGone) => 201,
        Ok(AttachEnd::OutputClosed) => 202,
        Ok(AttachEnd::Signalled(signal)) => 203 + signal,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "{error:?}");
            98
        }
    }
}
