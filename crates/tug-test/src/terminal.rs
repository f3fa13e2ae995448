//! A program on a pseudo terminal of its own, as a person would run it.

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};
use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// A program and the terminal it runs on. Dropping it kills the program.
pub struct Terminal {
    master: File,
    /// Kept open, so that what the program leaves behind (modes, output) can still be looked at.
    slave: File,
    child: Child,
    screen: Arc<Mutex<Vec<u8>>>,
    seen: usize,
}

const LIMIT: Duration = Duration::from_secs(20);

impl Terminal {
    /// Starts `command` in a session of its own on a new terminal of this size.
    pub fn start(command: Command, rows: u16, columns: u16) -> Self {
        Self::try_start(&command, rows, columns).unwrap_or_else(|error| panic!("pty: {error}"))
    }

    fn try_start(command: &Command, rows: u16, columns: u16) -> std::io::Result<Self> {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)?;
        grantpt(&master)?;
        unlockpt(&master)?;
        let name = ptsname(&master, Vec::new())?.into_string().map_err(std::io::Error::other)?;
        let no_tty = i32::try_from(OpenptFlags::NOCTTY.bits()).unwrap_or(0);
        let slave = OpenOptions::new().read(true).write(true).custom_flags(no_tty).open(name)?;
        tcsetwinsize(&slave, size(rows, columns))?;
        // setsid(1) makes standard input the controlling terminal, then becomes the program.
        let mut session = Command::new("setsid");
        session.arg("--ctty").arg(command.get_program()).args(command.get_args()).env_clear();
        session.envs(command.get_envs().filter_map(|(key, value)| Some((key, value?))));
        session.stdin(slave.try_clone()?).stdout(slave.try_clone()?).stderr(slave.try_clone()?);
        let child = session.spawn()?;
        let master = File::from(master);
        let screen = Arc::new(Mutex::new(Vec::new()));
        let (mut from, to) = (master.try_clone()?, screen.clone());
        std::thread::spawn(move || {
            let mut piece = [0; 4096];
            while let Ok(length @ 1..) = from.read(&mut piece) {
                to.lock().unwrap_or_else(PoisonError::into_inner).extend(&piece[..length]);
            }
        });
        Ok(Self { master, slave, child, screen, seen: 0 })
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Types.
    pub fn send(&mut self, text: &str) {
        if let Err(error) = self.master.write_all(text.as_bytes()) {
            panic!("type {text:?}: {error}");
        }
    }

    /// Waits for `text` to appear after what was waited for before.
    #[track_caller]
    pub fn expect(&mut self, text: &str) {
        let end = Instant::now() + LIMIT;
        loop {
            let screen = self.screen.lock().unwrap_or_else(PoisonError::into_inner).clone();
            let fresh = String::from_utf8_lossy(&screen[self.seen..]).into_owned();
            if let Some(at) = fresh.find(text) {
                self.seen = (self.seen + at + text.len()).min(screen.len());
                return;
            }
            assert!(Instant::now() < end, "waited for {text:?} on the terminal, got {fresh:?}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Everything shown so far.
    pub fn screen(&self) -> String {
        let screen = self.screen.lock().unwrap_or_else(PoisonError::into_inner);
        String::from_utf8_lossy(&screen).into_owned()
    }

    /// Changes the window.
    pub fn resize(&self, rows: u16, columns: u16) {
        assert!(tcsetwinsize(&self.master, size(rows, columns)).is_ok(), "resize");
    }

    /// Whether the terminal echoes and edits lines: not in raw mode.
    pub fn is_cooked(&self) -> bool {
        use rustix::termios::{LocalModes, tcgetattr};
        tcgetattr(&self.slave).is_ok_and(|modes| {
            modes.local_modes.contains(LocalModes::ECHO | LocalModes::ICANON | LocalModes::ISIG)
        })
    }

    /// Waits for the program's end; its exit code, 128 + n for signal n.
    #[track_caller]
    pub fn wait(&mut self) -> i32 {
        let end = Instant::now() + LIMIT;
        loop {
            if let Ok(Some(status)) = self.child.try_wait() {
                return status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0));
            }
            assert!(Instant::now() < end, "still running; screen: {:?}", self.screen());
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        if let Ok(None) = self.child.try_wait() {
            drop(self.child.kill());
            drop(self.child.wait());
        }
    }
}

fn size(rows: u16, columns: u16) -> Winsize {
    Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shell_is_talked_to_and_resized() {
        let mut command = Command::new("sh");
        command.env("PATH", "/usr/bin:/bin").env("PS1", "> ");
        let mut terminal = Terminal::start(command, 24, 80);
        terminal.expect("> ");
        terminal.send("stty size; trap 'stty size' WINCH\r");
        terminal.expect("24 80");
        terminal.resize(50, 132);
        terminal.send("\r");
        terminal.expect("50 132");
        assert!(terminal.is_cooked());
        terminal.send("stty raw; echo done\r");
        terminal.expect("done\r\n");
        crate::wait::until("the terminal to be raw", || !terminal.is_cooked());
        terminal.send("exit 7\n");
        assert_eq!(terminal.wait(), 7);
    }
}
