//! The supervisor of one running container: a process of its own, the same binary, dispatched
//! before any argument is parsed.
//!
//! Owns set-up and teardown around the runtime, the event loop (exit, output, clients, stop timer),
//! the log's format, and the protocol its clients speak. It refuses to know images, names, the
//! store or Docker. No async runtime, no TLS, no HTTP, no database: `cargo tree` is checked for it.
//!
//! Start at [`spec`] for what it is told and what it leaves behind, then follow a run: [`take_lock`],
//! [`spawn`], [`run_monitor`] in the new process, [`Client`] and [`Attach`] in the others, and
//! [`reconcile`] when it was killed. [`log`] has the format of what the container printed.

mod attach;
mod client;
mod error;
mod layout;
mod lock;
pub mod log;
mod monitor;
mod protocol;
mod reconcile;
mod record;
pub mod spec;
mod start;

pub use attach::{Attach, AttachEnd, DetachKeys, RawMode, UnknownKey, size_of};
pub use client::{Claim, Client, Wake};
pub use error::Error;
pub use lock::{is_running, remove_run_dir, take_lock, wait_for_lock};
pub use monitor::run_monitor;
pub use protocol::Welcome;
pub use reconcile::{Remains, reconcile};
pub use record::{read_exit, read_state};
pub use spec::*;
pub use start::{MONITOR, Started, Starting, Waiting, prepare, spawn};
