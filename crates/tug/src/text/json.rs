//! JSON as Docker's client prints it, and the values it is printed of.

use serde::ser::{Serialize, SerializeMap, Serializer};
use std::rc::Rc;
use tug_template::{List, Map, Value};

/// A value of anything: structures keep the order of their fields.
///
/// # Errors
/// When it cannot be serialised.
pub(crate) fn value<T: Serialize + ?Sized>(value: &T) -> Result<Value, serde_json::Error> {
    super::build::value(value)
}

/// The same, its outermost structure under Go's name of the type.
///
/// # Errors
/// As [`value`].
pub(crate) fn named<T: Serialize>(type_name: &str, of: &T) -> Result<Value, serde_json::Error> {
    let built = value(of)?;
    match &built {
        Value::Object(object) => Ok(super::build::renamed(object.as_ref(), type_name)),
        _ => Ok(built),
    }
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
