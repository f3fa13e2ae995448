//! `--format`: Go templates with Docker's functions.

use super::json::{self, html_escaped};
use crate::quit::Quit;
use crate::suggest;
use tug_template::{
    Arity, Error, Function, Functions, Kind, MissingKey, Object, Template, Value, text,
};

/// A template ready to be filled in.
pub(crate) struct Format {
    template: Template,
}

/// A flaw of a template: Docker's words, and what may have been meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Flaw {
    /// `template: :1:2: …`
    pub message: String,
    /// A field that is there and has a similar name.
    pub close: Option<String>,
}

impl Flaw {
    /// As most commands report it.
    pub(crate) fn quit(self) -> Quit {
        let message = format!("template parsing error: {}", self.message);
        self.with(message)
    }

    /// As `info` and `version` report it, which fill their templates in on their own.
    pub(crate) fn bare(self) -> Quit {
        let message = self.message.clone();
        self.with(message)
    }

    fn with(self, message: String) -> Quit {
        let quit = Quit::invalid(message);
        quit.did_you_mean(self.close.map(|close| format!(".{close}")))
    }
}

impl Format {
    /// Reads a template for rows of a list or objects of `inspect`.
    ///
    /// # Errors
    /// One line quoting the template's flaw.
    pub(crate) fn rows(text: &str) -> Result<Self, Flaw> {
        Self::new(text, functions())
    }

    /// The same template for a table's title line, where functions leave the titles alone.
    ///
    /// # Errors
    /// As for rows.
    pub(crate) fn titles(text: &str) -> Result<Self, Flaw> {
        Self::new(text, title_functions())
    }

    fn new(text: &str, functions: Functions) -> Result<Self, Flaw> {
        let template = Template::parse(text, functions)
            .map_err(|error| Flaw { message: error.to_string(), close: None })?;
        Ok(Self { template })
    }

    /// Fills it in.
    ///
    /// # Errors
    /// One line: a field that is not there, a function that does not fit.
    pub(crate) fn fill(&self, value: &Value) -> Result<String, Flaw> {
        self.template.execute(value).map_err(|error| flaw(&error, value))
    }

    /// Fills it in with an object of Docker's API, or, where its type does not have what the template
    /// asks for, with the object's JSON.
    ///
    /// # Errors
    /// As [`Format::fill`].
    pub(crate) fn fill_object(&self, value: &Value) -> Result<String, Flaw> {
        self.template.execute(value).or_else(|_| {
            let strict = self.template.clone().missing_key(MissingKey::Error);
            strict.execute(&json::untyped(value)).map_err(|error| flaw(&error, value))
        })
    }
}

/// An error, with the field whose name is close to the one that is not there.
fn flaw(error: &Error, value: &Value) -> Flaw {
    let missing = match error {
        Error::Execute { missing, .. } => missing.as_deref(),
        Error::Parse { .. } => None,
    };
    let close = missing.and_then(|name| match value {
        Value::Object(object) => closest(object.as_ref(), name),
        _ => None,
    });
    Flaw { message: error.to_string(), close }
}

fn closest(object: &dyn Object, name: &str) -> Option<String> {
    suggest::closest(name, object.names()).map(str::to_owned)
}

/// Docker lets the shell's `\t` and `\n` pass for what they mean.
pub(crate) fn unescape(text: &str) -> String {
    text.replace("\\t", "\t").replace("\\n", "\n")
}

/// Docker's functions beside Go's.
fn functions() -> Functions {
    use Arity::{Any, Typed};
    use Kind::{Int, String, Strings};
    Functions::new([
        ("json", Function::new(Any(1), |arguments| as_json(&arguments[0]))),
        (
            "split",
            Function::new(Typed(&[String, String]), |a| Ok(split(&text(&a[0]), &text(&a[1])))),
        ),
        (
            "join",
            Function::new(Typed(&[Strings, String]), |a| {
                let parts: Vec<_> = match &a[0] {
                    Value::List(list) => list.items.iter().map(text).collect(),
                    _ => Vec::new(),
                };
                Ok(parts.join(&text(&a[1])).into())
            }),
        ),
        ("title", Function::new(Typed(&[String]), |a| Ok(title(&text(&a[0])).into()))),
        ("lower", Function::new(Typed(&[String]), |a| Ok(text(&a[0]).to_lowercase().into()))),
        ("upper", Function::new(Typed(&[String]), |a| Ok(text(&a[0]).to_uppercase().into()))),
        (
            "pad",
            Function::new(Typed(&[String, Int, Int]), |a| match text(&a[0]) {
                empty if empty.is_empty() => Ok(empty.into()),
                text => Ok(format!("{}{text}{}", blanks(&a[1])?, blanks(&a[2])?).into()),
            }),
        ),
        (
            "truncate",
            Function::new(Typed(&[String, Int]), |a| {
                // Bytes, as in Go; what is left of a character that is cut is nothing.
                let text = text(&a[0]);
                let most = number(&a[1])?.min(text.len());
                let end = (0..=most).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
                Ok(text[..end].into())
            }),
        ),
    ])
}

/// In a title line the functions hand their first argument on.
fn title_functions() -> Functions {
    let names = ["json", "split", "join", "title", "lower", "upper", "pad", "truncate"];
    Functions::new(
        names.map(|name| {
            (name, Function::new(Arity::AtLeast(1), |arguments| Ok(arguments[0].clone())))
        }),
    )
}

fn as_json(value: &Value) -> Result<Value, String> {
    let line = json::line(value).map_err(|error| error.to_string())?;
    // A row of a list writes itself, with Go's default escapes; other values are written without.
    let is_row = matches!(value, Value::Object(object) if object.type_name().ends_with("Context"));
    Ok(if is_row { html_escaped(&line) } else { line }.into())
}

