//! `history`.

use crate::context::Context;
use crate::flags::{Arguments, Command, Flag, Parsed};
use crate::quit::Quit;
use crate::text::human;
use crate::text::listing::{Field, Listing, Row};
use crate::text::template::Flaw;
use tug_engine::HistoryEntry;

pub(crate) static COMMAND: Command = Command {
    names: &["history", "image history"],
    usage: "[OPTIONS] IMAGE",
    about: "Show the steps that made an image",
    flags: &[&[
        Flag::value("format", "string", "'table', 'json', 'table TEMPLATE' or a Go template"),
        Flag::switch("human", "Print sizes and dates in human readable format (default true)")
            .short('H'),
        Flag::switch("no-trunc", "Don't truncate output"),
        Flag::value(
            "platform",
            "string",
            "Show the image of this platform, as os[/arch[/variant]]",
        ),
        Flag::switch("quiet", "Only show image IDs").short('q'),
    ]],
    arguments: Arguments::Exactly(1),
    verbatim: false,
    run,
};

const FIELDS: &[Field] = &[
    ("ID", "IMAGE"),
    ("CreatedSince", "CREATED"),
    ("CreatedAt", "CREATED AT"),
    ("CreatedBy", "CREATED BY"),
    ("Size", "SIZE"),
    ("Comment", "COMMENT"),
];

fn run(ctx: &Context, parsed: &Parsed<'_>) -> Result<u8, Quit> {
    let entries = ctx.engine.history(parsed.first(), parsed.text("platform"))?;
    let (whole, human) = (parsed.on("no-trunc"), parsed.switch("human").unwrap_or(true));
    let now = jiff::Timestamp::now().as_second();
    let lines = entries.into_iter().map(|entry| Line { entry, whole, human, now });
    if parsed.on("quiet") {
        return ctx.print(lines.map(|line| line.id() + "\n").collect::<String>()).map(|()| 0);
    }
    let format = parsed.text_or_empty("format");
    ctx.print(listing(human).print(&format, lines).map_err(Flaw::quit)?).map(|()| 0)
}

fn listing(human: bool) -> Listing {
    let created = if human { "CreatedSince" } else { "CreatedAt" };
    Listing {
        type_name: "*image.historyContext",
        fields: FIELDS,
        columns: vec!["ID", created, "CreatedBy", "Size", "Comment"],
        raw: "{{.ID}}\n".to_owned(),
        nulls: &[],
    }
}

/// One step as a row.
struct Line {
    entry: HistoryEntry,
    /// Nothing is shortened.
    whole: bool,
    human: bool,
    /// Seconds since the epoch.
    now: i64,
}

impl Line {
    fn id(&self) -> String {
        match self.entry.id {
            None => "<missing>".to_owned(),
            Some(id) if self.whole => id.to_string(),
            Some(id) => id.short(),
        }
    }
}

impl Row for Line {
    fn field(&self, name: &str) -> String {
        let entry = &self.entry;
        match name {
            "ID" => self.id(),
            "CreatedSince" if entry.created <= 0 => "N/A".to_owned(),
            "CreatedSince" => format!("{} ago", human::duration(self.now - entry.created)),
            "CreatedAt" => human::rfc3339(entry.created),
            "CreatedBy" => {
                let by = entry.created_by.replace('\t', " ");
                if self.whole { by } else { human::ellipsis(&by, 45) }
            }
            "Size" if self.human => human::size(entry.size, 3),
            "Size" => entry.size.to_string(),
            "Comment" => entry.comment.clone(),
            _ => String::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tug_types::Digest;

    fn lines(whole: bool, human: bool) -> Vec<Line> {
        let step = |id, created, created_by: &str, size, comment: &str| HistoryEntry {
            id,
            created,
            created_by: created_by.to_owned(),
            size,
            comment: comment.to_owned(),
            tags: Vec::new(),
        };
        let id = Some(Digest::from_sha256([0xdd; 32]));
        let cmd = "/bin/sh -c #(nop)  CMD [\"sh\"] and a long command that is cut somewhere";
        let run = "RUN /bin/sh -c apt-get update # buildkit";
        let entries = [
            step(id, 1_700_000_000, cmd, 0, ""),
            step(None, 1_699_990_000, run, 4_261_550, "buildkit.dockerfile.v0"),
            step(None, 0, "", 12_345, "imported"),
        ];
        let now = 1_700_000_000 + 3 * 366 * 86400;
        entries.into_iter().map(|entry| Line { entry, whole, human, now }).collect()
    }

    /// Docker's client printed these of the same history.
    #[test]
    fn tables_are_dockers() {
        assert_eq!(
            listing(true).print("", lines(false, true)).unwrap(),
            "\
IMAGE          CREATED       CREATED BY                                      SIZE      COMMENT
dddddddddddd   3 years ago   /bin/sh -c #(nop)  CMD [\"sh\"] and a long com…   0B        \n\
<missing>      3 years ago   RUN /bin/sh -c apt-get update # buildkit        4.26MB    buildkit.dockerfile.v0
<missing>      N/A                                                           12.3kB    imported
"
        );
        let whole = listing(false).print("", lines(true, false)).unwrap();
        assert!(whole.contains(
            "<missing>                                                                 2023-11-14T19:26:40Z   RUN /bin/sh -c apt-get update # buildkit                                 4261550   buildkit.dockerfile.v0\n"
        ), "{whole}");
        assert_eq!(
            listing(true).print("json", lines(false, true)).unwrap().lines().next().unwrap(),
            "{\"Comment\":\"\",\"CreatedAt\":\"2023-11-14T22:13:20Z\",\"CreatedBy\":\"/bin/sh -c #(nop)  CMD [\\\"sh\\\"] and a long com…\",\"CreatedSince\":\"3 years ago\",\"ID\":\"dddddddddddd\",\"Size\":\"0B\"}"
        );
    }
}
