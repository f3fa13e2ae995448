//! `image prune`, `container prune`, `volume prune`, `system prune`.

use crate::context::Context;
use crate::flags::{Arguments, Command, Flag, Parsed};
use crate::quit::Quit;
use crate::text::human;
use crate::value::filter::{self, Filters};
use crate::value::{duration, moment};
use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::io::BufRead;
use tug_build::{CacheFilter, PruneOptions, prune_cache};
use tug_engine::{ImageRemoval, Pruned};
use tug_types::ContainerId;

const FORCE: Flag = Flag::switch("force", "Do not prompt for confirmation").short('f');

pub(crate) static IMAGE: Command = Command {
    names: &["image prune"],
    usage: "[OPTIONS]",
    about: "Remove unused images",
    flags: &[&[
        Flag::switch("all", "Remove all unused images, not just dangling ones").short('a'),
        Flag::value("filter", "filter", "Provide filter values (e.g. \"until=<timestamp>\")"),
        FORCE,
    ]],
    arguments: Arguments::Exactly(0),
    verbatim: false,
    run: images,
};

pub(crate) static CONTAINER: Command = Command {
    names: &["container prune"],
    usage: "[OPTIONS]",
    about: "Remove all stopped containers",
    flags: &[&[
        Flag::value("filter", "filter", "Provide filter values (e.g. \"until=<timestamp>\")"),
        FORCE,
    ]],
    arguments: Arguments::Exactly(0),
    verbatim: false,
    run: containers,
};

pub(crate) static VOLUME: Command = Command {
    names: &["volume prune"],
    usage: "[OPTIONS]",
    about: "Remove unused local volumes",
    flags: &[&[
        Flag::switch("all", "Remove all unused volumes, not just anonymous ones").short('a'),
        Flag::value("filter", "filter", "Provide filter values (e.g. \"label=<label>\")"),
        FORCE,
    ]],
    arguments: Arguments::Exactly(0),
    verbatim: false,
    run: volumes,
};

pub(crate) static SYSTEM: Command = Command {
    names: &["system prune"],
    usage: "[OPTIONS]",
    about: "Remove unused data",
    flags: &[&[
        Flag::switch("all", "Remove all unused images not just dangling ones").short('a'),
        Flag::value("filter", "filter", "Provide filter values (e.g. \"label=<key>=<value>\")"),
        FORCE,
        Flag::switch("volumes", "Prune anonymous volumes"),
    ]],
    arguments: Arguments::Exactly(0),
    verbatim: false,
    run: system,
};

fn images(ctx: &Context, parsed: &Parsed<'_>) -> Result<u8, Quit> {
    let choice = Choice::of(parsed, &["dangling", "label", "label!", "until"])?;
    let dangling = choice.filters.truth("dangling").map_err(Quit::invalid)?;
    let all = parsed.on("all") || dangling == Some(false);
    let what = match all {
        true => "all images without at least one container associated to them",
        false => "all dangling images",
    };
    if !confirmed(ctx, parsed, &format!("WARNING! This will remove {what}.\n"))? {
        return Ok(0);
    }
    let pruned = ctx.engine.prune_images(all, &|created, labels| choice.takes(created, labels))?;
    ctx.print(image_lines(&pruned) + &total(pruned.reclaimed)).map(|()| 0)
}

fn containers(ctx: &Context, parsed: &Parsed<'_>) -> Result<u8, Quit> {
    let choice = Choice::of(parsed, &["label", "label!", "until"])?;
    if !confirmed(ctx, parsed, "WARNING! This will remove all stopped containers.\n")? {
        return Ok(0);
    }
    let pruned = ctx.engine.prune_containers(&|created, labels| choice.takes(created, labels))?;
    ctx.print(container_lines(&pruned) + &total(pruned.reclaimed)).map(|()| 0)
}

fn volumes(ctx: &Context, parsed: &Parsed<'_>) -> Result<u8, Quit> {
    let choice = Choice::of(parsed, &["all", "label", "label!"])?;
    let by_filter = choice.filters.truth("all").map_err(Quit::invalid)?;
    if parsed.on("all") && by_filter.is_some() {
        return Err(Quit::invalid(
            "conflicting options: cannot specify both --all and --filter all=1",
        ));
    }
    let all = parsed.on("all") || by_filter == Some(true);
    let what = if all { "all" } else { "anonymous" };
    let warning = format!(
        "WARNING! This will remove {what} local volumes not used by at least one container.\n"
    );
    if !confirmed(ctx, parsed, &warning)? {
        return Ok(0);
    }
    let pruned = ctx.engine.prune_volumes(all, &|created, labels| choice.takes(created, labels))?;
    ctx.print(volume_lines(&pruned) + &total(pruned.reclaimed)).map(|()| 0)
}

