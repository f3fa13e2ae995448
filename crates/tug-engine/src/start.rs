//! `start` and `run`: from a container at rest to its monitor.
//!
//! Steps and their undo: lock (handed to the monitor, or dropped) → state `running` with an address
//! (`mark_ended`) → hostname, hosts, resolv.conf (written anew each start) → monitor (it undoes what
//! it did and reports). A kill in between leaves a `running` row with a free lock: reconciled.

use crate::create::{Created, Fresh};
use crate::model::CreateRequest;
use crate::record::{NetworkMode, Record};
use crate::spec::{self, Places};
use crate::{Engine, Error, network};
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use tug_monitor::{Client, ExitRecord, MonitorSpec, RunState, Waiting};
use tug_net::BridgeConfig;
use tug_store::{ContainerRow, ContainerState, Outcome};
use tug_types::{ContainerId, Explain, Failure, Kind, Subject};

/// A container that runs, and our line to its monitor.
pub struct Started {
    /// Id.
    pub id: ContainerId,
    /// Name.
    pub name: String,
    /// It has a terminal.
    pub tty: bool,
    /// Its stdin is kept open for clients.
    pub open_stdin: bool,
    /// It removes itself after its end.
    pub auto_remove: bool,
    /// The line to the monitor; for the starter, the owner's.
    pub client: Client,
    /// What runs.
    pub state: RunState,
    /// Where its output is.
    pub log_dir: PathBuf,
    /// What the user should know.
    pub warnings: Vec<String>,
}

impl Engine {
    /// Starts a container. `None` when it runs already.
    ///
    /// # Errors
    /// When there is no such container, or it cannot be started; then it stays as it was, with the
    /// reason in its row.
    pub fn start(&self, name: &str) -> Result<Option<Started>, Error> {
        let row = self.container(name)?;
        if row.state == ContainerState::Running {
            return Ok(None);
        }
        let Some(lock) = self.lock_unless_running(&row.id)? else {
            return match self.container(row.id.as_str())?.state {
                ContainerState::Running => Ok(None),
                _ => Err(Error::Busy { name: row.name }),
            };
        };
        // Somebody may have started or removed it while we waited.
        let row = match self.container_as_recorded(row.id.as_str()) {
            Err(error @ Error::NoContainer { .. }) => {
                // Taking the lock made its directory anew.
                crate::engine::remove_tree(&self.run_dir(&row.id))?;
                return Err(error);
            }
            found => found?,
        };
        if row.state == ContainerState::Running {
            drop(lock);
            let row = self.container(row.id.as_str())?;
            return if row.state == ContainerState::Running {
                Ok(None)
            } else {
                self.start(row.id.as_str())
            };
        }
        let record = Record::read(&row)?;
        let monitor = self.monitor(&row.id)?;
        self.launch(&row.id, row.name, &record, lock, monitor, Vec::new()).map(Some)
    }

    /// Makes and starts a container. When the start fails, a container that was to remove itself is
    /// gone again; any other stays, created, as in Docker.
    ///
    /// # Errors
    /// As `create` and `start`.
    pub fn run(&self, request: &CreateRequest) -> Result<Started, Error> {
        let id = crate::create::random_id()?;
        // It gets going while we write down what it is to do.
        let monitor = self.monitor(&id)?;
        let Fresh { created: Created { id, name, warnings }, record, lock } =
            self.create_locked(request, id)?;
        match self.launch(&id, name, &record, lock, monitor, warnings) {
            Err(error) if record.host.auto_remove => {
                // The start's failure is what the user must read, whatever the removal says.
                let _ = self.finish(&id);
                Err(error)
            }
            result => result,
        }
    }

    /// A monitor process for a container that is being made ready.
    fn monitor(&self, id: &ContainerId) -> Result<Waiting, Error> {
        tug_monitor::prepare(&self.settings.exe, id.short())
            .map_err(|error| Error::from_explain(&error))
    }

    fn launch(
        &self,
        id: &ContainerId,
        name: String,
        record: &Record,
        lock: OwnedFd,
        monitor: Waiting,
        mut warnings: Vec<String>,
    ) -> Result<Started, Error> {
        let launched = self.prepare(id, record).and_then(|(spec, more)| {
            warnings.extend(more);
            let starting =
                monitor.start(&spec, lock).map_err(|error| Error::from_explain(&error))?;
            starting.wait_started().map_err(|error| Error::from_explain(&error))
        });
        match launched {
            Ok(started) => Ok(Started {
                id: id.clone(),
                name,
                tty: record.config.tty,
                open_stdin: record.config.open_stdin,
                auto_remove: record.host.auto_remove,
                client: started.owner,
                state: started.state,
                log_dir: self.container_dir(id).join("log"),
                warnings,
            }),
            Err(error) => {
                let error = self.name_port_holder(error);
                self.record_failed_start(id, &error)?;
                Err(error)
            }
        }
    }

