//! `--format`: Go templates with Docker's functions.

use super::json::{Orders, html_escaped};
use crate::suggest;
use gotmpl::{MissingKey, Template, TemplateError, Value};
use std::sync::Arc;

/// Which of the two meanings the functions have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    /// They work on values.
    Rows,
    /// They leave the titles of a table alone.
    Titles,
}

/// A template ready to be filled in.
pub(crate) struct Format {
    template: Template,
}

impl Format {
    /// Reads a template for rows of a list or objects of `inspect`; `orders` is how `json` writes keys.
    ///
    /// # Errors
    /// One line quoting the template's flaw.
    pub(crate) fn rows(text: &str, orders: Orders) -> Result<Self, String> {
        Self::new(text, Mode::Rows, orders)
    }

    /// The same template for a table's title line.
    ///
    /// # Errors
    /// As for rows.
    pub(crate) fn titles(text: &str) -> Result<Self, String> {
        Self::new(text, Mode::Titles, Orders::default())
    }

    fn new(text: &str, mode: Mode, orders: Orders) -> Result<Self, String> {
        let template = Template::new("").missing_key(MissingKey::Error);
        let template = match mode {
            Mode::Rows => with_functions(template, orders),
            Mode::Titles => with_title_functions(template),
        };
        let template = template
            .func("__label", move |arguments| label(arguments, mode))
            .parse(&label_as_function(text))
            .map_err(|error| format!("failed to parse template: {}", described(&error)))?;
        Ok(Self { template })
    }

    /// Fills it in.
    ///
    /// # Errors
    /// One line: a field that is not there, a function that does not fit.
    pub(crate) fn fill(&self, value: &Value) -> Result<String, String> {
        self.template.execute_to_string(value).map_err(|error| {
            let close = match value {
                Value::Map(fields) => missing_field(&error)
                    .and_then(|name| suggest::closest(&name, fields.keys().map(AsRef::as_ref))),
                _ => None,
            };
            let close = close.map(|close| format!(" (did you mean .{close}?)"));
            format!("{}{}", described(&error), close.unwrap_or_default())
        })
    }
}

/// Docker lets the shell's `\t` and `\n` pass for what they mean.
pub(crate) fn unescape(text: &str) -> String {
    text.replace("\\t", "\t").replace("\\n", "\n")
}

/// The name of a field that was not there.
fn missing_field(error: &TemplateError) -> Option<String> {
    let text = error.to_string();
    Some(text.split_once("no entry for key: ")?.1.trim().to_owned())
}

fn described(error: &TemplateError) -> String {
    match error {
        TemplateError::UndefinedFunction(name) => format!("function {name:?} not defined"),
        other => other.to_string(),
    }
}

fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.to_string(),
        other => other.to_string(),
    }
}

fn number(value: Option<&Value>) -> usize {
    value.and_then(Value::as_int).and_then(|number| usize::try_from(number).ok()).unwrap_or(0)
}

fn string(text: String) -> Value {
    Value::String(text.into())
}

/// Checks how many arguments a function got.
fn arity(name: &str, arguments: &[Value], wanted: usize) -> Result<(), TemplateError> {
    if arguments.len() == wanted {
        return Ok(());
    }
    let got = arguments.len();
    Err(TemplateError::Exec(format!("wrong number of args for {name}: want {wanted} got {got}")))
}

