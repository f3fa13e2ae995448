//! The client against a real registry and against one that misbehaves on purpose.
#![expect(clippy::print_stderr, reason = "a test that cannot run says so")]

mod auth;
mod blobs;
mod manifests;
mod mirrors;
mod real;
mod support;
mod uploads;
