//! Which containers `ps` shows: `-a`, `-n`, `-l` and the filters.

use super::ports::exposed_port;
use crate::flags::Parsed;
use crate::quit::Quit;
use crate::value::filter::{self, Filters};
use tug_engine::{ContainerSummary, Engine, Status};

const FILTERS: &[&str] = &[
    "ancestor",
    "before",
    "exited",
    "expose",
    "health",
    "id",
    "is-task",
    "isolation",
    "label",
    "name",
    "network",
    "publish",
    "since",
    "status",
    "volume",
];

/// Which containers are wanted.
pub(super) struct Choice {
    all: bool,
    limit: Option<usize>,
    filters: Filters,
}

impl Choice {
    pub(super) fn of(parsed: &Parsed<'_>) -> Result<Self, Quit> {
        let pairs = parsed.read_all("filter", filter::pair)?;
        let filters = Filters::new(pairs, FILTERS).map_err(Quit::invalid)?;
        let last: i64 = parsed.number("last")?.unwrap_or(-1);
        let latest = parsed.on("latest").then_some(1);
        let limit = usize::try_from(last).ok().filter(|limit| *limit > 0).or(latest);
        Ok(Self { all: parsed.on("all"), limit, filters })
    }

    /// Picks from all containers, newest first.
    pub(super) fn choose(
        &self,
        engine: &Engine,
        containers: Vec<ContainerSummary>,
    ) -> Result<Vec<ContainerSummary>, Quit> {
        let test = self.test(engine, &containers)?;
        let mut chosen: Vec<_> = containers.into_iter().filter(|one| test.passes(one)).collect();
        if let Some(limit) = self.limit {
            chosen.truncate(limit);
        }
        Ok(chosen)
    }

    /// Resolves what the filters name, once.
    fn test<'a>(
        &'a self,
        engine: &Engine,
        containers: &[ContainerSummary],
    ) -> Result<Test<'a>, Quit> {
        let filters = &self.filters;
        for status in filters.values("status") {
            let known =
                ["created", "restarting", "running", "removing", "paused", "exited", "dead"];
            if !known.contains(&status) {
                return Err(Quit::invalid(format!("invalid filter 'status={status}'"))
                    .with_hint(format!("there are: {}", known.join(", "))));
            }
        }
        let codes: Result<Vec<i32>, _> = filters.values("exited").map(str::parse).collect();
        let codes =
            codes.map_err(|_| Quit::invalid("invalid filter 'exited': expected an exit code"))?;
        let position = |key: &str| -> Result<Option<usize>, Quit> {
            let Some(name) = filters.values(key).last() else { return Ok(None) };
            let id = engine.inspect(name, false)?.id;
            Ok(containers.iter().position(|container| container.id == id))
        };
        let ports = |key| filters.values(key).map(port_range).collect::<Result<Vec<_>, _>>();
        let ancestors = filters
            .values("ancestor")
            .map(|name| engine.image_inspect(name, None).ok().map(|image| image.id));
        let (before, since) = (position("before")?, position("since")?);
        Ok(Test {
            choice: self,
            codes,
            ancestors: ancestors.flatten().collect(),
            older: before.map(|at| containers[at + 1..].iter().map(|one| one.id.clone()).collect()),
            newer: since.map(|at| containers[..at].iter().map(|one| one.id.clone()).collect()),
            publish: ports("publish")?,
            expose: ports("expose")?,
            names: filters.values("name").map(Pattern::new).collect(),
            ids: filters.values("id").map(Pattern::new).collect(),
            task: filters.truth("is-task").map_err(Quit::invalid)?,
        })
    }
}

/// The filters with everything they name resolved.
struct Test<'a> {
    choice: &'a Choice,
    codes: Vec<i32>,
    ancestors: Vec<tug_types::Digest>,
    older: Option<Vec<tug_types::ContainerId>>,
    newer: Option<Vec<tug_types::ContainerId>>,
    publish: Vec<PortRange>,
    expose: Vec<PortRange>,
    names: Vec<Pattern>,
    ids: Vec<Pattern>,
    task: Option<bool>,
}

