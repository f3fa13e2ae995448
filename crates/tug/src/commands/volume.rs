//! `volume create`, `ls`, `inspect` and `rm`.

use super::version::FORMAT;
use super::{inspect, many, ps};
use crate::container_flags;
use crate::context::Context;
use crate::flags::{Arguments, Command, Flag, Parsed};
use crate::quit::Quit;
use crate::text::listing::{Field, Listing, Row};
use crate::text::template::Flaw;
use crate::value::filter::{self, Filters};
use std::collections::BTreeMap;
use tug_engine::{Error, Volume};

pub(crate) static CREATE: Command = Command {
    names: &["volume create"],
    usage: "[OPTIONS] [VOLUME]",
    about: "Create a volume",
    flags: &[
        &[
            Flag::value("driver", "string", "Driver of the volume (default \"local\")").short('d'),
            Flag::value("label", "list", "Set metadata on the volume"),
            Flag::value("name", "string", ""),
            Flag::value("opt", "map", "Options of the driver (default map[])").short('o'),
        ],
        CLUSTER,
    ],
    arguments: Arguments::Between(0, 1),
    verbatim: false,
    run: create,
};

pub(crate) static INSPECT: Command = Command {
    names: &["volume inspect"],
    usage: "[OPTIONS] VOLUME [VOLUME...]",
    about: "Display detailed information on one or more volumes",
    flags: &[&[FORMAT]],
    arguments: Arguments::AtLeast(1),
    verbatim: false,
    run: |ctx, parsed| inspect::inspect(ctx, parsed, |name, _| inspect::volume(ctx, name)),
};

pub(crate) static LS: Command = Command {
    names: &["volume ls", "volume list"],
    usage: "[OPTIONS]",
    about: "List volumes",
    flags: &[&[
        Flag::value("filter", "filter", "Show only what matches (e.g. \"dangling=true\")")
            .short('f'),
        Flag::value("format", "string", "'table', 'json', 'table TEMPLATE' or a Go template"),
        Flag::switch("cluster", ""),
        Flag::switch("quiet", "Only display volume names").short('q'),
    ]],
    arguments: Arguments::Exactly(0),
    verbatim: false,
    run: list,
};

pub(crate) static RM: Command = Command {
    names: &["volume rm", "volume remove"],
    usage: "[OPTIONS] VOLUME [VOLUME...]",
    about: "Remove one or more volumes that no container uses",
    flags: &[&[Flag::switch("force", "One that is not there is no failure").short('f')]],
    arguments: Arguments::AtLeast(1),
    verbatim: false,
    run: |ctx, parsed| {
        let force = parsed.on("force");
        many::each(ctx, &parsed.arguments, |engine, name| {
            engine.volume_remove(name, force).map(|()| name.to_owned())
        })
    },
};

/// Flags of volumes that a swarm's nodes share.
const CLUSTER: &[Flag] = &[
    Flag::value("availability", "string", ""),
    Flag::value("group", "string", ""),
    Flag::value("limit-bytes", "bytes", ""),
    Flag::value("required-bytes", "bytes", ""),
    Flag::value("scope", "string", ""),
    Flag::value("secret", "map", ""),
    Flag::value("sharing", "string", ""),
    Flag::value("topology-preferred", "list", ""),
    Flag::value("topology-required", "list", ""),
    Flag::value("type", "string", ""),
];

fn create(ctx: &Context, parsed: &Parsed<'_>) -> Result<u8, Quit> {
    if let Some(flag) = CLUSTER.iter().find(|flag| parsed.given(flag.name)) {
        return Err(parsed
            .wrong(format!("--{} is not supported by tug", flag.name))
            .with_hint("it is for volumes of a swarm: leave it out"));
    }
    let name = parsed.arguments.first().map(String::as_str).or_else(|| parsed.text("name"));
    let labels = parsed.read_all("label", container_flags::label)?.into_iter().collect();
    let options = parsed.all("opt").map(|text| {
        let (name, value) = text.split_once('=').unwrap_or((text, ""));
        (name.to_owned(), value.to_owned())
    });
    let driver = parsed.text("driver").unwrap_or("local");
    let name = name.filter(|name| !name.is_empty());
    let volume = ctx.engine.volume_create(name, labels, driver, options.collect())?;
    ctx.print_line(volume.name).map(|()| 0)
}

const FILTERS: &[&str] = &["dangling", "driver", "label", "name"];

const FIELDS: &[Field] = &[
    ("Name", "VOLUME NAME"),
    ("Driver", "DRIVER"),
    ("Scope", "SCOPE"),
    ("Mountpoint", "MOUNTPOINT"),
    ("Labels", "LABELS"),
    ("Links", "LINKS"),
    ("Size", "SIZE"),
    ("Availability", "AVAILABILITY"),
    ("Group", "GROUP"),
    ("Status", "STATUS"),
];

