//! Signals to the container, and the question whether a stop signal can have any effect.
//!
//! PID 1 of a pid namespace does not get a signal it has no handler for (pid_namespaces(7)): it is
//! as if it had never been sent, and waiting out the grace time for it helps nobody. Such a stop
//! goes to those other processes of the container that do handle the signal, a server under a shell;
//! where there is none, the container is killed at once. Nothing is lost by it that Docker's ten
//! seconds would have saved: nobody in the container was told anything in them. A signal that is
//! blocked counts as handled: it is being waited for (sigwait, signalfd).

use rustix::fd::OwnedFd;
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use std::io;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};
use tug_runtime::cgroup;
use tug_sys::signals;
use tug_types::ContainerId;

pub(super) const KILL: i32 = 9;

/// The process signals go to.
#[derive(Debug)]
pub(super) struct Target {
    pub(super) id: ContainerId,
    pub(super) cgroup_parent: String,
    pub(super) pid: i32,
    pub(super) pidfd: OwnedFd,
    /// It is PID 1 of a namespace of its own, so the kernel protects it from signals.
    pub(super) own_pid_namespace: bool,
}

impl Target {
    /// A signal to PID 1 and nobody else.
    pub(super) fn signal(&self, signal: i32) -> io::Result<()> {
        signals::send(self.pidfd.as_fd(), signal)
    }

    /// Sends the stop signal where it has an effect; the answer is when to kill, if ever.
    pub(super) fn stop(&self, signal: i32, timeout_ms: i64) -> io::Result<Option<Instant>> {
        if !self.own_pid_namespace || signal == KILL || self.takes(signal) {
            self.signal(signal)?;
        } else if !self.tell_others(signal) {
            self.signal(KILL)?;
        }
        let timeout = u64::try_from(timeout_ms).ok().map(Duration::from_millis);
        Ok(timeout.and_then(|timeout| Instant::now().checked_add(timeout)))
    }

    fn takes(&self, signal: i32) -> bool {
        // When it cannot be read, it is better to wait than to kill.
        read_status(self.pid).is_none_or(|status| takes(&status, signal))
    }

    /// Sends the signal to the other processes of the container that handle it. Whether there was any.
    fn tell_others(&self, signal: i32) -> bool {
        let mut told = false;
        for pid in cgroup::pids(&self.id, &self.cgroup_parent).unwrap_or_default() {
            let Some(pidfd) =
                Pid::from_raw(pid).and_then(|pid| pidfd_open(pid, PidfdFlags::empty()).ok())
            else {
                continue;
            };
            // Read after the descriptor was opened: it is still the same process.
            let handles = read_status(pid).is_some_and(|status| takes(&status, signal));
            told |= handles && signals::send(pidfd.as_fd(), signal).is_ok();
        }
        told
    }
}

fn read_status(pid: i32) -> Option<String> {
    std::fs::read_to_string(format!("/proc/{pid}/status")).ok()
}

/// Whether the process of this `/proc/PID/status` catches the signal or waits for it.
fn takes(status: &str, signal: i32) -> bool {
    let mask = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        line.and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok()).unwrap_or(0)
    };
    let bit = u32::try_from(signal)
        .ok()
        .and_then(|signal| signal.checked_sub(1))
        .and_then(|shift| 1u64.checked_shl(shift));
    bit.is_some_and(|bit| (mask("SigCgt:") | mask("SigBlk:")) & bit != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHELL: &str = "Name:\tsh\nSigPnd:\t0\nSigBlk:\t0000000000000000\n\
        SigIgn:\t0000000000000004\nSigCgt:\t0000000000010002\n";

    #[test]
    fn caught_and_blocked_signals_are_taken_ignored_ones_are_not() {
        assert!(takes(SHELL, 2));
        assert!(takes(SHELL, 17));
        assert!(!takes(SHELL, 15));
        assert!(!takes(SHELL, 3), "ignored");
        assert!(takes("SigBlk:\t0000000000004000\nSigCgt:\t0000000000000000\n", 15));
        assert!(takes("SigCgt:\t8000000000000000\n", 64));
        for none in [0, -1, 65, i32::MIN] {
            assert!(!takes("SigCgt:\tffffffffffffffff\n", none));
        }
    }
}
