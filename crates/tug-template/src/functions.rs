//! Functions: Go's own, and those the caller adds.

use crate::value::{Of, Value};
use crate::{compare, print, printf, reach};
use std::collections::HashMap;
use std::fmt;
use std::rc::Rc;

/// How many arguments a function takes, and of what types.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arity {
    /// So many of any type.
    Any(usize),
    /// So many or more of any type.
    AtLeast(usize),
    /// Exactly these types.
    Typed(&'static [Kind]),
    /// These types, and any number of others behind.
    From(&'static [Kind]),
}

/// The type of a parameter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Anything.
    Any,
    /// A text.
    String,
    /// A whole number.
    Int,
    /// A list of texts; nothing is an empty one.
    Strings,
}

/// A function of templates.
#[derive(Clone)]
pub struct Function {
    pub(crate) arity: Arity,
    pub(crate) run: Rc<Run>,
}

/// What a function does.
type Run = dyn Fn(&[Value]) -> Result<Value, String>;

impl Function {
    /// A function that `run` does.
    pub fn new(arity: Arity, run: impl Fn(&[Value]) -> Result<Value, String> + 'static) -> Self {
        Self { arity, run: Rc::new(run) }
    }
}

impl fmt::Debug for Function {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Function({:?})", self.arity)
    }
}

/// Functions beside Go's own, by name. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Functions(Rc<HashMap<&'static str, Function>>);

impl Functions {
    /// These functions.
    pub fn new(functions: impl IntoIterator<Item = (&'static str, Function)>) -> Self {
        Self(Rc::new(functions.into_iter().collect()))
    }

    pub(crate) fn knows(&self, name: &str) -> bool {
        self.0.contains_key(name) || builtin(name).is_some()
    }

    pub(crate) fn get(&self, name: &str) -> Option<Function> {
        self.0.get(name).cloned().or_else(|| {
            let (arity, run) = builtin(name)?;
            Some(Function::new(arity, run))
        })
    }
}

impl Kind {
    /// Go's name of the type.
    pub(crate) fn type_name(self) -> &'static str {
        match self {
            Self::Any => "interface {}",
            Self::String => "string",
            Self::Int => "int",
            Self::Strings => "[]string",
        }
    }

    /// As errors about a constant call it.
    pub(crate) fn expected(self) -> &'static str {
        if self == Self::Int { "integer" } else { self.type_name() }
    }

    /// Whether a value may stand for it.
    pub(crate) fn takes(self, value: &Value) -> bool {
        match (self, value) {
            (Self::Any, _)
            | (Self::String, Value::String(_))
            | (Self::Int, Value::Int(_) | Value::Uint(_))
            | (Self::Strings, Value::Nothing) => true,
            // Texts in a list of anything are as good as texts, where Go refuses them.
            (Self::Strings, Value::List(list)) => {
                list.of == Of::Strings
                    || list.items.iter().all(|item| matches!(item, Value::String(_)))
            }
            _ => false,
        }
    }
}

/// A function of Go's own.
type Builtin = (Arity, fn(&[Value]) -> Result<Value, String>);

fn builtin(name: &str) -> Option<Builtin> {
    use Arity::{Any, AtLeast, From};
    use std::cmp::Ordering::{Equal, Greater, Less};
    Some(match name {
        // These two look at no more arguments than they must: see the executor.
        "and" | "or" => (AtLeast(1), |arguments| Ok(first(arguments).clone())),
        "not" => (Any(1), |arguments| Ok(Value::Bool(!first(arguments).is_true()))),
        "call" => (AtLeast(1), |arguments| match first(arguments) {
            Value::Nothing | Value::NilPointer => Err("call of nil".to_owned()),
            other => Err(format!("non-function of type {}", other.type_name())),
        }),
        "html" => (AtLeast(0), |arguments| Ok(html(&joined(arguments)).into())),
        "js" => (AtLeast(0), |arguments| Ok(js(&joined(arguments)).into())),
        "urlquery" => (AtLeast(0), |arguments| Ok(urlquery(&joined(arguments)).into())),
        "index" => (AtLeast(1), reach::index),
        "slice" => (AtLeast(1), reach::slice),
        "len" => (Any(1), |arguments| reach::len(first(arguments))),
        "print" => (AtLeast(0), |arguments| Ok(sprint(arguments).into())),
        "println" => (AtLeast(0), |arguments| {
            let texts: Vec<String> = arguments.iter().map(print::inner).collect();
            Ok(format!("{}\n", texts.join(" ")).into())
        }),
        "printf" => (From(&[Kind::String]), |arguments| match arguments {
            [Value::String(format), rest @ ..] => Ok(printf::printf(format, rest).into()),
            _ => Err("no format".to_owned()),
        }),
        "eq" => (AtLeast(1), compare::eq),
        "ne" => (Any(2), |arguments| pair(arguments, compare::equal).map(|same| (!same).into())),
        "lt" => (Any(2), |arguments| pair(arguments, compare::order).map(|o| (o == Less).into())),
        "le" => (Any(2), |arguments| {
            pair(arguments, compare::order).map(|o| matches!(o, Less | Equal).into())
        }),
        "gt" => {
            (Any(2), |arguments| pair(arguments, compare::order).map(|o| (o == Greater).into()))
        }
        "ge" => (Any(2), |arguments| {
            pair(arguments, compare::order).map(|o| matches!(o, Greater | Equal).into())
        }),
        _ => return None,
    })
}

fn first(arguments: &[Value]) -> &Value {
    arguments.first().unwrap_or(&Value::Nothing)
}

fn pair<T>(
    arguments: &[Value],
    compare: impl Fn(&Value, &Value) -> Result<T, String>,
) -> Result<T, String> {
    match arguments {
        [one, other] => compare(one, other),
        _ => Err("missing argument for comparison".to_owned()),
    }
}

/// Go's `fmt.Sprint`: blanks only between two that are no texts.
fn sprint(arguments: &[Value]) -> String {
    let mut text = String::new();
    let mut before: Option<&Value> = None;
    for value in arguments {
        let is_text = |value: &Value| matches!(value, Value::String(_));
        if before.is_some_and(|before| !is_text(before) && !is_text(value)) {
            text.push(' ');
        }
        text.push_str(&print::inner(value));
        before = Some(value);
    }
    text
}

/// What the escaping functions work on.
fn joined(arguments: &[Value]) -> String {
    match arguments {
        [Value::Nothing] => "<no value>".to_owned(),
        others => sprint(others),
    }
}

fn html(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\0' => escaped.push('\u{fffd}'),
            '"' => escaped.push_str("&#34;"),
            '\'' => escaped.push_str("&#39;"),
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            c => escaped.push(c),
        }
    }
    escaped
}

fn js(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\\' => escaped.push_str("\\\\"),
            '\'' => escaped.push_str("\\'"),
            '"' => escaped.push_str("\\\""),
            '<' | '>' | '&' | '=' => escaped.push_str(&format!("\\u{:04X}", u32::from(c))),
            c if c < ' ' || c.is_control() => {
                escaped.push_str(&format!("\\u{:04X}", u32::from(c)));
            }
            c => escaped.push(c),
        }
    }
    escaped
}

fn urlquery(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for b in text.bytes() {
        match b {
            b' ' => escaped.push('+'),
            b'-' | b'_' | b'.' | b'~' => escaped.push(char::from(b)),
            b if b.is_ascii_alphanumeric() => escaped.push(char::from(b)),
            b => escaped.push_str(&format!("%{b:02X}")),
        }
    }
    escaped
}
