//! Flags, Docker's way: one table per command feeds the parser, the help text and the suggestions.
//!
//! Written out rather than taken from a library because three things have to be Docker's to the
//! letter: where flags end (`run IMAGE -- ls` hands `--` to the container, `-h` is a host name),
//! how values attach (`-eA=b`, `-it=false`, `--init=false`), and what a wrong flag is told.
//! Reference: the grammar of Go's `pflag`, and `docker COMMAND --help`.

mod help;
mod parse;

pub(crate) use help::{help, options, usage_line};
pub(crate) use parse::{Parsed, parse};

use crate::context::Context;
use crate::quit::Quit;

/// What a flag takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Takes {
    /// Nothing, or `=true`, `=false`.
    Switch,
    /// A value; the text names its kind in the help.
    Value(&'static str),
}

/// One flag.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Flag {
    /// Without the dashes.
    pub name: &'static str,
    /// The one letter, or NUL.
    pub short: char,
    /// What it takes.
    pub takes: Takes,
    /// One line for the help; empty hides the flag.
    pub help: &'static str,
    /// Another spelling stands for this flag.
    pub means: Option<&'static str>,
}

impl Flag {
    /// `--name`
    pub(crate) const fn switch(name: &'static str, help: &'static str) -> Self {
        Self { name, short: '\0', takes: Takes::Switch, help, means: None }
    }

    /// `--name VALUE`
    pub(crate) const fn value(name: &'static str, kind: &'static str, help: &'static str) -> Self {
        Self { name, short: '\0', takes: Takes::Value(kind), help, means: None }
    }

    /// Gives it a letter.
    pub(crate) const fn short(mut self, letter: char) -> Self {
        self.short = letter;
        self
    }

    /// A hidden second spelling of a flag that takes a value.
    pub(crate) const fn alias(name: &'static str, means: &'static str) -> Self {
        Self { name, short: '\0', takes: Takes::Value(""), help: "", means: Some(means) }
    }

    /// `-m, --memory`, as errors name it.
    pub(crate) fn shown(&self) -> String {
        match self.short {
            '\0' => format!("--{}", self.name),
            short => format!("-{short}, --{}", self.name),
        }
    }
}

/// How many arguments a command takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Arguments {
    /// Exactly so many.
    Exactly(usize),
    /// At least so many.
    AtLeast(usize),
    /// From so many to so many.
    Between(usize, usize),
}

impl Arguments {
    /// What is wrong with this many arguments, in Docker's words.
    pub(crate) fn wrong(self, count: usize) -> Option<String> {
        let plural = |n: usize| if n == 1 { "argument" } else { "arguments" };
        match self {
            Self::Exactly(0) if count > 0 => Some("accepts no arguments".to_owned()),
            Self::Exactly(n) if count != n => Some(format!("requires {n} {}", plural(n))),
            Self::AtLeast(n) if count < n => Some(format!("requires at least {n} {}", plural(n))),
            Self::Between(0, most) if count > most => {
                Some(format!("requires at most {most} {}", plural(most)))
            }
            Self::Between(least, most) if count < least || count > most => {
                Some(format!("requires at least {least} and at most {most} {}", plural(most)))
            }
            _ => None,
        }
    }
}

/// One command.
#[derive(Debug)]
pub(crate) struct Command {
    /// Every spelling, the shortest first: `ps`, `container ls`.
    pub names: &'static [&'static str],
    /// What follows the name in the usage line.
    pub usage: &'static str,
    /// One line for the help.
    pub about: &'static str,
    /// Its flags.
    pub flags: &'static [&'static [Flag]],
    /// Its arguments.
    pub arguments: Arguments,
    /// Everything after the first argument is an argument too, whatever it looks like.
    pub verbatim: bool,
    /// What it does; answers with the exit code.
    pub run: fn(&Context, &Parsed<'_>) -> Result<u8, Quit>,
}

impl Command {
    /// All its flags.
    pub(crate) fn all_flags(&self) -> impl Iterator<Item = &'static Flag> {
        self.flags.iter().copied().flatten()
    }

    /// `tug ps`
    pub(crate) fn path(&self) -> String {
        format!("tug {}", self.names[0]).trim_end().to_owned()
    }
}
