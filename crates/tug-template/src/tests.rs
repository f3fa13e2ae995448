//! Templates beside what Docker's own client (28.2, Go 1.24) made of them: its results and its errors
//! were recorded into `tests/data/docker-28.json`.

use crate::{Arity, Function, Functions, Kind, Limits, MissingKey, Template, Value};
use crate::{List, Map, Object, Of, Record};
use std::rc::Rc;

/// Docker's functions as far as the recorded templates need them.
fn functions() -> Functions {
    use Kind::{Int, String, Strings};
    let text = |value: &Value| crate::text(value);
    Functions::new([
        (
            "upper",
            Function::new(Arity::Typed(&[String]), move |a| Ok(text(&a[0]).to_uppercase().into())),
        ),
        (
            "lower",
            Function::new(Arity::Typed(&[String]), move |a| Ok(text(&a[0]).to_lowercase().into())),
        ),
        (
            "split",
            Function::new(Arity::Typed(&[String, String]), move |a| {
                let (whole, by) = (text(&a[0]), text(&a[1]));
                Ok(match by.as_str() {
                    "" => Value::strings(whole.chars().map(|c| c.to_string())),
                    by => Value::strings(whole.split(by)),
                })
            }),
        ),
        (
            "join",
            Function::new(Arity::Typed(&[Strings, String]), move |a| match &a[0] {
                Value::List(list) => {
                    let items: Vec<_> = list.items.iter().map(text).collect();
                    Ok(items.join(&text(&a[1])).into())
                }
                _ => Ok("".into()),
            }),
        ),
        ("pad", Function::new(Arity::Typed(&[String, Int, Int]), |a| Ok(a[0].clone()))),
        ("truncate", Function::new(Arity::Typed(&[String, Int]), |a| Ok(a[0].clone()))),
        ("title", Function::new(Arity::Typed(&[String]), |a| Ok(a[0].clone()))),
        ("json", Function::new(Arity::Any(1), |a| Ok(a[0].clone()))),
    ])
}

fn value(json: &serde_json::Value) -> Value {
    use serde_json::Value as Json;
    match json {
        Json::Null => Value::Nothing,
        Json::Bool(value) => Value::Bool(*value),
        Json::Number(number) => match number.as_i64() {
            Some(int) => Value::Int(int),
            None => Value::Float(number.as_f64().unwrap()),
        },
        Json::String(text) => text.as_str().into(),
        Json::Array(items) => Value::List(Rc::new(List {
            items: items.iter().map(value).collect(),
            of: Of::Any,
            is_nil: false,
        })),
        Json::Object(map) => {
            let entries = map.iter().map(|(key, item)| (key.as_str().into(), value(item)));
            Value::Map(Rc::new(Map { entries: entries.collect(), of: Of::Any, is_nil: false }))
        }
    }
}

fn fill(text: &str, data: &Value) -> Result<String, String> {
    let template = Template::parse(text, functions()).map_err(|error| error.to_string())?;
    let template = template.missing_key(MissingKey::Error);
    template.execute(data).map_err(|error| error.to_string())
}

/// Where tug knows better, or knows what Docker's client does not: it sees numbers as numbers, and a
/// list of texts as one.
const KINDER: &[&str] = &[
    "{{index .R.Pid 1}}",
    "{{split \"a,b\" \",\"}} {{split \"abc\" \"\"}} {{join .R.None \",\"}}",
    // It tries twice there, the first time with a structure.
    "{{template \"a\"}}{{define \"a\"}}{{.R.X}}{{end}}",
    "{{len nil}}",
    // Addresses in memory.
    "{{.}}",
    // These test functions that are the caller's.
    "{{len \"日本\"}} {{slice \"日本\" 0 3}} {{truncate \"日本語\" 3}} {{upper \"é\"}} {{title \"ünder the\"}} {{printf \"%5s|%q\" \"日\" \"日\"}}",
    "{{json .R}}",
    "{{json .R.L}} {{json .R.S}} {{json .R.None}} {{json 1}} {{json \"a\"}} {{json true}} {{json nil}}",
    "{{json .R.M | upper}}",
    "{{pad \"x\" 2 3}}| {{pad \"\" 2 3}}| {{truncate \"abcdef\" 3}} {{truncate \"ab\" 5}}",
    "{{upper .R.Status}} {{lower \"ABC\"}} {{title .R.S}} {{join (split \"a,b,c\" \",\") \"-\"}}",
];