fn system(ctx: &Context, parsed: &Parsed<'_>) -> Result<u8, Quit> {
    let choice = Choice::of(parsed, &["label", "label!", "until"])?;
    let (all, with_volumes) = (parsed.on("all"), parsed.on("volumes"));
    if with_volumes && choice.filters.has("until") {
        return Err(Quit::invalid("The \"until\" filter is not supported with \"--volumes\"")
            .with_hint("prune volumes on their own: `tug volume prune`"));
    }
    if !confirmed(ctx, parsed, &system_warning(parsed, all, with_volumes))? {
        return Ok(0);
    }
    let takes = |created, labels: &BTreeMap<String, String>| choice.takes(created, labels);
    let mut reclaimed = 0;
    let mut text = String::new();
    let containers = ctx.engine.prune_containers(&takes)?;
    reclaimed += containers.reclaimed;
    text.push_str(&container_lines(&containers));
    if with_volumes {
        let volumes = ctx.engine.prune_volumes(false, &takes)?;
        reclaimed += volumes.reclaimed;
        text.push_str(&volume_lines(&volumes));
    }
    let images = ctx.engine.prune_images(all, &takes)?;
    reclaimed += images.reclaimed;
    text.push_str(&image_lines(&images));
    // What builds remember has no labels.
    if !["label", "label!"].iter().any(|name| choice.filters.has(name)) {
        let now = jiff::Timestamp::now().as_second();
        let age = |until: i64| now.saturating_sub(until).max(0).saturating_mul(1_000_000_000);
        let options = PruneOptions {
            all,
            filters: choice
                .until
                .map(|until| CacheFilter::Unused(age(until)))
                .into_iter()
                .collect(),
            ..PruneOptions::default()
        };
        let cache = prune_cache(ctx.engine.settings(), &options).map_err(|e| Quit::failed(&e))?;
        reclaimed += cache.bytes;
        text.push_str(&cache_lines(cache.entries.iter().map(|entry| entry.id.as_str())));
    }
    if !choice.is_narrowed() {
        ctx.engine.collect()?;
    }
    ctx.print(text + &total(reclaimed)).map(|()| 0)
}

fn system_warning(parsed: &Parsed<'_>, all: bool, volumes: bool) -> String {
    let mut text = String::from("WARNING! This will remove:\n  - all stopped containers\n");
    text.push_str("  - all networks not used by at least one container\n");
    if volumes {
        text.push_str("  - all anonymous volumes not used by at least one container\n");
    }
    text.push_str(match all {
        true => "  - all images without at least one container associated to them\n  - all build cache\n",
        false => "  - all dangling images\n  - unused build cache\n",
    });
    let mut filters: Vec<&str> = parsed.all("filter").collect();
    filters.sort_by(|one, other| natural(one, other));
    if !filters.is_empty() {
        text.push_str("\n  Items to be pruned will be filtered with:\n");
        filters.iter().for_each(|filter| text.push_str(&format!("  - {filter}\n")));
    }
    text.push('\n');
    text
}

fn image_lines(pruned: &Pruned<ImageRemoval>) -> String {
    let line = |removal: &ImageRemoval| match removal {
        ImageRemoval::Untagged(name) => format!("untagged: {name}\n"),
        ImageRemoval::Deleted(id) => format!("deleted: {id}\n"),
    };
    section("Deleted Images", pruned.removed.iter().map(line))
}

fn container_lines(pruned: &Pruned<ContainerId>) -> String {
    section("Deleted Containers", pruned.removed.iter().map(|id| format!("{id}\n")))
}

fn volume_lines(pruned: &Pruned<String>) -> String {
    section("Deleted Volumes", pruned.removed.iter().map(|name| format!("{name}\n")))
}

fn cache_lines<'i>(ids: impl Iterator<Item = &'i str>) -> String {
    section("Deleted build cache objects", ids.map(|id| format!("{id}\n")))
}

fn section(title: &str, lines: impl Iterator<Item = String>) -> String {
    match lines.collect::<String>() {
        none if none.is_empty() => none,
        lines => format!("{title}:\n{lines}\n"),
    }
}

fn total(bytes: u64) -> String {
    format!("Total reclaimed space: {}\n", human::size(bytes, 4))
}

/// Numbers in a text are compared as numbers: `a9` comes before `a10`.
fn natural(one: &str, other: &str) -> Ordering {
    let digits =
        |text: &str| text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (mut one, mut other) = (one, other);
    loop {
        let (here, there) = (digits(one), digits(other));
        if here > 0 && there > 0 {
            let (number, rest) = one.split_at(here);
            let (other_number, other_rest) = other.split_at(there);
            let value = |number: &str| number.trim_start_matches('0').to_owned();
            let (value, other_value) = (value(number), value(other_number));
            let order = value.len().cmp(&other_value.len()).then_with(|| value.cmp(&other_value));
            if order.is_ne() {
                return order;
            }
            (one, other) = (rest, other_rest);
            continue;
        }
        let (mut chars, mut other_chars) = (one.chars(), other.chars());
        let (next, other_next) = (chars.next(), other_chars.next());
        if next != other_next || next.is_none() {
            return next.cmp(&other_next);
        }
        (one, other) = (chars.as_str(), other_chars.as_str());
    }
}

