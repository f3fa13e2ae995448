//! Skipping aloud. A test that cannot run here returns after calling [`skip`]; `./dev test` counts
//! those apart from the passed ones.

use std::io::Write;

/// Says that the calling test did nothing, and why.
pub fn skip(reason: &str) {
    let thread = std::thread::current();
    let name = thread.name().unwrap_or("a test");
    eprintln!("SKIPPED: {name}: {reason}");
    if let Some(list) = std::env::var_os("TUG_TEST_SKIPS") {
        let list = std::fs::OpenOptions::new().append(true).create(true).open(list);
        let said = list.and_then(|mut list| writeln!(list, "{name}: {reason}"));
        assert!(said.is_ok(), "could not record that {name} was skipped: {said:?}");
    }
}
