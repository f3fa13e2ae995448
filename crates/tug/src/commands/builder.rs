//! `builder prune` and `builder du`: what builds remember. As buildx has them.

use crate::context::Context;
use crate::flags::{Arguments, Command, Flag, Parsed};
use crate::quit::Quit;
use crate::text::human;
use crate::text::listing::{Field, Listing, Row};
use crate::text::template::Flaw;
use crate::value::{duration, size};
use std::collections::BTreeSet;
use tug_build::{CacheEntry, CacheFilter, PruneOptions, cache_entries, prune_cache};

pub(crate) static PRUNE: Command = Command {
    names: &["builder prune", "buildx prune"],
    usage: "[OPTIONS]",
    about: "Remove build cache",
    flags: &[&[
        Flag::switch("all", "Remove all cache, not only what no image has").short('a'),
        Flag::value("builder", "string", ""),
        Flag::value("filter", "filter", "Provide filter values (e.g. \"until=24h\")"),
        Flag::switch("force", "Do not prompt for confirmation").short('f'),
        Flag::alias("keep-storage", "reserved-space"),
        Flag::value(
            "max-used-space",
            "bytes",
            "Maximum amount of disk space allowed to keep for cache",
        ),
        Flag::value("min-free-space", "bytes", "Target amount of free disk space after pruning"),
        Flag::value(
            "reserved-space",
            "bytes",
            "Amount of disk space always allowed to keep for cache",
        ),
        Flag::switch("verbose", "Provide a more verbose output"),
    ]],
    arguments: Arguments::Exactly(0),
    verbatim: false,
    run: prune,
};

pub(crate) static DU: Command = Command {
    names: &["builder du", "buildx du"],
    usage: "[OPTIONS]",
    about: "Disk usage of the build cache",
    flags: &[&[
        Flag::value("builder", "string", ""),
        Flag::value("filter", "filter", "Provide filter values"),
        Flag::value(
            "format",
            "string",
            "Format the output: 'table', 'pretty', 'json', a Go template",
        ),
        Flag::switch("verbose", "Shorthand for \"--format=pretty\""),
    ]],
    arguments: Arguments::Exactly(0),
    verbatim: false,
    run: du,
};

const WARNING: &str = "WARNING! This will remove all dangling build cache. ";
const WARNING_ALL: &str = "WARNING! This will remove all build cache. ";

fn prune(ctx: &Context, parsed: &Parsed<'_>) -> Result<u8, Quit> {
    let bytes = |name: &str| -> Result<u64, Quit> {
        let read = parsed.read(name, size::parse)?;
        Ok(read.and_then(|bytes| u64::try_from(bytes).ok()).unwrap_or(0))
    };
    let options = PruneOptions {
        all: parsed.on("all"),
        filters: filters(parsed)?,
        most: bytes("max-used-space")?,
        reserved: bytes("reserved-space")?,
        free: bytes("min-free-space")?,
    };
    let warning = if options.all { WARNING_ALL } else { WARNING };
    if !super::prune::confirmed(ctx, parsed, warning)? {
        return Ok(0);
    }
    let pruned = prune_cache(ctx.engine.settings(), &options).map_err(|e| Quit::failed(&e))?;
    let mut text = String::new();
    if parsed.on("verbose") {
        pruned.entries.iter().for_each(|entry| text.push_str(&described(entry)));
    } else if !pruned.entries.is_empty() {
        // Cells of tabs, as there.
        text.push_str("ID\t\t\t\t\t\tRECLAIMABLE\tSIZE\t\tLAST ACCESSED\n");
        for entry in &pruned.entries {
            text.push_str(&format!(
                "{:<40}\t{:<5}\t\t{}\t\t{}\n",
                shown_id(entry),
                !entry.in_use,
                human::size(entry.size, 4),
                ago(entry)
            ));
        }
    }
    ctx.print(format!("{text}Total:\t{}\n", human::size(pruned.bytes, 4)))?;
    Ok(0)
}

/// `--filter NAME=VALUE`, each name once.
fn filters(parsed: &Parsed<'_>) -> Result<Vec<CacheFilter>, Quit> {
    let (mut filters, mut seen) = (Vec::new(), BTreeSet::new());
    for text in parsed.all("filter") {
        let Some((name, value)) = text.split_once('=') else {
            return Err(parsed.wrong(format!(
                "invalid argument {text:?} for \"--filter\" flag: bad format of filter (expected name=value)"
            )));
        };
        let truth = || match value {
            "true" | "1" | "" => Ok(true),
            "false" | "0" => Ok(false),
            _ => Err(parsed.wrong(format!("invalid filter {text:?}: expected true or false"))),
        };
        if !seen.insert(name) {
            return Err(parsed.wrong("filters expect only one value"));
        }
        filters.push(match name {
            "until" | "unused-for" => CacheFilter::Unused(duration::parse(value).ok_or_else(|| {
                parsed.wrong(format!(
                    "{name:?} filter expects a duration (e.g., '24h'): time: invalid duration {value:?}"
                ))
            })?),
            "id" => CacheFilter::Id(value.to_owned()),
            "type" => CacheFilter::Type(value.to_owned()),
            "description" => CacheFilter::Description(value.to_owned()),
            "inuse" => CacheFilter::InUse(truth()?),
            "mutable" => CacheFilter::Mutable(truth()?),
            "immutable" => CacheFilter::Mutable(!truth()?),
            "shared" => CacheFilter::Shared(truth()?),
            "private" => CacheFilter::Shared(!truth()?),
            _ => {
                let quit = parsed.wrong(format!("--filter {name} is not supported by tug"));
                return Err(quit.with_hint(
                    "tug knows until, id, type, description, inuse, mutable, immutable, shared, private",
                ));
            }
        });
    }
    Ok(filters)
}

