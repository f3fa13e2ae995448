//! A template as a tree, and how errors write parts of it.

use crate::number::Number;
use std::fmt;

/// What stands between two ends.
pub(crate) type List = Vec<Node>;

/// One step of a template.
#[derive(Clone, Debug)]
pub(crate) enum Node {
    Text(String),
    Action { at: usize, pipe: Pipe },
    Control { at: usize, kind: Control, pipe: Pipe, list: List, other: Option<List> },
    Break { at: usize },
    Continue { at: usize },
    Template { at: usize, name: String, pipe: Option<Pipe> },
}

/// The actions that hold a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Control {
    If,
    With,
    Range,
}

/// Commands whose results flow from one to the next.
#[derive(Clone, Debug)]
pub(crate) struct Pipe {
    pub(crate) at: usize,
    /// `=`, not `:=`.
    pub(crate) assigns: bool,
    /// With their `$`.
    pub(crate) variables: Vec<String>,
    pub(crate) commands: Vec<Command>,
}

/// An operand and its arguments.
#[derive(Clone, Debug)]
pub(crate) struct Command {
    pub(crate) at: usize,
    pub(crate) words: Vec<Operand>,
}

/// One word of a command.
#[derive(Clone, Debug)]
pub(crate) struct Operand {
    pub(crate) at: usize,
    pub(crate) term: Term,
}

#[derive(Clone, Debug)]
pub(crate) enum Term {
    Bool(bool),
    Number {
        text: String,
        number: Number,
        /// Written as `'a'`.
        is_char: bool,
    },
    String {
        quoted: String,
        text: String,
    },
    Nil,
    Dot,
    /// `.A.B`
    Field(Vec<String>),
    /// `$a.B`: the name first.
    Variable(Vec<String>),
    Function(String),
    Pipe(Pipe),
    /// `(…).A.B`
    Chain(Box<Operand>, Vec<String>),
}

impl Control {
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::If => "if",
            Self::With => "with",
            Self::Range => "range",
        }
    }
}

impl fmt::Display for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => write!(f, "{}", crate::quote(text)),
            Self::Action { pipe, .. } => write!(f, "{{{{{pipe}}}}}"),
            Self::Control { kind, pipe, list, other, .. } => {
                write!(f, "{{{{{} {pipe}}}}}", kind.word())?;
                list.iter().try_for_each(|node| node.fmt(f))?;
                if let Some(other) = other {
                    f.write_str("{{else}}")?;
                    other.iter().try_for_each(|node| node.fmt(f))?;
                }
                f.write_str("{{end}}")
            }
            Self::Break { .. } => f.write_str("{{break}}"),
            Self::Continue { .. } => f.write_str("{{continue}}"),
            Self::Template { name, pipe, .. } => {
                write!(f, "{{{{template {}", crate::quote(name))?;
                if let Some(pipe) = pipe {
                    write!(f, " {pipe}")?;
                }
                f.write_str("}}")
            }
        }
    }
}

impl fmt::Display for Pipe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.variables.is_empty() {
            let sign = if self.assigns { "=" } else { ":=" };
            write!(f, "{} {sign} ", self.variables.join(", "))?;
        }
        separated(f, &self.commands, " | ")
    }
}

impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        separated(f, &self.words, " ")
    }
}

impl fmt::Display for Operand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.term {
            Term::Bool(value) => write!(f, "{value}"),
            Term::Number { text, .. } => f.write_str(text),
            Term::String { quoted, .. } => f.write_str(quoted),
            Term::Nil => f.write_str("nil"),
            Term::Dot => f.write_str("."),
            Term::Field(names) => write!(f, ".{}", names.join(".")),
            Term::Variable(names) => f.write_str(&names.join(".")),
            Term::Function(name) => f.write_str(name),
            Term::Pipe(pipe) => write!(f, "({pipe})"),
            Term::Chain(operand, names) => write!(f, "{operand}.{}", names.join(".")),
        }
    }
}

fn separated<T: fmt::Display>(
    f: &mut fmt::Formatter<'_>,
    items: &[T],
    between: &str,
) -> fmt::Result {
    for (number, item) in items.iter().enumerate() {
        if number > 0 {
            f.write_str(between)?;
        }
        item.fmt(f)?;
    }
    Ok(())
}
