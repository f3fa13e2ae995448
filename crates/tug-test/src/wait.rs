//! Waiting for what another process brings about.

use std::time::{Duration, Instant};

/// Polls until `done` holds; panics after twenty seconds, naming `what`.
#[track_caller]
pub fn until(what: &str, mut done: impl FnMut() -> bool) {
    until_some(what, || done().then_some(()));
}

/// Polls until `find` finds something; panics after twenty seconds, naming `what`.
#[track_caller]
pub fn until_some<T>(what: &str, mut find: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + Duration::from_secs(20);
    loop {
        if let Some(found) = find() {
            return found;
        }
        assert!(Instant::now() < end, "waited twenty seconds for: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}
