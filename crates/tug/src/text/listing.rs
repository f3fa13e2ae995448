//! Lists of objects: `ps`, `images`, `volume ls`. A table, JSON lines, or a template of the user's.

use super::json::{Orders, html_escaped};
use super::table;
use super::template::{self, Format};
use gotmpl::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// A field of a row: its name in templates and its title in tables.
pub(crate) type Field = (&'static str, &'static str);

/// What a list can print of one object.
pub(crate) trait Row {
    /// The text of a field of [`Listing::fields`].
    fn field(&self, name: &str) -> String;

    /// Labels, for `.Label "name"`.
    fn labels(&self) -> Option<&BTreeMap<String, String>> {
        None
    }
}

/// How a kind of object is listed.
pub(crate) struct Listing {
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
    pub(crate) fn print(&self, format: &str, rows: &[impl Row]) -> Result<String, String> {
        let format = template::unescape(format.trim());
        let (titled, template) = match format.as_str() {
            "" | "table" => return Ok(self.table(rows)),
            "json" => return self.json_lines(rows),
            "raw" => (false, self.raw.as_str()),
            other => match other.strip_prefix("table") {
                Some(rest) => (true, rest.trim()),
                None => (false, other),
            },
        };
        let filled = Format::rows(template, Orders::default())?;
        let titles = titled.then(|| self.titles(template)).transpose()?;
        let mut lines = titles.unwrap_or_default();
        for row in rows {
            lines.push_str(&filled.fill(&self.value(row)).map_err(failed)?);
            lines.push('\n');
        }
        if rows.is_empty() && !titled {
            // A flaw of the template is to be seen even when there is nothing to print.
            filled.fill(&self.title_values()).map_err(failed)?;
        }
        Ok(if titled { table::align(&lines, WIDTH) } else { lines })
    }

    /// The fields a template uses, found by filling it in without them.
    pub(crate) fn uses(&self, format: &str, field: &str) -> bool {
        format == "json" || format.contains(&format!(".{field}"))
    }

    fn table(&self, rows: &[impl Row]) -> String {
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

    fn json_lines(&self, rows: &[impl Row]) -> Result<String, String> {
        let names: BTreeSet<&str> =
            self.fields.iter().map(|(name, _)| *name).chain(self.nulls.iter().copied()).collect();
        let mut lines = String::new();
        for row in rows {
            let entry = |name: &&'static str| {
                let value = match self.nulls.contains(name) {
                    true => serde_json::Value::Null,
                    false => serde_json::Value::String(row.field(name)),
                };
                (*name, value)
            };
            let object: BTreeMap<&str, serde_json::Value> = names.iter().map(entry).collect();
            let json = serde_json::to_string(&object).map_err(|error| error.to_string())?;
            lines.push_str(&html_escaped(&json));
            lines.push('\n');
        }
        Ok(lines)
    }

    fn title(&self, name: &str) -> &str {
        self.fields.iter().find(|(known, _)| *known == name).map_or("", |(_, title)| title)
    }

    fn titles(&self, template: &str) -> Result<String, String> {
        let mut line = Format::titles(template)?.fill(&self.title_values()).map_err(failed)?;
        line.push('\n');
        Ok(line)
    }

    fn title_values(&self) -> Value {
        let titles = self
            .fields
            .iter()
            .map(|(name, title)| ((*name).into(), Value::String((*title).into())));
        Value::Map(Arc::new(titles.collect()))
    }

    fn value(&self, row: &impl Row) -> Value {
        let fields = self
            .fields
            .iter()
            .map(|(name, _)| ((*name).into(), Value::String(row.field(name).into())));
        let mut fields: BTreeMap<Arc<str>, Value> = fields.collect();
        for name in self.nulls {
            fields.insert((*name).into(), Value::Nil);
        }
        let labels = row.labels().into_iter().flatten();
        template::put_labels(
            &mut fields,
            labels.map(|(name, value)| (name.as_str(), value.as_str())),
        );
        Value::Map(Arc::new(fields))
    }
}

fn failed(error: String) -> String {
    format!("failed to execute template: {error}")
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

    fn print(format: &str) -> Result<String, String> {
        let listing = Listing {
            fields: &[("Name", "NAMES"), ("Ports", "PORTS")],
            columns: vec!["Ports", "Name"],
            raw: "name: {{.Name}}\n".to_owned(),
            nulls: &["Platform"],
        };
        let labels = BTreeMap::from([("a".to_owned(), "b".to_owned())]);
        listing.print(format, &[Thing("web", labels), Thing("db", BTreeMap::new())])
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
            (
                "json",
                "{\"Name\":\"web\",\"Platform\":null,\"Ports\":\"3-\\u003e1\"}\n\
                 {\"Name\":\"db\",\"Platform\":null,\"Ports\":\"2-\\u003e1\"}\n",
            ),
        ] {
            assert_eq!(print(format).as_deref(), Ok(text), "{format}");
        }
    }

    #[test]
    fn json_of_a_whole_row_leaves_the_labels_helper_out() {
        assert_eq!(
            print("{{json .}}").unwrap().lines().next().unwrap(),
            "{\"Name\":\"web\",\"Platform\":null,\"Ports\":\"3-\\u003e1\"}"
        );
    }

    #[test]
    fn a_flaw_is_seen_even_in_an_empty_list() {
        let listing = Listing {
            fields: &[("Name", "NAMES")],
            columns: vec!["Name"],
            raw: String::new(),
            nulls: &[],
        };
        let rows: [Thing; 0] = [];
        assert!(listing.print("{{.Nam}}", &rows).unwrap_err().contains("did you mean .Name?"));
        assert_eq!(listing.print("{{.Name}}", &rows).as_deref(), Ok(""));
        assert_eq!(listing.print("table {{.Name}}", &rows).as_deref(), Ok("NAMES\n"));
    }
}