/// Asks, unless `--force` says not to.
pub(super) fn confirmed(ctx: &Context, parsed: &Parsed<'_>, warning: &str) -> Result<bool, Quit> {
    if parsed.on("force") {
        return Ok(true);
    }
    ctx.print(format!("{warning}Are you sure you want to continue? [y/N] "))?;
    let mut answer = String::new();
    let read = std::io::stdin().lock().read_line(&mut answer);
    read.map_err(|error| Quit::io("read the answer", &error))?;
    Ok(answer.trim().eq_ignore_ascii_case("y"))
}

/// What `--filter` lets go.
struct Choice {
    filters: Filters,
    /// Seconds since the epoch.
    until: Option<i64>,
}

impl Choice {
    fn of(parsed: &Parsed<'_>, known: &[&str]) -> Result<Self, Quit> {
        let pairs = parsed.read_all("filter", filter::pair)?;
        let filters = Filters::new(pairs, known).map_err(Quit::invalid)?;
        let until = until(&filters)?;
        Ok(Self { filters, until })
    }

    fn is_narrowed(&self) -> bool {
        ["label", "label!", "until"].iter().any(|name| self.filters.has(name))
    }

    fn takes(&self, created: i64, labels: &BTreeMap<String, String>) -> bool {
        let matches = |wanted: &str| {
            filter::label_matches(wanted, |name| labels.get(name).map(String::as_str))
        };
        self.until.is_none_or(|until| created <= until)
            && self.filters.all("label", matches)
            && !(self.filters.has("label!") && self.filters.all("label!", matches))
    }
}

/// The earliest moment of `until=` filters, in seconds since the epoch.
///
/// # Errors
/// When one is neither a duration nor a date.
pub(super) fn until(filters: &Filters) -> Result<Option<i64>, Quit> {
    let now = jiff::Timestamp::now();
    let mut earliest = None;
    for text in filters.values("until") {
        let seconds = match duration::parse(text) {
            Some(ago) => now.as_second() - ago / 1_000_000_000,
            None => moment::parse(text, now).map_err(Quit::invalid)? / 1_000_000_000,
        };
        earliest = Some(earliest.map_or(seconds, |known: i64| known.min(seconds)));
    }
    Ok(earliest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flags;
    use tug_types::Digest;

    fn parsed(command: &'static Command, line: &str) -> Parsed<'static> {
        flags::parse(command, line.split_whitespace().map(str::to_owned).collect()).unwrap()
    }

    /// Docker's client asked with these words.
    #[test]
    fn warnings_are_dockers() {
        let warning = |line: &str| {
            let parsed = parsed(&SYSTEM, line);
            system_warning(&parsed, parsed.on("all"), parsed.on("volumes"))
        };
        assert_eq!(
            warning(""),
            "WARNING! This will remove:\n  - all stopped containers\n  \
             - all networks not used by at least one container\n  - all dangling images\n  \
             - unused build cache\n\n"
        );
        assert_eq!(
            warning(
                "-a --volumes --filter label=b --filter label!=a --filter label=a10 --filter label=a9"
            ),
            "WARNING! This will remove:\n  - all stopped containers\n  \
             - all networks not used by at least one container\n  \
             - all anonymous volumes not used by at least one container\n  \
             - all images without at least one container associated to them\n  \
             - all build cache\n\n  Items to be pruned will be filtered with:\n  \
             - label!=a\n  - label=a9\n  - label=a10\n  - label=b\n\n"
        );
    }

    #[test]
    fn what_went_is_told_as_docker_tells_it() {
        let id = Digest::from_sha256([0xee; 32]);
        let pruned = Pruned {
            removed: vec![
                ImageRemoval::Untagged("busybox:latest".to_owned()),
                ImageRemoval::Deleted(id),
            ],
            reclaimed: 4_261_550,
        };
        assert_eq!(
            image_lines(&pruned) + &total(pruned.reclaimed),
            format!(
                "Deleted Images:\nuntagged: busybox:latest\ndeleted: sha256:{}\n\n\
                 Total reclaimed space: 4.262MB\n",
                "ee".repeat(32)
            )
        );
        assert_eq!(volume_lines(&Pruned { removed: Vec::new(), reclaimed: 0 }), "");
        assert_eq!(cache_lines(["abc"].into_iter()), "Deleted build cache objects:\nabc\n\n");
    }

    #[test]
    fn filters_choose_by_age_and_labels() {
        let labels: BTreeMap<String, String> = [("a".to_owned(), "1".to_owned())].into();
        let now = jiff::Timestamp::now().as_second();
        for (line, taken) in [
            ("", true),
            ("--filter until=1h", false),
            ("--filter until=1s", true),
            ("--filter label=a", true),
            ("--filter label=a=2", false),
            ("--filter label!=a", false),
            ("--filter label!=b", true),
            ("--filter label!=a=2", true),
            ("--filter label!=a --filter label!=b", true),
        ] {
            let parsed = parsed(&IMAGE, line);
            let choice = Choice::of(&parsed, &["label", "label!", "until"]).unwrap();
            assert_eq!(choice.takes(now - 60, &labels), taken, "{line}");
        }
        let parsed = parsed(&IMAGE, "--filter foo=bar");
        assert!(Choice::of(&parsed, &["label"]).is_err());
    }
}
