//! The starter's side: from a spec to a running container.

use crate::client::Client;
use crate::protocol::{self, Reply, VERSION, Welcome};
use crate::{Error, MonitorSpec, RunState, layout, record};
use rustix::fs::{MemfdFlags, SeekFrom};
use rustix::net::{AddressFamily, SocketFlags, SocketType};
use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// argv[0] of a monitor: what the binary's `main` looks for before it parses anything. The
/// container's id follows, for people who read `ps`.
pub const MONITOR: &str = "tug-monitor";

/// Number of the one descriptor a monitor is handed: its end of the starter's socket.
pub(crate) const SOCKET_DESCRIPTOR: i32 = 3;

/// A monitor process that has begun and has not been told of its container yet. Dropped, it ends.
#[derive(Debug)]
pub struct Waiting {
    socket: Option<OwnedFd>,
    pid: i32,
}

/// A monitor that is setting its container up.
#[derive(Debug)]
pub struct Starting {
    client: Client,
    pid: i32,
}

/// A container that runs.
#[derive(Debug)]
pub struct Started {
    /// The same as in `state.json`.
    pub state: RunState,
    /// The starter's connection to the monitor. As long as it is there its holder is the owner: the
    /// one to clean up when the container ends (see [`crate::Claim`]). Dropping it detaches.
    pub owner: Client,
    /// What the runtime could not do as asked and did without.
    pub warnings: Vec<String>,
    /// The monitor's process id; a child of this process, reaped by init unless this one outlives
    /// it and cares.
    pub monitor_pid: i32,
}

/// Starts the monitor of a container. `exe` is this binary (`/proc/self/exe`), `lock` what
/// [`crate::take_lock`] gave for `spec.run_dir`. Returns at once.
///
/// # Errors
/// As [`prepare`] and [`Waiting::start`].
pub fn spawn(exe: &Path, spec: &MonitorSpec, lock: OwnedFd) -> Result<Starting, Error> {
    prepare(exe, spec.container.id.short())?.start(spec, lock)
}

/// Starts a monitor process ahead of what it is to do, so that its beginning goes beside its starter's
/// work on the container. `name` is what people read in `ps`.
///
/// # Errors
/// [`Error::Spawn`] when the process cannot be started.
pub fn prepare(exe: &Path, name: &str) -> Result<Waiting, Error> {
    let failed = |step| move |source: io::Error| Error::Spawn { step, source };
    let (ours, theirs) = rustix::net::socketpair(
        AddressFamily::UNIX,
        SocketType::SEQPACKET,
        SocketFlags::CLOEXEC,
        None,
    )
    .map_err(|errno| failed("make a socket")(errno.into()))?;
    let text = |bytes: &[u8]| {
        CString::new(bytes).map_err(|error| failed("name the program")(error.into()))
    };
    let exe = text(exe.as_os_str().as_bytes())?;
    let args = [text(MONITOR.as_bytes())?, text(name.as_bytes())?];
    let pid =
        tug_sys::launch::start(&exe, &args, &[theirs.as_fd()]).map_err(failed("execute it"))?;
    Ok(Waiting { socket: Some(ours), pid })
}

impl Waiting {
    /// Hands it its container. Returns at once.
    ///
    /// # Errors
    /// [`Error::File`] when the record of the last run cannot be removed, [`Error::MonitorGone`] when
    /// the process was killed meanwhile.
    pub fn start(mut self, spec: &MonitorSpec, lock: OwnedFd) -> Result<Starting, Error> {
        // From here on a missing exit record means that the run ended without a word.
        record::discard(&layout::exit(&spec.container_dir))?;
        let handed = memory_file(&serde_json::to_vec(spec).unwrap_or_default())
            .map_err(|source| Error::Spawn { step: "hand down the spec", source })?;
        let socket = self.socket.take().ok_or(Error::MonitorGone)?;
        for (packet, descriptor) in [(HANDED_LOCK, lock.as_fd()), (HANDED_SPEC, handed.as_fd())] {
            protocol::send(&socket, packet, Some(descriptor), true)
                .map_err(|_| Error::MonitorGone)?;
        }
        let welcome = Welcome {
            version: VERSION,
            terminal: spec.container.process.terminal,
            open_stdin: spec.open_stdin,
            log_start: 0,
            log_end: 0,
        };
        Ok(Starting { client: Client::over(socket, welcome), pid: self.pid })
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        // It reads the end of the socket and exits; nobody else reaps it while we live.
        if self.socket.take().is_some()
            && let Some(pid) = rustix::process::Pid::from_raw(self.pid)
        {
            let _ = rustix::process::waitpid(Some(pid), rustix::process::WaitOptions::empty());
        }
    }
}

/// The monitor's side of [`Waiting::start`]: the lock and the spec, in the order in which they come.
/// `None` when the starter has changed its mind, or was killed.
pub(crate) fn receive_orders(starter: BorrowedFd<'_>) -> Option<(OwnedFd, OwnedFd)> {
    let mut byte = [0];
    let mut next = |expected: &[u8]| match protocol::receive(starter, &mut byte, true) {
        Ok((1, Some(descriptor))) if byte == expected => Some(descriptor),
        _ => None,
    };
    let lock = next(HANDED_LOCK)?;
    Some((lock, next(HANDED_SPEC)?))
}

/// What the packets say that carry the two descriptors.
const HANDED_LOCK: &[u8] = b"L";
const HANDED_SPEC: &[u8] = b"S";

impl Starting {
    /// The monitor's process id.
    pub fn monitor_pid(&self) -> i32 {
        self.pid
    }

    /// Waits until the container's process runs.
    ///
    /// # Errors
    /// [`Error::Setup`] when it could not be brought to that, with everything undone again;
    /// [`Error::MonitorGone`] when the monitor was killed meanwhile: reconcile.
    pub fn wait_started(mut self) -> Result<Started, Error> {
        match self.client.answer() {
            Ok((Reply::Started(warnings), Some(state))) => {
                let state = read_state(state).map_err(Error::Talk)?;
                self.client.begin_at(state.log_start);
                let warnings = serde_json::from_slice(&warnings).unwrap_or_default();
                Ok(Started { state, owner: self.client, warnings, monitor_pid: self.pid })
            }
            Ok(_) => Err(Error::Talk(io::ErrorKind::InvalidData.into())),
            Err(Error::NotRunning) => {
                let record = self.client.wait()?;
                // The failure is the caller's to record; nothing is left for a reaper.
                if let Some(claim) = self.client.take_claim() {
                    claim.done();
                }
                let exit_code = record.exit_code;
                match record.error {
                    Some(failure) => Err(Error::Setup { failure, exit_code }),
                    None => Err(Error::MonitorGone),
                }
            }
            Err(error) => Err(error),
        }
    }
}

fn memory_file(bytes: &[u8]) -> io::Result<OwnedFd> {
    let file = rustix::fs::memfd_create("tug-monitor-spec", MemfdFlags::CLOEXEC)?;
    let mut file = std::fs::File::from(file);
    io::Write::write_all(&mut file, bytes)?;
    rustix::fs::seek(&file, SeekFrom::Start(0))?;
    Ok(file.into())
}

fn read_state(file: OwnedFd) -> io::Result<RunState> {
    let mut bytes = Vec::new();
    io::Read::read_to_end(&mut std::fs::File::from(file), &mut bytes)?;
    Ok(serde_json::from_slice(&bytes)?)
}
