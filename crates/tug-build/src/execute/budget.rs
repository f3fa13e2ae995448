//! The byte budget of the build cache, and of what the steps of all builds are writing at the moment.
//!
//! ```text
//! <data-root>/tmp/lease-…/cost   bytes that the steps of that build are writing now
//! ```
//!
//! What is recorded (results, and cache mounts at rest) never exceeds it: the store makes room before it
//! records something, in one transaction, and does not record what has no room (`tug_store`'s `room`). What a
//! build makes and cannot record it still has until its end, under its lease.
//!
//! With a budget somebody chose, what steps write counts too: whoever wants room makes a [`Claim`] and says
//! how much, and fails when there is none. A running command writes without asking: it is measured, first
//! when the file system has grown by a part of what is left and now and then anyway, and killed once it is
//! over. What it writes between two looks, a tenth of a second apart at least, is therefore beyond the budget
//! until it is dead.

use super::{Worker, locked};
use crate::error::BuildError;
use crate::prune;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::sync::{Mutex, OnceLock};
use std::time::{Duration, Instant};
use tug_engine::StepKiller;
use tug_store::{Evicted, NewCacheRow, Spared};

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
        let root = self.cost.ancestors().nth(3);
        // Those of killed builds stay until they are swept, and count nothing.
        let others = root.and_then(|root| tug_store::live_leases(root).ok()).unwrap_or_default();
        let cost = |lease: PathBuf| {
            let file = lease.join("cost");
            let text = (file != self.cost).then(|| std::fs::read_to_string(file).ok())??;
            text.trim().parse::<u64>().ok()
        };
        others.into_iter().filter_map(cost).fold(own, u64::saturating_add)
    }

    /// What steps write counts.
    pub(crate) fn is_strict(&self) -> bool {
        self.strict
    }

    /// What may be recorded in all.
    fn within(&self) -> u64 {
        let written = if self.strict { self.being_written() } else { 0 };
        self.bytes.saturating_sub(written)
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

    /// So much is there now.
    pub(crate) fn now(&self, bytes: impl FnOnce() -> u64) {
        if self.worker.budget.strict {
            self.worker.budget.set(self.number, bytes());
        }
    }

    /// Wants room for so many bytes in all, and makes it.
    fn take(&self, bytes: u64) -> Result<(), BuildError> {
        let budget = &self.worker.budget;
        budget.set(self.number, bytes);
        if self.worker.make_room()? {
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
    /// it is. If it cannot be, nothing goes.
    pub(crate) fn make_room(&self) -> Result<bool, BuildError> {
        let spared = self.spared();
        let store = locked(&self.store);
        match store.make_cache_room(self.budget.within(), &spared)? {
            Some(evicted) => self.delete(&store, &evicted)?,
            None => return Ok(false),
        }
        drop(store);
        Ok(self.is_inside())
    }

    /// Remembers a result, if there is room for it.
    pub(crate) fn put(&self, new: &NewCacheRow<'_>) -> Result<bool, BuildError> {
        let spared = self.spared();
        let store = locked(&self.store);
        let Some(evicted) = store.put_cached(new, self.budget.within(), &spared)? else {
            return Ok(false);
        };
        self.delete(&store, &evicted)?;
        Ok(true)
    }

    /// Notes what a cache mount takes that a step of this build used, or takes it away when there is no room
    /// for it; whether it is kept. Left alone while somebody else uses it: that one does it.
    pub(crate) fn settle_mount(&self, dir: &Path) -> Result<bool, BuildError> {
        // Somebody may be asking whether it is used, which takes a moment.
        let lock = (0..5).find_map(|attempt| {
            std::thread::sleep(Duration::from_millis(attempt));
            super::take_cache(dir)
        });
        let Some(lock) = lock else { return Ok(true) };
        let size = prune::tree_size(&dir.join("data"));
        let spared = self.spared();
        let store = locked(&self.store);
        prune::record_mount(&store, &lock, dir, size, self.budget.within(), &spared)
    }

    /// Results that were used or made here, and cache mounts that somebody uses.
    fn spared(&self) -> Spared {
        let results = locked(&self.used).clone();
        Spared { results, mounts: prune::marked_mounts(&self.settings.data_root) }
    }

    fn delete(&self, store: &tug_store::Store, evicted: &Evicted) -> Result<(), BuildError> {
        locked(&self.loose).extend(&evicted.layers);
        prune::delete(store, evicted)
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
