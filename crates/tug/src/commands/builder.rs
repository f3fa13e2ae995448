//! `builder prune` and `builder du`: what builds remember.

use crate::context::Context;
use crate::flags::{Arguments, Command, Flag, Parsed};
use crate::quit::Quit;
use crate::text::human;
use crate::value::{duration, size};
use tug_build::{CacheEntry, PruneOptions, cache_entries, prune_cache};

pub(crate) static PRUNE: Command = Command {
    names: &["builder prune", "buildx prune"],
    usage: "[OPTIONS]",
    about: "Remove build cache",
    flags: &[&[
        Flag::switch("all", "Remove all cache, not only what no image has").short('a'),
        Flag::value("builder", "string", ""),
        Flag::value("filter", "filter", "Provide filter values (e.g. \"until=24h\")"),
        Flag::switch("force", "Do not prompt for confirmation").short('f'),
        Flag::alias("keep-storage", "max-used-space"),
        Flag::value(
            "max-used-space",
            "bytes",
            "Maximum amount of disk space allowed to keep for cache",
        ),
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
        Flag::switch("verbose", "Provide a more verbose output"),
    ]],
    arguments: Arguments::Exactly(0),
    verbatim: false,
    run: du,
};

const WARNING: &str = "WARNING! This will remove all dangling build cache.\n\n";
const WARNING_ALL: &str = "WARNING! This will remove all build cache.\n\n";

fn prune(ctx: &Context, parsed: &Parsed<'_>) -> Result<u8, Quit> {
    let bytes = |name: &str| -> Result<Option<u64>, Quit> {
        Ok(parsed.read(name, size::parse)?.and_then(|bytes| u64::try_from(bytes).ok()))
    };
    let mut options = PruneOptions {
        all: parsed.on("all"),
        keep: bytes("max-used-space")?.or(bytes("reserved-space")?).unwrap_or(0),
        older_than: None,
    };
    for filter in parsed.all("filter") {
        match filter.split_once('=') {
            Some(("until" | "unused-for", age)) => {
                let nanoseconds = duration::parse(age).ok_or_else(|| {
                    parsed.wrong(format!(
                        "invalid filter {filter:?}: expected a duration such as 24h"
                    ))
                })?;
                options.older_than = Some(nanoseconds);
            }
            _ => {
                let quit = parsed.wrong(format!("--filter {filter} is not supported by tug"));
                return Err(quit.with_hint("tug knows until=DURATION"));
            }
        }
    }
    let warning = if options.all { WARNING_ALL } else { WARNING };
    if !super::prune::confirmed(ctx, parsed, warning)? {
        return Ok(0);
    }
    let pruned = prune_cache(ctx.engine.settings(), &options).map_err(|e| Quit::failed(&e))?;
    let text = super::prune::cache_lines(&pruned.entries);
    ctx.print(format!("{text}Total reclaimed space: {}\n", human::size(pruned.bytes, 4)))?;
    Ok(0)
}

fn du(ctx: &Context, parsed: &Parsed<'_>) -> Result<u8, Quit> {
    let entries = cache_entries(ctx.engine.settings()).map_err(|e| Quit::failed(&e))?;
    let mut text = String::new();
    if parsed.on("verbose") {
        entries.iter().for_each(|entry| text.push_str(&described(entry)));
    } else {
        text.push_str("ID\tRECLAIMABLE\tSIZE\tLAST ACCESSED\n");
        for entry in &entries {
            text.push_str(&format!(
                "{}\t{}\t{}\t{} ago\n",
                entry.id,
                !entry.in_use,
                human::size(entry.size, 4),
                human::duration(entry.unused / 1_000_000_000).to_lowercase()
            ));
        }
    }
    let table = crate::text::table::align(&text, 0);
    let sum = |shared: bool| -> u64 {
        entries.iter().filter(|entry| entry.shared == shared).map(|entry| entry.size).sum()
    };
    let (shared, own) = (sum(true), sum(false));
    let reclaimable: u64 =
        entries.iter().filter(|e| !e.in_use && !e.shared).map(|entry| entry.size).sum();
    let line = |name: &str, bytes: u64| format!("{name}:\t{}\n", human::size(bytes, 4));
    let totals = line("Shared", shared)
        + &line("Private", own)
        + &line("Reclaimable", reclaimable)
        + &line("Total", shared + own);
    ctx.print(table + &crate::text::table::align(&totals, 0))?;
    Ok(0)
}

fn described(entry: &CacheEntry) -> String {
    format!(
        "ID:\t{}\nDescription:\t{}\nType:\t{}\nSize:\t{}\nShared:\t{}\nUsage count:\t{}\n\n",
        entry.id,
        entry.description,
        entry.kind,
        human::size(entry.size, 4),
        entry.shared,
        entry.uses
    )
}