#[test]
fn templates_give_what_dockers_client_gives() {
    let recorded: serde_json::Value =
        serde_json::from_str(include_str!("../tests/data/docker-28.json")).unwrap();
    let data = value(&recorded["value"]);
    let cases = recorded["cases"].as_array().unwrap();
    assert!(cases.len() > 250, "{}", cases.len());
    let mut wrong = Vec::new();
    for case in cases {
        let text = case["template"].as_str().unwrap();
        let expected = match case["text"].as_str() {
            Some(text) => Ok(text.to_owned()),
            None => Err(case["error"].as_str().unwrap().to_owned()),
        };
        let given = fill(text, &data);
        if given != expected && !KINDER.contains(&text) {
            wrong.push(format!("{text}\n  docker: {expected:?}\n  here:   {given:?}"));
        }
    }
    assert!(wrong.is_empty(), "{} differ:\n{}", wrong.len(), wrong.join("\n"));
}

/// What a row of `ps` is.
struct Row;

impl Object for Row {
    fn type_name(&self) -> &str {
        "*formatter.ContainerContext"
    }

    fn field(&self, name: &str) -> Option<Value> {
        (name == "ID").then(|| "1234".into())
    }

    fn call(&self, name: &str, arguments: &[Value]) -> Option<Result<Value, String>> {
        match (name, arguments) {
            ("Label", [Value::String(name)]) => Some(Ok(format!("label {name}").into())),
            ("Label", other) => {
                Some(Err(format!("wrong number of args for Label: want 1 got {}", other.len())))
            }
            _ => None,
        }
    }

    fn names(&self) -> Vec<&str> {
        vec!["ID"]
    }
}

#[test]
fn objects_have_fields_and_methods() {
    let row = Value::object(Row);
    for (text, expected) in [
        ("{{.ID}}", Ok("1234")),
        ("{{.Label \"a.b\"}}", Ok("label a.b")),
        ("{{\"x\" | .Label | upper}}", Ok("LABEL X")),
        ("{{with .Label (printf \"%s\" .ID)}}{{.}}{{end}}", Ok("label 1234")),
        ("{{len (.Label \"x\")}} {{$.Label \"y\"}} {{(.Label \"z\")}}", Ok("7 label y label z")),
        ("{{.}}", Ok("{1234}")),
        (
            "{{.Label}}",
            Err(
                "template: :1:2: executing \"\" at <.Label>: wrong number of args for Label: want 1 got 0",
            ),
        ),
        (
            "{{.Nope}}",
            Err(
                "template: :1:2: executing \"\" at <.Nope>: can't evaluate field Nope in type *formatter.ContainerContext",
            ),
        ),
        (
            "{{.ID.X}}",
            Err("template: :1:5: executing \"\" at <.ID.X>: can't evaluate field X in type string"),
        ),
        (
            "{{.ID \"x\"}}",
            Err(
                "template: :1:2: executing \"\" at <.ID>: ID has arguments but cannot be invoked as function",
            ),
        ),
    ] {
        assert_eq!(fill(text, &row), expected.map(str::to_owned).map_err(str::to_owned), "{text}");
    }
}

