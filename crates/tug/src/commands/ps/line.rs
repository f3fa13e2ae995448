//! What `ps` says of one container.

use super::ports;
use crate::text::human;
use crate::text::listing::{Field, Listing, Row};
use std::collections::BTreeMap;
use tug_engine::{ContainerSummary, Status};
use tug_types::ImageReference;

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

/// How containers are listed.
pub(in crate::commands) fn listing(with_size: bool) -> Listing {
    let mut columns = vec!["ID", "Image", "Command", "RunningFor", "Status", "Ports", "Names"];
    let mut raw = RAW.to_owned();
    if with_size {
        columns.push("Size");
        raw.push_str("size: {{.Size}}\n");
    }
    Listing {
        type_name: "*formatter.ContainerContext",
        fields: FIELDS,
        columns,
        raw,
        nulls: &["Platform"],
    }
}

/// One container as a row.
pub(in crate::commands) struct Line {
    pub container: ContainerSummary,
    /// Nothing is shortened.
    pub whole: bool,
    /// Seconds since the epoch.
    pub now: i64,
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
            "Ports" => ports::shown(&one.ports, &one.exposed),
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

/// The id, shortened unless `whole`.
pub(super) fn shown_id(container: &ContainerSummary, whole: bool) -> String {
    if whole { container.id.to_string() } else { container.id.short().to_owned() }
}

/// `a=1,b=2`
pub(in crate::commands) fn joined(labels: &BTreeMap<String, String>) -> String {
    labels.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(",")
}

/// `Up 3 minutes`, `Exited (0) 2 hours ago`
pub(super) fn status(one: &ContainerSummary, now: i64) -> String {
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
