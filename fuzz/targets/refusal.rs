//! What registries answer when they refuse.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| tug_registry::fuzzing::refusal(bytes));
