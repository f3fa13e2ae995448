//! `tug-dev record CLIENT TRANSCRIPT`: asks a real Docker, and writes what it answers.

use std::io;
use std::process::Command;
use tug_test::output::Output;
use tug_test::transcript::{self, Answer};

/// Runs every command of the transcript with `client` for `docker`.
pub(crate) fn transcript(client: &str, path: &str) -> io::Result<()> {
    let mut steps = transcript::parse(&std::fs::read_to_string(path)?);
    for step in &mut steps {
        let script = format!("docker() {{ '{client}' \"$@\"; }}; {}", step.line);
        let said = Command::new("bash")
            .args(["-c", &script])
            .stdin(std::process::Stdio::null())
            .output()?;
        step.docker = Answer::of(&Output::of(&step.line, said));
        // The client's name for itself is where it lies.
        for line in step.docker.stderr.iter_mut().chain(&mut step.docker.stdout) {
            *line = line.replace(client, "docker");
        }
    }
    std::fs::write(path, transcript::text(&steps))
}
