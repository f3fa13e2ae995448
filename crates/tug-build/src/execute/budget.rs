//! The byte budget of the build cache: layers that only remembered results have, the directories of cache
//! mounts, and what the steps of all builds are writing at the moment.
//!
//! ```text
//! <data-root>/tmp/lease-…/cost   bytes that the steps of that build are writing now
//! <data-root>/build/mounts/…/    size   bytes of a cache mount after its last use
//! ```
//!
//! Whoever wants room makes a [`Claim`] and says how much. What was used longest ago goes first. With a
//! budget somebody chose, a claim that does not fit although everything else is gone fails; with the budget
//! there is by default it does not: that one is for what stays between builds.
//!
//! A running command writes without asking: it is measured, first when the file system has grown by a part
//! of what is left and now and then anyway, and killed once it is over. What it writes between two looks, a
//! tenth of a second apart at least, is therefore beyond the budget until it is dead.

use super::{Worker, locked};
use crate::error::BuildError;
use crate::prune;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::sync::{Mutex, OnceLock};
use std::time::{Duration, Instant};
use tug_engine::StepKiller;

/// Between two looks at the file system.
const LOOK: Duration = Duration::from_millis(100);
/// A running command is measured this often, however little the file system has grown.
const MEASURE: Duration = Duration::from_secs(5);
/// Measuring may take this part of the time.
const SHARE: u32 = 10;

/// What may be kept, and what is being written.
pub(crate) struct Budget {
    bytes: u64,
    /// Somebody chose it.
    strict: bool,
    cost: PathBuf,
    running: Mutex<BTreeMap<u64, u64>>,
    next: std::sync::atomic::AtomicU64,
}

impl Budget {
    pub(crate) fn new(bytes: u64, strict: bool, lease: &Path) -> Self {
        let (running, next) = Default::default();
        Self { bytes, strict, cost: lease.join("cost"), running, next }
    }

    /// What all builds are writing: this one's as it knows it, the others' as they last said.
    fn being_written(&self) -> u64 {
        let own: u64 = locked(&self.running).values().sum();
        let leases = self.cost.parent().and_then(Path::parent).map(std::fs::read_dir);
        let others = leases.into_iter().flatten().flatten().flatten().map(|e| e.path());
        let cost = |lease: PathBuf| {
            let file = lease.join("cost");
            let text = (file != self.cost).then(|| std::fs::read_to_string(file).ok())??;
            text.trim().parse::<u64>().ok()
        };
        others.filter_map(cost).fold(own, u64::saturating_add)
    }

    fn set(&self, number: u64, bytes: u64) {
        let mut running = locked(&self.running);
        let before: u64 = running.values().sum();
        match bytes {
            0 => drop(running.remove(&number)),
            bytes => drop(running.insert(number, bytes)),
        }
        let sum: u64 = running.values().sum();
        if sum != before {
            // Others see it late then; this build counts it all the same.
            let _ = std::fs::write(&self.cost, sum.to_string());
        }
    }
}

/// Room for something that is being written; given back when dropped.
pub(crate) struct Claim<'w> {
    worker: &'w Worker<'w>,
    number: u64,
}

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        self.worker.budget.set(self.number, 0);
    }
}

impl Claim<'_> {
    /// Wants room for what is there or is going to be. Not even asked about without a budget somebody chose:
    /// what is kept in the end makes room for itself.
    pub(crate) fn check(&self, bytes: impl FnOnce() -> u64) -> Result<(), BuildError> {
        match self.worker.budget.strict {
            true => self.take(bytes()),
            false => Ok(()),
        }
    }

    /// Wants room for so many bytes in all, and makes it.
    fn take(&self, bytes: u64) -> Result<(), BuildError> {
        let budget = &self.worker.budget;
        budget.set(self.number, bytes);
        if self.worker.make_room()? || !budget.strict {
            return Ok(());
        }
        Err(BuildError::Budget { budget: budget.bytes, written: bytes })
    }
}

impl<'b> Worker<'b> {
    pub(crate) fn claim(&self) -> Claim<'_> {
        let number = self.budget.next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        Claim { worker: self, number }
    }

    /// Takes away what was used longest ago, but nothing this build uses, until all is in the budget; whether
    /// it is.
    pub(crate) fn make_room(&self) -> Result<bool, BuildError> {
        let left = self.budget.bytes.saturating_sub(self.budget.being_written());
        let store = locked(&self.store);
        let used = locked(&self.used).clone();
        Ok(prune::shrink(self.settings, &store, left, &used)? <= left && self.is_inside())
    }

    /// The same when nothing is in use any more.
    pub(crate) fn settle_budget(&self) -> Result<(), BuildError> {
        let left = self.budget.bytes.saturating_sub(self.budget.being_written());
        prune::shrink(self.settings, &locked(&self.store), left, &BTreeSet::new())?;
        Ok(())
    }

    fn is_inside(&self) -> bool {
        self.budget.being_written() <= self.budget.bytes
    }
}

/// What a running command writes to.
pub(crate) struct Written<'p> {
    /// All there is of it.
    pub container: &'p Path,
    /// Cache mounts, and how big they were before.
    pub caches: &'p [(PathBuf, u64)],
}

impl Written<'_> {
    pub(crate) fn bytes(&self) -> u64 {
        let grown =
            |(data, before): &(PathBuf, u64)| prune::tree_size(data).saturating_sub(*before);
        let caches: u64 = self.caches.iter().map(grown).sum();
        prune::tree_size(self.container).saturating_add(caches)
    }
}

/// Measures a command until `ended` is closed, and kills it when there is no room for what it writes. Why is
/// in `over` then.
pub(crate) fn watch(
    claim: &Claim<'_>,
    written: &Written<'_>,
    killer: &StepKiller,
    ended: &Receiver<()>,
    over: &OnceLock<BuildError>,
) {
    let in_use = || {
        let fs = rustix::fs::statvfs(&claim.worker.settings.data_root);
        fs.map_or(0, |fs| fs.f_frsize.saturating_mul(fs.f_blocks.saturating_sub(fs.f_bfree)))
    };
    let budget = claim.worker.budget.bytes;
    let (mut measured, mut took, mut known) = (Instant::now(), Duration::ZERO, in_use());
    let mut left = budget.saturating_sub(claim.worker.budget.being_written());
    while let Err(RecvTimeoutError::Timeout) = ended.recv_timeout(LOOK) {
        let grown = in_use().saturating_sub(known);
        let since = measured.elapsed();
        let wanted = grown > left / 8 && since > took * SHARE || grown > left / 2;
        if !wanted && since < MEASURE.max(took * SHARE) {
            continue;
        }
        (measured, known) = (Instant::now(), in_use());
        let bytes = written.bytes();
        took = measured.elapsed();
        if let Err(error) = claim.take(bytes) {
            let _ = over.set(error);
            killer.kill();
            return;
        }
        left = budget.saturating_sub(claim.worker.budget.being_written());
    }
}
