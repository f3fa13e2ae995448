//! Walking a tree with a value.

mod call;

use crate::tree::{Command, Control, List, Node, Operand, Pipe, Term};
use crate::value::{self, Of, Value};
use crate::{Error, MissingKey, Template, print, quote};
use std::fmt::Display;
use std::rc::Rc;

/// Fills a template in.
pub(crate) fn execute(template: &Template, data: &Value) -> Result<String, Error> {
    let dot = Slot::plain(data.clone());
    let mut walker = Walker {
        template,
        name: String::new(),
        variables: vec![("$".to_owned(), dot.clone())],
        here: Here::default(),
        depth: 0,
        steps: template.limits.steps,
        text: String::new(),
    };
    match template.trees.get("") {
        Some(list) => walker.list(&dot, list)?,
        None => Flow::On,
    };
    Ok(walker.text)
}

/// A value, and whether it is held as Go's `interface {}`: errors call it so then.
#[derive(Clone, Debug)]
struct Slot {
    value: Value,
    boxed: bool,
}

impl Slot {
    fn plain(value: Value) -> Self {
        Self { value, boxed: false }
    }

    fn element(value: &Value, of: Of) -> Self {
        Self { value: value.clone(), boxed: of == Of::Any }
    }

    fn type_name(&self) -> String {
        if self.boxed { "interface {}".to_owned() } else { self.value.type_name() }
    }
}

/// What goes on after a step.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Flow {
    On,
    Break,
    Continue,
}

