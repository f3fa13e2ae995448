//! One entry point a fuzzer can feed.

use crate::{Functions, Limits, List, Map, MissingKey, Of, Record, Template, Value};
use std::rc::Rc;

/// Reads `bytes` as a template and fills it in. Must return, whatever they are: what would not end in
/// Go ends here with an error.
pub fn exercise(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let template = match Template::parse(&text, Functions::default()) {
        Ok(template) => template,
        Err(error) => return drop(error.to_string()),
    };
    let template = template.limits(Limits { steps: 10_000, depth: 50 });
    for missing_key in [MissingKey::Nothing, MissingKey::Error] {
        let filled = template.clone().missing_key(missing_key).execute(&data());
        drop(filled.map_err(|error| error.to_string()));
    }
}

/// A value of every kind.
fn data() -> Value {
    let entries = [
        ("S".into(), "text".into()),
        ("N".into(), Value::Nothing),
        ("P".into(), Value::NilPointer),
        ("I".into(), Value::Int(-5)),
        ("U".into(), Value::Uint(u64::MAX)),
        ("F".into(), Value::Float(1.5)),
        ("B".into(), Value::Bool(true)),
        ("L".into(), Value::strings(["a", "b"])),
    ];
    let map = Value::Map(Rc::new(Map { entries: entries.into(), ..Map::default() }));
    let list = List { items: vec![map.clone(), Value::Int(1)], of: Of::Any, is_nil: false };
    Value::object(Record {
        type_name: "T".to_owned(),
        fields: vec![("M".into(), map), ("R".into(), Value::List(Rc::new(list)))],
    })
}
