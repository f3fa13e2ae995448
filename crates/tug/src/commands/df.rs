//! `system df`: what takes up room.

use super::images::{self, Line as ImageLine};
use super::ps::{self, Line as ContainerLine};
use super::volume;
use crate::context::Context;
use crate::flags::{Arguments, Command, Flag, Parsed};
use crate::quit::Quit;
use crate::text::human;
use crate::text::json::{self, html_escaped};
use crate::text::listing::{Field, Listing, Row};
use crate::text::template::{self, Flaw, Format};
use std::collections::{HashMap, HashSet};
use std::rc::Rc;
use tug_engine::{BuildCacheUsage, DiskUsage, VolumeUsage};
use tug_template::{List, Of, Record, Value};

pub(crate) static COMMAND: Command = Command {
    names: &["system df"],
    usage: "[OPTIONS]",
    about: "Show disk usage",
    flags: &[&[
        Flag::value("format", "string", "'table', 'json', 'table TEMPLATE' or a Go template"),
        Flag::switch("verbose", "Show detailed information on space usage").short('v'),
    ]],
    arguments: Arguments::Exactly(0),
    verbatim: false,
    run,
};

const FIELDS: &[Field] = &[
    ("Type", "TYPE"),
    ("TotalCount", "TOTAL"),
    ("Active", "ACTIVE"),
    ("Size", "SIZE"),
    ("Reclaimable", "RECLAIMABLE"),
];

const CACHE_FIELDS: &[Field] = &[
    ("ID", "CACHE ID"),
    ("Parent", "PARENT"),
    ("CacheType", "CACHE TYPE"),
    ("Description", "DESCRIPTION"),
    ("InUse", "IN USE"),
    ("Shared", "SHARED"),
    ("Size", "SIZE"),
    ("CreatedSince", "CREATED"),
    ("LastUsedSince", "LAST USED"),
    ("UsageCount", "USAGE"),
    ("CreatedAt", "CREATED AT"),
    ("LastUsedAt", "LAST USED AT"),
];

fn run(ctx: &Context, parsed: &Parsed<'_>) -> Result<u8, Quit> {
    let usage = ctx.engine.disk_usage()?;
    if let Some(since) = usage.since {
        let ago = human::duration(jiff::Timestamp::now().as_second() - since);
        ctx.warn(&[format!(
            "some containers that run have too many files to count them at once: their sizes are from \
             {} ago and are being counted anew",
            ago.to_lowercase()
        )]);
    }
    let format = parsed.text_or_empty("format");
    let text = match parsed.on("verbose") {
        false => summary().print(&format, rows(&usage, &in_use(ctx))).map_err(Flaw::quit)?,
        true => Sections::of(ctx, usage)?.print(&format)?,
    };
    ctx.print(text).map(|()| 0)
}

fn summary() -> Listing {
    Listing {
        type_name: "*formatter.diskUsageContext",
        fields: FIELDS,
        columns: vec!["Type", "TotalCount", "Active", "Size", "Reclaimable"],
        raw: "type: {{.Type}}\ntotal: {{.TotalCount}}\nactive: {{.Active}}\nsize: {{.Size}}\n\
              reclaimable: {{.Reclaimable}}\n"
            .to_owned(),
        nulls: &[],
    }
}

/// One kind of things.
struct Kind {
    name: &'static str,
    total: usize,
    active: usize,
    size: u64,
    reclaimable: u64,
    /// Say how much that is of the whole.
    share: bool,
}

impl Row for Kind {
    fn field(&self, name: &str) -> String {
        match name {
            "Type" => self.name.to_owned(),
            "TotalCount" => self.total.to_string(),
            "Active" => self.active.to_string(),
            "Size" => human::size(self.size, 4),
            "Reclaimable" => {
                let size = human::size(self.reclaimable, 4);
                let share = u128::from(self.reclaimable) * 100;
                match share.checked_div(u128::from(self.size)).filter(|_| self.share) {
                    Some(share) => format!("{size} ({share}%)"),
                    None => size,
                }
            }
            _ => String::new(),
        }
    }
}

/// Names of what builds use at the moment.
fn in_use(ctx: &Context) -> HashSet<String> {
    tug_build::mounts_in_use(ctx.engine.settings()).into_iter().collect()
}

