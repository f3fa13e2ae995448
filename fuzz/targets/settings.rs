//! The settings of registries, signature policies and keys.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| tug_registry::fuzzing::settings(bytes));
