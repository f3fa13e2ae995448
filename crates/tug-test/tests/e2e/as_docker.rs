//! The same commands, the same answers: transcripts of a real Docker 28 (`crates/tug-test/transcripts`,
//! recorded by `./dev peers transcripts`) played to tug.

use std::path::Path;
use tug_test::sandbox::{Sandbox, binary};
use tug_test::skip::skip;
use tug_test::transcript::{self, Answer};

fn play(name: &str) {
    let path = format!("{}/transcripts/{name}.txt", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    let s = Sandbox::new();
    let mut wrong = Vec::new();
    for step in transcript::parse(&text) {
        if step.line.contains("/sys/fs/cgroup/") && !Path::new("/sys/fs/cgroup/memory").exists() {
            skip(&format!("recorded on cgroup v1: {}", step.line));
            continue;
        }
        let script = format!("docker() {{ '{}' \"$@\"; }}; {}", binary().display(), step.line);
        let answer = Answer::of(&s.shell(&script));
        wrong.extend(step.difference(&answer));
    }
    assert!(wrong.is_empty(), "{} answers are not Docker's:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn one_container_after_the_other() {
    play("run");
}

#[test]
fn the_life_of_a_container() {
    play("life");
}

#[test]
fn volumes_and_images() {
    play("things");
}

#[test]
fn wrong_use() {
    play("wrong");
}

#[test]
fn builds() {
    play("build");
}
