//! tug from the outside: the release binary, the real kernel, a file per topic.
//!
//! Every test has a [`tug_test::sandbox::Sandbox`] of its own, which checks at its end that nothing
//! is left on the machine.
#![expect(
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "tests read their environment and tell what a failure needs to be repeated"
)]

mod archives;
mod as_docker;
mod at_once;
mod attach;
mod budget;
mod build;
mod commit;
mod docker;
mod emulation;
mod exec;
mod faults;
mod host_network;
mod hostile;
mod images;
mod isolation;
mod lifecycle;
mod limits;
mod listing;
mod logs;
mod misuse;
mod mounts;
mod naming;
mod network;
mod platforms;
mod process;
mod pruning;
mod pull;
mod push;
mod run;
mod terminal;
mod throughput;
mod volumes;
