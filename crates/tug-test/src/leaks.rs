//! Looks from outside, with other tools than tug's, for what a sandbox left on the machine.

use crate::process;
use crate::wait;
use std::collections::BTreeSet;
use std::os::fd::AsFd;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::{Duration, Instant};

/// The network a sandbox calls its host's.
pub struct Network {
    /// The machine's, to go back to; `None` where the test stays on the machine's.
    home: Option<OwnedFd>,
    /// Links and nftables before the sandbox did anything, on the machine's network.
    before: Vec<String>,
}

impl Network {
    /// Moves the calling thread, and the programs it starts, into a new network namespace.
    pub(crate) fn private() -> Self {
        let home = std::fs::File::open("/proc/thread-self/ns/net");
        let home = home.unwrap_or_else(|error| panic!("network namespace: {error}"));
        let moved = tug_sys::netns::unshare();
        assert!(moved.is_ok(), "new network namespace: {moved:?}");
        Self { home: Some(home.into()), before: Vec::new() }
    }

    /// Stays where the machine is.
    pub(crate) fn host() -> Self {
        Self { home: None, before: state() }
    }

    /// Links and tables that should not be there (any more).
    fn leftovers(&self) -> Vec<String> {
        let now = state();
        if self.home.is_none() {
            return now.into_iter().filter(|line| !self.before.contains(line)).collect();
        }
        // The sandbox' own links were made by it, or by the test before tug ran.
        now.into_iter().filter(|line| line.contains("tug") || line.starts_with("nft")).collect()
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        if let Some(home) = &self.home {
            let back = rustix::thread::move_into_link_name_space(home.as_fd(), None);
            if back.is_err() {
                eprintln!("the test's thread could not return to its network: {back:?}");
            }
        }
    }
}

/// One line a link and one a table.
fn state() -> Vec<String> {
    let links = process::run("ip", &["-brief", "link"]);
    let links = links.lines().into_iter().filter_map(|line| line.split(' ').next());
    let mut state: Vec<_> = links.map(|name| format!("link {name}")).collect();
    let tables = process::run("nft", &["list", "tables"]);
    state.extend(tables.lines().into_iter().map(|line| format!("nft {line}")));
    state
}

/// What is left, a line each.
pub struct Leaks(pub Vec<String>);

impl Leaks {
    /// After the sandbox at `dir`, in which containers of these ids were, has been reset. Processes
    /// on their way out are given time: one that syncs the file system takes as long as the disk does.
    pub fn after(dir: &Path, ids: &BTreeSet<String>, network: &Network) -> Self {
        let end = Instant::now() + Duration::from_secs(20);
        loop {
            let leaks = Self::now(dir, ids, network);
            if leaks.0.is_empty() || Instant::now() > end {
                return leaks;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn now(dir: &Path, ids: &BTreeSet<String>, network: &Network) -> Self {
        let text = dir.to_string_lossy();
        let mut found = process::mentioning(&text);
        let mounts = std::fs::read_to_string("/proc/thread-self/mountinfo").unwrap_or_default();
        let mounts = mounts.lines().filter(|line| line.contains(&*text));
        found.extend(mounts.map(|line| format!("mount {line}")));
        found.extend(cgroups(ids));
        found.extend(network.leftovers());
        for root in ["data", "exec"] {
            files_below(&dir.join(root), &mut found);
        }
        Self(found)
    }
}

/// Files and directories below `root`; the root itself may stay, it was the test's.
fn files_below(root: &Path, found: &mut Vec<String>) {
    for entry in std::fs::read_dir(root).into_iter().flatten().flatten() {
        found.push(format!("file {}", entry.path().display()));
    }
}

/// cgroup directories of these containers in any hierarchy.
pub fn cgroups(ids: &BTreeSet<String>) -> Vec<String> {
    let roots = std::fs::read_dir("/sys/fs/cgroup").into_iter().flatten().flatten();
    let mut places: Vec<_> = roots.map(|entry| entry.path().join("tug")).collect();
    places.push("/sys/fs/cgroup/tug".into());
    let mut found = Vec::new();
    for place in places {
        for entry in std::fs::read_dir(place).into_iter().flatten().flatten() {
            if ids.contains(&*entry.file_name().to_string_lossy()) {
                found.push(format!("cgroup {}", entry.path().display()));
            }
        }
    }
    found
}

/// Waits until no process of the container is left in any cgroup hierarchy.
pub fn wait_for_cgroups_gone(id: &str) {
    let ids = BTreeSet::from([id.to_owned()]);
    wait::until(&format!("cgroups of {id} to go"), || cgroups(&ids).is_empty());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::ip;
    use std::process::Command;

    fn found(dir: &Path, network: &Network) -> String {
        Leaks::now(dir, &BTreeSet::new(), network).0.join("\n")
    }

    #[test]
    fn what_is_left_is_found() {
        let network = Network::private();
        let dir = tempfile::Builder::new().prefix("tug-leaks-").tempdir();
        let dir = dir.unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(found(dir.path(), &network), "");

        let child = Command::new("sleep").arg("60").env("X", dir.path()).spawn();
        let mut child = child.unwrap_or_else(|error| panic!("{error}"));
        wait::until("the process to be found", || found(dir.path(), &network).contains("sleep 60"));
        assert!(child.kill().is_ok() && child.wait().is_ok());
        assert_eq!(found(dir.path(), &network), "");

        ip("link add tug0 type bridge");
        assert_eq!(found(dir.path(), &network), "link tug0");
        ip("link del tug0");
        process::run("nft", &["add", "table", "ip", "x"]).ok();
        assert_eq!(found(dir.path(), &network), "nft table ip x");
        process::run("nft", &["flush", "ruleset"]).ok();

        assert!(std::fs::create_dir_all(dir.path().join("data/x")).is_ok());
        assert!(found(dir.path(), &network).starts_with("file /"));
        let mounted = dir.path().to_string_lossy().into_owned() + "/data/x";
        process::run("mount", &["-t", "tmpfs", "none", &mounted]).ok();
        assert!(found(dir.path(), &network).contains("\nmount "));
        process::run("umount", &[&mounted]).ok();
        assert!(!found(dir.path(), &network).contains("mount "));
    }
}
