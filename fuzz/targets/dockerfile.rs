//! Dockerfiles.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| tug_dockerfile::fuzz::exercise(bytes));
