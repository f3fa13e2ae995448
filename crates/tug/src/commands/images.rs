//! `images`.

use super::prune;
use crate::context::Context;
use crate::flags::{Arguments, Command, Flag, Parsed};
use crate::quit::Quit;
use crate::text::human;
use crate::text::listing::{Field, Listing, Row};
use crate::text::template::Flaw;
use crate::value::filter::{self, Filters};
use regex_lite::Regex;
use std::collections::BTreeMap;
use tug_engine::ImageSummary;
use tug_types::ImageReference;

pub(crate) static COMMAND: Command = Command {
    names: &["images", "image ls", "image list"],
    usage: "[OPTIONS] [REPOSITORY[:TAG]]",
    about: "List images",
    flags: &[&[
        Flag::switch("all", "Show all images (there are no hidden ones)").short('a'),
        Flag::switch("digests", "Show digests"),
        Flag::value("filter", "filter", "Show only what matches (e.g. \"dangling=true\")")
            .short('f'),
        Flag::value("format", "string", "'table', 'json', 'table TEMPLATE' or a Go template"),
        Flag::switch("no-trunc", "Don't truncate output"),
        Flag::switch("quiet", "Only show image IDs").short('q'),
        Flag::switch("tree", ""),
    ]],
    arguments: Arguments::Between(0, 1),
    verbatim: false,
    run,
};

const FILTERS: &[&str] = &["before", "dangling", "label", "reference", "since", "until"];

const FIELDS: &[Field] = &[
    ("ID", "IMAGE ID"),
    ("Repository", "REPOSITORY"),
    ("Tag", "TAG"),
    ("Digest", "DIGEST"),
    ("CreatedSince", "CREATED"),
    ("CreatedAt", "CREATED AT"),
    ("Size", "SIZE"),
    ("VirtualSize", "VIRTUAL SIZE"),
    ("SharedSize", "SHARED SIZE"),
    ("UniqueSize", "UNIQUE SIZE"),
    ("Containers", "CONTAINERS"),
];

fn run(ctx: &Context, parsed: &Parsed<'_>) -> Result<u8, Quit> {
    if parsed.on("tree") {
        return Err(parsed
            .wrong("--tree is not supported by tug")
            .with_hint("`tug images --digests` shows what the names stand for"));
    }
    let choice = Choice::of(ctx, parsed)?;
    let whole = parsed.on("no-trunc");
    let format = match parsed.text("format") {
        Some(format) => format.to_owned(),
        None => ctx.docker_setting("imagesFormat").unwrap_or_default(),
    };
    let with_labels = choice.filters.has("label") || format.contains(".Label");
    let images: Vec<_> =
        ctx.engine.images(with_labels)?.into_iter().filter(|image| choice.takes(image)).collect();
    if parsed.on("quiet") {
        let ids: String = images.iter().map(|image| shown_id(image, whole) + "\n").collect();
        return ctx.print(ids).map(|()| 0);
    }
    let digests = parsed.on("digests") || format.contains(".Digest");
    let now = jiff::Timestamp::now().as_second();
    let rows: Vec<_> =
        images.into_iter().map(|image| Line { image, usage: None, whole, digests, now }).collect();
    let listing = listing(parsed.on("digests"));
    ctx.print(listing.print(&format, rows).map_err(Flaw::quit)?).map(|()| 0)
}

pub(super) fn listing(digests: bool) -> Listing {
    let columns = match digests {
        true => vec!["Repository", "Tag", "Digest", "ID", "CreatedSince", "Size"],
        false => vec!["Repository", "Tag", "ID", "CreatedSince", "Size"],
    };
    let digest = if digests { "digest: {{.Digest}}\n" } else { "" };
    let raw = format!(
        "repository: {{{{.Repository}}}}\ntag: {{{{.Tag}}}}\n{digest}image_id: {{{{.ID}}}}\n\
         created_at: {{{{.CreatedAt}}}}\nvirtual_size: {{{{.Size}}}}\n"
    );
    Listing { type_name: "*formatter.imageContext", fields: FIELDS, columns, raw, nulls: &[] }
}

