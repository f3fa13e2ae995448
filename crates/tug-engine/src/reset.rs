//! `system reset`: back to a machine tug was never used on, as far as one data root goes.

use crate::engine::remove_tree;
use crate::{Engine, Error, RemoveOptions};
use tug_types::Explain;

impl Engine {
    /// Stops and removes every container, the bridge with its table, and all data of this root.
    ///
    /// # Errors
    /// The first thing that could not be removed; everything else was tried all the same.
    pub fn reset(&mut self) -> Result<(), Error> {
        let mut first = None;
        let mut attempt = |result: Result<(), Error>| {
            if let Err(error) = result {
                first.get_or_insert(error);
            }
        };
        if self.settings.data_root.join("state.db").exists() {
            for row in self.reconciled()? {
                attempt(self.remove(row.id.as_str(), RemoveOptions { force: true, volumes: true }));
            }
            if let Some(bridge) = self.known_bridge()? {
                attempt(
                    tug_net::remove_bridge(&bridge).map_err(|error| Error::Failed(error.failure())),
                );
            }
        }
        if let Some(error) = first {
            return Err(error);
        }
        self.store.close();
        remove_tree(&self.settings.data_root)?;
        remove_tree(&self.settings.exec_root)?;
        tug_runtime::cgroup::remove_parent("tug").map_err(|error| Error::Failed(error.failure()))
    }
}
