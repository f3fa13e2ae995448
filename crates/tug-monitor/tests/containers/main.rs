//! Real containers under real monitors.
//!
//! The binary is its own cast: started under another name it plays the monitor, the reaper or an
//! attached client, so that those can be stopped and killed like the real ones.

mod attach;
mod cast;
mod faults;
mod lifecycle;
mod network;
mod output;
mod stop;
mod weight;
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind};

type Test = (&'static str, fn());

fn main() {
    let args: Vec<String> = std::env::args().collect();
    let part = args.first().map_or("", String::as_str);
    if let Some(status) = cast::play(part, &args[1..]) {
        end(status);
    }
    let wanted: Vec<&String> = args[1..].iter().filter(|arg| !arg.starts_with('-')).collect();
    let tests: Vec<Test> = [
        lifecycle::TESTS,
        output::TESTS,
        attach::TESTS,
        stop::TESTS,
        faults::TESTS,
        network::TESTS,
        weight::TESTS,
    ]
    .concat()
    .into_iter()
    .filter(|(name, _)| wanted.is_empty() || wanted.iter().any(|part| name.contains(*part)))
    .collect();
    if args.iter().any(|arg| arg == "--list") {
        tests.iter().for_each(|(name, _)| say(&format!("{name}: test")));
        return;
    }
    if let Err(why) = world::usable() {
        say(&format!("SKIPPED, NOT PASSED: {} tests of containers: {why}", tests.len()));
        return;
    }
    let mut failed = Vec::new();
    for (name, test) in &tests {
        let begin = std::time::Instant::now();
        let outcome = catch_unwind(AssertUnwindSafe(test));
        let word = if outcome.is_ok() { "ok" } else { "FAILED" };
        say(&format!("test {name} ... {word} ({} ms)", begin.elapsed().as_millis()));
        if outcome.is_err() {
            failed.push(*name);
        }
    }
    let _ = tug_runtime::cgroup::remove_parent(world::CGROUP_PARENT);
    say(&format!(
        "containers: {} passed, {} failed {failed:?}",
        tests.len() - failed.len(),
        failed.len()
    ));
    end(i32::from(!failed.is_empty()));
}

#[expect(clippy::disallowed_methods, reason = "this is main")]
fn end(status: i32) -> ! {
    std::process::exit(status)
}

/// A line on stdout.
fn say(text: &str) {
    let _ = std::io::Write::write_all(&mut std::io::stdout(), format!("{text}\n").as_bytes());
}