/// Which images are wanted.
struct Choice {
    filters: Filters,
    dangling: Option<bool>,
    /// Seconds: created before, created after.
    before: Option<i64>,
    since: Option<i64>,
    /// `REPOSITORY[:TAG]` patterns, alternatives.
    patterns: Vec<Regex>,
}

impl Choice {
    fn of(ctx: &Context, parsed: &Parsed<'_>) -> Result<Self, Quit> {
        let pairs = parsed.read_all("filter", filter::pair)?;
        let filters = Filters::new(pairs, FILTERS).map_err(Quit::invalid)?;
        let created = |key| -> Result<Option<i64>, Quit> {
            let Some(name) = filters.values(key).last() else { return Ok(None) };
            let image = ctx.engine.image_inspect(name, None)?;
            Ok(image
                .created
                .and_then(|text| text.parse::<jiff::Timestamp>().ok())
                .map(jiff::Timestamp::as_second))
        };
        let (mut before, since) = (created("before")?, created("since")?);
        if let Some(until) = prune::until(&filters)? {
            before = Some(before.map_or(until, |before| before.min(until)));
        }
        let patterns =
            parsed.arguments.iter().map(String::as_str).chain(filters.values("reference"));
        let patterns = patterns.map(pattern).collect::<Result<_, _>>()?;
        let dangling = filters.truth("dangling").map_err(Quit::invalid)?;
        Ok(Self { filters, dangling, before, since, patterns })
    }

    fn takes(&self, image: &ImageSummary) -> bool {
        self.dangling.is_none_or(|dangling| dangling == image.tag.is_none())
            && self.before.is_none_or(|before| image.created < before)
            && self.since.is_none_or(|since| image.created > since)
            && self.filters.all("label", |wanted| {
                filter::label_matches(wanted, |name| image.labels.get(name).map(String::as_str))
            })
            && (self.patterns.is_empty()
                || self
                    .patterns
                    .iter()
                    .any(|pattern| names(image).iter().any(|name| pattern.is_match(name))))
    }
}

/// `busybox`, `busybox:1.*`, `*/app`: a `*` stays within one part of the name.
fn pattern(text: &str) -> Result<Regex, Quit> {
    let tagged = text.rsplit('/').next().is_some_and(|name| name.contains([':', '@']));
    let whole = ImageReference::parse(text).map(|reference| match tagged {
        true => reference.familiar(),
        false => reference.familiar_name(),
    });
    let whole = whole.unwrap_or_else(|_| text.to_owned());
    let mut expression = String::from("^");
    for c in whole.chars() {
        match c {
            '*' => expression.push_str("[^/]*"),
            '?' => expression.push_str("[^/]"),
            '[' | ']' | '-' | '^' => expression.push(c),
            c => expression.push_str(&regex_lite::escape(c.encode_utf8(&mut [0; 4]))),
        }
    }
    expression.push('$');
    Regex::new(&expression).map_err(|_| Quit::invalid(format!("invalid filter 'reference={text}'")))
}

/// The names a pattern may match: with tag and without.
fn names(image: &ImageSummary) -> Vec<String> {
    match (&image.repository, &image.tag) {
        (Some(repository), Some(tag)) => vec![repository.clone(), format!("{repository}:{tag}")],
        (Some(repository), None) => vec![repository.clone()],
        _ => Vec::new(),
    }
}

fn shown_id(image: &ImageSummary, whole: bool) -> String {
    if whole { image.id.to_string() } else { image.id.short() }
}

/// One image as a row.
pub(super) struct Line {
    pub image: ImageSummary,
    /// Bytes shared with others, and its own, where they were asked for.
    pub usage: Option<(u64, u64)>,
    /// Nothing is shortened.
    pub whole: bool,
    pub digests: bool,
    /// Seconds since the epoch.
    pub now: i64,
}

impl Row for Line {
    fn labels(&self) -> Option<&BTreeMap<String, String>> {
        Some(&self.image.labels)
    }

