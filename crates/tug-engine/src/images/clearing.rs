//! Giving space back, and making durable: what nothing refers to any more leaves the store at once,
//! its files are deleted right away when they are few, and by a process of its own when they are
//! many. The same process syncs what a command has recorded.

use crate::{Engine, Error};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::time::Duration;
use tug_store::{Collected, Discarded};

/// argv[0] of a process that deletes what was moved out of its place and syncs what was recorded;
/// followed by the data root and the number of the signal that interrupted the command before it, 0
/// for none.
pub const SWEEPER: &str = "tug-sweep";

/// A third word for [`SWEEPER`]: count the files of what runs, and nothing else.
pub const RECOUNT: &str = "recount";

/// What a killed command had finished is kept so long for its repetition.
const GRACE: Duration = Duration::from_secs(24 * 60 * 60);

/// So many files are deleted in a few milliseconds.
const FEW: u64 = 500;

impl Engine {
    /// Deletes every layer and blob that no image, container or running command refers to, and what
    /// interrupted pulls left to go on from.
    ///
    /// # Errors
    /// When the store cannot be read, or something cannot be deleted.
    pub fn collect(&self) -> Result<Collected, Error> {
        self.store.sweep().map_err(tug_store::Error::from)?;
        self.store.partials().sweep(Duration::ZERO).map_err(tug_store::Error::from)?;
        Ok(self.store.collect(Duration::ZERO)?.delete()?)
    }

    /// What a process with the name [`SWEEPER`] does.
    ///
    /// # Errors
    /// When the disk or the database fails, or something cannot be deleted; the next one tries again.
    pub fn tidy(&self) -> Result<(), Error> {
        let swept = self.store.sweep().map_err(tug_store::Error::from);
        self.store.settle()?;
        Ok(swept?)
    }

    /// The same for what has been lying about for long, on the occasion of another command. It must
    /// not fail for it: the next one tries again.
    pub(crate) fn collect_leftovers(&self) {
        if let Ok(gone) = self.store.collect(GRACE) {
            let _ = self.delete_later(gone);
        }
    }

    /// Deletes now, or lets a process do it that outlives this one.
    pub(crate) fn delete_later(&self, gone: Discarded) -> Result<(), Error> {
        if gone.entries() > FEW && self.start_sweeper(&[]).is_ok() {
            return Ok(());
        }
        gone.delete()?;
        Ok(())
    }

    /// Lets a process sync what was recorded (see `tug_store`'s `settle`), and delete what killed commands
    /// left.
    ///
    /// # Errors
    /// When neither a process can be started nor the file system synced.
    pub fn settle_later(&self) -> Result<(), Error> {
        let unsettled = self.store.is_unsettled(Duration::ZERO)?;
        // What cannot be asked about now, the next command asks about.
        let leftovers = || self.store.has_leftovers().unwrap_or(false);
        if !unsettled && !leftovers() {
            return Ok(());
        }
        match self.start_sweeper(&[]) {
            // Leftovers can wait.
            Err(_) if unsettled => Ok(self.store.settle()?),
            _ => Ok(()),
        }
    }

    #[expect(clippy::disallowed_methods, reason = "the binary starts itself")]
    pub(crate) fn start_sweeper(&self, more: &[&str]) -> std::io::Result<()> {
        let mut sweeper = Command::new(&self.settings.exe);
        sweeper.arg0(SWEEPER).arg(self.store.root()).arg("0").args(more);
        sweeper.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        // Ctrl-C at the terminal is meant for the command, not for what it left to be done.
        sweeper.process_group(0).current_dir("/").spawn().map(drop)
    }
}
