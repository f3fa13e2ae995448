//! Standing still: every process of a container stops where it is and goes on later, none the wiser.

use super::{CgroupError, Result, existing, write};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tug_types::ContainerId;

/// How long processes may take to stop: one in an uninterruptible wait stops only after it.
const PATIENCE: Duration = Duration::from_secs(10);

/// The file that stops a group and the one that tells whether it stands: v2's, or v1's freezer.
struct Brake {
    lever: PathBuf,
    stop: &'static str,
    go: &'static str,
    told_by: PathBuf,
    told: &'static str,
}

fn brake(group: &Path) -> Option<Brake> {
    let lever = group.join("cgroup.freeze");
    if lever.exists() {
        let told_by = group.join("cgroup.events");
        return Some(Brake { lever, stop: "1", go: "0", told_by, told: "frozen 1" });
    }
    let lever = group.join("freezer.state");
    let told_by = lever.clone();
    lever.exists().then_some(Brake { lever, stop: "FROZEN", go: "THAWED", told_by, told: "FROZEN" })
}

/// A container standing still. Dropped, it goes on.
#[must_use]
pub struct Frozen {
    brake: Brake,
}

/// Stops all processes of a container and waits until they stand.
///
/// # Errors
/// When the host has no freezer, or some process does not stop in time; then it goes on.
pub fn freeze(id: &ContainerId, parent: &str) -> Result<Frozen> {
    let missing = CgroupError::NoController { flag: "--pause", controller: "freezer" };
    let brake = existing(id, parent)?.iter().find_map(|group| brake(group)).ok_or(missing)?;
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source: io::Error| CgroupError::Read { path, source }
    };
    let frozen = Frozen { brake };
    let brake = &frozen.brake;
    write(&brake.lever, brake.stop).map_err(failed(&brake.lever))?;
    let start = std::time::Instant::now();
    loop {
        let text = std::fs::read_to_string(&brake.told_by).map_err(failed(&brake.told_by))?;
        if text.lines().any(|line| line.trim() == brake.told) {
            return Ok(frozen);
        }
        if start.elapsed() > PATIENCE {
            return Err(CgroupError::Alive { path: brake.lever.clone() });
        }
        std::thread::sleep(Duration::from_micros(100));
    }
}

impl Drop for Frozen {
    fn drop(&mut self) {
        // The group is gone only when its processes are.
        let _ = write(&self.brake.lever, self.brake.go);
    }
}
