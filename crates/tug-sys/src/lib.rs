//! System calls that rustix does not wrap: the only unsafe code of the workspace.
//!
//! One file per kernel interface; above this crate there is no raw descriptor, pointer or errno.

pub mod bpf;
pub mod file_lock;
pub mod heap;
pub mod inherited;
pub mod launch;
pub mod mount;
pub mod netns;
pub mod process;
pub mod sealed;
pub mod seccomp;
pub mod signals;
pub mod traces;
