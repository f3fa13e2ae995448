//! JSON that keeps the order of its keys, printed as Docker prints it.

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde::ser::{Serialize, SerializeMap, Serializer};
use std::collections::HashMap;
use std::fmt;

/// Any JSON value; an object's keys stay as they were written.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Json {
    Null,
    Bool(bool),
    Number(serde_json::Number),
    String(String),
    Array(Vec<Json>),
    Object(Vec<(String, Json)>),
}

impl Json {
    /// Anything that can be written as JSON.
    ///
    /// # Errors
    /// When it cannot.
    pub(crate) fn of<T: Serialize>(value: &T) -> Result<Self, serde_json::Error> {
        serde_json::from_str(&serde_json::to_string(value)?)
    }

    /// For templates, where objects lose their order.
    pub(crate) fn to_template(&self) -> gotmpl::Value {
        use gotmpl::Value;
        match self {
            Self::Null => Value::Nil,
            Self::Bool(value) => Value::Bool(*value),
            Self::Number(number) => match (number.as_i64(), number.as_u64()) {
                (Some(value), _) => Value::Int(value),
                (None, Some(value)) => Value::Uint(value),
                _ => Value::Float(number.as_f64().unwrap_or(f64::NAN)),
            },
            Self::String(text) => Value::String(text.as_str().into()),
            Self::Array(items) => Value::List(items.iter().map(Self::to_template).collect()),
            Self::Object(entries) => {
                let entries =
                    entries.iter().map(|(key, value)| (key.as_str().into(), value.to_template()));
                Value::Map(std::sync::Arc::new(entries.collect()))
            }
        }
    }

    /// Remembers the order of the keys of every object in here.
    pub(crate) fn note_orders(&self, orders: &mut Orders) {
        match self {
            Self::Array(items) => items.iter().for_each(|item| item.note_orders(orders)),
            Self::Object(entries) => {
                let written: Vec<String> = entries.iter().map(|(key, _)| key.clone()).collect();
                let mut sorted = written.clone();
                sorted.sort();
                if sorted != written {
                    orders.0.insert(sorted, written);
                }
                entries.iter().for_each(|(_, value)| value.note_orders(orders));
            }
            _ => {}
        }
    }
}

/// The written order of keys, found by the keys: a template value has them sorted, but `{{json .State}}`
/// is to print them as the structure has them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Orders(HashMap<Vec<String>, Vec<String>>);

impl Orders {
    /// A template value as JSON, its keys in order again.
    pub(crate) fn json(&self, value: &gotmpl::Value) -> Json {
        use gotmpl::Value;
        match value {
            Value::Bool(value) => Json::Bool(*value),
            Value::Int(value) => Json::Number((*value).into()),
            Value::Uint(value) => Json::Number((*value).into()),
            Value::Float(value) => {
                serde_json::Number::from_f64(*value).map_or(Json::Null, Json::Number)
            }
            Value::String(text) => Json::String(text.to_string()),
            Value::List(items) => Json::Array(items.iter().map(|item| self.json(item)).collect()),
            Value::Map(map) => {
                let sorted: Vec<String> = map.keys().map(ToString::to_string).collect();
                let keys = self.0.get(&sorted).unwrap_or(&sorted);
                let entry = |key: &String| Some((key.clone(), self.json(map.get(key.as_str())?)));
                Json::Object(keys.iter().filter_map(entry).collect())
            }
            _ => Json::Null,
        }
    }
}

/// Indented by four blanks, as `inspect` prints.
///
/// # Errors
/// When the value cannot be written as JSON.
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

impl Serialize for Json {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Null => serializer.serialize_unit(),
            Self::Bool(value) => serializer.serialize_bool(*value),
            Self::Number(number) => number.serialize(serializer),
            Self::String(text) => serializer.serialize_str(text),
            Self::Array(items) => items.serialize(serializer),
            Self::Object(entries) => {
                let mut map = serializer.serialize_map(Some(entries.len()))?;
                for (key, value) in entries {
                    map.serialize_entry(key, value)?;
                }
                map.end()
            }
        }
    }
}

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AnyJson)
    }
}

struct AnyJson;

impl<'de> Visitor<'de> for AnyJson {
    type Value = Json;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Json, E> {
        Ok(Json::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Json, E> {
        Ok(Json::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Json, E> {
        Ok(Json::Number(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Json, E> {
        Ok(Json::Number(value.into()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Json, E> {
        Ok(serde_json::Number::from_f64(value).map_or(Json::Null, Json::Number))
    }

    fn visit_str<E>(self, text: &str) -> Result<Json, E> {
        Ok(Json::String(text.to_owned()))
    }

    fn visit_string<E>(self, text: String) -> Result<Json, E> {
        Ok(Json::String(text))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Json, A::Error> {
        let mut array = Vec::new();
        while let Some(item) = items.next_element()? {
            array.push(item);
        }
        Ok(Json::Array(array))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Json, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = map.next_entry()? {
            entries.push(entry);
        }
        Ok(Json::Object(entries))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = r#"{"Z":1,"A":[{"c":null,"b":"a && b > c"}],"F":1.5,"B":true,"E":{}}"#;

    fn read() -> Json {
        serde_json::from_str(TEXT).unwrap()
    }

    #[test]
    fn keys_keep_their_order() {
        assert_eq!(serde_json::to_string(&read()).unwrap(), TEXT);
    }

    #[test]
    fn a_way_through_a_template_value_keeps_the_order_too() {
        let mut orders = Orders::default();
        read().note_orders(&mut orders);
        assert_eq!(orders.json(&read().to_template()), read());
    }

    #[test]
    fn indenting_and_escaping_are_gos() {
        let value: Json = serde_json::from_str(r#"[{"b":[],"a":{},"c":[1]}]"#).unwrap();
        assert_eq!(
            indented(&value).unwrap(),
            "[\n    {\n        \"b\": [],\n        \"a\": {},\n        \"c\": [\n            1\n        ]\n    }\n]"
        );
        assert_eq!(html_escaped("\"a<b>&c\""), "\"a\\u003cb\\u003e\\u0026c\"");
    }
}