fn rows(usage: &DiskUsage, used: &HashSet<String>) -> [Kind; 4] {
    let cache_in_use = || usage.cache.iter().filter(|one| used.contains(&one.id));
    let containers: u64 = usage.containers.iter().map(|one| one.size).sum();
    let running = || usage.containers.iter().filter(|one| one.running);
    let volumes: u64 = usage.volumes.iter().map(|one| one.size).sum();
    let linked = || usage.volumes.iter().filter(|one| one.links > 0);
    [
        Kind {
            name: "Images",
            total: usage.images.len(),
            active: usage.images.iter().filter(|image| image.containers > 0).count(),
            size: usage.layers,
            reclaimable: usage.reclaimable_layers,
            share: true,
        },
        Kind {
            name: "Containers",
            total: usage.containers.len(),
            active: running().count(),
            size: containers,
            reclaimable: containers - running().map(|one| one.size).sum::<u64>(),
            share: true,
        },
        Kind {
            name: "Local Volumes",
            total: usage.volumes.len(),
            active: linked().count(),
            size: volumes,
            reclaimable: volumes - linked().map(|one| one.size).sum::<u64>(),
            share: true,
        },
        Kind {
            name: "Build Cache",
            total: usage.cache.len(),
            active: cache_in_use().count(),
            size: usage.cache_size,
            reclaimable: usage.cache_size - cache_in_use().map(|one| one.size).sum::<u64>(),
            share: false,
        },
    ]
}

/// Everything of every kind, for the long form.
struct Sections {
    images: Vec<ImageLine>,
    containers: Vec<ContainerLine>,
    volumes: Vec<VolumeLine>,
    cache: Vec<CacheLine>,
    cache_size: u64,
}

impl Sections {
    fn of(ctx: &Context, usage: DiskUsage) -> Result<Self, Quit> {
        let (mut images, containers) = ctx.engine.disk_usage_rows(&usage)?;
        // An image is one line here, under its first name.
        let mut seen = HashSet::new();
        images.retain(|image| seen.insert(image.id));
        let now = jiff::Timestamp::now().as_second();
        let sizes: HashMap<_, _> = usage.images.into_iter().map(|one| (one.id, one)).collect();
        let image = |image: tug_engine::ImageSummary| ImageLine {
            usage: sizes.get(&image.id).map(|one| (one.shared, one.unique())),
            image,
            whole: false,
            digests: false,
            now,
        };
        let container = |container| ContainerLine { container, whole: false, now };
        Ok(Self {
            images: images.into_iter().map(image).collect(),
            containers: containers.into_iter().map(container).collect(),
            volumes: usage.volumes.into_iter().map(VolumeLine).collect(),
            cache: cache(usage.cache, &in_use(ctx), now),
            cache_size: usage.cache_size,
        })
    }

    fn print(self, format: &str) -> Result<String, Quit> {
        match format {
            "" | "table" => self.tables(),
            "json" => self.templated("{{json .}}"),
            template => self.templated(template),
        }
    }

    fn tables(self) -> Result<String, Quit> {
        let mut text = String::from("Images space usage:\n\n");
        text.push_str(&image_listing().print("", self.images).map_err(Flaw::quit)?);
        text.push_str("\nContainers space usage:\n\n");
        text.push_str(&container_listing().print("", self.containers).map_err(Flaw::quit)?);
        text.push_str("\nLocal Volumes space usage:\n\n");
        text.push_str(&volume_listing().print("", self.volumes).map_err(Flaw::quit)?);
        text.push_str(&format!("\nBuild cache usage: {}\n\n", human::size(self.cache_size, 4)));
        text.push_str(&cache_listing().print("", self.cache).map_err(Flaw::quit)?);
        Ok(text)
    }

    fn templated(mut self, template: &str) -> Result<String, Quit> {
        // Templates get whole ids.
        self.images.iter_mut().for_each(|line| line.whole = true);
        self.containers.iter_mut().for_each(|line| line.whole = true);
        let record = Value::object(Record {
            type_name: "formatter.diskUsageContext".to_owned(),
            fields: vec![
                ("Images".into(), list(&image_listing(), self.images)),
                ("Containers".into(), list(&container_listing(), self.containers)),
                ("Volumes".into(), list(&volume_listing(), self.volumes)),
                ("BuildCache".into(), list(&cache_listing(), self.cache)),
            ],
        });
        if template == "{{json .}}" {
            let line = json::line(&record).map_err(|error| Quit::invalid(error.to_string()))?;
            return Ok(html_escaped(&line) + "\n");
        }
        let format = Format::rows(&template::unescape(template)).map_err(Flaw::quit)?;
        Ok(format.fill(&record).map_err(Flaw::quit)? + "\n")
    }
}

fn list<R: Row>(listing: &Listing, rows: Vec<R>) -> Value {
    let items = rows.into_iter().map(|row| listing.value(row)).collect();
    Value::List(Rc::new(List { items, of: Of::Objects, is_nil: false }))
}

fn cache(rows: Vec<BuildCacheUsage>, used: &HashSet<String>, now: i64) -> Vec<CacheLine> {
    let line = |row: BuildCacheUsage| CacheLine { in_use: used.contains(&row.id), row, now };
    rows.into_iter().map(line).collect()
}