/// The node that errors point at.
#[derive(Clone, Copy, Default)]
enum Here<'t> {
    #[default]
    Nowhere,
    Node(usize, &'t Node),
    Pipe(&'t Pipe),
    Command(&'t Command),
    Operand(&'t Operand),
}

struct Walker<'t> {
    template: &'t Template,
    /// Of the template that is walked.
    name: String,
    variables: Vec<(String, Slot)>,
    here: Here<'t>,
    depth: usize,
    steps: u64,
    text: String,
}

/// The argument a pipeline hands to its next command.
type Final = Option<Value>;

impl<'t> Walker<'t> {
    fn fail<T>(&self, message: impl Into<String>) -> Result<T, Error> {
        self.fail_missing(message, None)
    }

    fn fail_missing<T>(
        &self,
        message: impl Into<String>,
        missing: Option<&str>,
    ) -> Result<T, Error> {
        let (at, node): (usize, &dyn Display) = match &self.here {
            Here::Nowhere => (0, &""),
            Here::Node(at, node) => (*at, node),
            Here::Pipe(pipe) => (pipe.at, pipe),
            Here::Command(command) => (command.at, command),
            Here::Operand(operand) => (operand.at, operand),
        };
        let before = &self.template.text[..at];
        Err(Error::Execute {
            line: 1 + before.matches('\n').count(),
            column: at - before.rfind('\n').map_or(0, |newline| newline + 1),
            template: self.name.clone(),
            node: node.to_string(),
            message: message.into(),
            missing: missing.map(str::to_owned),
        })
    }

    fn list(&mut self, dot: &Slot, list: &'t List) -> Result<Flow, Error> {
        for node in list {
            match self.node(dot, node)? {
                Flow::On => {}
                other => return Ok(other),
            }
        }
        Ok(Flow::On)
    }

    fn node(&mut self, dot: &Slot, node: &'t Node) -> Result<Flow, Error> {
        let at = match node {
            Node::Text(text) => {
                self.text.push_str(text);
                return Ok(Flow::On);
            }
            Node::Action { at, .. }
            | Node::Control { at, .. }
            | Node::Break { at }
            | Node::Continue { at }
            | Node::Template { at, .. } => *at,
        };
        self.here = Here::Node(at, node);
        self.steps = match self.steps.checked_sub(1) {
            Some(left) => left,
            None => return self.fail("too many steps"),
        };
        match node {
            Node::Text(_) => {}
            Node::Action { pipe, .. } => {
                let value = self.pipe(dot, pipe)?;
                if pipe.variables.is_empty() {
                    self.text.push_str(&print::text(&value));
                }
            }
            Node::Control { kind: Control::Range, pipe, list, other, .. } => {
                return self.scoped(|walker| walker.range(dot, pipe, list, other.as_ref()));
            }
            Node::Control { kind, pipe, list, other, .. } => {
                return self.scoped(|walker| {
                    let value = walker.pipe(dot, pipe)?;
                    match (value.is_true(), other) {
                        (true, _) if *kind == Control::With => {
                            walker.list(&Slot::plain(value), list)
                        }
                        (true, _) => walker.list(dot, list),
                        (false, Some(other)) => walker.list(dot, other),
                        (false, None) => Ok(Flow::On),
                    }
                });
            }
            Node::Break { .. } => return Ok(Flow::Break),
            Node::Continue { .. } => return Ok(Flow::Continue),
            Node::Template { name, pipe, .. } => self.call_template(dot, name, pipe.as_ref())?,
        }
        Ok(Flow::On)
    }

    /// Variables made inside are forgotten behind.
    fn scoped<T>(&mut self, walk: impl FnOnce(&mut Self) -> Result<T, Error>) -> Result<T, Error> {
        let known = self.variables.len();
        let result = walk(self);
        self.variables.truncate(known);
        result
    }

    fn call_template(
        &mut self,
        dot: &Slot,
        name: &str,
        pipe: Option<&'t Pipe>,
    ) -> Result<(), Error> {
        let template = self.template;
        let Some(list) = template.trees.get(name) else {
            return self.fail(format!("template {} not defined", quote(name)));
        };
        if self.depth >= template.limits.depth {
            let depth = template.limits.depth;
            return self.fail(format!("exceeded maximum template depth ({depth})"));
        }
        let value = match pipe {
            Some(pipe) => self.pipe(dot, pipe)?,
            None => Value::Nothing,
        };
        let dot = Slot::plain(value);
        let outer = std::mem::replace(&mut self.variables, vec![("$".to_owned(), dot.clone())]);
        let outer_name = std::mem::replace(&mut self.name, name.to_owned());
        self.depth += 1;
        self.list(&dot, list)?;
        self.depth -= 1;
        (self.variables, self.name) = (outer, outer_name);
        Ok(())
    }

    fn range(
        &mut self,
        dot: &Slot,
        pipe: &'t Pipe,
        list: &'t List,
        other: Option<&'t List>,
    ) -> Result<Flow, Error> {
        let value = self.pipe(dot, pipe)?;
        let known = self.variables.len();
        let mut any = false;
        let mut visit = |walker: &mut Self, key: Value, element: Slot| -> Result<bool, Error> {
            any = true;
            walker.name_elements(pipe, key, &element)?;
            let flow = walker.list(&element, list)?;
            walker.variables.truncate(known);
            Ok(flow == Flow::Break)
        };
        match &value {
            Value::List(items) => {
                for (number, item) in items.items.iter().enumerate() {
                    let key = Value::Int(i64::try_from(number).unwrap_or(i64::MAX));
                    if visit(self, key, Slot::element(item, items.of))? {
                        break;
                    }
                }
            }
            Value::Map(map) => {
                for (key, item) in &map.entries {
                    let key = Value::String(key.clone());
                    if visit(self, key, Slot::element(item, map.of))? {
                        break;
                    }
                }
            }
            Value::Int(_) | Value::Uint(_) if pipe.variables.len() > 1 => {
                let shown = print::text(&value);
                return self
                    .fail(format!("can't use {shown} to iterate over more than one variable"));
            }
            Value::Int(_) | Value::Uint(_) => {
                let count = match value {
                    Value::Int(count) => u64::try_from(count).unwrap_or(0),
                    Value::Uint(count) => count,
                    _ => 0,
                };
                for number in 0..count {
                    let element = Value::Int(i64::try_from(number).unwrap_or(i64::MAX));
                    if visit(self, element.clone(), Slot::plain(element))? {
                        break;
                    }
                }
            }
            Value::Nothing => {}
            other => {
                let shown = print::text(other);
                return self.fail(format!("range can't iterate over {shown}"));
            }
        }
        match other {
            Some(other) if !any => self.list(dot, other),
            _ => Ok(Flow::On),
        }
    }

    /// One variable is the element, two are key and element.
    fn name_elements(&mut self, pipe: &Pipe, key: Value, element: &Slot) -> Result<(), Error> {
        let key = Slot::plain(key);
        let pairs: Vec<(&String, &Slot)> = match pipe.variables.as_slice() {
            [one] => vec![(one, element)],
            [first, second] => vec![(first, &key), (second, element)],
            _ => Vec::new(),
        };
        // They were declared with the whole value when the pipeline was read.
        pairs.into_iter().try_for_each(|(name, slot)| self.assign(name, slot.clone()))
    }

    fn assign(&mut self, name: &str, slot: Slot) -> Result<(), Error> {
        match self.variables.iter_mut().rev().find(|(known, _)| known == name) {
            Some((_, value)) => {
                *value = slot;
                Ok(())
            }
            None => self.fail(format!("undefined variable: {name}")),
        }
    }

    fn pipe(&mut self, dot: &Slot, pipe: &'t Pipe) -> Result<Value, Error> {
        self.here = Here::Pipe(pipe);
        let mut value: Final = None;
        for command in &pipe.commands {
            value = Some(self.command(dot, command, value)?.value);
        }
        let value = value.unwrap_or(Value::Nothing);
        for name in &pipe.variables {
            match pipe.assigns {
                true => self.assign(name, Slot::plain(value.clone()))?,
                false => self.variables.push((name.clone(), Slot::plain(value.clone()))),
            }
        }
        Ok(value)
    }

    fn command(&mut self, dot: &Slot, command: &'t Command, last: Final) -> Result<Slot, Error> {
        let Some(first) = command.words.first() else { return Ok(Slot::plain(Value::Nothing)) };
        match &first.term {
            Term::Field(names) => {
                self.here = Here::Operand(first);
                return self.fields(dot, dot.clone(), names, command, last);
            }
            Term::Variable(names) => {
                self.here = Here::Operand(first);
                let start = self.variable(&names[0])?;
                if names.len() == 1 {
                    self.no_arguments(command, &last)?;
                    return Ok(start);
                }
                return self.fields(dot, start, &names[1..], command, last);
            }
            Term::Chain(start, names) => {
                self.here = Here::Operand(first);
                if matches!(start.term, Term::Nil) {
                    return self.fail(format!("indirection through explicit nil in {first}"));
                }
                let start = self.operand(dot, start)?;
                return self.fields(dot, start, names, command, last);
            }
            Term::Function(name) => {
                self.here = Here::Operand(first);
                return self.function(dot, name, command, last);
            }
            Term::Pipe(pipe) => {
                self.no_arguments(command, &last)?;
                return self.pipe(dot, pipe).map(Slot::plain);
            }
            _ => {}
        }
        self.here = Here::Operand(first);
        self.no_arguments(command, &last)?;
        match &first.term {
            Term::Nil => self.fail("nil is not a command"),
            _ => self.operand(dot, first),
        }
    }

    fn no_arguments(&self, command: &Command, last: &Final) -> Result<(), Error> {
        if command.words.len() > 1 || last.is_some() {
            return self.fail(format!("can't give argument to non-function {}", command.words[0]));
        }
        Ok(())
    }

    fn variable(&self, name: &str) -> Result<Slot, Error> {
        match self.variables.iter().rev().find(|(known, _)| known == name) {
            Some((_, slot)) => Ok(slot.clone()),
            None => self.fail(format!("undefined variable: {name}")),
        }
    }

    /// A word that is no command: an argument, or the start of a chain.
    fn operand(&mut self, dot: &Slot, operand: &'t Operand) -> Result<Slot, Error> {
        self.here = Here::Operand(operand);
        let value = match &operand.term {
            Term::Bool(value) => Value::Bool(*value),
            Term::Number { text, number, is_char } => {
                let hex = text.contains(['x', 'X']) && !text.contains(['p', 'P']);
                let fraction = !is_char && !hex && text.contains(['.', 'e', 'E', 'p', 'P']);
                match (number.int, number.float) {
                    (_, Some(float)) if fraction => Value::Float(float),
                    (Some(int), _) => Value::Int(int),
                    _ => return self.fail(format!("{text} overflows int")),
                }
            }
            Term::String { text, .. } => Value::from(text.as_str()),
            Term::Nil => Value::Nothing,
            Term::Dot => return Ok(dot.clone()),
            Term::Field(names) => return self.path(dot, dot.clone(), names),
            Term::Variable(names) => {
                let start = self.variable(&names[0])?;
                return self.path(dot, start, &names[1..]);
            }
            Term::Chain(start, names) => {
                if matches!(start.term, Term::Nil) {
                    return self.fail(format!("indirection through explicit nil in {operand}"));
                }
                let start = self.operand(dot, start)?;
                return self.path(dot, start, names);
            }
            Term::Pipe(pipe) => self.pipe(dot, pipe)?,
            Term::Function(name) => {
                // A name alone is a call without arguments.
                return self.invoke(name, &[], None);
            }
        };
        Ok(Slot::plain(value))
    }

    /// Fields after each other, without arguments.
    fn path(&mut self, dot: &Slot, start: Slot, names: &[String]) -> Result<Slot, Error> {
        let mut slot = start;
        for name in names {
            slot = self.field(dot, slot, name, None, None)?;
        }
        Ok(slot)
    }

    /// Fields after each other; the last one may be a method with the command's arguments.
    fn fields(
        &mut self,
        dot: &Slot,
        start: Slot,
        names: &[String],
        command: &'t Command,
        last: Final,
    ) -> Result<Slot, Error> {
        let Some((name, before)) = names.split_last() else { return Ok(start) };
        let slot = self.path(dot, start, before)?;
        self.field(dot, slot, name, Some(command), last)
    }

    fn field(
        &mut self,
        dot: &Slot,
        slot: Slot,
        name: &str,
        command: Option<&'t Command>,
        last: Final,
    ) -> Result<Slot, Error> {
        let words = command.map_or(&[][..], |command| &command.words[1..]);
        let with_arguments = !words.is_empty() || last.is_some();
        let type_name = slot.type_name();
        match &slot.value {
            Value::Nothing if !slot.boxed && self.template.missing_key == MissingKey::Nothing => {
                return Ok(Slot::plain(Value::Nothing));
            }
            Value::Nothing if !slot.boxed => {
                let message = format!("nil data; no entry for key {}", quote(name));
                return self.fail_missing(message, Some(name));
            }
            Value::Nothing | Value::NilPointer => {
                return self.fail(format!("nil pointer evaluating {type_name}.{name}"));
            }
            Value::Map(_) if with_arguments => {
                return self.fail(format!("{name} is not a method but has arguments"));
            }
            Value::Map(map) => {
                return match (map.entries.get(name), self.template.missing_key) {
                    (Some(value), _) => Ok(Slot::element(value, map.of)),
                    (None, MissingKey::Nothing) => Ok(Slot::plain(Value::Nothing)),
                    (None, MissingKey::Error) => {
                        let message = format!("map has no entry for key {}", quote(name));
                        self.fail_missing(message, Some(name))
                    }
                };
            }
            Value::Object(object) => {
                return self.member(dot, &Rc::clone(object), name, words, last);
            }
            _ => {}
        }
        self.fail_missing(format!("can't evaluate field {name} in type {type_name}"), Some(name))
    }

    /// A field or method of an object.
    fn member(
        &mut self,
        dot: &Slot,
        object: &Rc<dyn value::Object>,
        name: &str,
        words: &'t [Operand],
        last: Final,
    ) -> Result<Slot, Error> {
        let with_arguments = !words.is_empty() || last.is_some();
        if let Some(value) = object.field(name) {
            return match with_arguments {
                false => Ok(Slot::plain(value)),
                true => {
                    self.fail(format!("{name} has arguments but cannot be invoked as function"))
                }
            };
        }
        let here = self.here;
        let mut arguments = Vec::with_capacity(words.len() + 1);
        for word in words {
            arguments.push(self.operand(dot, word)?.value);
        }
        arguments.extend(last);
        self.here = here;
        match object.call(name, &arguments) {
            Some(result) => result.map(Slot::plain).or_else(|message| self.fail(message)),
            None => {
                let message = format!("can't evaluate field {name} in type {}", object.type_name());
                self.fail_missing(message, Some(name))
            }
        }
    }
}