impl Test<'_> {
    fn passes(&self, one: &ContainerSummary) -> bool {
        let filters = &self.choice.filters;
        let in_list =
            |list: &Option<Vec<_>>| list.as_ref().is_none_or(|list| list.contains(&one.id));
        let any = |patterns: &[Pattern], text: &str| {
            patterns.is_empty() || patterns.iter().any(|pattern| pattern.matches(text))
        };
        let published = |range: &PortRange| {
            one.ports.iter().any(|port| range.holds(port.host_port, port.protocol.as_str()))
        };
        let inside = one.ports.iter().map(|port| (port.container_port, port.protocol.as_str()));
        let inside: Vec<(u16, &str)> =
            inside.chain(one.exposed.iter().filter_map(|text| exposed_port(text))).collect();
        let exposed =
            |range: &PortRange| inside.iter().any(|(port, kind)| range.holds(*port, kind));
        self.right_state(one)
            && any(&self.ids, one.id.as_str())
            && (any(&self.names, &one.name) || any(&self.names, &format!("/{}", one.name)))
            && filters.all("label", |wanted| {
                filter::label_matches(wanted, |name| one.labels.get(name).map(String::as_str))
            })
            && (self.codes.is_empty() || one.status == Status::Exited && self.codes.contains(&one.exit_code))
            && self.descends(one)
            && in_list(&self.older)
            && in_list(&self.newer)
            && filters.any("volume", |name| one.mounts.iter().any(|mount| mount == name))
            && filters.any("network", |name| one.networks.iter().any(|network| network == name))
            && (self.publish.is_empty() || self.publish.iter().any(published))
            && (self.expose.is_empty() || self.expose.iter().any(exposed))
            // Health checks are not run, and there is no swarm.
            && filters.any("health", |health| health == "none")
            && self.task != Some(true)
    }

    /// Running only, unless something asks for others.
    fn right_state(&self, one: &ContainerSummary) -> bool {
        let filters = &self.choice.filters;
        let asked = filters.has("status");
        let alive = matches!(one.status, Status::Running | Status::Paused | Status::Restarting);
        (self.choice.all || self.choice.limit.is_some() || asked || alive)
            && filters.any("status", |status| one.status.as_str() == status)
    }

    fn descends(&self, one: &ContainerSummary) -> bool {
        !self.choice.filters.has("ancestor")
            || self.ancestors.contains(&one.image_id)
            || self.choice.filters.values("ancestor").any(|name| name == one.image)
    }
}

/// A regular expression, or a text that is none and stands for itself.
enum Pattern {
    Expression(regex_lite::Regex),
    Text(String),
}

impl Pattern {
    fn new(text: &str) -> Self {
        let plain =
            text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'/'));
        match regex_lite::Regex::new(text) {
            Ok(expression) if !plain => Self::Expression(expression),
            _ => Self::Text(text.to_owned()),
        }
    }

    fn matches(&self, text: &str) -> bool {
        match self {
            Self::Expression(expression) => expression.is_match(text),
            Self::Text(part) => text.contains(part.as_str()),
        }
    }
}

/// `80`, `80-90/udp`
struct PortRange {
    first: u16,
    last: u16,
    protocol: String,
}

impl PortRange {
    fn holds(&self, port: u16, protocol: &str) -> bool {
        (self.first..=self.last).contains(&port) && self.protocol == protocol
    }
}

fn port_range(text: &str) -> Result<PortRange, Quit> {
    let bad = || Quit::invalid(format!("invalid port in filter: {text:?}"));
    let (numbers, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    let (first, last) = numbers.split_once('-').unwrap_or((numbers, numbers));
    let (first, last) = (first.parse().map_err(|_| bad())?, last.parse().map_err(|_| bad())?);
    Ok(PortRange { first, last, protocol: protocol.to_owned() })
}
