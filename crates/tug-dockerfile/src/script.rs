//! What a `RUN` executes: its command and its here-documents put together.

use crate::ast::{CommandLine, Heredoc, Run};

/// What a `RUN` executes once its here-documents are put in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Script {
    /// One word for the stage's shell.
    Shell(String),
    /// These words, without a shell.
    Exec(Vec<String>),
    /// A here-document that starts with `#!`: a file of mode 0755 called `name`, mounted read-only in
    /// `/dev/pipes/`, given to the stage's shell by its path.
    File {
        /// The here-document's name.
        name: String,
        /// Its content.
        content: String,
    },
}

impl Run {
    /// What is to be executed: the command with its here-documents put in.
    pub fn script(&self) -> Script {
        let line = match &self.command {
            CommandLine::Exec(words) => return Script::Exec(words.clone()),
            CommandLine::Shell(line) => line,
        };
        let Some(first) = self.heredocs.first() else { return Script::Shell(line.clone()) };
        if crate::heredoc::is_mark(line) {
            let content = first.text();
            if content.starts_with("#!") {
                return Script::File { name: first.name.clone(), content };
            }
            return Script::Shell(content);
        }
        let mut script = line.clone();
        for heredoc in &self.heredocs {
            script.push('\n');
            script.push_str(&heredoc.content);
            script.push_str(&heredoc.name);
        }
        Script::Shell(script)
    }
}

impl Heredoc {
    /// The content, leading tabs taken off where `<<-` asks for that.
    pub fn text(&self) -> String {
        if !self.chomp {
            return self.content.clone();
        }
        self.content.split_inclusive('\n').map(|line| line.trim_start_matches('\t')).collect()
    }

    /// Its first line and `...` when there are more: what the progress line of a `RUN` shows.
    pub fn summary(&self) -> String {
        let mut lines = self.content.trim().lines();
        let first = lines.next().unwrap_or_default().to_owned();
        if lines.next().is_some() { first + "..." } else { first }
    }
}