    /// Everything the monitor is told; the row is `running` from here on.
    pub(crate) fn prepare(
        &self,
        id: &ContainerId,
        record: &Record,
    ) -> Result<(MonitorSpec, Vec<String>), Error> {
        let join_network = match record.network() {
            NetworkMode::Container(other) => Some(self.network_namespace_of(other)?),
            _ => None,
        };
        let bridge = match record.network() {
            NetworkMode::Bridge => Some(self.bridge()?),
            _ => None,
        };
        let address = self.mark_running(id, bridge.as_ref())?;
        let place = bridge.as_ref().zip(address).map(|(bridge, address)| (address, bridge.gateway));
        let warnings = self.write_network_files(id, record, place)?;
        let container_dir = self.container_dir(id);
        let run_dir = self.run_dir(id);
        let places = Places {
            layers: self.trees_below(record)?,
            container_dir: &container_dir,
            run_dir: &run_dir,
            join_network,
        };
        let network = bridge
            .zip(address)
            .map(|(bridge, address)| self.network_spec(id, record, bridge, address))
            .transpose()?;
        let stop_signal = record.config.stop_signal.as_deref().unwrap_or("SIGTERM");
        let spec = MonitorSpec {
            container: spec::container(id, record, &places)?,
            network,
            open_stdin: record.config.open_stdin,
            stdin_once: record.config.stdin_once,
            log: spec::log(record)?,
            reaper: self.reaper(id),
            stop_signal: spec::signal_number(stop_signal)?,
            stop_timeout_ms: record.config.stop_timeout.unwrap_or(10).saturating_mul(1000),
            ends_with_owner: record.step,
            container_dir,
            run_dir,
        };
        Ok((spec, warnings))
    }

    fn mark_running(
        &self,
        id: &ContainerId,
        bridge: Option<&BridgeConfig>,
    ) -> Result<Option<std::net::Ipv4Addr>, Error> {
        let Some(bridge) = bridge else { return Ok(self.store.mark_running(id, None)?) };
        let next = |used: &_| tug_net::next_address(bridge.subnet, bridge.gateway, used);
        Ok(self.store.mark_running(id, Some((network::DEFAULT, &next)))?)
    }

    /// The argument list a monitor executes when nobody is there to tidy up after it.
    fn reaper(&self, id: &ContainerId) -> Vec<String> {
        let settings = &self.settings;
        vec![
            crate::REAPER.to_owned(),
            settings.data_root.display().to_string(),
            settings.exec_root.display().to_string(),
            id.to_string(),
        ]
    }

    /// What the container's files are made of besides its own, uppermost first; the last is the ground.
    pub(crate) fn trees_below(&self, record: &Record) -> Result<Vec<PathBuf>, Error> {
        let mut trees = self.store.layers().trees(record.layers.iter());
        trees.push(self.ground()?);
        Ok(trees)
    }

    fn network_namespace_of(&self, other: &str) -> Result<PathBuf, Error> {
        let row = self.container(other)?;
        let state = self.run_state(&row)?.ok_or(Error::JoinStopped { name: row.name })?;
        Ok(PathBuf::from(format!("/proc/{}/ns/net", state.pid)))
    }

    /// A start that failed leaves the container as it was, with code and reason in its row.
    pub(crate) fn record_failed_start(&self, id: &ContainerId, error: &Error) -> Result<(), Error> {
        // A monitor that failed has undone what it did; one that was killed has not.
        if let Ok(Some(_lock)) = self.lock_unless_running(id)
            && let Some(row) = self.store.find_containers(id.as_str())?.pop()
        {
            // The failure of the start is what the user must read.
            let _ = self.take_down_remains(&row);
        }
        let exit_code = match error.kind() {
            Kind::CommandNotFound => 127,
            Kind::NotExecutable => 126,
            _ => 128,
        };
        let outcome = Outcome { exit_code, error: error.failure().message, ..Outcome::default() };
        self.store.mark_ended(id, &outcome)?;
        let from = [ContainerState::Creating];
        self.store.set_container_state(id, &from, ContainerState::Created)?;
        Ok(())
    }

    /// A port another container has: says which.
    fn name_port_holder(&self, error: Error) -> Error {
        let Error::Failed(Failure { subject: Some(Subject::ContainerAt(address)), .. }) = error
        else {
            return error;
        };
        let Error::Failed(failure) = error else { return error };
        let rows = self.store.containers().unwrap_or_default();
        match rows.into_iter().find(|row| row.address == Some(address)) {
            Some(ContainerRow { name, .. }) => Error::Failed(Failure {
                message: format!("{} by container {name}", failure.message),
                hint: Some(format!("stop it with `tug stop {name}`, or publish another host port")),
                ..failure
            }),
            None => Error::Failed(failure),
        }
    }
}

/// The store's words for an exit record.
pub(crate) fn outcome(exit: &ExitRecord) -> Outcome {
    Outcome {
        exit_code: exit.exit_code,
        started: exit.started_at,
        finished: exit.finished_at,
        oom_killed: exit.oom_killed,
        error: exit.error.as_ref().map(|failure| failure.message.clone()).unwrap_or_default(),
    }
}
