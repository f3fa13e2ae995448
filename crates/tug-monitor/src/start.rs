//! The starter's side: from a spec to a running container.

use crate::client::Client;
use crate::protocol::{Reply, VERSION, Welcome};
use crate::{Error, MonitorSpec, RunState, layout, record};
use rustix::fs::{MemfdFlags, SeekFrom};
use rustix::net::{AddressFamily, SocketFlags, SocketType};
use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// argv[0] of a monitor: what the binary's `main` looks for before it parses anything. The
/// container's id follows, for people who read `ps`.
pub const MONITOR: &str = "tug-monitor";

/// Number of the first descriptor a monitor is handed; then come the lock and the spec.
pub(crate) const FIRST_DESCRIPTOR: i32 = 3;

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
/// [`Error::Spawn`] when the process cannot be started, [`Error::File`] when the record of the last
/// run cannot be removed.
pub fn spawn(exe: &Path, spec: &MonitorSpec, lock: OwnedFd) -> Result<Starting, Error> {
    // From here on a missing exit record means that the run ended without a word.
    record::discard(&layout::exit(&spec.container_dir))?;
    let failed = |step| move |source: io::Error| Error::Spawn { step, source };
    let (ours, theirs) = rustix::net::socketpair(
        AddressFamily::UNIX,
        SocketType::SEQPACKET,
        SocketFlags::CLOEXEC,
        None,
    )
    .map_err(|errno| failed("make a socket")(errno.into()))?;
    let handed = memory_file(&serde_json::to_vec(spec).unwrap_or_default())
        .map_err(failed("hand down the spec"))?;
    let text = |bytes: &[u8]| {
        CString::new(bytes).map_err(|error| failed("name the program")(error.into()))
    };
    let exe = text(exe.as_os_str().as_bytes())?;
    let args = [text(MONITOR.as_bytes())?, text(spec.container.id.short().as_bytes())?];
    let descriptors = [theirs.as_fd(), lock.as_fd(), handed.as_fd()];
    let pid = tug_sys::launch::start(&exe, &args, &descriptors).map_err(failed("execute it"))?;
    let welcome = Welcome {
        version: VERSION,
        terminal: spec.container.process.terminal,
        open_stdin: spec.open_stdin,
        log_start: 0,
        log_end: 0,
    };
    Ok(Starting { client: Client::over(ours, welcome), pid })
}

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