fn list(ctx: &Context, parsed: &Parsed<'_>) -> Result<u8, Quit> {
    if parsed.on("cluster") {
        return Err(parsed
            .wrong("--cluster is not supported by tug")
            .with_hint("there are no swarms: leave it out"));
    }
    let pairs = parsed.read_all("filter", filter::pair)?;
    let filters = Filters::new(pairs, FILTERS).map_err(Quit::invalid)?;
    let dangling = filters.truth("dangling").map_err(Quit::invalid)?;
    let mut volumes = Vec::new();
    for volume in ctx.engine.volumes()? {
        if takes(&filters, &volume) && is_dangling(ctx, &volume, dangling)? {
            volumes.push(volume);
        }
    }
    if parsed.on("quiet") {
        let names: String = volumes.iter().map(|volume| format!("{}\n", volume.name)).collect();
        return ctx.print(names).map(|()| 0);
    }
    let format = match parsed.text("format") {
        Some(format) => format.to_owned(),
        None => ctx.docker_setting("volumesFormat").unwrap_or_default(),
    };
    ctx.print(listing().print(&format, volumes).map_err(Flaw::quit)?).map(|()| 0)
}

fn is_dangling(ctx: &Context, volume: &Volume, wanted: Option<bool>) -> Result<bool, Error> {
    match wanted {
        None => Ok(true),
        Some(wanted) => Ok(ctx.engine.volume_users(&volume.name)?.is_empty() == wanted),
    }
}

fn takes(filters: &Filters, volume: &Volume) -> bool {
    let label = |name: &str| volume.labels.as_ref()?.get(name).map(String::as_str);
    filters.any("name", |part| volume.name.contains(part))
        && filters.any("driver", |driver| volume.driver == driver)
        && filters.all("label", |wanted| filter::label_matches(wanted, label))
}

pub(super) fn listing() -> Listing {
    Listing {
        type_name: "*formatter.volumeContext",
        fields: FIELDS,
        columns: vec!["Driver", "Name"],
        raw: "name: {{.Name}}\ndriver: {{.Driver}}\n".to_owned(),
        nulls: &[],
    }
}

impl Row for Volume {
    fn field(&self, name: &str) -> String {
        match name {
            "Name" => self.name.clone(),
            "Driver" => self.driver.clone(),
            "Scope" => self.scope.clone(),
            "Mountpoint" => self.mountpoint.display().to_string(),
            "Labels" => self.labels.as_ref().map(ps::joined).unwrap_or_default(),
            _ => "N/A".to_owned(),
        }
    }

    fn labels(&self) -> Option<&BTreeMap<String, String>> {
        self.labels.as_ref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn volume(name: &str, label: Option<&str>) -> Volume {
        Volume {
            created_at: String::new(),
            driver: "local".to_owned(),
            labels: label.map(|value| [("a".to_owned(), value.to_owned())].into()),
            mountpoint: "/m/_data".into(),
            name: name.to_owned(),
            options: None,
            scope: "local".to_owned(),
            anonymous: false,
        }
    }

    #[test]
    fn lists_are_what_dockers_client_prints() {
        let volumes = [volume("data", Some("b")), volume("logs", None)];
        let print = |format: &str| listing().print(format, volumes.clone()).unwrap();
        assert_eq!(print(""), "DRIVER    VOLUME NAME\nlocal     data\nlocal     logs\n");
        assert_eq!(
            print("json").lines().next().unwrap(),
            "{\"Availability\":\"N/A\",\"Driver\":\"local\",\"Group\":\"N/A\",\"Labels\":\"a=b\",\"Links\":\"N/A\",\"Mountpoint\":\"/m/_data\",\"Name\":\"data\",\"Scope\":\"local\",\"Size\":\"N/A\",\"Status\":\"N/A\"}"
        );
        assert_eq!(
            print("{{.Name}} {{.Label \"a\"}} {{.Mountpoint}}"),
            "data b /m/_data\nlogs  /m/_data\n"
        );
    }

    #[test]
    fn filters_choose_by_name_and_label() {
        let filters = |texts: &[&str]| {
            let pairs = texts.iter().map(|text| filter::pair(text).unwrap()).collect();
            Filters::new(pairs, FILTERS).unwrap()
        };
        let data = volume("data", Some("b"));
        assert!(takes(&filters(&["name=at"]), &data));
        assert!(takes(&filters(&["name=x", "name=da", "label=a=b"]), &data));
        assert!(!takes(&filters(&["label=a=c"]), &data));
        assert!(!takes(&filters(&["driver=nfs"]), &data));
    }
}
