//! The end of a monitor: the record, the news, and who cleans up.

use super::clients::{self, Clients, Heard};
use super::undo::Ground;
use crate::protocol::{self, MAX_PACKET, Reply, Request};
use crate::{ExitRecord, layout, record};
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fd::OwnedFd;
use rustix::io::Errno;
use rustix::net::Shutdown;
use std::os::fd::AsFd;

/// How long an owner may take to react to the news. It may be stopped (Ctrl-Z); nobody else should
/// have to wait for it.
const PATIENCE: Timespec = Timespec { tv_sec: 2, tv_nsec: 0 };

/// What is left to do: to learn whether the owner cleans up.
pub(super) struct Farewell {
    owner: Option<OwnedFd>,
    lock: OwnedFd,
}

impl Farewell {
    /// Leaves the record, removes the traces in the run directory, and tells everybody. In this order:
    /// whoever finds the socket gone finds the record.
    pub(super) fn say(
        ground: &Ground,
        exit: ExitRecord,
        log_end: u64,
        mut clients: Clients,
        lock: OwnedFd,
    ) -> Self {
        let _ = record::write(&layout::exit(&ground.container_dir), &exit);
        // The state first: who finds the lock held, a state and nobody to connect to takes the
        // container for started again.
        let _ = record::remove(&layout::state(&ground.run_dir));
        let _ = record::remove(&layout::socket(&ground.run_dir));
        let news = Reply::Exit { log_end, record: json(exit) };
        let owner = clients.take_owner().filter(|owner| {
            protocol::send(owner, &news.encode(), Some(lock.as_fd()), false).is_ok()
        });
        if owner.is_none() {
            // Those who were waiting for the end want the lock next.
            let _ = tug_sys::file_lock::unlock(lock.as_fd());
        }
        clients.tell_all(&news);
        Self { owner, lock }
    }

    /// Whether there is an owner and it has done its duty.
    pub(super) fn owner_cleans_up(self) -> bool {
        let Some(owner) = self.owner else { return false };
        let mut begun = false;
        loop {
            match clients::hear(owner.as_fd()) {
                Heard::Request(Request::Cleaned) => return true,
                Heard::Request(Request::Cleaning) => begun = true,
                Heard::Request(_) => {}
                Heard::Gone => return false,
                Heard::Nothing if wait(&owner, !begun) => {}
                Heard::Nothing => {
                    // After this its `Cleaning` is refused; one that came just before is seen.
                    let _ = rustix::net::shutdown(&owner, Shutdown::Read);
                    if !matches!(clients::hear(owner.as_fd()), Heard::Request(Request::Cleaning)) {
                        let _ = tug_sys::file_lock::unlock(self.lock.as_fd());
                        return false;
                    }
                    begun = true;
                }
            }
        }
    }
}

/// Waits for the owner to say something; `false` when it did not in time.
fn wait(owner: &OwnedFd, impatient: bool) -> bool {
    let mut fds = [PollFd::new(owner, PollFlags::IN)];
    match rustix::event::poll(&mut fds, impatient.then_some(&PATIENCE)) {
        Ok(0) => false,
        Ok(_) | Err(Errno::INTR) => true,
        Err(_) => false,
    }
}

/// The record in a packet; its message is cut if it must be.
fn json(mut record: ExitRecord) -> Vec<u8> {
    loop {
        let json = serde_json::to_vec(&record).unwrap_or_default();
        let Some(failure) = record.error.as_mut() else { return json };
        if json.len() < MAX_PACKET - 16 || failure.message.is_empty() {
            return json;
        }
        let half = failure.message.len() / 2;
        let cut = (0..=half).rev().find(|at| failure.message.is_char_boundary(*at)).unwrap_or(0);
        failure.message.truncate(cut);
    }
}
