//! Records what Docker makes of the corpus.

use std::io;
use std::path::Path;
use tug_test::corpus::runner::{self, Outcome};
use tug_test::corpus::{dir, read, topics};
use tug_test::output::Output;
use tug_test::process;

/// Builds every case of these topics (all when none is named) with the program `docker` and writes down
/// what came of it.
pub(crate) fn record(docker: &str, wanted: &[&str]) -> io::Result<()> {
    let version = process::run(docker, &["version", "--format", "{{.Server.Version}}"]);
    let components = process::run(docker, &["version"]);
    if !components.ok().contains("containerd") {
        return Err(io::Error::other(format!("{docker} is no Docker: {components}")));
    }
    println!("recording Docker {}", version.ok());
    let engine = |arguments: &[&str]| process::run(docker, &without_cache(arguments));
    process::run(docker, &["pull", "-q", "busybox"]).ok();
    let temp = tempfile::tempdir()?;
    let base = runner::base(&engine, temp.path());
    for topic in topics() {
        if !wanted.is_empty() && !wanted.contains(&topic.as_str()) {
            continue;
        }
        let mut out = format!("What Docker {} made of each case of {topic}.txt.\n", version.ok());
        for case in read(&dir().join(format!("{topic}.txt"))) {
            let outcome = runner::build(&case, &engine, &base, temp.path());
            out += &format!("\n=== {}\n--- docker\n{}", case.name, outcome.text());
            if let Outcome::Failed { said, .. } = &outcome {
                let message = message(said, temp.path());
                if message.contains("failed to create endpoint") {
                    return Err(io::Error::other(format!("Docker is not well: {message}")));
                }
                out += &format!("says {message}\n");
            }
            let _: Output = process::run(docker, &["rmi", "-f", &format!("corpus-{}", case.name)]);
        }
        std::fs::write(dir().join("docker").join(format!("{topic}.txt")), out)?;
        println!("{topic}");
    }
    Ok(())
}

/// What an earlier recording left in the cache is no proof.
fn without_cache<'a>(arguments: &[&'a str]) -> Vec<&'a str> {
    let mut arguments = arguments.to_vec();
    if arguments.first() == Some(&"build") {
        arguments.insert(1, "--no-cache");
    }
    arguments
}

/// The error itself, in one line.
fn message(said: &str, temp: &Path) -> String {
    let line = said.lines().rev().find_map(|line| line.strip_prefix("ERROR: "));
    let line = line.unwrap_or(said.trim()).replace('\n', " ");
    let line = line.replace(&*temp.to_string_lossy(), "$DIR");
    let line = line.strip_prefix("failed to build: ").unwrap_or(&line);
    let line = line.strip_prefix("failed to solve: ").unwrap_or(line);
    // What names nothing that lasts.
    let words = line.split(' ').filter(|word| !word.contains("::"));
    words.collect::<Vec<_>>().join(" ")
}
