//! `rm`: state `removing` first, files next, the row last.

use crate::engine::remove_tree;
use crate::record::Record;
use crate::{Engine, Error};
use std::time::Duration;
use tug_store::{ContainerRow, ContainerState};
use tug_types::ContainerId;

/// `rm`'s flags.
#[derive(Clone, Copy, Debug, Default)]
pub struct RemoveOptions {
    /// Kill it first when it runs.
    pub force: bool,
    /// Remove its anonymous volumes too.
    pub volumes: bool,
}

impl Engine {
    /// Removes a container. Returns its name as it was found.
    ///
    /// # Errors
    /// When there is none, or it runs and `force` is not set.
    pub fn remove(&self, name: &str, options: RemoveOptions) -> Result<(), Error> {
        let mut row = self.container(name)?;
        if row.state == ContainerState::Running {
            if !options.force {
                return Err(Error::StillRunning { name: row.name });
            }
            self.kill_and_wait(&row)?;
        }
        let run_dir = self.run_dir(&row.id);
        let Some(lock) = self.lock_unless_running(&row.id)? else {
            // It was started while we looked.
            return match (options.force, self.container(row.id.as_str())) {
                (true, Ok(_)) => self.remove(row.id.as_str(), options).or_else(gone_is_fine),
                (false, Ok(row)) if row.state == ContainerState::Running => {
                    Err(Error::StillRunning { name: row.name })
                }
                (_, Err(Error::NoContainer { .. })) => Ok(()),
                _ => Err(Error::Busy { name: row.name }),
            };
        };
        // It may be gone: `--rm`, or another `rm`.
        match self.store.find_containers(row.id.as_str())?.pop() {
            Some(now) => row = now,
            None => return remove_tree(&run_dir),
        }
        if row.state == ContainerState::Running {
            drop(lock);
            self.reconcile(&row)?;
            return self.remove(row.id.as_str(), options).or_else(gone_is_fine);
        }
        self.remove_locked(&row, options.volumes)
    }

    /// Removes a container whose lock we hold and which does not run. Killed in the middle, whoever
    /// comes next goes on and spares the same volumes.
    pub(crate) fn remove_locked(&self, row: &ContainerRow, volumes: bool) -> Result<(), Error> {
        let record = Record::read(row);
        let (owned, sparing) = match (volumes, record) {
            (true, record) => (record?.anonymous_volumes, None),
            (false, Ok(mut record)) if !record.anonymous_volumes.is_empty() => {
                record.anonymous_volumes.clear();
                (Vec::new(), Some(record.json(&row.id)?))
            }
            // Nothing to spare, or nothing that can be read: a damaged container must be removable.
            (false, _) => (Vec::new(), None),
        };
        self.store.mark_removing(&row.id, sparing.as_deref())?;
        self.remove_files(&row.id)?;
        self.store.forget_container(&row.id, &owned)?.delete()?;
        remove_tree(&self.run_dir(&row.id))
    }

    /// The container's directory. Overlayfs leaves `work/work` with mode 000, which root may remove.
    pub(crate) fn remove_files(&self, id: &ContainerId) -> Result<(), Error> {
        remove_tree(&self.container_dir(id))
    }

    /// SIGKILL, and its end.
    pub(crate) fn kill_and_wait(&self, row: &ContainerRow) -> Result<(), Error> {
        match tug_monitor::Client::connect(&self.run_dir(&row.id)) {
            Ok(mut client) => {
                let killed = client.signal(9).and_then(|()| client.wait().map(drop));
                // A monitor that goes away in the middle has done what was asked.
                drop(killed);
                Ok(())
            }
            Err(_) => {
                // Between the lock and the socket: starting, or about to be gone.
                std::thread::sleep(Duration::from_millis(1));
                Ok(())
            }
        }
    }
}

fn gone_is_fine(error: Error) -> Result<(), Error> {
    match error {
        Error::NoContainer { .. } => Ok(()),
        other => Err(other),
    }
}