fn split(whole: &str, by: &str) -> Value {
    match by {
        "" => Value::strings(whole.chars().map(|c| c.to_string())),
        by => Value::strings(whole.split(by)),
    }
}

fn number(value: &Value) -> Result<usize, String> {
    let number = match value {
        Value::Int(number) => usize::try_from(*number).ok(),
        Value::Uint(number) => usize::try_from(*number).ok(),
        _ => None,
    };
    number.ok_or_else(|| format!("{} is no length", text(value)))
}

/// More than anybody wants, and less than memory holds.
const WIDEST: usize = 1_000_000;

fn blanks(value: &Value) -> Result<String, String> {
    match number(value)? {
        count if count <= WIDEST => Ok(" ".repeat(count)),
        count => Err(format!("{count} blanks are too many")),
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Serialize;
    use std::collections::BTreeMap;

    #[derive(Serialize)]
    #[serde(rename_all = "PascalCase")]
    struct Container {
        name: &'static str,
        id: &'static str,
        state: State,
        config: Config,
        ports: BTreeMap<&'static str, Option<Vec<Binding>>>,
    }

    #[derive(Serialize)]
    #[serde(rename_all = "PascalCase")]
    struct State {
        status: &'static str,
        pid: i32,
        alive: bool,
    }

    #[derive(Serialize)]
    #[serde(rename_all = "PascalCase")]
    struct Config {
        env: Vec<&'static str>,
        cmd: Option<Vec<String>>,
        labels: BTreeMap<&'static str, &'static str>,
    }

    #[derive(Serialize)]
    #[serde(rename_all = "PascalCase")]
    struct Binding {
        host_ip: &'static str,
        host_port: &'static str,
    }

    fn container() -> Value {
        json::value(&Container {
            name: "/web",
            id: "1111",
            state: State { status: "running", pid: 5, alive: true },
            config: Config {
                env: vec!["A=1", "B=2"],
                cmd: None,
                labels: [("a.b", "x & y")].into(),
            },
            ports: [
                ("80/tcp", Some(vec![Binding { host_ip: "0.0.0.0", host_port: "8080" }])),
                ("443/tcp", None),
            ]
            .into(),
        })
        .unwrap()
    }

    fn fill(template: &str) -> Result<String, Flaw> {
        Format::rows(template)?.fill_object(&container())
    }

    #[test]
    fn what_people_ask_of_inspect_is_answered_as_docker_answers() {
        for (template, text) in [
            ("{{.State.Pid}}", "5"),
            ("{{.State}}", "{running 5 true}"),
            ("{{.ID}} {{.Id}}", "1111 1111"),
            ("{{(index .Ports \"80/tcp\" 0).HostIP}}", "0.0.0.0"),
            ("{{json .State}}", r#"{"Status":"running","Pid":5,"Alive":true}"#),
            ("{{json .Config.Labels}}", r#"{"a.b":"x & y"}"#),
            ("{{json .Config.Cmd}} {{.Config.Cmd}}", "null []"),
            ("{{index .Config.Labels \"a.b\"}}", "x & y"),
            ("{{range .Config.Env}}{{println .}}{{end}}", "A=1\nB=2\n"),
            ("{{(index (index .Ports \"80/tcp\") 0).HostPort}}", "8080"),
            ("{{.Ports}}", "map[443/tcp:[] 80/tcp:[{0.0.0.0 8080}]]"),
            (
                "{{range $p, $c := .Ports}}{{$p}}{{if $c}}->{{(index $c 0).HostPort}}{{end}} {{end}}",
                "443/tcp 80/tcp->8080 ",
            ),
            ("{{join .Config.Env \",\"}}", "A=1,B=2"),
            ("{{upper .State.Status}} {{title \"two words\"}}", "RUNNING Two Words"),
            ("{{printf \"%s:%d\" .Name .State.Pid}}", "/web:5"),
            ("{{.Config.Labels}}", "map[a.b:x & y]"),
            ("{{join (split .Name \"e\") \"-\"}} {{split \"ab\" \"\"}}", "/w-b [a b]"),
            ("{{pad .Id 2 3}}|{{pad \"\" 1 1}}|{{truncate .Id 3}}", "  1111   ||111"),
            ("{{truncate \"日本\" 4}}{{truncate \"ab\" 9}}", "日ab"),
        ] {
            assert_eq!(fill(template).as_deref(), Ok(text), "{template}");
        }
    }

    #[test]
    fn a_missing_field_is_named_with_the_nearest_one() {
        let flaw = fill("{{.Naem}}").unwrap_err();
        assert_eq!(
            flaw.message,
            "template: :1:2: executing \"\" at <.Naem>: map has no entry for key \"Naem\""
        );
        assert_eq!(flaw.close.as_deref(), Some("Name"));
        assert_eq!(
            flaw.quit().report(),
            "tug: template parsing error: template: :1:2: executing \"\" at <.Naem>: \
             map has no entry for key \"Naem\"\nhint: did you mean .Name?\n"
        );
        let flaw = fill("{{.Name").unwrap_err();
        assert_eq!(flaw.message, "template: :1: unclosed action");
        let flaw = fill("{{foo .Name}}").unwrap_err();
        assert_eq!(flaw.message, "template: :1: function \"foo\" not defined");
    }

    #[test]
    fn lengths_that_make_no_sense_are_refused() {
        for template in ["{{pad .Id 5000000000 0}}", "{{truncate .Id -1}}", "{{pad .Id -1 0}}"] {
            assert!(fill(template).unwrap_err().message.contains("error calling"), "{template}");
        }
    }
}