    fn field(&self, name: &str) -> String {
        const NONE: &str = "<none>";
        let one = &self.image;
        match name {
            "ID" => shown_id(one, self.whole),
            "Repository" => one.repository.clone().unwrap_or_else(|| NONE.to_owned()),
            "Tag" => one.tag.clone().unwrap_or_else(|| NONE.to_owned()),
            "Digest" => match one.digest.filter(|_| self.digests) {
                Some(digest) => digest.to_string(),
                // As Docker has it.
                None if self.usage.is_some() => String::new(),
                None => NONE.to_owned(),
            },
            "CreatedSince" if one.created <= 0 => "N/A".to_owned(),
            "CreatedSince" => format!("{} ago", human::duration(self.now - one.created)),
            "CreatedAt" => human::go_time(one.created),
            "Size" => human::size(one.size, 3),
            "VirtualSize" => human::size(one.size, 4),
            "Containers" => one.containers.to_string(),
            _ => match (name, self.usage) {
                ("SharedSize", Some((shared, _))) => human::size(shared, 4),
                ("UniqueSize", Some((_, unique))) => human::size(unique, 4),
                _ => "N/A".to_owned(),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tug_types::Digest;

    fn image(repository: Option<&str>, tag: Option<&str>) -> ImageSummary {
        ImageSummary {
            id: Digest::from_sha256([0xdd; 32]),
            repository: repository.map(str::to_owned),
            tag: tag.map(str::to_owned),
            digest: repository.map(|_| Digest::from_sha256([0xee; 32])),
            created: 1_700_000_000 - 20 * 86400,
            size: 4_261_550,
            labels: [("a".to_owned(), "b".to_owned())].into(),
            containers: 0,
        }
    }

    fn lines(digests: bool, whole: bool) -> Vec<Line> {
        [image(Some("busybox"), Some("latest")), image(None, None)]
            .into_iter()
            .map(|image| Line { image, usage: None, whole, digests, now: 1_700_000_000 })
            .collect()
    }

    #[test]
    fn the_table_is_dockers() {
        assert_eq!(
            listing(false).print("", lines(false, false)).unwrap(),
            "REPOSITORY   TAG       IMAGE ID       CREATED       SIZE\n\
             busybox      latest    dddddddddddd   2 weeks ago   4.26MB\n\
             <none>       <none>    dddddddddddd   2 weeks ago   4.26MB\n"
        );
        let digests = listing(true).print("", lines(true, true)).unwrap();
        let row = format!(
            "busybox      latest    sha256:{}   sha256:{}   2 weeks ago   4.26MB\n",
            "e".repeat(64),
            "d".repeat(64)
        );
        assert!(digests.contains(&row), "{digests}");
    }

    #[test]
    fn json_has_dockers_keys() {
        let json = listing(false).print("json", lines(false, false)).unwrap();
        let first = json.lines().next().unwrap();
        assert!(first.starts_with("{\"Containers\":\"0\",\"CreatedAt\":\"2023-10-25 "), "{first}");
        assert!(first.ends_with("\"CreatedSince\":\"2 weeks ago\",\"Digest\":\"\\u003cnone\\u003e\",\"ID\":\"dddddddddddd\",\"Repository\":\"busybox\",\"SharedSize\":\"N/A\",\"Size\":\"4.26MB\",\"Tag\":\"latest\",\"UniqueSize\":\"N/A\",\"VirtualSize\":\"4.262MB\"}"), "{first}");
    }

    #[test]
    fn patterns_match_names_with_and_without_tag() {
        let one = image(Some("localhost:5000/team/app"), Some("1.2"));
        for (text, matches) in [
            ("localhost:5000/team/app", true),
            ("localhost:5000/team/app:1.2", true),
            ("localhost:5000/team/*", true),
            ("*/*/app", true),
            ("*/app", false),
            ("app", false),
            ("localhost:5000/team/app:2", false),
        ] {
            let pattern = pattern(text).unwrap();
            assert_eq!(names(&one).iter().any(|name| pattern.is_match(name)), matches, "{text}");
        }
        let official = image(Some("busybox"), Some("latest"));
        for text in ["busybox", "docker.io/library/busybox", "busy*", "busybox:la*"] {
            let pattern = pattern(text).unwrap();
            assert!(names(&official).iter().any(|name| pattern.is_match(name)), "{text}");
        }
    }
}
