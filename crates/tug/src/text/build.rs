//! Values of templates out of anything that serialises itself. JSON has no types; Docker's own do, and
//! templates show them: structures keep the order of their fields, and nothing is an empty list, an
//! empty map or a pointer to nothing by the field it is in.

use serde::ser::{
    Impossible, Serialize, SerializeMap, SerializeSeq, SerializeStruct, SerializeTuple,
    SerializeTupleStruct, Serializer,
};
use std::rc::Rc;
use tug_template::{List, Map, Object, Of, Value};

/// Fields of Docker's types that are slices: empty and `null` where there is nothing.
const SLICES: &[&str] = &[
    "Aliases",
    "Args",
    "Binds",
    "CapAdd",
    "CapDrop",
    "Cmd",
    "DNSNames",
    "DeviceCgroupRules",
    "DeviceRequests",
    "Devices",
    "Dns",
    "DnsOptions",
    "DnsSearch",
    "Entrypoint",
    "Env",
    "ExecIDs",
    "ExtraHosts",
    "GroupAdd",
    "Links",
    "MaskedPaths",
    "OnBuild",
    "ReadonlyPaths",
    "RepoDigests",
    "RepoTags",
    "SecondaryIPAddresses",
    "SecondaryIPv6Addresses",
    "SecurityOpt",
    "Shell",
    "Ulimits",
    "VolumesFrom",
];

/// Fields of Docker's types that are maps.
const MAPS: &[&str] = &[
    "Annotations",
    "DriverOpts",
    "ExposedPorts",
    "GwPriority",
    "Labels",
    "Options",
    "PortBindings",
    "Ports",
    "StorageOpt",
    "Sysctls",
    "Tmpfs",
    "Volumes",
];

/// Fields whose name in Go, which templates may use too, is not their name in JSON.
const GO_NAMES: &[(&str, &str)] = &[
    ("APIVersion", "ApiVersion"),
    ("CPUPeriod", "CpuPeriod"),
    ("CPUQuota", "CpuQuota"),
    ("CPURealtimePeriod", "CpuRealtimePeriod"),
    ("CPURealtimeRuntime", "CpuRealtimeRuntime"),
    ("CPUShares", "CpuShares"),
    ("DNS", "Dns"),
    ("DNSOptions", "DnsOptions"),
    ("DNSSearch", "DnsSearch"),
    ("HostIP", "HostIp"),
    ("ID", "Id"),
    ("NanoCPUs", "NanoCpus"),
];

/// A structure of Docker's API.
struct Structure {
    type_name: String,
    fields: Vec<(Rc<str>, Value)>,
}

impl Object for Structure {
    fn type_name(&self) -> &str {
        &self.type_name
    }

    fn field(&self, name: &str) -> Option<Value> {
        let named = |wanted: &str| {
            let field = self.fields.iter().find(|(known, _)| known.as_ref() == wanted);
            field.map(|(_, value)| value.clone())
        };
        named(name).or_else(|| {
            let (_, in_json) = GO_NAMES.iter().find(|(in_go, _)| *in_go == name)?;
            named(in_json)
        })
    }

    fn names(&self) -> Vec<&str> {
        self.fields.iter().map(|(name, _)| name.as_ref()).collect()
    }
}

/// The same structure under another name of its type.
pub(super) fn renamed(object: &dyn Object, type_name: &str) -> Value {
    let fields = object.names().into_iter();
    let fields = fields.filter_map(|name| Some((name.into(), object.field(name)?))).collect();
    Value::object(Structure { type_name: type_name.to_owned(), fields })
}

/// The value of anything.
///
/// # Errors
/// When it cannot be serialised.
pub(super) fn value<T: Serialize + ?Sized>(value: &T) -> Result<Value, serde_json::Error> {
    value.serialize(Builder)
}

type Error = serde_json::Error;

/// Builds a value out of what serialises itself.
struct Builder;

/// The parts of a list, a map or a structure on their way.
#[derive(Default)]
struct Parts {
    type_name: &'static str,
    keys: Vec<Rc<str>>,
    items: Vec<Value>,
}