#[test]
fn structures_and_declared_types_print_as_go_prints_them() {
    let binding = |ip: &str, port: &str| {
        Value::object(Record {
            type_name: "nat.PortBinding".to_owned(),
            fields: vec![("HostIp".into(), ip.into()), ("HostPort".into(), port.into())],
        })
    };
    let list = |items| Value::List(Rc::new(List { items, of: Of::Objects, is_nil: false }));
    let ports = [("80/tcp", list(vec![binding("", "8080")])), ("443/tcp", list(vec![]))];
    let ports = ports.map(|(port, list)| (port.into(), list));
    let ports = Value::Map(Rc::new(Map { entries: ports.into(), of: Of::Lists, is_nil: false }));
    let labels = Value::Map(Rc::new(Map {
        entries: [("a".into(), "1".into())].into(),
        of: Of::Strings,
        is_nil: false,
    }));
    let data = Value::object(Record {
        type_name: "T".to_owned(),
        fields: vec![
            ("Ports".into(), ports),
            ("Health".into(), Value::NilPointer),
            ("Labels".into(), labels),
        ],
    });
    let fill = |text: &str| {
        let template = Template::parse(text, functions()).unwrap();
        template.execute(&data).map_err(|error| error.to_string())
    };
    assert_eq!(fill("{{.Ports}}").as_deref(), Ok("map[443/tcp:[] 80/tcp:[{ 8080}]]"));
    assert_eq!(fill("{{(index .Ports \"80/tcp\" 0).HostPort}}").as_deref(), Ok("8080"));
    assert_eq!(fill("{{.Health}}{{if .Health}}x{{end}}").as_deref(), Ok("<nil>"));
    assert!(fill("{{.Health.Status}}").unwrap_err().contains("nil pointer evaluating"));
    assert_eq!(
        fill("{{.Labels.a}} {{.Labels.b}}|{{index .Labels \"b\"}}|").as_deref(),
        Ok("1 <no value>||")
    );
}

#[test]
fn what_would_not_end_ends_with_an_error() {
    let limited = |text: &str| {
        let template = Template::parse(text, functions()).unwrap();
        let template = template.limits(Limits { steps: 1000, ..Limits::default() });
        template.execute(&Value::Nothing).unwrap_err().to_string()
    };
    assert!(limited("{{range 1000000000000}}{{1}}{{end}}").contains("too many steps"));
    let own = "{{define \"a\"}}{{template \"a\"}}{{end}}{{template \"a\"}}";
    assert!(limited(own).contains("exceeded maximum template depth"));
    for (open, close) in [("{{", "}}"), ("{{if 1}}", "{{end}}")] {
        let inner = if open == "{{" { ("(", "1", ")") } else { (open, "x", close) };
        let deep = format!("{}{}{}", inner.0.repeat(5000), inner.1, inner.2.repeat(5000));
        let text = if open == "{{" { format!("{{{{{deep}}}}}") } else { deep };
        let error = Template::parse(&text, functions()).unwrap_err().to_string();
        assert!(error.contains("levels deep"), "{error}");
    }
    let chained = format!("{{{{if 1}}}}{}{{{{end}}}}", "{{else if 1}}".repeat(5000));
    assert!(Template::parse(&chained, functions()).is_err());
}

proptest::proptest! {
    /// Any text is read or refused, and what is read is filled in or refused: nothing panics or hangs.
    #[test]
    fn any_text_is_read_or_refused(
        parts in proptest::collection::vec(
            proptest::sample::select(vec![
                "{{", "}}", "{{-", " -}}", "{{- ", "if ", "range ", "with ", "else", "end", "{{end}}",
                "define \"a\"", "template \"a\" ", "block \"b\" ", "break", "continue", ".", ".R", ".M.L", ".M.I", ".M.U",
                "$", "$x", " := ", " = ", ", ", " | ", "(", ")", "1", "-1.5e3", "'a'", "\"s\"", "`r`",
                "\"%d %s %*v\"", "printf ", "index ", "slice ", "len ", "eq ", "and ", "or ", "not ", "nil",
                "true", "print ", "html ", "js ", "call ", "/*", "*/", " ", "\n", "é", "\u{0}", "\\", "json ",
            ]),
            0..24,
        )
    ) {
        crate::fuzz::exercise(parts.concat().as_bytes());
    }
}
