//! The container runtime.
//!
//! Owns the way from a [`ContainerSpec`] to a running process and back: a pure plan of it, and an
//! executor that carries the plan out with the kernel's newest calls and their fallbacks. It refuses
//! to own images, names, networks, logs or restarts. No async runtime, no threads: the code between
//! clone and exec is ordinary code in a single-threaded process.
//!
//! Start at [`spec`], then `spawn`.

pub mod spec;

pub use spec::*;
