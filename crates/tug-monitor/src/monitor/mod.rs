//! The body of the monitor process: set up, watch, take down.
//!
//! ```text
//! run_monitor ─► Setup ──failed──────────────► undo ─► exit.json ─► Exit ──► owner cleans up, or
//!                  └──Running─► Watch (events) ─► drain ─► undo ─► …           execve the reaper
//! ```
//!
//! One thread, one `epoll`, no wake-ups while nothing happens. Output is copied into the log and
//! nowhere else. Whoever started it may be killed at any moment: nothing here waits for a client.

mod clients;
mod farewell;
mod output;
mod poller;
mod setup;
mod stop;
mod undo;
mod watch;

pub(crate) use undo::{Ground, take_down};

use crate::start::{SOCKET_DESCRIPTOR, receive_orders};
use crate::{ExitRecord, MonitorSpec};
use farewell::Farewell;
use setup::Setup;
use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};
use tug_runtime::cgroup;
use tug_types::{Failure, Kind};

/// SIGHUP, SIGINT, SIGQUIT, SIGPIPE, SIGALRM, SIGTERM, SIGUSR1, SIGUSR2: a monitor ends with its
/// container and by nothing else. (The runtime gives the container default actions again.)
const IGNORED: [i32; 8] = [1, 2, 3, 13, 14, 15, 10, 12];

/// The whole life of a monitor process; the answer is its exit status. To be called first thing in
/// `main`, before anything is parsed or opened, when argv\[0\] is [`crate::MONITOR`].
pub fn run_monitor() -> i32 {
    let Ok([starter]) = tug_sys::inherited::take::<1>(SOCKET_DESCRIPTOR) else {
        return 125;
    };
    detach_from_caller();
    let Some((lock, spec)) = receive_orders(starter.as_fd()) else {
        return 0;
    };
    let spec = match read_spec(spec) {
        Ok(spec) => spec,
        // Neither a place for a record nor a log: the starter sees the connection end.
        Err(_) => return 125,
    };
    let reaper = spec.reaper.clone();
    let farewell = supervise(spec, starter, lock);
    match farewell.owner_cleans_up() {
        true => 0,
        false => become_reaper(&reaper),
    }
}

/// From the spec to the moment when the owner has to be asked.
fn supervise(spec: MonitorSpec, starter: OwnedFd, lock: OwnedFd) -> Farewell {
    let mut ground = Ground::of(&spec);
    let result = Setup::run(&spec, &mut ground);
    // What was needed only to set up is given back before a long life begins.
    drop(spec);
    match result {
        Ok(mut running) => {
            running.introduce(&ground, starter);
            let ended = running.watch();
            let oom_killed = cgroup::oom_killed(&ground.id, &ground.cgroup_parent);
            let failures = take_down(&mut ground);
            let record = ended.record(oom_killed, &failures);
            let farewell = Farewell::say(&ground, record, ended.log_end, ended.clients, lock);
            drop(ended.listener);
            farewell
        }
        Err(failure) => {
            let failures = take_down(&mut ground);
            let record = never_ran(failure, &failures);
            let clients = clients::Clients::only(starter, 0);
            Farewell::say(&ground, record, 0, clients, lock)
        }
    }
}

/// A session of its own, so that no terminal's signals reach it, and a name people can find.
fn detach_from_caller() {
    let _ = rustix::process::setsid();
    let _ = rustix::thread::set_name(c"tug-monitor");
    let _ = rustix::process::chdir("/");
    let _ = tug_sys::signals::ignore(&IGNORED);
}

fn read_spec(file: OwnedFd) -> std::io::Result<MonitorSpec> {
    let mut bytes = Vec::new();
    std::fs::File::from(file).read_to_end(&mut bytes)?;
    Ok(serde_json::from_slice(&bytes)?)
}

/// The record of a container that was never brought to run.
fn never_ran(failure: Failure, teardown: &[Failure]) -> ExitRecord {
    let exit_code = match failure.kind {
        Kind::CommandNotFound => 127,
        Kind::NotExecutable => 126,
        _ => 125,
    };
    ExitRecord {
        exit_code,
        started_at: 0,
        finished_at: now(),
        oom_killed: false,
        error: Some(with_teardown(failure, teardown)),
    }
}

/// One failure that also tells what could not be undone.
fn with_teardown(mut failure: Failure, teardown: &[Failure]) -> Failure {
    for more in teardown {
        failure.message.push_str("; ");
        failure.message.push_str(&more.message);
    }
    failure
}

/// Nanoseconds since the epoch.
pub(crate) fn now() -> i64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Realtime);
    now.tv_sec * 1_000_000_000 + now.tv_nsec
}

/// Returns only when the execve fails.
#[expect(clippy::disallowed_methods, reason = "the binary turns into itself")]
fn become_reaper(args: &[String]) -> i32 {
    use std::os::unix::process::CommandExt;
    let Some((name, rest)) = args.split_first() else { return 0 };
    let _ = tug_sys::signals::restore_default(&IGNORED);
    let _error = std::process::Command::new("/proc/self/exe").arg0(name).args(rest).exec();
    1
}
