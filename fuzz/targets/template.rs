//! `--format` templates.
#![no_main]

use libfuzzer_sys::fuzz_target;
use std::rc::Rc;
use tug_template::{Functions, Limits, List, Map, Record, Template, Value};

fuzz_target!(|text: &str| {
    let Ok(template) = Template::parse(text, Functions::new([])) else { return };
    let template = template.limits(Limits { steps: 10_000, depth: 50 });
    let _ = template.execute(&data());
});

/// A little of everything a template can meet.
fn data() -> Value {
    let list = List {
        items: vec![Value::Int(1), Value::NilPointer, Value::strings(["a", "b"])],
        ..List::default()
    };
    let map = Map { entries: [("k".into(), Value::Bool(true))].into(), ..Map::default() };
    Value::object(Record {
        type_name: "main.T".to_owned(),
        fields: vec![
            ("S".into(), Value::String("text".into())),
            ("L".into(), Value::List(Rc::new(list))),
            ("M".into(), Value::Map(Rc::new(map))),
            ("F".into(), Value::Float(1.5)),
        ],
    })
}
