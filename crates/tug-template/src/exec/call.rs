//! Calls of functions: arguments are filled in, counted and checked.

use super::{Final, Here, Slot, Walker};
use crate::functions::{Arity, Function, Kind};
use crate::tree::{Command, Operand, Term};
use crate::value::Value;
use crate::{Error, quote};

impl<'t> Walker<'t> {
    pub(super) fn function(
        &mut self,
        dot: &Slot,
        name: &str,
        command: &'t Command,
        last: Final,
    ) -> Result<Slot, Error> {
        let words = &command.words[1..];
        if matches!(name, "and" | "or") {
            return self.shortcut(dot, name == "or", words, last);
        }
        let count = words.len() + usize::from(last.is_some());
        let function = self.checked(name, count)?;
        let mut arguments = Vec::with_capacity(count);
        for (number, word) in words.iter().enumerate() {
            let value = self.operand(dot, word)?.value;
            self.check(&function, number, &value, Some(word))?;
            arguments.push(value);
        }
        if let Some(value) = last {
            self.check(&function, arguments.len(), &value, None)?;
            arguments.push(value);
        }
        self.invoke(name, &arguments, Some(command))
    }

    /// `and` stops at the first that is false, `or` at the first that is true.
    fn shortcut(
        &mut self,
        dot: &Slot,
        wanted: bool,
        words: &'t [Operand],
        last: Final,
    ) -> Result<Slot, Error> {
        if words.is_empty() && last.is_none() {
            let name = if wanted { "or" } else { "and" };
            return self.fail(format!("wrong number of args for {name}: want at least 1 got 0"));
        }
        let mut value = Value::Nothing;
        for word in words {
            value = self.operand(dot, word)?.value;
            if value.is_true() == wanted {
                return Ok(Slot::plain(value));
            }
        }
        Ok(Slot::plain(last.unwrap_or(value)))
    }

    fn checked(&self, name: &str, count: usize) -> Result<Function, Error> {
        let Some(function) = self.template.functions.get(name) else {
            return self.fail(format!("{} is not a defined function", quote(name)));
        };
        let wrong = match function.arity {
            Arity::Any(wanted) if wanted != count => wanted.to_string(),
            Arity::Typed(kinds) if kinds.len() != count => kinds.len().to_string(),
            Arity::AtLeast(wanted) if count < wanted => format!("at least {wanted}"),
            Arity::From(kinds) if count < kinds.len() => format!("at least {}", kinds.len()),
            _ => return Ok(function),
        };
        self.fail(format!("wrong number of args for {name}: want {wrong} got {count}"))
    }

    fn check(
        &self,
        function: &Function,
        number: usize,
        value: &Value,
        word: Option<&Operand>,
    ) -> Result<(), Error> {
        let kind = match function.arity {
            Arity::Typed(kinds) | Arity::From(kinds) => {
                kinds.get(number).copied().unwrap_or(Kind::Any)
            }
            _ => Kind::Any,
        };
        if kind.takes(value) {
            return Ok(());
        }
        let wanted = kind.type_name();
        match (word, value) {
            (Some(word), _)
                if matches!(
                    word.term,
                    Term::Bool(_) | Term::Number { .. } | Term::String { .. }
                ) =>
            {
                self.fail(format!("expected {}; found {word}", kind.expected()))
            }
            (Some(Operand { term: Term::Nil, .. }), _) => {
                self.fail(format!("cannot assign nil to {wanted}"))
            }
            (_, value) => {
                let found = value.type_name();
                self.fail(format!("wrong type for value; expected {wanted}; got {found}"))
            }
        }
    }

    pub(super) fn invoke(
        &mut self,
        name: &str,
        arguments: &[Value],
        command: Option<&'t Command>,
    ) -> Result<Slot, Error> {
        let function = self.checked(name, arguments.len())?;
        match (function.run)(arguments) {
            Ok(value) => Ok(Slot::plain(value)),
            Err(message) => {
                let message = match (name, command.and_then(|command| command.words.get(1))) {
                    // Go names what it was asked to call.
                    ("call", Some(word)) => {
                        message.replace("non-function of", &format!("non-function {word} of"))
                    }
                    _ => message,
                };
                if let Some(command) = command {
                    self.here = Here::Command(command);
                }
                self.fail(format!("error calling {name}: {message}"))
            }
        }
    }
}
