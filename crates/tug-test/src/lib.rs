//! What the end-to-end tests and the benchmarks share.
//!
//! Owns: an engine of a test's own that proves it left nothing ([`sandbox`], [`leaks`]), programs
//! with a time limit ([`process`], [`terminal`]) and what they said ([`output`]), fixture images
//! ([`layout`], [`layer`], [`fixture`]), another architecture ([`foreign`]), registries good and bad ([`registry`], [`scripted`],
//! [`shelf`]) and a client that fills them ([`push`]), servers of repositories ([`git`], [`lighttpd`],
//! [`sshd`]), answers of Docker to compare with ([`transcript`]). Refuses to own anything tug itself uses: a
//! fixture made by the code under test proves nothing.
//!
//! Start at [`sandbox::Sandbox`].
#![expect(
    clippy::disallowed_methods,
    clippy::print_stderr,
    reason = "tests start programs, read their environment and say aloud what they skip"
)]

pub mod corpus;
pub mod fixture;
pub mod foreign;
pub mod git;
pub mod layer;
pub mod layout;
pub mod leaks;
pub mod lighttpd;
pub mod machine;
pub mod output;
pub mod process;
pub mod push;
pub mod registry;
pub mod sandbox;
pub mod scripted;
pub mod shelf;
pub mod skip;
pub mod sshd;
pub mod terminal;
pub mod transcript;
pub mod wait;

/// A text no other caller on this machine gets: process id, a counter, the clock.
pub fn unique() -> String {
    use std::sync::atomic::{AtomicU64, Ordering};
    static COUNTER: AtomicU64 = AtomicU64::new(0);
    let count = COUNTER.fetch_add(1, Ordering::Relaxed);
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let nanos = now.map_or(0, |elapsed| elapsed.subsec_nanos());
    format!("{:x}{count:x}{nanos:x}", std::process::id())
}
