//! What templates are filled in with: values as Go's `reflect` tells them apart.

use std::collections::BTreeMap;
use std::fmt;
use std::rc::Rc;

/// A value. Cheap to clone.
#[derive(Clone)]
pub enum Value {
    /// Nothing at all: a key that is not there, JSON's `null` in a map of anything. Prints as
    /// `<no value>`.
    Nothing,
    /// Go's nil pointer. Prints as `<nil>`.
    NilPointer,
    /// `true` or `false`.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// A whole number without a sign.
    Uint(u64),
    /// A fraction.
    Float(f64),
    /// Text.
    String(Rc<str>),
    /// A slice.
    List(Rc<List>),
    /// A map from texts; keys are visited in order.
    Map(Rc<Map>),
    /// A structure, with fields and methods.
    Object(Rc<dyn Object>),
}

/// What a list or a map is declared to hold: errors name it, and an entry that is missing is its zero.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Of {
    /// Go's `interface {}`.
    #[default]
    Any,
    /// Texts.
    Strings,
    /// Lists, for `map[80/tcp:[…]]`.
    Lists,
    /// Structures.
    Objects,
}

/// A slice.
#[derive(Clone, Debug, Default)]
pub struct List {
    /// Its elements.
    pub items: Vec<Value>,
    /// What they are declared to be.
    pub of: Of,
    /// Go's nil slice: empty, and `null` as JSON.
    pub is_nil: bool,
}

/// A map from texts.
#[derive(Clone, Debug, Default)]
pub struct Map {
    /// Its entries.
    pub entries: BTreeMap<Rc<str>, Value>,
    /// What its values are declared to be.
    pub of: Of,
    /// Go's nil map: empty, and `null` as JSON.
    pub is_nil: bool,
}

/// A structure: what Go would find in it by reflection.
pub trait Object {
    /// Go's name of the type, for errors: `*formatter.ContainerContext`.
    fn type_name(&self) -> &str;

    /// A field, or a method without arguments.
    fn field(&self, name: &str) -> Option<Value>;

    /// A method with arguments. `None` when there is no such method.
    fn call(&self, name: &str, arguments: &[Value]) -> Option<Result<Value, String>> {
        let _ = (name, arguments);
        None
    }

    /// Names of the fields in their order, to print and to write as JSON.
    fn names(&self) -> Vec<&str>;
}

/// A structure that is only data.
#[derive(Clone, Debug, Default)]
pub struct Record {
    /// Go's name of the type.
    pub type_name: String,
    /// Fields in their order.
    pub fields: Vec<(Rc<str>, Value)>,
}

impl Object for Record {
    fn type_name(&self) -> &str {
        &self.type_name
    }

    fn field(&self, name: &str) -> Option<Value> {
        let field = self.fields.iter().find(|(known, _)| known.as_ref() == name);
        field.map(|(_, value)| value.clone())
    }

    fn names(&self) -> Vec<&str> {
        self.fields.iter().map(|(name, _)| name.as_ref()).collect()
    }
}

impl Value {
    /// A list of texts.
    pub fn strings(items: impl IntoIterator<Item = impl Into<Rc<str>>>) -> Self {
        let items = items.into_iter().map(|item| Self::String(item.into())).collect();
        Self::List(Rc::new(List { items, of: Of::Strings, is_nil: false }))
    }

    /// A structure.
    pub fn object(object: impl Object + 'static) -> Self {
        Self::Object(Rc::new(object))
    }

    /// Whether `if` takes it for true: anything but nothing, zero and what is empty.
    pub fn is_true(&self) -> bool {
        match self {
            Self::Nothing | Self::NilPointer => false,
            Self::Bool(value) => *value,
            Self::Int(value) => *value != 0,
            Self::Uint(value) => *value != 0,
            Self::Float(value) => *value != 0.0,
            Self::String(text) => !text.is_empty(),
            Self::List(list) => !list.items.is_empty(),
            Self::Map(map) => !map.entries.is_empty(),
            Self::Object(_) => true,
        }
    }

    /// Go's name of its type.
    pub fn type_name(&self) -> String {
        match self {
            Self::Nothing => "interface {}".to_owned(),
            Self::NilPointer => "<nil>".to_owned(),
            Self::Bool(_) => "bool".to_owned(),
            Self::Int(_) => "int".to_owned(),
            Self::Uint(_) => "uint64".to_owned(),
            Self::Float(_) => "float64".to_owned(),
            Self::String(_) => "string".to_owned(),
            Self::List(list) => format!("[]{}", list.of.type_name()),
            Self::Map(map) => format!("map[string]{}", map.of.type_name()),
            Self::Object(object) => object.type_name().to_owned(),
        }
    }
}

impl Of {
    fn type_name(self) -> &'static str {
        match self {
            Self::Any => "interface {}",
            Self::Strings => "string",
            Self::Lists => "[]interface {}",
            Self::Objects => "struct",
        }
    }

    /// The zero of such values: what `index` finds where there is no entry.
    pub(crate) fn zero(self) -> Value {
        match self {
            Self::Any => Value::Nothing,
            Self::Strings => Value::String("".into()),
            Self::Lists => Value::List(Rc::default()),
            Self::Objects => Value::NilPointer,
        }
    }
}

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}({})", self.type_name(), crate::text(self))
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::String(text.into())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::String(text.into())
    }
}

impl From<bool> for Value {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
}

impl From<i64> for Value {
    fn from(value: i64) -> Self {
        Self::Int(value)
    }
}
