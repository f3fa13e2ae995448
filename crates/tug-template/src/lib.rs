//! Go's text/template: what `--format` of Docker's commands is written in.
//!
//! The whole language: actions with trim markers and comments, pipelines, variables, `if`, `with`,
//! `range` with `else`, `break` and `continue`, `define`, `template` and `block`, Go's constants and
//! Go's own functions. Results and errors read as Go's, because scripts compare both; reference:
//! <https://pkg.go.dev/text/template>.
//!
//! Pure: text and [`Value`]s go in, text comes out. It refuses to know what a container is; Docker's
//! functions (`json`, `join` and their like) are given to it through [`Functions`].
//!
//! Reading order: `token` cuts text into tokens, `parse` makes the `tree`, `exec` walks it.
//! Where Go would go on until its stack or its memory ends, limits end it with an error: see
//! [`Limits`].

mod compare;
mod error;
mod exec;
mod functions;
pub mod fuzz;
mod number;
mod parse;
mod print;
mod printf;
mod reach;
#[cfg(test)]
mod tests;
mod token;
mod tree;
mod value;

pub use error::Error;
pub use functions::{Arity, Function, Functions, Kind};
pub use print::{quote, text};
pub use printf::printf;
pub use value::{List, Map, Object, Of, Record, Value};

use std::collections::HashMap;
use std::rc::Rc;

/// What a template may name but a map does not have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MissingKey {
    /// It is nothing, and prints as `<no value>`.
    #[default]
    Nothing,
    /// It ends the execution.
    Error,
}

/// Where an execution ends that would go on for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Nodes visited, each as often as it is visited.
    pub steps: u64,
    /// Templates that may call each other, one inside the other.
    pub depth: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { steps: u64::MAX, depth: 200 }
    }
}

/// A template ready to be filled in.
#[derive(Clone, Debug)]
pub struct Template {
    text: Rc<str>,
    trees: Rc<HashMap<String, tree::List>>,
    functions: Functions,
    missing_key: MissingKey,
    limits: Limits,
}

impl Template {
    /// Reads a template that may call `functions` besides Go's own.
    ///
    /// # Errors
    /// `template: :1: …`, the first flaw.
    pub fn parse(text: &str, functions: Functions) -> Result<Self, Error> {
        let trees = parse::parse(text, &functions)?;
        Ok(Self {
            text: text.into(),
            trees: Rc::new(trees),
            functions,
            missing_key: MissingKey::default(),
            limits: Limits::default(),
        })
    }

    /// The same template with another way to treat missing keys.
    #[must_use]
    pub fn missing_key(mut self, missing_key: MissingKey) -> Self {
        self.missing_key = missing_key;
        self
    }

    /// The same template with other limits.
    #[must_use]
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Fills it in.
    ///
    /// # Errors
    /// `template: :1:2: executing "" at <.X>: …`
    pub fn execute(&self, data: &Value) -> Result<String, Error> {
        exec::execute(self, data)
    }
}