impl Parts {
    fn push<T: Serialize + ?Sized>(&mut self, item: &T) -> Result<(), Error> {
        self.items.push(item.serialize(Builder)?);
        Ok(())
    }

    fn list(self) -> Value {
        let of = declared(&self.items);
        Value::List(Rc::new(List { items: self.items, of, is_nil: false }))
    }

    fn map(self) -> Value {
        let of = declared(&self.items);
        let entries = self.keys.into_iter().zip(self.items).map(|(key, item)| match item {
            Value::NilPointer if of == Of::Lists => (key, nil_list()),
            item => (key, item),
        });
        Value::Map(Rc::new(Map { entries: entries.collect(), of, is_nil: false }))
    }

    /// A structure, its nothings as the type of their field has them.
    fn record(self) -> Value {
        let fields = self.keys.into_iter().zip(self.items).map(|(name, item)| {
            let item = typed(&name, item);
            (name, item)
        });
        Value::object(Structure { type_name: self.type_name.to_owned(), fields: fields.collect() })
    }
}

fn nil_list() -> Value {
    Value::List(Rc::new(List { is_nil: true, of: Of::Strings, ..List::default() }))
}

fn typed(name: &str, item: Value) -> Value {
    let of = if matches!(name, "Ports" | "PortBindings") { Of::Lists } else { Of::Strings };
    match item {
        Value::NilPointer if SLICES.contains(&name) => nil_list(),
        Value::NilPointer if MAPS.contains(&name) => {
            Value::Map(Rc::new(Map { is_nil: true, of, ..Map::default() }))
        }
        Value::Map(map) if MAPS.contains(&name) && map.of == Of::Any => {
            let nothing = |item: &Value| matches!(item, Value::NilPointer);
            let entries = map.entries.iter().map(|(key, item)| match nothing(item) {
                true if of == Of::Lists => (key.clone(), nil_list()),
                _ => (key.clone(), item.clone()),
            });
            Value::Map(Rc::new(Map { entries: entries.collect(), of, is_nil: false }))
        }
        other => other,
    }
}

/// What the elements are declared to be, told by the first.
fn declared(items: &[Value]) -> Of {
    match items.iter().find(|item| !matches!(item, Value::NilPointer)) {
        Some(Value::String(_)) => Of::Strings,
        Some(Value::Object(_)) => Of::Objects,
        Some(Value::List(_)) => Of::Lists,
        _ => Of::Any,
    }
}

impl Serializer for Builder {
    type Ok = Value;
    type Error = Error;
    type SerializeSeq = Parts;
    type SerializeTuple = Parts;
    type SerializeTupleStruct = Parts;
    type SerializeTupleVariant = Impossible<Value, Error>;
    type SerializeMap = Parts;
    type SerializeStruct = Parts;
    type SerializeStructVariant = Impossible<Value, Error>;

    fn serialize_bool(self, value: bool) -> Result<Value, Error> {
        Ok(Value::Bool(value))
    }

    fn serialize_i8(self, value: i8) -> Result<Value, Error> {
        Ok(Value::Int(value.into()))
    }

    fn serialize_i16(self, value: i16) -> Result<Value, Error> {
        Ok(Value::Int(value.into()))
    }

    fn serialize_i32(self, value: i32) -> Result<Value, Error> {
        Ok(Value::Int(value.into()))
    }

    fn serialize_i64(self, value: i64) -> Result<Value, Error> {
        Ok(Value::Int(value))
    }

    fn serialize_u8(self, value: u8) -> Result<Value, Error> {
        Ok(Value::Int(value.into()))
    }

    fn serialize_u16(self, value: u16) -> Result<Value, Error> {
        Ok(Value::Int(value.into()))
    }

    fn serialize_u32(self, value: u32) -> Result<Value, Error> {
        Ok(Value::Int(value.into()))
    }

    fn serialize_u64(self, value: u64) -> Result<Value, Error> {
        Ok(i64::try_from(value).map_or(Value::Uint(value), Value::Int))
    }

