//! Making rows tell the truth again. Nobody runs in the background: whoever looks at a row whose
//! holder is gone brings it up to date, with the lock in hand so that only one does.

use crate::engine::remove_tree;
use crate::record::{NetworkMode, Record};
use crate::start::outcome;
use crate::{Engine, Error, lock, network, spec};
use std::os::fd::OwnedFd;
use std::time::Duration;
use tug_monitor::{ExitRecord, RunState};
use tug_store::{ContainerRow, ContainerState};
use tug_types::{ContainerId, Explain};

impl Engine {
    /// Brings one container up to date. True when something was changed.
    pub(crate) fn reconcile(&self, row: &ContainerRow) -> Result<bool, Error> {
        let settled = matches!(row.state, ContainerState::Created | ContainerState::Exited);
        let run_dir = self.run_dir(&row.id);
        if settled || tug_monitor::is_running(&run_dir) {
            return Ok(false);
        }
        let Some(_lock) = lock::try_take(&run_dir)? else { return Ok(false) };
        // The row may have moved on between reading it and getting the lock.
        let Some(row) = self.store.find_containers(row.id.as_str())?.pop() else {
            remove_tree(&run_dir)?;
            return Ok(true);
        };
        match row.state {
            ContainerState::Created | ContainerState::Exited => {}
            ContainerState::Running => self.settle(&row)?,
            ContainerState::Creating | ContainerState::Removing => {
                self.remove_locked(&row, true)?
            }
        }
        Ok(true)
    }

    /// Brings every container up to date and returns them as they are now, newest first.
    pub(crate) fn reconciled(&self) -> Result<Vec<ContainerRow>, Error> {
        let rows = self.store.containers()?;
        let mut changed = false;
        for row in &rows {
            changed |= self.reconcile(row)?;
        }
        self.sweep_run_dirs(&rows)?;
        if changed { Ok(self.store.containers()?) } else { Ok(rows) }
    }

    /// Removes run directories whose command was killed before it made a row.
    fn sweep_run_dirs(&self, rows: &[ContainerRow]) -> Result<(), Error> {
        let Ok(entries) = std::fs::read_dir(self.settings.exec_root.join("containers")) else {
            return Ok(());
        };
        for entry in entries.flatten() {
            let id = entry.file_name().to_str().and_then(|name| ContainerId::parse(name).ok());
            let Some(id) = id.filter(|id| rows.iter().all(|row| row.id != *id)) else { continue };
            let run_dir = self.run_dir(&id);
            let Ok(_lock) = tug_monitor::take_lock(&run_dir) else { continue };
            if self.store.find_containers(id.as_str())?.is_empty() {
                remove_tree(&run_dir)?;
            }
        }
        Ok(())
    }

    /// The lock of a container, waited for while another command changes it; not while it runs, for
    /// then its monitor keeps the lock.
    pub(crate) fn lock_unless_running(&self, id: &ContainerId) -> Result<Option<OwnedFd>, Error> {
        let run_dir = self.run_dir(id);
        let slice = Duration::from_millis(20);
        for _ in 0..lock::PATIENCE.as_millis() / slice.as_millis() {
            if let Some(lock) = lock::take(&run_dir, slice)? {
                return Ok(Some(lock));
            }
            if tug_monitor::read_state(&run_dir).is_ok_and(|state| state.is_some()) {
                return Ok(None);
            }
        }
        Ok(None)
    }

    /// The owner of a run saw its end: records it, and removes the container if it is to remove itself.
    ///
    /// # Errors
    /// When the store or the removal fails.
    pub fn finish(&self, id: &ContainerId) -> Result<(), Error> {
        let run_dir = self.run_dir(id);
        let Some(_lock) = self.lock_unless_running(id)? else {
            // Started again by somebody else, who answers for that run.
            return Ok(());
        };
        let Some(row) = self.store.find_containers(id.as_str())?.pop() else {
            return remove_tree(&run_dir);
        };
        match row.state {
            ContainerState::Running => self.settle(&row),
            ContainerState::Removing => self.remove_locked(&row, true),
            _ if Record::read(&row)?.host.auto_remove => self.remove_locked(&row, true),
            _ => Ok(()),
        }
    }

    /// What a monitor turns into when nobody is connected to tidy up after it.
    ///
    /// # Errors
    /// As `finish`.
    pub fn reap(&self, id: &ContainerId) -> Result<(), Error> {
        if !self.container_dir(id).exists() {
            // Removed meanwhile, perhaps with everything else: nothing is to be made anew.
            return Ok(());
        }
        self.finish(id)
    }

    /// The row says running, the lock is ours: the run is over. Removes what a killed monitor left,
    /// records the end, removes the container if it is to remove itself.
    fn settle(&self, row: &ContainerRow) -> Result<(), Error> {
        let record = Record::read(row)?;
        let exit = self.take_down_remains(row)?;
        if record.host.auto_remove {
            return self.remove_locked(row, true);
        }
        self.store.mark_ended(&row.id, &outcome(&exit))?;
        Ok(())
    }

    /// Removes what a killed monitor left, and answers how the run ended. The lock must be ours.
    pub(crate) fn take_down_remains(&self, row: &ContainerRow) -> Result<ExitRecord, Error> {
        let record = Record::read(row)?;
        let bridge = match record.network() {
            NetworkMode::Bridge => self.known_bridge()?,
            _ => None,
        };
        let endpoint = row.address.map(|address| network::endpoint(&row.id, address));
        tug_monitor::reconcile(&tug_monitor::Remains {
            id: &row.id,
            cgroup_parent: &spec::cgroup_parent(&record),
            run_dir: &self.run_dir(&row.id),
            container_dir: &self.container_dir(&row.id),
            network: bridge.as_ref().zip(endpoint.as_ref()),
        })
        .map_err(|error| Error::from_explain(&error))
    }

    /// What runs, when the row says so and its monitor lives.
    pub(crate) fn run_state(&self, row: &ContainerRow) -> Result<Option<RunState>, Error> {
        if row.state != ContainerState::Running {
            return Ok(None);
        }
        tug_monitor::read_state(&self.run_dir(&row.id))
            .map_err(|error| Error::Failed(error.failure()))
    }
}
