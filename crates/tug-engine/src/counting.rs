//! How large the files of containers and volumes are, as `system df` wants it: at once, however many files
//! there are.
//!
//! - What rests is counted once, exactly, and the figure is kept for as long as it holds (`tug_store`'s
//!   `figures` say when that is).
//! - What runs is counted each time, all of it together for at most [`AT_MOST`]. What is not done by then
//!   has the figure it was counted with last, the answer says from when, and a process that outlives this
//!   one counts it anew. Without any figure it is counted to the end: a late answer is better than none.

use crate::{Engine, Error};
use std::collections::BTreeSet;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use tug_store::{ContainerRow, ContainerState, Figure, VolumeFigure};
use tug_types::ContainerId;

/// How long counting what runs may take.
const AT_MOST: Duration = Duration::from_millis(4);

/// A figure of something that runs is written down again after so long.
const YOUNG: i64 = 1_000_000_000;

/// The stamp of what was counted while it could be written.
const WHILE_WRITTEN: i64 = -1;

/// One answer, and when it was true.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Counted {
    /// Bytes.
    pub(crate) size: u64,
    /// Seconds since the epoch; `None` is now.
    pub(crate) when: Option<i64>,
}

/// The figures of one question.
pub(crate) struct Counting {
    /// When what runs must have been counted.
    until: Option<Instant>,
    containers: Vec<(ContainerId, Figure)>,
    volumes: Vec<(String, Figure)>,
    /// Something has an old figure.
    late: bool,
}

impl Counting {
    pub(crate) fn begin() -> Self {
        let until = Instant::now().checked_add(AT_MOST);
        Self { until, containers: Vec::new(), volumes: Vec::new(), late: false }
    }

    /// A container's own files.
    pub(crate) fn container(
        &mut self,
        row: &ContainerRow,
        upper: &Path,
        last: Option<Figure>,
    ) -> Counted {
        let stamp = match row.state {
            ContainerState::Running => WHILE_WRITTEN,
            _ => row.finished,
        };
        let (counted, new) = self.count(upper, stamp, last);
        self.containers.extend(new.map(|figure| (row.id.clone(), figure)));
        counted
    }

    /// A volume's files.
    pub(crate) fn volume(&mut self, name: &str, data: &Path, known: &VolumeFigure) -> Counted {
        let stamp = if known.in_use { WHILE_WRITTEN } else { known.uses };
        let (counted, new) = self.count(data, stamp, known.last);
        self.volumes.extend(new.map(|figure| (name.to_owned(), figure)));
        counted
    }

    /// The answer, and the figure to keep if it is news.
    fn count(&mut self, dir: &Path, stamp: i64, last: Option<Figure>) -> (Counted, Option<Figure>) {
        let counted = crate::time::now();
        let changed = std::fs::metadata(dir).map_or(0, |metadata| {
            metadata.ctime().saturating_mul(1_000_000_000).saturating_add(metadata.ctime_nsec())
        });
        let now = |size| Counted { size, when: None };
        let figure = |size| Figure { size, stamp, changed, counted };
        let Some(last) = last else {
            let size = tree_size(dir);
            return (now(size), Some(figure(size)));
        };
        if stamp != WHILE_WRITTEN {
            if (last.stamp, last.changed) == (stamp, changed) {
                return (now(last.size), None);
            }
            let size = tree_size(dir);
            return (now(size), Some(figure(size)));
        }
        match tree_size_until(dir, self.until) {
            Some(size) => {
                let news = size != last.size || counted > last.counted.saturating_add(YOUNG);
                (now(size), news.then(|| figure(size)))
            }
            None => {
                self.late = true;
                (
                    Counted { size: last.size, when: Some(last.counted.div_euclid(1_000_000_000)) },
                    None,
                )
            }
        }
    }
}

impl Engine {
    /// Keeps what was counted, and lets what is late be counted anew. Neither may keep the answer back.
    pub(crate) fn keep_counted(&self, counting: &Counting) {
        let _ = self.store.keep_figures(&counting.containers, &counting.volumes);
        if counting.late {
            let _ = self.start_sweeper(&[crate::RECOUNT]);
        }
    }

    /// Counts what runs to the end, however long it takes, unless somebody else is at it.
    ///
    /// # Errors
    /// When the store fails.
    pub fn recount(&self) -> Result<(), Error> {
        let Some(_alone) = self.store.count_alone()? else { return Ok(()) };
        let mut counting = Counting { until: None, ..Counting::begin() };
        for row in self.store.containers()? {
            if row.state == ContainerState::Running {
                counting.container(&row, &self.container_dir(&row.id).join("upper"), None);
            }
        }
        for (name, known) in self.store.volume_figures()? {
            if known.in_use {
                let known = VolumeFigure { last: None, ..known };
                counting.volume(&name, &self.store.volume_data(&name), &known);
            }
        }
        Ok(self.store.keep_figures(&counting.containers, &counting.volumes)?)
    }
}

/// Bytes of the regular files below a directory, each inode once. What vanishes meanwhile is not
/// counted.
pub(crate) fn tree_size(path: &Path) -> u64 {
    tree_size_until(path, None).unwrap_or(0)
}

/// The same, given up at some moment.
fn tree_size_until(path: &Path, until: Option<Instant>) -> Option<u64> {
    /// Entries between two looks at the clock.
    const STRIDE: usize = 32;
    let mut seen = BTreeSet::new();
    let (mut total, mut passed) = (0u64, 0);
    let mut open: Vec<PathBuf> = vec![path.to_owned()];
    while let Some(dir) = open.pop() {
        let Ok(entries) = std::fs::read_dir(&dir) else { continue };
        for entry in entries.flatten() {
            passed += 1;
            if passed % STRIDE == 0 && until.is_some_and(|until| Instant::now() >= until) {
                return None;
            }
            let Ok(metadata) = entry.metadata() else { continue };
            if metadata.is_dir() {
                open.push(entry.path());
            } else if (metadata.is_file() || metadata.is_symlink())
                && seen.insert((metadata.dev(), metadata.ino()))
            {
                total = total.saturating_add(metadata.len());
            }
        }
    }
    Some(total)
}