fn with_functions(template: Template, orders: Orders) -> Template {
    template
        .func("json", move |arguments| {
            arity("json", arguments, 1)?;
            let (value, is_row) = without_labels(&arguments[0]);
            let text = serde_json::to_string(&orders.json(&value))
                .map_err(|error| TemplateError::Exec(error.to_string()))?;
            // A row writes itself, with Go's default escapes; other values are written without.
            Ok(string(if is_row { html_escaped(&text) } else { text }))
        })
        .func("split", |arguments| {
            arity("split", arguments, 2)?;
            let (whole, separator) = (text(&arguments[0]), text(&arguments[1]));
            let parts: Vec<Value> = match separator.as_str() {
                "" => whole.chars().map(|c| string(c.to_string())).collect(),
                separator => whole.split(separator).map(|part| string(part.to_owned())).collect(),
            };
            Ok(Value::List(parts.into()))
        })
        .func("join", |arguments| {
            arity("join", arguments, 2)?;
            match &arguments[0] {
                Value::List(items) => {
                    let parts: Vec<String> = items.iter().map(text).collect();
                    Ok(string(parts.join(&text(&arguments[1]))))
                }
                Value::Nil => Ok(string(String::new())),
                other => Err(TemplateError::Exec(format!(
                    "wrong type for join: expected a list, got {}",
                    other.type_name()
                ))),
            }
        })
        .func("title", |arguments| {
            arity("title", arguments, 1)?;
            Ok(string(title(&text(&arguments[0]))))
        })
        .func("lower", |arguments| {
            arity("lower", arguments, 1)?;
            Ok(string(text(&arguments[0]).to_lowercase()))
        })
        .func("upper", |arguments| {
            arity("upper", arguments, 1)?;
            Ok(string(text(&arguments[0]).to_uppercase()))
        })
        .func("pad", |arguments| {
            arity("pad", arguments, 3)?;
            let padded = match text(&arguments[0]) {
                empty if empty.is_empty() => empty,
                text => {
                    let blanks = |argument| " ".repeat(number(arguments.get(argument)));
                    format!("{}{text}{}", blanks(1), blanks(2))
                }
            };
            Ok(string(padded))
        })
        .func("truncate", |arguments| {
            arity("truncate", arguments, 2)?;
            let kept = text(&arguments[0]).chars().take(number(arguments.get(1))).collect();
            Ok(string(kept))
        })
}

/// In a title line the functions hand their first argument on.
fn with_title_functions(mut template: Template) -> Template {
    let same = |arguments: &[Value]| {
        Ok(arguments.first().cloned().unwrap_or_else(|| string(String::new())))
    };
    for name in ["json", "split", "join", "title", "lower", "upper", "pad", "truncate"] {
        template = template.func(name, same);
    }
    template
}

/// Capitalises every word.
fn title(text: &str) -> String {
    let mut previous = ' ';
    let mut titled = String::with_capacity(text.len());
    for c in text.chars() {
        if previous.is_alphanumeric() || previous == '_' || previous == '\'' {
            titled.push(c);
        } else {
            titled.extend(c.to_uppercase());
        }
        previous = c;
    }
    titled
}

/// `__label ROW NAME`: the value of a row's label; in titles, the end of the label's name.
fn label(arguments: &[Value], mode: Mode) -> Result<Value, TemplateError> {
    arity("Label", arguments, 2)?;
    let name = text(&arguments[1]);
    if mode == Mode::Titles {
        let last = name.rsplit('.').next().unwrap_or_default();
        return Ok(string(last.replace(['-', '_'], " ")));
    }
    let labels = match &arguments[0] {
        Value::Map(row) => row.get(LABELS),
        _ => None,
    };
    let value = match labels {
        Some(Value::Map(labels)) => labels.get(name.as_str()).cloned(),
        _ => None,
    };
    Ok(value.unwrap_or_else(|| string(String::new())))
}

/// Where a row keeps its labels for `.Label`.
const LABELS: &str = "\u{0}labels";

/// Gives a row's labels to `.Label "name"`.
pub(crate) fn put_labels<'a>(
    row: &mut std::collections::BTreeMap<Arc<str>, Value>,
    labels: impl Iterator<Item = (&'a str, &'a str)>,
) {
    let labels = labels.map(|(name, value)| (name.into(), Value::String(value.into())));
    row.insert(LABELS.into(), Value::Map(Arc::new(labels.collect())));
}

/// A row without them: they are no field to be printed. Says whether it is a row.
fn without_labels(value: &Value) -> (Value, bool) {
    match value {
        Value::Map(row) if row.contains_key(LABELS) => {
            let mut row = row.as_ref().clone();
            row.remove(LABELS);
            (Value::Map(Arc::new(row)), true)
        }
        other => (other.clone(), false),
    }
}

