//! The rows of `ps` and what `logs`, `attach` and `port` start from.

use crate::counting::tree_size;
use crate::record::{NetworkMode, Record};
use crate::start::Started;
use crate::view::{ContainerSummary, Status};
use crate::{Engine, Error};
use std::collections::BTreeSet;
use std::path::PathBuf;
use tug_monitor::RunState;
use tug_net::PublishedPort;
use tug_store::{ContainerRow, ContainerState};

/// Where a container's output is, and whether more may come.
#[derive(Clone, Debug)]
pub struct LogSource {
    /// The log's directory.
    pub dir: PathBuf,
    /// The run directory, to be woken by the monitor.
    pub run_dir: PathBuf,
    /// It runs.
    pub running: bool,
    /// It has a terminal: one stream.
    pub tty: bool,
}

impl Engine {
    /// All containers, newest first, as they are now.
    ///
    /// # Errors
    /// When the store fails.
    pub fn containers(&self, with_size: bool) -> Result<Vec<ContainerSummary>, Error> {
        let rows = self.reconciled()?;
        let summaries = rows.into_iter().map(|row| self.summary(row, with_size));
        summaries.filter_map(Result::transpose).collect()
    }

    /// None for steps of builds.
    fn summary(
        &self,
        row: ContainerRow,
        with_size: bool,
    ) -> Result<Option<ContainerSummary>, Error> {
        let record = Record::read(&row)?;
        if record.step {
            return Ok(None);
        }
        let state = self.run_state(&row)?;
        let size = with_size.then(|| self.sizes(&row)).transpose()?;
        let ports = state.as_ref().map(|state| state.ports.clone()).unwrap_or_default();
        let published: BTreeSet<String> = ports.iter().map(port_key).collect();
        let exposed = match row.state {
            ContainerState::Running => record
                .config
                .exposed_ports
                .keys()
                .filter(|port| !published.contains(*port))
                .cloned()
                .collect(),
            _ => Vec::new(),
        };
        Ok(Some(ContainerSummary {
            name: row.name,
            image: record.config.image.clone(),
            image_id: row.image,
            command: shown(&record.command()),
            created: row.created.div_euclid(1_000_000_000),
            status: shown_status(row.state, state.as_ref()),
            started_at: state.as_ref().map_or(row.started, |state| state.started_at),
            finished_at: if state.is_some() { 0 } else { row.finished },
            exit_code: row.exit_code,
            ports,
            exposed,
            labels: record.config.labels.clone(),
            mounts: record
                .mounts
                .iter()
                .map(|mount| mount.name.clone().unwrap_or_else(|| mount.source.clone()))
                .filter(|text| !text.is_empty())
                .collect(),
            networks: vec![network_name(&record)],
            size,
            id: row.id,
        }))
    }

    /// Bytes of the writable layer, and of the whole root.
    pub(crate) fn sizes(&self, row: &ContainerRow) -> Result<(u64, u64), Error> {
        let own = tree_size(&self.container_dir(&row.id).join("upper"));
        let record = Record::read(row)?;
        let layers = self.store.layers();
        let mut below = 0;
        for layer in &record.layers {
            below += layers.info(layer).map_err(tug_store::Error::from)?.size;
        }
        Ok((own, own + below))
    }

    /// Where a container's output is.
    ///
    /// # Errors
    /// When there is no such container.
    pub fn logs(&self, name: &str) -> Result<LogSource, Error> {
        let row = self.container(name)?;
        Ok(LogSource {
            dir: self.container_dir(&row.id).join("log"),
            run_dir: self.run_dir(&row.id),
            running: row.state == ContainerState::Running,
            tty: Record::read(&row)?.config.tty,
        })
    }

    /// A line to a running container.
    ///
    /// # Errors
    /// When there is none, or it does not run.
    pub fn attach(&self, name: &str) -> Result<Started, Error> {
        let row = self.container(name)?;
        let record = Record::read(&row)?;
        let stopped = || Error::AttachStopped { name: row.name.clone() };
        let state = self.run_state(&row)?.ok_or_else(stopped)?;
        let client = tug_monitor::Client::connect(&self.run_dir(&row.id)).map_err(|_| stopped())?;
        Ok(Started {
            tty: record.config.tty,
            open_stdin: record.config.open_stdin,
            auto_remove: record.host.auto_remove,
            client,
            state,
            log_dir: self.container_dir(&row.id).join("log"),
            warnings: Vec::new(),
            name: row.name,
            id: row.id,
        })
    }

    /// The ports of a running container; none otherwise.
    ///
    /// # Errors
    /// When there is no such container.
    pub fn ports(&self, name: &str) -> Result<Vec<PublishedPort>, Error> {
        let row = self.container(name)?;
        Ok(self.run_state(&row)?.map(|state| state.ports).unwrap_or_default())
    }
}

/// A row says running from the moment its start begins; people are told once the process runs.
pub(crate) fn shown_status(state: ContainerState, run: Option<&RunState>) -> Status {
    match (state, run) {
        (ContainerState::Running, None) => Status::Created,
        _ => status(state),
    }
}

fn status(state: ContainerState) -> Status {
    match state {
        ContainerState::Creating | ContainerState::Created => Status::Created,
        ContainerState::Running => Status::Running,
        ContainerState::Exited => Status::Exited,
        ContainerState::Removing => Status::Removing,
    }
}

/// A command as Docker shows it: arguments with blanks in quotes.
fn shown(words: &[String]) -> String {
    let quoted = words.iter().enumerate().map(|(at, word)| match word.contains(' ') && at > 0 {
        true => format!("'{word}'"),
        false => word.clone(),
    });
    quoted.collect::<Vec<_>>().join(" ")
}

/// `80/tcp`
pub(crate) fn port_key(port: &PublishedPort) -> String {
    format!("{}/{}", port.container_port, port.protocol)
}

pub(crate) fn network_name(record: &Record) -> String {
    match record.network() {
        NetworkMode::Bridge => crate::network::DEFAULT.to_owned(),
        NetworkMode::None => "none".to_owned(),
        NetworkMode::Host => "host".to_owned(),
        NetworkMode::Container(id) => format!("container:{id}"),
        NetworkMode::Named(name) => name.to_owned(),
    }
}
