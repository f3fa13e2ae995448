//! The supervisor of one running container: a process of its own, the same binary, dispatched
//! before any argument is parsed.
//!
//! Owns set-up and teardown around the runtime, the event loop (exit, output, clients, stop timer),
//! the log's format, and the protocol its clients speak. It refuses to know images, names, the
//! store or Docker. No async runtime, no TLS, no HTTP, no database: `cargo tree` is checked for it.
//!
//! Start at [`spec`] for what it is told and what it leaves behind.

pub mod spec;

pub use spec::*;