/// The template engine has no methods: `.Label "x"` becomes a call of a function with the row.
fn label_as_function(text: &str) -> String {
    let mut done = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(".Label") {
        let (before, after) = (&rest[..at], &rest[at + ".Label".len()..]);
        let inside = done.rfind("{{").max(before.rfind("{{").map(|at| at + done.len()))
            > done.rfind("}}").max(before.rfind("}}").map(|at| at + done.len()));
        if !inside || !after.starts_with(char::is_whitespace) {
            done.push_str(&rest[..at + ".Label".len()]);
        } else if let Some(before) = before.strip_suffix('$') {
            done.push_str(before);
            done.push_str("__label $");
        } else {
            done.push_str(before);
            done.push_str("__label .");
        }
        rest = after;
    }
    done.push_str(rest);
    done
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::json::Json;

    fn fill(template: &str, json: &str) -> Result<String, String> {
        let json: Json = serde_json::from_str(json).unwrap();
        let mut orders = Orders::default();
        json.note_orders(&mut orders);
        Format::rows(template, orders)?.fill(&json.to_template())
    }

    const INSPECT: &str = r#"{"Name":"/web","Id":"1111","State":{"Status":"running","Pid":5,"Alive":true},
        "Config":{"Env":["A=1","B=2"],"Cmd":null,"Labels":{"a.b":"x & y"}},
        "NetworkSettings":{"Ports":{"80/tcp":[{"HostIp":"0.0.0.0","HostPort":"8080"}],"443/tcp":null}}}"#;

    #[test]
    fn what_people_ask_of_inspect_is_answered_as_docker_answers() {
        for (template, text) in [
            ("{{.State.Pid}}", "5"),
            ("{{json .State}}", r#"{"Status":"running","Pid":5,"Alive":true}"#),
            ("{{json .Config.Labels}}", r#"{"a.b":"x & y"}"#),
            ("{{index .Config.Labels \"a.b\"}}", "x & y"),
            ("{{range .Config.Env}}{{println .}}{{end}}", "A=1\nB=2\n"),
            ("{{(index (index .NetworkSettings.Ports \"80/tcp\") 0).HostPort}}", "8080"),
            (
                "{{range $p, $c := .NetworkSettings.Ports}}{{$p}}{{if $c}}->{{(index $c 0).HostPort}}{{end}} {{end}}",
                "443/tcp 80/tcp->8080 ",
            ),
            ("{{.Config.Cmd}}", "<no value>"),
            ("{{if .State.Alive}}up{{else}}down{{end}}", "up"),
            ("{{slice .Id 0 2}}", "11"),
            ("{{join .Config.Env \",\"}}", "A=1,B=2"),
            ("{{upper .State.Status}} {{title \"two words\"}}", "RUNNING Two Words"),
            ("{{printf \"%s:%d\" .Name .State.Pid}}", "/web:5"),
            ("{{.Config.Labels}}", "map[a.b:x & y]"),
            ("{{len .Config.Env}}", "2"),
            ("{{join (split .Name \"e\") \"-\"}}", "/w-b"),
            ("{{pad .Id 2 3}}|{{pad \"\" 1 1}}|{{truncate .Id 3}}", "  1111   ||111"),
            ("{{with .State}}{{.Pid}}{{end}}", "5"),
            ("{{eq .State.Status \"running\"}}", "true"),
        ] {
            assert_eq!(fill(template, INSPECT).as_deref(), Ok(text), "{template}");
        }
    }

    #[test]
    fn a_missing_field_is_named_with_the_nearest_one() {
        let error = fill("{{.Naem}}", INSPECT).unwrap_err();
        assert!(error.contains("Naem") && error.ends_with("(did you mean .Name?)"), "{error}");
        let error = fill("{{.Name", INSPECT).unwrap_err();
        assert!(
            error.starts_with("failed to parse template: ") && error.contains("unclosed"),
            "{error}"
        );
        let error = fill("{{foo .Name}}", INSPECT).unwrap_err();
        assert!(error.contains("foo") && error.contains("not defined"), "{error}");
    }

    #[test]
    fn labels_are_asked_for_like_a_method() {
        for (text, rewritten) in [
            ("{{.Label \"a\"}}", "{{__label . \"a\"}}"),
            ("x {{.Labels}} {{ $.Label \"a\" }}", "x {{.Labels}} {{ __label $ \"a\" }}"),
            ("{{upper (.Label \"a\")}}.Label x", "{{upper (__label . \"a\")}}.Label x"),
            ("no .Label here", "no .Label here"),
        ] {
            assert_eq!(label_as_function(text), rewritten);
        }
        let mut row = std::collections::BTreeMap::new();
        put_labels(&mut row, [("a", "b")].into_iter());
        let row = Value::Map(Arc::new(row));
        let format = Format::rows("{{.Label \"a\"}}{{.Label \"c\"}}", Orders::default()).unwrap();
        assert_eq!(format.fill(&row).as_deref(), Ok("b"));
        let titles = Format::titles("{{.Label \"com.x.some-thing_y\"}}").unwrap();
        assert_eq!(titles.fill(&row).as_deref(), Ok("some thing y"));
    }
}
