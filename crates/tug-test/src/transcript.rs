//! Transcripts: what Docker answered to commands, for tug to be asked the same.
//!
//! ```text
//! # a comment
//! $ docker run --rm busybox sh -c 'echo hi; exit 7'
//! > hi
//! 2> docker: what Docker said on standard error; tug's own words may differ
//! = 7
//! ~ why tug answers otherwise; what it answers follows
//! ~> hello
//! ~= 0
//! ```
//! A line after `$` is a shell's, `docker` in it being the engine. Answers are kept as [`normal`] makes
//! them. Standard output and the exit code must be the same, and something must be said on standard
//! error exactly when Docker said something there.

use crate::output::{self, Output};
use std::fmt::Write;

/// What an engine answered.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    /// Standard output, normalised.
    pub stdout: Vec<String>,
    /// Standard error, normalised.
    pub stderr: Vec<String>,
    /// Exit code.
    pub code: i32,
}

impl Answer {
    /// From what a command said.
    pub fn of(output: &Output) -> Self {
        let lines = |text: &str| normal(text).lines().map(str::to_owned).collect();
        Self { stdout: lines(&output.stdout), stderr: lines(&output.stderr), code: output.code }
    }
}

/// One command.
#[derive(Clone, Debug, Default)]
pub struct Step {
    /// Lines above it that are not its own.
    pub comments: Vec<String>,
    /// The shell's line.
    pub line: String,
    /// What Docker answered.
    pub docker: Answer,
    /// Why tug answers otherwise, and what; standard error is Docker's here as well.
    pub otherwise: Option<(String, Answer)>,
}

impl Step {
    /// What tug has to answer.
    pub fn expected(&self) -> &Answer {
        self.otherwise.as_ref().map_or(&self.docker, |(_, answer)| answer)
    }

    /// How tug's answer differs from the one expected, in words. `None` when it does not.
    pub fn difference(&self, tug: &Answer) -> Option<String> {
        let expected = self.expected();
        let silent = (self.docker.stderr.is_empty(), tug.stderr.is_empty());
        let same = expected.stdout == tug.stdout
            && expected.code == tug.code
            && (silent.0 == silent.1 || self.otherwise.is_some());
        if same {
            return None;
        }
        let mut text = format!("$ {}\n", self.line);
        for (who, answer) in [("expected", expected), ("tug", tug)] {
            let _ = writeln!(
                text,
                "  {who}: code {}\n    out {:?}\n    err {:?}",
                answer.code, answer.stdout, answer.stderr
            );
        }
        Some(text)
    }
}

/// Reads a transcript.
///
/// # Panics
/// On a line that has no place in one.
pub fn parse(text: &str) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    let mut comments = Vec::new();
    for (number, line) in text.lines().enumerate() {
        if line.is_empty() || line.starts_with('#') {
            comments.push(line.to_owned());
            continue;
        }
        if let Some(command) = line.strip_prefix("$ ") {
            let comments = std::mem::take(&mut comments);
            steps.push(Step { comments, line: command.to_owned(), ..Step::default() });
            continue;
        }
        let known = steps.last_mut().is_some_and(|step| answer_line(step, line));
        assert!(known, "line {}: {line:?} is no line of a transcript", number + 1);
    }
    steps
}

fn answer_line(step: &mut Step, line: &str) -> bool {
    let (mark, text) = line.split_once(' ').unwrap_or((line, ""));
    let text = text.to_owned();
    let code = || text.parse().unwrap_or_default();
    match (mark, &mut step.otherwise) {
        (">", _) => step.docker.stdout.push(text),
        ("2>", _) => step.docker.stderr.push(text),
        ("=", _) => step.docker.code = code(),
        ("~", other) => *other = Some((text, Answer::default())),
        ("~>", Some((_, answer))) => answer.stdout.push(text),
        ("~=", Some((_, answer))) => answer.code = code(),
        _ => return false,
    }
    true
}

/// Writes a transcript.
pub fn text(steps: &[Step]) -> String {
    let mut text = String::new();
    let mut line = |mark: &str, rest: &str| {
        text += [mark, rest].join(" ").trim_end_matches(' ');
        text.push('\n');
    };
    for step in steps {
        for comment in &step.comments {
            line(comment, "");
        }
        line("$", &step.line);
        for (mark, lines) in [(">", &step.docker.stdout), ("2>", &step.docker.stderr)] {
            lines.iter().for_each(|said| line(mark, said));
        }
        line("=", &step.docker.code.to_string());
        if let Some((why, answer)) = &step.otherwise {
            line("~", why);
            answer.stdout.iter().for_each(|said| line("~>", said));
            line("~=", &answer.code.to_string());
        }
    }
    text
}

/// [`output::normal`], and what differs from day to day: lengths of time, and spaces that only align.
pub fn normal(text: &str) -> String {
    let mut normal = output::normal(text);
    for time in ["Less than a second", "About a minute", "About an hour"] {
        normal = normal.replace(time, "<TIME>");
    }
    for unit in ["second", "seconds", "minutes", "hours"] {
        normal = without_numbers(&normal, unit);
    }
    let lines = normal.lines().map(|line| line.trim_end().to_owned());
    lines.collect::<Vec<_>>().join("\n")
}

/// `3 seconds` as `<TIME>`.
fn without_numbers(text: &str, unit: &str) -> String {
    let mut words: Vec<&str> = text.split(' ').collect();
    let mut at = 1;
    while at < words.len() {
        let rest = words[at].strip_prefix(unit).filter(|rest| !rest.starts_with('s'));
        let counted =
            words[at - 1].bytes().all(|b| b.is_ascii_digit()) && !words[at - 1].is_empty();
        match rest {
            Some(rest) if counted && !rest.starts_with(char::is_alphabetic) => {
                words[at - 1] = "<TIME>";
                words[at] = rest;
                if rest.is_empty() {
                    words.remove(at);
                }
            }
            _ => {}
        }
        at += 1;
    }
    words.join(" ").replace("<TIME> \n", "<TIME>\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transcript_reads_back() {
        let written = "# top\n\n$ docker ps\n> a  b\n>\n2> oops\n= 1\n~ because\n~> c\n~= 0\n$ docker x\n= 0\n";
        let steps = parse(written);
        assert_eq!(steps.len(), 2);
        assert_eq!(steps[0].docker.stdout, ["a  b", ""]);
        assert_eq!(steps[0].expected().stdout, ["c"]);
        assert_eq!(text(&steps), written);
    }

    #[test]
    fn an_answer_differs_in_output_code_or_in_having_complained() {
        let step = &parse("$ x\n> a\n= 0\n")[0];
        let answer = |out: &str, err: &[&str], code| Answer {
            stdout: vec![out.to_owned()],
            stderr: err.iter().map(ToString::to_string).collect(),
            code,
        };
        assert!(step.difference(&answer("a", &[], 0)).is_none());
        for other in [answer("b", &[], 0), answer("a", &["x"], 0), answer("a", &[], 1)] {
            assert!(step.difference(&other).is_some(), "{other:?}");
        }
    }

    #[test]
    fn lengths_of_time_are_replaced() {
        assert_eq!(normal("Up 3 seconds\nUp Less than a second x"), "Up <TIME>\nUp <TIME> x");
        assert_eq!(
            normal("Exited (0) 1 second ago  \n2 secondsx"),
            "Exited (0) <TIME> ago\n2 secondsx"
        );
    }
}