const FIELDS: &[Field] = &[
    ("CreatedAt", "CREATED AT"),
    ("Description", "DESCRIPTION"),
    ("ID", "ID"),
    ("LastUsedAt", "LAST ACCESSED"),
    ("Mutable", "MUTABLE"),
    ("Parents", "PARENTS"),
    ("Reclaimable", "RECLAIMABLE"),
    ("Shared", "SHARED"),
    ("Size", "SIZE"),
    ("Type", "TYPE"),
    ("UsageCount", "USAGE COUNT"),
];

fn listing() -> Listing {
    Listing {
        type_name: "*commands.duContext",
        fields: FIELDS,
        columns: vec!["ID", "Reclaimable", "Size", "LastUsedAt"],
        raw: String::new(),
        nulls: &["Parents"],
    }
}

/// One entry, in a table's words.
struct Line {
    entry: CacheEntry,
    /// What can change is marked.
    marked: bool,
}

impl Row for Line {
    fn field(&self, name: &str) -> String {
        let entry = &self.entry;
        match name {
            "ID" if self.marked => shown_id(entry),
            "ID" => entry.id.clone(),
            "CreatedAt" => human::go_time(entry.created.div_euclid(1_000_000_000)),
            "Description" => entry.description.clone(),
            "LastUsedAt" => ago(entry),
            "Mutable" => entry.mutable.to_string(),
            "Reclaimable" => (!entry.in_use).to_string(),
            "Shared" => entry.shared.to_string(),
            "Size" => human::size(entry.size, 4),
            "Type" => entry.kind.to_owned(),
            "UsageCount" => entry.uses.to_string(),
            _ => String::new(),
        }
    }
}

fn shown_id(entry: &CacheEntry) -> String {
    format!("{}{}", entry.id, if entry.mutable { "*" } else { "" })
}

fn ago(entry: &CacheEntry) -> String {
    format!("{} ago", human::duration(entry.unused / 1_000_000_000).to_lowercase())
}

fn du(ctx: &Context, parsed: &Parsed<'_>) -> Result<u8, Quit> {
    let filters = filters(parsed)?;
    let format = parsed.text_or_empty("format");
    if parsed.on("verbose") && !format.is_empty() {
        return Err(parsed.wrong("--format and --verbose cannot be used together"));
    }
    let mut entries = cache_entries(ctx.engine.settings()).map_err(|e| Quit::failed(&e))?;
    entries.retain(|entry| filters.iter().all(|filter| filter.takes(entry)));
    let totals = totals(&entries);
    let table = matches!(format.as_str(), "" | "table");
    let lines = |marked: bool| entries.iter().cloned().map(move |entry| Line { entry, marked });
    let text = if parsed.on("verbose") || format == "pretty" {
        entries.iter().map(described).collect::<String>() + &totals
    } else if table {
        listing().print("", lines(true)).map_err(Flaw::quit)?
            + if filters.is_empty() { &totals } else { "" }
    } else if format == "json" {
        entries.iter().map(|entry| json(entry).to_string() + "\n").collect()
    } else {
        listing().print(&format, lines(false)).map_err(Flaw::quit)?
    };
    ctx.print(text)?;
    Ok(0)
}

/// As buildx has it: not all of it is text.
fn json(entry: &CacheEntry) -> serde_json::Value {
    serde_json::json!({
        "CreatedAt": human::go_time(entry.created.div_euclid(1_000_000_000)),
        "Description": entry.description,
        "ID": entry.id,
        "LastUsedAt": ago(entry),
        "Mutable": entry.mutable,
        "Parents": null,
        "Reclaimable": !entry.in_use,
        "Shared": entry.shared,
        "Size": human::size(entry.size, 4),
        "Type": entry.kind,
        "UsageCount": entry.uses,
    })
}

fn totals(entries: &[CacheEntry]) -> String {
    let sum = |wanted: &dyn Fn(&CacheEntry) -> bool| -> u64 {
        entries.iter().filter(|entry| wanted(entry)).map(|entry| entry.size).sum()
    };
    let (shared, own) = (sum(&|entry| entry.shared), sum(&|entry| !entry.shared));
    let reclaimable = sum(&|entry| !entry.in_use && !entry.shared);
    let line =
        |name: &str, tabs: &str, bytes: u64| format!("{name}:{tabs}{}\n", human::size(bytes, 4));
    line("Shared", "\t\t", shared)
        + &line("Private", "\t", own)
        + &line("Reclaimable", "\t", reclaimable)
        + &line("Total", "\t\t", shared + own)
}

fn described(entry: &CacheEntry) -> String {
    let mut text = String::new();
    let mut line = |name: &str, value: String| {
        text.push_str(&format!("{:<13} {value}\n", format!("{name}:")));
    };
    line("ID", entry.id.clone());
    line("Created at", human::go_time(entry.created.div_euclid(1_000_000_000)));
    line("Mutable", entry.mutable.to_string());
    line("Reclaimable", (!entry.in_use).to_string());
    line("Shared", entry.shared.to_string());
    line("Size", human::size(entry.size, 4));
    line("Description", entry.description.clone());
    line("Usage count", entry.uses.to_string());
    line("Last used", ago(entry));
    line("Type", entry.kind.to_owned());
    text + "\n"
}
