//! Values as Docker's client has them, out of anything that can be serialised, and as JSON again.

use serde::ser::{
    Impossible, Serialize, SerializeMap, SerializeSeq, SerializeStruct, SerializeTuple,
    SerializeTupleStruct, Serializer,
};
use std::rc::Rc;
use tug_template::{List, Map, Of, Record, Value};

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

/// A value of anything: structures keep the order of their fields.
///
/// # Errors
/// When it cannot be serialised.
pub(crate) fn value<T: Serialize + ?Sized>(value: &T) -> Result<Value, serde_json::Error> {
    value.serialize(Builder)
}

/// The same, its outermost structure under Go's name of the type.
///
/// # Errors
/// As [`value`].
pub(crate) fn named<T: Serialize>(type_name: &str, of: &T) -> Result<Value, serde_json::Error> {
    let built = value(of)?;
    let Value::Object(object) = &built else { return Ok(built) };
    let fields = object.names().into_iter();
    let fields = fields.filter_map(|name| Some((name.into(), object.field(name)?))).collect();
    Ok(Value::object(Record { type_name: type_name.to_owned(), fields }))
}

/// The value as Go decodes its JSON without knowing the types: maps and lists of anything. What is left
/// for a template that asks for something the type does not have.
pub(crate) fn untyped(value: &Value) -> Value {
    match value {
        Value::NilPointer => Value::Nothing,
        Value::List(list) if list.is_nil => Value::Nothing,
        Value::Map(map) if map.is_nil => Value::Nothing,
        Value::List(list) => {
            let items = list.items.iter().map(untyped).collect();
            Value::List(Rc::new(List { items, ..List::default() }))
        }
        Value::Map(map) => {
            let entries = map.entries.iter().map(|(key, item)| (key.clone(), untyped(item)));
            Value::Map(Rc::new(Map { entries: entries.collect(), ..Map::default() }))
        }
        Value::Object(object) => {
            let entries = object.names().into_iter();
            let entries = entries
                .filter_map(|name| Some((name.into(), untyped(&object.field(name)?))))
                .collect();
            Value::Map(Rc::new(Map { entries, ..Map::default() }))
        }
        other => other.clone(),
    }
}

/// A value written as JSON.
pub(crate) struct AsJson<'a>(pub &'a Value);

impl Serialize for AsJson<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Value::Nothing | Value::NilPointer => serializer.serialize_unit(),
            Value::Bool(value) => serializer.serialize_bool(*value),
            Value::Int(value) => serializer.serialize_i64(*value),
            Value::Uint(value) => serializer.serialize_u64(*value),
            Value::Float(value) => serializer.serialize_f64(*value),
            Value::String(text) => serializer.serialize_str(text),
            Value::List(list) if list.is_nil => serializer.serialize_unit(),
            Value::List(list) => serializer.collect_seq(list.items.iter().map(AsJson)),
            Value::Map(map) if map.is_nil => serializer.serialize_unit(),
            Value::Map(map) => {
                let entries = map.entries.iter();
                serializer.collect_map(entries.map(|(key, item)| (key.as_ref(), AsJson(item))))
            }
            Value::Object(object) => {
                let names = object.names();
                let mut map = serializer.serialize_map(Some(names.len()))?;
                for name in names {
                    let field = object.field(name).unwrap_or(Value::Nothing);
                    map.serialize_entry(name, &AsJson(&field))?;
                }
                map.end()
            }
        }
    }
}

/// In one line.
///
/// # Errors
/// When a number is none that JSON knows.
pub(crate) fn line(value: &Value) -> Result<String, serde_json::Error> {
    serde_json::to_string(&AsJson(value))
}

