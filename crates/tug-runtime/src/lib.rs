//! The container runtime.
//!
//! Owns the way from a [`ContainerSpec`] to a running process and back: pure plans of it (cgroup files,
//! system call filter, users), and an executor that carries them out with the kernel's newest calls. It
//! refuses to own images, names, networks, logs or restarts. No async runtime, no threads: the code
//! between clone and exec is ordinary code in a single-threaded process.
//!
//! Start at [`spec`], then `spawn.rs` (the parent) beside `child.rs` (the new process) and `sync.rs` (what
//! they say to each other).

mod capabilities;
pub mod cgroup;
mod child;
pub mod defaults;
mod devices;
mod error;
mod exec;
mod explain;
mod init;
mod mounts;
mod process;
mod root;
mod seccomp;
mod spawn;
pub mod spec;
mod sync;
mod sysctl;
mod tmpfs;
mod users;

pub use error::Error;
pub use exec::{ExecSpec, exec};
pub use spawn::{Created, Running, Stdio, spawn};
pub use spec::*;
