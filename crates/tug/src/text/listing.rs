//! Lists of objects: `ps`, `images`, `volume ls`. A table, JSON lines, or a template of the user's.

use super::table;
use super::template::{self, Flaw, Format};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use tug_template::{Object, Value};

/// A field of a row: its name in templates and its title in tables.
pub(crate) type Field = (&'static str, &'static str);

/// What a list can print of one object.
pub(crate) trait Row: 'static {
    /// The text of a field of [`Listing::fields`].
    fn field(&self, name: &str) -> String;

    /// Labels, for `.Label "name"`.
    fn labels(&self) -> Option<&BTreeMap<String, String>> {
        None
    }
}

/// How a kind of object is listed.
#[derive(Clone)]
pub(crate) struct Listing {
    /// Go's name of a row's type, for errors: `*formatter.ContainerContext`.
    pub type_name: &'static str,
    /// Everything templates may name.
    pub fields: &'static [Field],
    /// The columns of the table when the user says nothing else.
    pub columns: Vec<&'static str>,
    /// What `--format raw` stands for.
    pub raw: String,
    /// Fields that `json` writes as null.
    pub nulls: &'static [&'static str],
}

/// Least width of a column.
const WIDTH: usize = 10;

impl Listing {
    /// The list as text, every line ended.
    ///
    /// # Errors
    /// One line about the template.
    pub(crate) fn print<R: Row>(
        &self,
        format: &str,
        rows: impl IntoIterator<Item = R>,
    ) -> Result<String, Flaw> {
        let format = template::unescape(format.trim());
        let rows = rows.into_iter();
        match format.as_str() {
            "" | "table" => Ok(self.table(rows)),
            "json" => self.templated("{{json .}}", false, rows),
            "raw" => self.templated(&self.raw, false, rows),
            other => match other.strip_prefix("table") {
                Some(rest) => self.templated(rest.trim(), true, rows),
                None => self.templated(other, false, rows),
            },
        }
    }

    fn templated<R: Row>(
        &self,
        template: &str,
        titled: bool,
        rows: impl Iterator<Item = R>,
    ) -> Result<String, Flaw> {
        let format = Format::rows(template)?;
        let titles = Titles(self.fields, self.type_name);
        let mut lines = String::new();
        let mut count = 0;
        for row in rows {
            lines.push_str(&format.fill(&self.value(row))?);
            lines.push('\n');
            count += 1;
        }
        let titles = match (titled, count) {
            (false, 1..) => None,
            // A flaw of the template is to be seen even when there is nothing to print.
            _ => Some(Format::titles(template)?.fill(&Value::object(titles))?),
        };
        Ok(match titles.filter(|_| titled) {
            Some(titles) => table::align(&format!("{titles}\n{lines}"), WIDTH),
            None => lines,
        })
    }

    /// Whether a format asks for a field.
    pub(crate) fn uses(&self, format: &str, field: &str) -> bool {
        format == "json" || format.contains(&format!(".{field}")) || format.contains("json .}")
    }

    fn table<R: Row>(&self, rows: impl Iterator<Item = R>) -> String {
        let title = |name: &&str| self.title(name).to_owned();
        let mut lines = self.columns.iter().map(title).collect::<Vec<_>>().join("\t");
        lines.push('\n');
        for row in rows {
            let cells: Vec<String> = self.columns.iter().map(|name| row.field(name)).collect();
            lines.push_str(&cells.join("\t"));
            lines.push('\n');
        }
        table::align(&lines, WIDTH)
    }

    fn title(&self, name: &str) -> &str {
        self.fields.iter().find(|(known, _)| *known == name).map_or("", |(_, title)| title)
    }

    /// A row as templates see it.
    pub(crate) fn value<R: Row>(&self, row: R) -> Value {
        Value::Object(Rc::new(Entry {
            row,
            type_name: self.type_name,
            fields: self.fields,
            nulls: self.nulls,
        }))
    }
}

/// A row as templates see it: fields are made when they are asked for.
struct Entry<R> {
    row: R,
    type_name: &'static str,
    fields: &'static [Field],
    nulls: &'static [&'static str],
}

impl<R: Row> Object for Entry<R> {
    fn type_name(&self) -> &str {
        self.type_name
    }

    fn field(&self, name: &str) -> Option<Value> {
        if self.nulls.contains(&name) {
            return Some(Value::NilPointer);
        }
        let known = self.fields.iter().any(|(known, _)| *known == name);
        known.then(|| self.row.field(name).into())
    }

    fn call(&self, name: &str, arguments: &[Value]) -> Option<Result<Value, String>> {
        let wanted = label(name, arguments)?;
        let labels = self.row.labels();
        Some(wanted.map(|wanted| {
            let value = labels.and_then(|labels| labels.get(wanted.as_ref()));
            value.map_or("", String::as_str).into()
        }))
    }

    fn names(&self) -> Vec<&str> {
        let names = self.fields.iter().map(|(name, _)| *name).chain(self.nulls.iter().copied());
        names.collect::<BTreeSet<_>>().into_iter().collect()
    }
}

