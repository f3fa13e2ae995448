//! `ps`: which containers, and what is said of each.

use crate::context::Context;
use crate::flags::{Arguments, Command, Flag, Parsed};
use crate::quit::Quit;
use crate::text::human;
use crate::text::listing::{Field, Listing, Row};
use crate::value::filter::{self, Filters};
use std::collections::BTreeMap;
use tug_engine::{ContainerSummary, Engine, Status};
use tug_net::PublishedPort;
use tug_types::ImageReference;

pub(crate) static COMMAND: Command = Command {
    names: &["ps", "container ls", "container list", "container ps"],
    usage: "[OPTIONS]",
    about: "List containers",
    flags: &[&[
        Flag::switch("all", "Show all containers (default shows just running)").short('a'),
        Flag::value("filter", "filter", "Show only what matches (e.g. \"status=exited\")")
            .short('f'),
        Flag::value("format", "string", "'table', 'json', 'table TEMPLATE' or a Go template"),
        Flag::value(
            "last",
            "int",
            "Show n last created containers, whatever their state (default -1)",
        )
        .short('n'),
        Flag::switch("latest", "Show the latest created container, whatever its state").short('l'),
        Flag::switch("no-trunc", "Don't truncate output"),
        Flag::switch("quiet", "Only display container IDs").short('q'),
        Flag::switch("size", "Display total file sizes").short('s'),
    ]],
    arguments: Arguments::Exactly(0),
    verbatim: false,
    run,
};

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

const FIELDS: &[Field] = &[
    ("ID", "CONTAINER ID"),
    ("Image", "IMAGE"),
    ("Command", "COMMAND"),
    ("CreatedAt", "CREATED AT"),
    ("RunningFor", "CREATED"),
    ("State", "STATE"),
    ("Status", "STATUS"),
    ("Ports", "PORTS"),
    ("Names", "NAMES"),
    ("Size", "SIZE"),
    ("Labels", "LABELS"),
    ("Mounts", "MOUNTS"),
    ("LocalVolumes", "LOCAL VOLUMES"),
    ("Networks", "NETWORKS"),
];

const RAW: &str = "container_id: {{.ID}}\nimage: {{.Image}}\ncommand: {{.Command}}\n\
    created_at: {{.CreatedAt}}\nstate: {{- pad .State 1 0}}\nstatus: {{- pad .Status 1 0}}\n\
    names: {{.Names}}\nlabels: {{- pad .Labels 1 0}}\nports: {{- pad .Ports 1 0}}\n";

fn run(ctx: &Context, parsed: &Parsed<'_>) -> Result<u8, Quit> {
    let choice = Choice::of(parsed)?;
    let quiet = parsed.on("quiet");
    let format = match (parsed.text("format"), quiet) {
        (Some(format), _) => format.to_owned(),
        (None, true) => String::new(),
        (None, false) => ctx.docker_setting("psFormat").unwrap_or_default(),
    };
    let listing = listing(parsed.on("size"));
    let with_size = !quiet && (parsed.on("size") || listing.uses(&format, "Size"));
    let containers = choice.choose(&ctx.engine, ctx.engine.containers(with_size)?)?;
    let whole = parsed.on("no-trunc");
    if quiet {
        let ids: String =
            containers.iter().map(|container| shown_id(container, whole) + "\n").collect();
        return ctx.print(ids).map(|()| 0);
    }
    let now = jiff::Timestamp::now().as_second();
    let rows: Vec<_> =
        containers.into_iter().map(|container| Line { container, whole, now }).collect();
    ctx.print(listing.print(&format, &rows).map_err(Quit::invalid)?).map(|()| 0)
}

fn listing(with_size: bool) -> Listing {
    let mut columns = vec!["ID", "Image", "Command", "RunningFor", "Status", "Ports", "Names"];
    let mut raw = RAW.to_owned();
    if with_size {
        columns.push("Size");
        raw.push_str("size: {{.Size}}\n");
    }
    Listing { fields: FIELDS, columns, raw, nulls: &["Platform"] }
}

