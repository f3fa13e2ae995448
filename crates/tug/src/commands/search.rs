//! `search`.

use crate::context::Context;
use crate::flags::{Arguments, Command, Flag, Parsed};
use crate::quit::Quit;
use crate::text::listing::{Field, Listing, Row};
use crate::text::template::Flaw;
use crate::value::filter::{self, Filters};
use tug_engine::Found;

pub(crate) static COMMAND: Command = Command {
    names: &["search"],
    usage: "[OPTIONS] TERM",
    about: "Search Docker Hub, or the registry that TERM begins with, for images",
    flags: &[&[
        Flag::value("filter", "filter", "Filter output based on conditions provided").short('f'),
        Flag::value("format", "string", "'table', 'json', 'table TEMPLATE' or a Go template"),
        Flag::value("limit", "int", "Max number of search results (default 25)"),
        Flag::switch("no-trunc", "Don't truncate output"),
    ]],
    arguments: Arguments::Exactly(1),
    verbatim: false,
    run,
};

const FILTERS: &[&str] = &["is-automated", "is-official", "stars"];

const FIELDS: &[Field] = &[
    ("Name", "NAME"),
    ("Description", "DESCRIPTION"),
    ("StarCount", "STARS"),
    ("IsOfficial", "OFFICIAL"),
    ("IsAutomated", "AUTOMATED"),
];

/// A description is cut to this many characters.
const SHORT: usize = 45;

fn run(ctx: &Context, parsed: &Parsed<'_>) -> Result<u8, Quit> {
    let limit = parsed.number::<u32>("limit")?.filter(|limit| *limit > 0).unwrap_or(25);
    if limit > 100 {
        return Err(Quit::invalid(format!("limit {limit} is outside the range of [1, 100]")));
    }
    let pairs = parsed.read_all("filter", filter::pair)?;
    let filters = Filters::new(pairs, FILTERS).map_err(Quit::invalid)?;
    let official = filters.truth("is-official").map_err(Quit::invalid)?;
    let automated = filters.truth("is-automated").map_err(Quit::invalid)?;
    let mut stars = 0;
    for text in filters.values("stars") {
        let wrong = || Quit::invalid(format!("invalid filter 'stars={text}'"));
        stars = stars.max(text.parse::<u64>().map_err(|_| wrong())?);
    }
    let found = ctx.engine.search(parsed.first(), limit)?;
    let wanted = |found: &Found| {
        official.is_none_or(|official| official == found.is_official)
            && automated.is_none_or(|automated| automated == found.is_automated)
            && found.star_count >= stars
    };
    let whole = parsed.on("no-trunc");
    let rows: Vec<Line> =
        found.into_iter().filter(wanted).map(|found| Line { found, whole }).collect();
    let format = parsed.text("format").unwrap_or_default();
    ctx.print(listing().print(format, rows).map_err(Flaw::quit)?).map(|()| 0)
}

fn listing() -> Listing {
    let raw = "name: {{.Name}}\ndescription: {{.Description}}\nstars: {{.StarCount}}\n".to_owned();
    let columns = vec!["Name", "Description", "StarCount", "IsOfficial"];
    Listing { type_name: "*formatter.searchContext", fields: FIELDS, columns, raw, nulls: &[] }
}

/// One repository as a row.
struct Line {
    found: Found,
    whole: bool,
}

impl Row for Line {
    fn field(&self, name: &str) -> String {
        let ok = |truth: bool| if truth { "[OK]".to_owned() } else { String::new() };
        match name {
            "Name" => self.found.name.clone(),
            "Description" => {
                let text = self.found.description.replace(['\n', '\r'], " ");
                match self.whole {
                    true => text,
                    false => shortened(&text),
                }
            }
            "StarCount" => self.found.star_count.to_string(),
            "IsOfficial" => ok(self.found.is_official),
            "IsAutomated" => ok(self.found.is_automated),
            _ => String::new(),
        }
    }
}

/// With an ellipsis where it was cut, within the length.
fn shortened(text: &str) -> String {
    if text.chars().count() <= SHORT {
        return text.to_owned();
    }
    text.chars().take(SHORT - 1).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descriptions_are_one_line_of_bounded_length() {
        let description = format!("two\nlines {}", "x".repeat(80));
        let found = Found { name: "a".into(), description, is_official: true, ..Found::default() };
        let line = Line { found, whole: false };
        let text = line.field("Description");
        assert_eq!(text.chars().count(), SHORT);
        assert!(text.starts_with("two lines x") && text.ends_with('…'), "{text}");
        assert_eq!(line.field("IsOfficial"), "[OK]");
        assert_eq!(line.field("IsAutomated"), "");
    }
}
