//! After a monitor that was killed: nothing of its container is left, and its end is on record.

use crate::monitor::{Ground, now, take_down};
use crate::{Error, ExitRecord, NetworkSpec, layout, record};
use std::io;
use std::path::Path;
use tug_net::{BridgeConfig, Endpoint};
use tug_types::{ContainerId, Failure, Kind};

/// What a run may have left behind, and where.
#[derive(Clone, Copy, Debug)]
pub struct Remains<'a> {
    /// The container.
    pub id: &'a ContainerId,
    /// As in its spec.
    pub cgroup_parent: &'a str,
    /// `<exec-root>/containers/<id>`; its lock is held by the caller.
    pub run_dir: &'a Path,
    /// `<data-root>/containers/<id>`.
    pub container_dir: &'a Path,
    /// The bridge and the container's place on it, if it was given one.
    pub network: Option<(&'a BridgeConfig, &'a Endpoint)>,
}

/// Kills what still runs of the container, takes down its ports, link and cgroup, empties its run
/// directory (all but the lock), and answers how the run ended: as its monitor recorded it, or with a
/// record of its violent end, which is written. To be called with the lock held. Running it again, or
/// after an orderly end, changes nothing.
///
/// # Errors
/// [`Error::Cleanup`] when something could not be removed (everything else is), [`Error::File`] when
/// the record cannot be read or written.
pub fn reconcile(remains: &Remains<'_>) -> Result<ExitRecord, Error> {
    let state = record::read_state(remains.run_dir).unwrap_or_default();
    let network = remains.network.map(|(bridge, endpoint)| NetworkSpec {
        bridge: bridge.clone(),
        endpoint: endpoint.clone(),
        ports: Vec::new(),
    });
    let known = record::read_exit(remains.container_dir)?;
    // The socket is the last thing an orderly monitor removes but its state: both gone, with a
    // record there, leaves nothing to look for.
    let orderly = known.is_some() && state.is_none() && !layout::socket(remains.run_dir).exists();
    if let (true, Some(record)) = (orderly, &known) {
        return Ok(record.clone());
    }
    let places = (remains.run_dir.to_owned(), remains.container_dir.to_owned());
    let mut ground = Ground::remains(remains.id, remains.cgroup_parent, places, network);
    let failures = take_down(&mut ground);
    let exit = match known {
        Some(exit) => exit,
        None => {
            let exit = killed(state.map_or(0, |state| state.started_at));
            match record::write(&layout::exit(remains.container_dir), &exit) {
                // Its directory is gone already: a removal was killed, nobody will read the record.
                Err(Error::File { source, .. }) if source.kind() == io::ErrorKind::NotFound => {}
                written => written?,
            }
            exit
        }
    };
    record::remove(&layout::socket(remains.run_dir))?;
    record::discard(&layout::state(remains.run_dir))?;
    if failures.is_empty() { Ok(exit) } else { Err(Error::Cleanup(failures)) }
}

fn killed(started_at: i64) -> ExitRecord {
    let failure = Failure::new(Kind::Internal, "the container's monitor was killed");
    ExitRecord {
        exit_code: 137,
        started_at,
        finished_at: now(),
        oom_killed: false,
        error: Some(failure),
    }
}