fn image_listing() -> Listing {
    Listing {
        columns: vec![
            "Repository",
            "Tag",
            "ID",
            "CreatedSince",
            "Size",
            "SharedSize",
            "UniqueSize",
            "Containers",
        ],
        ..images::listing(false)
    }
}

fn container_listing() -> Listing {
    Listing {
        columns: vec![
            "ID",
            "Image",
            "Command",
            "LocalVolumes",
            "Size",
            "RunningFor",
            "Status",
            "Names",
        ],
        ..ps::listing(false)
    }
}

fn volume_listing() -> Listing {
    Listing { columns: vec!["Name", "Links", "Size"], ..volume::listing() }
}

fn cache_listing() -> Listing {
    Listing {
        type_name: "*formatter.buildCacheContext",
        fields: CACHE_FIELDS,
        columns: vec![
            "ID",
            "CacheType",
            "Size",
            "CreatedSince",
            "LastUsedSince",
            "UsageCount",
            "Shared",
        ],
        raw: "{{.ID}}\n".to_owned(),
        nulls: &[],
    }
}

/// A volume with its figures.
struct VolumeLine(VolumeUsage);

impl Row for VolumeLine {
    fn field(&self, name: &str) -> String {
        match name {
            "Links" => self.0.links.to_string(),
            "Size" => human::size(self.0.size, 3),
            other => self.0.volume.field(other),
        }
    }
}

/// A result of builds.
struct CacheLine {
    row: BuildCacheUsage,
    in_use: bool,
    now: i64,
}

impl Row for CacheLine {
    fn field(&self, name: &str) -> String {
        let row = &self.row;
        let ago = |seconds: i64| format!("{} ago", human::duration(self.now - seconds));
        match name {
            "ID" => row.id.chars().take(12).collect(),
            "CacheType" => row.kind.to_owned(),
            "Description" => row.description.clone(),
            "InUse" => self.in_use.to_string(),
            "Shared" => row.shared.to_string(),
            "Size" => human::size(row.size, 3),
            "CreatedSince" => ago(row.created),
            "LastUsedSince" => ago(row.used),
            "CreatedAt" => human::go_time(row.created),
            "LastUsedAt" => human::go_time(row.used),
            "UsageCount" => row.uses.to_string(),
            _ => String::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tug_engine::ContainerUsage;

    #[test]
    fn the_summary_is_dockers() {
        let id = tug_types::ContainerId::parse(&"a".repeat(64)).unwrap();
        let usage = DiskUsage {
            images: Vec::new(),
            layers: 5_000_000,
            reclaimable_layers: 1_738_450,
            containers: vec![
                ContainerUsage { id: id.clone(), size: 12_345, running: true },
                ContainerUsage { id, size: 100, running: false },
            ],
            ..DiskUsage::default()
        };
        assert_eq!(
            summary().print("", rows(&usage, &HashSet::new())).unwrap(),
            "\
TYPE            TOTAL     ACTIVE    SIZE      RECLAIMABLE
Images          0         0         5MB       1.738MB (34%)
Containers      2         1         12.45kB   100B (0%)
Local Volumes   0         0         0B        0B
Build Cache     0         0         0B        0B
"
        );
        assert_eq!(
            summary().print("json", rows(&usage, &HashSet::new())).unwrap().lines().nth(1),
            Some(
                "{\"Active\":\"1\",\"Reclaimable\":\"100B (0%)\",\"Size\":\"12.45kB\",\"TotalCount\":\"2\",\"Type\":\"Containers\"}"
            )
        );
    }

    #[test]
    fn the_long_form_has_dockers_sections() {
        let sections = || Sections {
            images: Vec::new(),
            containers: Vec::new(),
            volumes: Vec::new(),
            cache: Vec::new(),
            cache_size: 0,
        };
        assert_eq!(
            sections().print("").unwrap(),
            "\
Images space usage:

REPOSITORY   TAG       IMAGE ID   CREATED   SIZE      SHARED SIZE   UNIQUE SIZE   CONTAINERS

Containers space usage:

CONTAINER ID   IMAGE     COMMAND   LOCAL VOLUMES   SIZE      CREATED   STATUS    NAMES

Local Volumes space usage:

VOLUME NAME   LINKS     SIZE

Build cache usage: 0B

CACHE ID   CACHE TYPE   SIZE      CREATED   LAST USED   USAGE     SHARED
"
        );
        assert_eq!(
            sections().print("json").unwrap(),
            "{\"Images\":[],\"Containers\":[],\"Volumes\":[],\"BuildCache\":[]}\n"
        );
        assert_eq!(sections().print("{{len .Images}}").unwrap(), "0\n");
    }
}