/// Which containers are wanted.
struct Choice {
    all: bool,
    limit: Option<usize>,
    filters: Filters,
}

impl Choice {
    fn of(parsed: &Parsed<'_>) -> Result<Self, Quit> {
        let pairs = parsed.read_all("filter", filter::pair)?;
        let filters = Filters::new(pairs, FILTERS).map_err(Quit::invalid)?;
        let last: i64 = parsed.number("last")?.unwrap_or(-1);
        let latest = parsed.on("latest").then_some(1);
        let limit = usize::try_from(last).ok().filter(|limit| *limit > 0).or(latest);
        Ok(Self { all: parsed.on("all"), limit, filters })
    }

    /// Picks from all containers, newest first.
    fn choose(
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
            .map(|name| engine.image_inspect(name).ok().map(|image| image.id));
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

fn exposed_port(text: &str) -> Option<(u16, &str)> {
    let (number, protocol) = text.split_once('/')?;
    Some((number.parse().ok()?, protocol))
}

/// One container as a row.
struct Line {
    container: ContainerSummary,
    whole: bool,
    now: i64,
}

impl Row for Line {
    fn field(&self, name: &str) -> String {
        let one = &self.container;
        match name {
            "ID" => shown_id(one, self.whole),
            "Image" => self.image(),
            "Command" => {
                let command = if self.whole {
                    one.command.clone()
                } else {
                    human::ellipsis(&one.command, 20)
                };
                human::quote(&command)
            }
            "CreatedAt" => human::go_time(one.created),
            "RunningFor" => format!("{} ago", human::duration(self.now - one.created)),
            "State" => one.status.as_str().to_owned(),
            "Status" => status(one, self.now),
            "Ports" => ports(&one.ports, &one.exposed),
            "Names" => one.name.clone(),
            "Size" => match one.size {
                Some((own, all)) if all > 0 => {
                    format!("{} (virtual {})", human::size(own, 3), human::size(all, 3))
                }
                Some((own, _)) => human::size(own, 3),
                None => "0B".to_owned(),
            },
            "Labels" => joined(&one.labels),
            "Mounts" => {
                let mounts = one.mounts.iter().map(|mount| match self.whole {
                    true => mount.clone(),
                    false => human::ellipsis(mount, 15),
                });
                mounts.collect::<Vec<_>>().join(",")
            }
            "LocalVolumes" => {
                one.mounts.iter().filter(|mount| !mount.starts_with('/')).count().to_string()
            }
            "Networks" => one.networks.join(","),
            _ => String::new(),
        }
    }

    fn labels(&self) -> Option<&BTreeMap<String, String>> {
        Some(&self.container.labels)
    }
}

impl Line {
    /// The image as the user wrote it, without its digest; an id shortened.
    fn image(&self) -> String {
        let one = &self.container;
        if self.whole {
            return one.image.clone();
        }
        let digits = one.image.strip_prefix("sha256:").unwrap_or(&one.image);
        if digits.len() >= 12 && one.image_id.hex().starts_with(digits) {
            return one.image_id.short();
        }
        match one.image.split_once('@') {
            None => one.image.clone(),
            Some((name, _)) => ImageReference::parse(&one.image).map_or_else(
                |_| name.to_owned(),
                |reference| match reference.tag() {
                    Some(tag) => format!("{}:{tag}", reference.familiar_name()),
                    None => reference.familiar_name(),
                },
            ),
        }
    }
}

fn shown_id(container: &ContainerSummary, whole: bool) -> String {
    if whole { container.id.to_string() } else { container.id.short().to_owned() }
}

/// `a=1,b=2`
pub(super) fn joined(labels: &BTreeMap<String, String>) -> String {
    labels.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(",")
}

/// `Up 3 minutes`, `Exited (0) 2 hours ago`
fn status(one: &ContainerSummary, now: i64) -> String {
    let since = |nanoseconds: i64| human::duration(now - nanoseconds.div_euclid(1_000_000_000));
    match one.status {
        Status::Created => "Created".to_owned(),
        Status::Running => format!("Up {}", since(one.started_at)),
        Status::Paused => format!("Up {} (Paused)", since(one.started_at)),
        Status::Restarting => {
            format!("Restarting ({}) {} ago", one.exit_code, since(one.finished_at))
        }
        Status::Removing => "Removal In Progress".to_owned(),
        Status::Dead => "Dead".to_owned(),
        Status::Exited => format!("Exited ({}) {} ago", one.exit_code, since(one.finished_at)),
    }
}

/// `0.0.0.0:8000-8002->8000-8002/tcp, 9000/udp`: runs of ports that are published under their own
/// number, or only exposed, become ranges; the others follow one by one.
fn ports(published: &[PublishedPort], exposed: &[String]) -> String {
    let mut all: Vec<(u16, Option<(std::net::Ipv4Addr, u16)>, &str)> = published
        .iter()
        .map(|port| {
            (port.container_port, Some((port.host_ip, port.host_port)), port.protocol.as_str())
        })
        .chain(
            exposed
                .iter()
                .filter_map(|text| exposed_port(text))
                .map(|(port, kind)| (port, None, kind)),
        )
        .collect();
    all.sort_unstable();
    /// A run of ports: where, which protocol, first, last.
    type Run<'a> = (Option<std::net::Ipv4Addr>, &'a str, u16, u16);
    let (mut done, mut open, mut mapped): (Vec<String>, Vec<Run<'_>>, Vec<String>) =
        Default::default();
    for (port, host, kind) in all {
        if let Some((ip, host_port)) = host
            && host_port != port
        {
            mapped.push(format!("{ip}:{host_port}->{port}/{kind}"));
            continue;
        }
        let ip = host.map(|(ip, _)| ip);
        match open.iter_mut().find(|(at, of, _, _)| (*at, *of) == (ip, kind)) {
            Some(run) if run.3.checked_add(1) == Some(port) => run.3 = port,
            Some(run) => {
                done.push(shown_run(*run));
                *run = (ip, kind, port, port);
            }
            None => open.push((ip, kind, port, port)),
        }
    }
    done.extend(open.into_iter().map(shown_run));
    done.extend(mapped);
    done.join(", ")
}

fn shown_run((ip, kind, first, last): (Option<std::net::Ipv4Addr>, &str, u16, u16)) -> String {
    let range = if first == last { first.to_string() } else { format!("{first}-{last}") };
    match ip {
        Some(ip) => format!("{ip}:{range}->{range}/{kind}"),
        None => format!("{range}/{kind}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flags;
    use std::net::Ipv4Addr;
    use tug_net::Protocol;
    use tug_types::{ContainerId, Digest};

    const NOW: i64 = 1_700_000_000;

    fn container(digit: &str, name: &str) -> ContainerSummary {
        ContainerSummary {
            id: ContainerId::parse(&digit.repeat(64)).unwrap(),
            name: name.to_owned(),
            image: "busybox".to_owned(),
            image_id: Digest::from_sha256([0xcc; 32]),
            command: "sh -c 'echo a & b'".to_owned(),
            created: NOW - 7200,
            status: Status::Running,
            started_at: (NOW - 7200) * 1_000_000_000,
            finished_at: 0,
            exit_code: 0,
            ports: Vec::new(),
            exposed: Vec::new(),
            labels: BTreeMap::new(),
            mounts: Vec::new(),
            networks: vec!["bridge".to_owned()],
            size: None,
        }
    }

    fn port(ip: Ipv4Addr, host_port: u16, container_port: u16) -> PublishedPort {
        PublishedPort { host_ip: ip, host_port, container_port, protocol: Protocol::Tcp }
    }

    fn three() -> Vec<ContainerSummary> {
        let any = Ipv4Addr::UNSPECIFIED;
        let mut web = container("1", "web");
        web.ports = vec![
            port(any, 8080, 80),
            port(Ipv4Addr::LOCALHOST, 443, 443),
            port(Ipv4Addr::LOCALHOST, 444, 444),
            port(any, 8000, 8000),
            port(any, 8001, 8001),
            port(any, 8002, 8002),
        ];
        web.exposed = ["53/udp", "9000/tcp", "9001/tcp"].map(str::to_owned).to_vec();
        web.labels = [("a", "1"), ("b", "2")].map(|(k, v)| (k.to_owned(), v.to_owned())).into();
        web.mounts = vec!["data-with-a-long-name".to_owned(), "/x/y".to_owned()];
        web.size = Some((12_345, 4_260_000));
        let mut db = container("2", "db");
        db.status = Status::Exited;
        db.exit_code = 3;
        db.finished_at = (NOW - 3600) * 1_000_000_000;
        db.command = "x".to_owned();
        db.image = "registry.example.org:5000/team/app:1.2".to_owned();
        let mut img = container("3", "img");
        img.image = Digest::from_sha256([0xcc; 32]).to_string();
        vec![web, db, img]
    }

    fn lines(whole: bool) -> Vec<Line> {
        three().into_iter().map(|container| Line { container, whole, now: NOW }).collect()
    }

    #[test]
    fn the_table_is_what_dockers_client_prints_of_the_same_containers() {
        let expected = "\
CONTAINER ID   IMAGE                                    COMMAND                CREATED       STATUS                         PORTS                                                                                                           NAMES
111111111111   busybox                                  \"sh -c 'echo a & b'\"   2 hours ago   Up 2 hours                     53/udp, 127.0.0.1:443-444->443-444/tcp, 0.0.0.0:8000-8002->8000-8002/tcp, 9000-9001/tcp, 0.0.0.0:8080->80/tcp   web
222222222222   registry.example.org:5000/team/app:1.2   \"x\"                    2 hours ago   Exited (3) About an hour ago                                                                                                                   db
333333333333   cccccccccccc                             \"sh -c 'echo a & b'\"   2 hours ago   Up 2 hours                                                                                                                                     img
";
        assert_eq!(listing(false).print("", &lines(false)).unwrap(), expected);
    }

    #[test]
    fn formats_print_what_dockers_client_prints() {
        let print = |format: &str| listing(false).print(format, &lines(false)).unwrap();
        assert_eq!(
            print("{{.ID}}: {{.Labels}} {{.Mounts}} {{.LocalVolumes}} {{.Size}} {{.Networks}} {{.Label \"a\"}}")
                .lines()
                .next()
                .unwrap(),
            "111111111111: a=1,b=2 data-with-a-lo…,/x/y 1 12.3kB (virtual 4.26MB) bridge 1"
        );
        let json = print("json");
        let json = json.lines().next().unwrap();
        assert!(
            json.starts_with("{\"Command\":\"\\\"sh -c 'echo a \\u0026 b'\\\"\",\"CreatedAt\":\""),
            "{json}"
        );
        assert!(
            json.contains(
                "\"Platform\":null,\"Ports\":\"53/udp, 127.0.0.1:443-444-\\u003e443-444/tcp"
            ),
            "{json}"
        );
        assert!(json.ends_with("\"State\":\"running\",\"Status\":\"Up 2 hours\"}"), "{json}");
        let raw = print("raw");
        assert!(raw.contains("\nstate: exited\nstatus: Exited (3) About an hour ago\nnames: db\nlabels:\nports:\n\n"), "{raw}");
        let titled = print("table {{.Names}}\\t{{.Label \"com.x.some-thing_y\"}}");
        assert!(titled.starts_with("NAMES     some thing y\nweb       "), "{titled}");
        let sized = listing(true).print("", &lines(false)).unwrap();
        assert!(sized.contains("web       12.3kB (virtual 4.26MB)\n"), "{sized}");
    }

    #[test]
    fn states_are_told_as_docker_tells_them() {
        let mut one = container("1", "x");
        let at = |seconds: i64| (NOW - seconds) * 1_000_000_000;
        for (state, text) in [
            (Status::Created, "Created"),
            (Status::Paused, "Up 2 hours (Paused)"),
            (Status::Restarting, "Restarting (7) 5 seconds ago"),
            (Status::Removing, "Removal In Progress"),
            (Status::Dead, "Dead"),
            (Status::Exited, "Exited (7) 5 seconds ago"),
        ] {
            (one.status, one.exit_code, one.finished_at) = (state, 7, at(5));
            assert_eq!(status(&one, NOW), text);
        }
    }

    #[test]
    fn images_are_shown_without_digests() {
        let mut one = container("1", "x");
        one.image = format!("me/app:1@sha256:{}", "a".repeat(64));
        assert_eq!(
            Line { container: one.clone(), whole: false, now: NOW }.field("Image"),
            "me/app:1"
        );
        one.image = format!("busybox@sha256:{}", "a".repeat(64));
        assert_eq!(Line { container: one, whole: false, now: NOW }.field("Image"), "busybox");
    }

    fn choose(line: &str) -> Vec<String> {
        let words = line.split_whitespace().map(str::to_owned).collect();
        let choice = Choice::of(&flags::parse(&COMMAND, words).unwrap()).unwrap();
        let nowhere = std::env::temp_dir().join(format!("tug-ps-test-{}", std::process::id()));
        let mut settings = crate::context::default_settings();
        (settings.data_root, settings.exec_root) = (nowhere.clone(), nowhere);
        let chosen = choice.choose(&Engine::new(settings), three()).unwrap();
        chosen.into_iter().map(|container| container.name).collect()
    }

    #[test]
    fn filters_choose_as_docker_does() {
        for (line, names) in [
            ("", "web img"),
            ("-a", "web db img"),
            ("-l", "web"),
            ("-n 2", "web db"),
            ("--filter status=exited", "db"),
            ("--filter status=exited --filter status=running", "web db img"),
            ("--filter exited=3", ""),
            ("-a --filter exited=3", "db"),
            ("-a --filter exited=0", ""),
            ("-a --filter name=b", "web db"),
            ("-a --filter name=^db$", "db"),
            ("-a --filter name=^/web", "web"),
            ("-a --filter id=222", "db"),
            ("--filter label=a", "web"),
            ("--filter label=a=1 --filter label=b=2", "web"),
            ("--filter label=a=2", ""),
            ("-a --filter publish=8080", "web"),
            ("-a --filter publish=8000-8100/tcp", "web"),
            ("-a --filter publish=8080/udp", ""),
            ("-a --filter expose=53/udp", "web"),
            ("-a --filter expose=80", "web"),
            ("-a --filter volume=/x/y", "web"),
            ("-a --filter network=bridge -n 1", "web"),
            ("-a --filter network=none", ""),
            ("-a --filter health=none", "web db img"),
            ("-a --filter health=healthy", ""),
            ("-a --filter is-task=true", ""),
            ("-a --filter is-task=false", "web db img"),
            ("-a --filter ancestor=busybox", "web"),
        ] {
            let expected: Vec<&str> = names.split_whitespace().collect();
            assert_eq!(choose(line), expected, "{line}");
        }
    }

    #[test]
    fn unknown_filters_and_values_are_refused() {
        let refused = |line: &str| {
            let words = line.split_whitespace().map(str::to_owned).collect();
            let parsed = flags::parse(&COMMAND, words).unwrap();
            Choice::of(&parsed).err().map(|quit| (quit.to_string(), quit.exit_code()))
        };
        assert_eq!(
            refused("-f stauts=exited"),
            Some(("invalid filter 'stauts' (did you mean 'status'?)".to_owned(), 1))
        );
        assert_eq!(
            refused("-f x"),
            Some(("invalid argument \"x\" for \"-f, --filter\" flag: bad format of filter (expected name=value)".to_owned(), 125))
        );
    }
}