    fn serialize_f32(self, value: f32) -> Result<Value, Error> {
        Ok(Value::Float(value.into()))
    }

    fn serialize_f64(self, value: f64) -> Result<Value, Error> {
        Ok(Value::Float(value))
    }

    fn serialize_char(self, value: char) -> Result<Value, Error> {
        Ok(value.to_string().into())
    }

    fn serialize_str(self, text: &str) -> Result<Value, Error> {
        Ok(text.into())
    }

    fn serialize_bytes(self, bytes: &[u8]) -> Result<Value, Error> {
        Ok(String::from_utf8_lossy(bytes).into_owned().into())
    }

    fn serialize_none(self) -> Result<Value, Error> {
        Ok(Value::NilPointer)
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<Value, Error> {
        value.serialize(self)
    }

    fn serialize_unit(self) -> Result<Value, Error> {
        Ok(Value::NilPointer)
    }

    fn serialize_unit_struct(self, name: &'static str) -> Result<Value, Error> {
        Ok(Parts { type_name: name, ..Parts::default() }.record())
    }

    fn serialize_unit_variant(
        self,
        _name: &'static str,
        _index: u32,
        variant: &'static str,
    ) -> Result<Value, Error> {
        Ok(variant.into())
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        _name: &'static str,
        value: &T,
    ) -> Result<Value, Error> {
        value.serialize(self)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _name: &'static str,
        _index: u32,
        variant: &'static str,
        value: &T,
    ) -> Result<Value, Error> {
        let mut parts = Parts { keys: vec![variant.into()], ..Parts::default() };
        parts.push(value)?;
        Ok(parts.map())
    }

    fn serialize_seq(self, _length: Option<usize>) -> Result<Parts, Error> {
        Ok(Parts::default())
    }

    fn serialize_tuple(self, _length: usize) -> Result<Parts, Error> {
        Ok(Parts::default())
    }

    fn serialize_tuple_struct(self, _: &'static str, _: usize) -> Result<Parts, Error> {
        Ok(Parts::default())
    }

    fn serialize_tuple_variant(
        self,
        name: &'static str,
        _: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Self::SerializeTupleVariant, Error> {
        Err(serde::ser::Error::custom(format_args!("{name} is no value of Docker's")))
    }

    fn serialize_map(self, _length: Option<usize>) -> Result<Parts, Error> {
        Ok(Parts::default())
    }

    fn serialize_struct(self, name: &'static str, _: usize) -> Result<Parts, Error> {
        Ok(Parts { type_name: name, ..Parts::default() })
    }

    fn serialize_struct_variant(
        self,
        name: &'static str,
        _: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Self::SerializeStructVariant, Error> {
        Err(serde::ser::Error::custom(format_args!("{name} is no value of Docker's")))
    }
}

/// The three kinds of list serde tells apart.
macro_rules! lists {
    ($($kind:ident, $element:ident;)*) => {$(
        impl $kind for Parts {
            type Ok = Value;
            type Error = Error;

            fn $element<T: Serialize + ?Sized>(&mut self, item: &T) -> Result<(), Error> {
                self.push(item)
            }

            fn end(self) -> Result<Value, Error> {
                Ok(self.list())
            }
        }
    )*};
}

lists! {
    SerializeSeq, serialize_element;
    SerializeTuple, serialize_element;
    SerializeTupleStruct, serialize_field;
}

impl SerializeMap for Parts {
    type Ok = Value;
    type Error = Error;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), Error> {
        self.keys.push(tug_template::text(&key.serialize(Builder)?).into());
        Ok(())
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, item: &T) -> Result<(), Error> {
        self.push(item)
    }

    fn end(self) -> Result<Value, Error> {
        Ok(self.map())
    }
}

impl SerializeStruct for Parts {
    type Ok = Value;
    type Error = Error;

    fn serialize_field<T: Serialize + ?Sized>(
        &mut self,
        name: &'static str,
        item: &T,
    ) -> Result<(), Error> {
        self.keys.push(name.into());
        self.push(item)
    }

    fn end(self) -> Result<Value, Error> {
        Ok(self.record())
    }
}
