//! What the engine keeps of a container beside its row's columns: the configuration after merging,
//! as JSON in the row.

use crate::Error;
use crate::model::{Config, HostConfig};
use crate::view::MountPoint;
use serde::{Deserialize, Serialize};
use tug_store::ContainerRow;
use tug_types::{ContainerId, DiffId};

/// The engine's part of a container's row.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Record {
    /// Image and command line merged.
    pub config: Config,
    /// The host's side, defaults filled in.
    pub host: HostConfig,
    /// Layers of the image, base first.
    pub layers: Vec<DiffId>,
    /// Binds, volumes and tmpfs, in the order they are mounted.
    pub mounts: Vec<MountPoint>,
    /// Volumes made for this container alone: removed with it when asked.
    pub anonymous_volumes: Vec<String>,
    /// A step of a build: no container of the user's, shown in no list.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub step: bool,
}

impl Record {
    pub(crate) fn read(row: &ContainerRow) -> Result<Self, Error> {
        serde_json::from_str(&row.record)
            .map_err(|source| Error::Record { id: row.id.short().to_owned(), source })
    }

    /// The text of it in the row.
    pub(crate) fn json(&self, id: &ContainerId) -> Result<String, Error> {
        serde_json::to_string(self)
            .map_err(|source| Error::Record { id: id.short().to_owned(), source })
    }

    /// Program and arguments: entrypoint, then command.
    pub(crate) fn command(&self) -> Vec<String> {
        let mut words = self.config.entrypoint.clone().unwrap_or_default();
        words.extend(self.config.cmd.iter().flatten().cloned());
        words
    }

    /// The network mode with names resolved, see [`NetworkMode`].
    pub(crate) fn network(&self) -> NetworkMode<'_> {
        NetworkMode::parse(&self.host.network_mode)
    }
}

/// `--network`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NetworkMode<'a> {
    Bridge,
    None,
    Host,
    Container(&'a str),
    /// A network of the user's.
    Named(&'a str),
}

impl<'a> NetworkMode<'a> {
    pub(crate) fn parse(text: &'a str) -> Self {
        match text {
            "" | "default" | "bridge" => Self::Bridge,
            "none" => Self::None,
            "host" => Self::Host,
            other => match other.strip_prefix("container:") {
                Some(name) => Self::Container(name),
                None => Self::Named(other),
            },
        }
    }
}
