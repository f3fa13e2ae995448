//! What people and Dockerfiles write to name an image.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| tug_registry::fuzzing::reference(bytes));