/// The argument of `.Label "name"`.
fn label<'v>(name: &str, arguments: &'v [Value]) -> Option<Result<&'v Rc<str>, String>> {
    match (name, arguments) {
        ("Label", [Value::String(wanted)]) => Some(Ok(wanted)),
        ("Label", [other]) => {
            let found = other.type_name();
            Some(Err(format!("wrong type for value; expected string; got {found}")))
        }
        ("Label", others) => {
            Some(Err(format!("wrong number of args for Label: want 1 got {}", others.len())))
        }
        _ => None,
    }
}

/// The titles of the columns, for a table's first line.
struct Titles(&'static [Field], &'static str);

impl Object for Titles {
    fn type_name(&self) -> &str {
        self.1
    }

    fn field(&self, name: &str) -> Option<Value> {
        self.0.iter().find(|(known, _)| *known == name).map(|(_, title)| (*title).into())
    }

    /// A label's title is the end of its name.
    fn call(&self, name: &str, arguments: &[Value]) -> Option<Result<Value, String>> {
        Some(label(name, arguments)?.map(|wanted| {
            let last = wanted.rsplit('.').next().unwrap_or_default();
            last.replace(['-', '_'], " ").into()
        }))
    }

    fn names(&self) -> Vec<&str> {
        self.0.iter().map(|(name, _)| *name).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Thing(&'static str, BTreeMap<String, String>);

    impl Row for Thing {
        fn field(&self, name: &str) -> String {
            match name {
                "Name" => self.0.to_owned(),
                _ => format!("{}->1", self.0.len()),
            }
        }

        fn labels(&self) -> Option<&BTreeMap<String, String>> {
            Some(&self.1)
        }
    }

    fn listing() -> Listing {
        Listing {
            type_name: "*formatter.thingContext",
            fields: &[("Name", "NAMES"), ("Ports", "PORTS")],
            columns: vec!["Ports", "Name"],
            raw: "name: {{.Name}}\n".to_owned(),
            nulls: &["Platform"],
        }
    }

    fn print(format: &str) -> Result<String, String> {
        let labels = BTreeMap::from([("a".to_owned(), "b".to_owned())]);
        let rows = [Thing("web", labels), Thing("db", BTreeMap::new())];
        listing().print(format, rows).map_err(|flaw| flaw.message)
    }

    #[test]
    fn every_form_prints_as_docker_does() {
        for (format, text) in [
            ("", "PORTS     NAMES\n3->1      web\n2->1      db\n"),
            ("table", "PORTS     NAMES\n3->1      web\n2->1      db\n"),
            ("{{.Name}}", "web\ndb\n"),
            ("raw", "name: web\n\nname: db\n\n"),
            ("table {{.Name}}\\t{{.Label \"x.a\"}}", "NAMES     a\nweb       \ndb        \n"),
            ("table {{upper .Name}} {{json .Ports}}", "NAMES PORTS\nWEB \"3->1\"\nDB \"2->1\"\n"),
            ("{{.Label \"a\"}}", "b\n\n"),
            ("{{.Platform}}", "<nil>\n<nil>\n"),
            ("{{if .Label \"a\"}}{{.Name}}{{else}}-{{end}}", "web\n-\n"),
            (
                "json",
                "{\"Name\":\"web\",\"Platform\":null,\"Ports\":\"3-\\u003e1\"}\n\
                 {\"Name\":\"db\",\"Platform\":null,\"Ports\":\"2-\\u003e1\"}\n",
            ),
            (
                "{{json .}}",
                "{\"Name\":\"web\",\"Platform\":null,\"Ports\":\"3-\\u003e1\"}\n\
                 {\"Name\":\"db\",\"Platform\":null,\"Ports\":\"2-\\u003e1\"}\n",
            ),
        ] {
            assert_eq!(print(format).as_deref(), Ok(text), "{format}");
        }
    }

    #[test]
    fn flaws_are_told_in_gos_words() {
        for (format, message) in [
            (
                "{{.Foo}}",
                "template: :1:2: executing \"\" at <.Foo>: can't evaluate field Foo in type *formatter.thingContext",
            ),
            ("{{.Name", "template: :1: unclosed action"),
            (
                "{{.Label 1}}",
                "template: :1:2: executing \"\" at <.Label>: wrong type for value; expected string; got int",
            ),
        ] {
            assert_eq!(print(format).unwrap_err(), message);
            assert!(print(&format!("table {format}")).is_err());
        }
    }

    #[test]
    fn a_flaw_is_seen_even_in_an_empty_list() {
        let rows: [Thing; 0] = [];
        let print = |format: &str| listing().print(format, [] as [Thing; 0]);
        assert_eq!(print("{{.Nam}}").unwrap_err().close.as_deref(), Some("Name"));
        assert_eq!(print("{{.Name}}").as_deref(), Ok(""));
        assert_eq!(print("table {{.Name}}").as_deref(), Ok("NAMES\n"));
        assert_eq!(listing().print("", rows).as_deref(), Ok("PORTS     NAMES\n"));
    }
}