/// Indented by four blanks, as `inspect` prints.
///
/// # Errors
/// As [`line`].
pub(crate) fn indented<T: Serialize>(value: &T) -> Result<String, serde_json::Error> {
    let mut bytes = Vec::new();
    let formatter = serde_json::ser::PrettyFormatter::with_indent(b"    ");
    let mut serializer = serde_json::Serializer::with_formatter(&mut bytes, formatter);
    value.serialize(&mut serializer)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// `<`, `>` and `&` as Go's default encoder writes them: `--format json` of lists.
pub(crate) fn html_escaped(json: &str) -> String {
    let mut text = String::with_capacity(json.len());
    for c in json.chars() {
        match c {
            '<' => text.push_str("\\u003c"),
            '>' => text.push_str("\\u003e"),
            '&' => text.push_str("\\u0026"),
            c => text.push(c),
        }
    }
    text
}

/// JSON without the blanks between its parts; keys keep their order.
///
/// # Errors
/// When it is no JSON.
pub(crate) fn compact(json: &[u8]) -> Result<String, serde_json::Error> {
    serde_json::from_slice::<serde::de::IgnoredAny>(json)?;
    let (mut quoted, mut escaped) = (false, false);
    let kept = json.iter().copied().filter(|byte| {
        match byte {
            b'"' if !escaped => quoted = !quoted,
            b' ' | b'\t' | b'\r' | b'\n' if !quoted => return false,
            _ => {}
        }
        escaped = *byte == b'\\' && !escaped;
        true
    });
    Ok(String::from_utf8_lossy(&kept.collect::<Vec<u8>>()).into_owned())
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
        Value::object(Record { type_name: self.type_name.to_owned(), fields: fields.collect() })
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

impl SerializeSeq for Parts {
    type Ok = Value;
    type Error = Error;

    fn serialize_element<T: Serialize + ?Sized>(&mut self, item: &T) -> Result<(), Error> {
        self.push(item)
    }

    fn end(self) -> Result<Value, Error> {
        Ok(self.list())
    }
}

impl SerializeTuple for Parts {
    type Ok = Value;
    type Error = Error;

    fn serialize_element<T: Serialize + ?Sized>(&mut self, item: &T) -> Result<(), Error> {
        self.push(item)
    }

    fn end(self) -> Result<Value, Error> {
        Ok(self.list())
    }
}

impl SerializeTupleStruct for Parts {
    type Ok = Value;
    type Error = Error;

    fn serialize_field<T: Serialize + ?Sized>(&mut self, item: &T) -> Result<(), Error> {
        self.push(item)
    }

    fn end(self) -> Result<Value, Error> {
        Ok(self.list())
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Serialize;
    use std::collections::BTreeMap;

    #[derive(Serialize)]
    #[serde(rename_all = "PascalCase")]
    struct Thing {
        zone: i64,
        alive: bool,
        cmd: Option<Vec<String>>,
        labels: Option<BTreeMap<String, String>>,
        health: Option<String>,
        ports: BTreeMap<String, Option<Vec<Binding>>>,
        big: u64,
    }

    #[derive(Serialize)]
    struct Binding {
        ip: &'static str,
        port: u16,
    }

    fn thing() -> Value {
        let ports = [
            ("80/tcp".to_owned(), Some(vec![Binding { ip: "", port: 8080 }])),
            ("443/tcp".to_owned(), None),
        ];
        value(&Thing {
            zone: 1,
            alive: true,
            cmd: None,
            labels: None,
            health: None,
            ports: ports.into(),
            big: u64::MAX,
        })
        .unwrap()
    }

    const JSON: &str = "{\"Zone\":1,\"Alive\":true,\"Cmd\":null,\"Labels\":null,\"Health\":null,\
        \"Ports\":{\"443/tcp\":null,\"80/tcp\":[{\"ip\":\"\",\"port\":8080}]},\"Big\":18446744073709551615}";

    #[test]
    fn fields_keep_their_order_and_nothing_its_type() {
        assert_eq!(line(&thing()).unwrap(), JSON);
        assert_eq!(
            tug_template::text(&thing()),
            "{1 true [] map[] <nil> map[443/tcp:[] 80/tcp:[{ 8080}]] 18446744073709551615}"
        );
    }

    #[test]
    fn without_types_there_are_only_maps_and_lists() {
        assert_eq!(
            tug_template::text(&untyped(&thing())),
            "map[Alive:true Big:18446744073709551615 Cmd:<nil> Health:<nil> Labels:<nil> \
             Ports:map[443/tcp:<nil> 80/tcp:[map[ip: port:8080]]] Zone:1]"
        );
    }

    #[test]
    fn compacting_leaves_texts_alone() {
        let json = b" { \"z\" : [ 1 , \"a \\\" b\\\\\" ] ,\n \"a\":null} ";
        assert_eq!(compact(json).unwrap(), "{\"z\":[1,\"a \\\" b\\\\\"],\"a\":null}");
        assert!(compact(b"{").is_err());
    }

    #[test]
    fn indenting_and_escaping_are_gos() {
        let value = serde_json::json!([{"a": {}, "b": [], "c": [1]}]);
        assert_eq!(
            indented(&value).unwrap(),
            "[\n    {\n        \"a\": {},\n        \"b\": [],\n        \"c\": [\n            1\n        ]\n    }\n]"
        );
        assert_eq!(html_escaped("\"a<b>&c\""), "\"a\\u003cb\\u003e\\u0026c\"");
    }
}
