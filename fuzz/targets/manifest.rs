//! Manifests and indexes as a registry or an archive serves them.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| tug_registry::fuzzing::manifest(bytes));
