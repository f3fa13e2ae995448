//! The executor against the real kernel: containers of busybox, looked at from inside and outside.
//!
//! A main of its own instead of the test harness': making a container forks, and a process with several
//! threads must not (`tug_sys::process::clone` refuses to). Understands what cargo and nextest say to a
//! harness: `--list`, `--ignored`, `--exact NAME`, parts of names.

mod cgroups;
mod exec;
mod faults;
mod init;
mod isolation;
mod mounts;
mod process;
mod terminal;
mod user_namespace;
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind};

type Test = (&'static str, fn());

/// Names and functions of a module's tests.
#[macro_export]
macro_rules! tests {
    ($($name:ident),* $(,)?) => {
        pub(crate) const TESTS: &[(&str, fn())] =
            &[$((concat!(module_path!(), "::", stringify!($name)), $name)),*];
    };
}

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let has = |flag: &str| args.iter().any(|arg| arg == flag);
    let names: Vec<&str> =
        args.iter().map(String::as_str).filter(|arg| !arg.starts_with('-')).collect();
    let wanted = |name: &str| match has("--exact") {
        true => names.contains(&name),
        false => names.is_empty() || names.iter().any(|part| name.contains(part)),
    };
    let all = [
        cgroups::TESTS,
        exec::TESTS,
        faults::TESTS,
        init::TESTS,
        isolation::TESTS,
        mounts::TESTS,
        process::TESTS,
        terminal::TESTS,
        user_namespace::TESTS,
    ];
    // None is marked ignored.
    let none = has("--ignored");
    let chosen: Vec<Test> = all
        .concat()
        .into_iter()
        .map(|(name, test)| (name.strip_prefix("it::").unwrap_or(name), test))
        .filter(|(name, _)| !none && wanted(name))
        .collect();
    if has("--list") {
        chosen.iter().for_each(|(name, _)| say(&format!("{name}: test")));
        return;
    }
    if let Err(why) = world::usable() {
        world::skip(&format!("{} tests of containers", chosen.len()), &why);
        return;
    }
    let mut failed = Vec::new();
    for (name, test) in &chosen {
        let passed = catch_unwind(AssertUnwindSafe(test)).is_ok();
        say(&format!("test {name} ... {}", if passed { "ok" } else { "FAILED" }));
        if !passed {
            failed.push(*name);
        }
    }
    let count = chosen.len() - failed.len();
    say(&format!("test result: {count} passed; {} failed {failed:?}", failed.len()));
    if !failed.is_empty() {
        end(1);
    }
}

#[expect(clippy::disallowed_methods, reason = "this is main")]
fn end(status: i32) -> ! {
    std::process::exit(status)
}

/// A line on stdout.
pub(crate) fn say(text: &str) {
    let _ = std::io::Write::write_all(&mut std::io::stdout(), format!("{text}\n").as_bytes());
}
