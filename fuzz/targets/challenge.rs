//! `WWW-Authenticate` headers.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| tug_registry::fuzzing::www_authenticate(bytes));
