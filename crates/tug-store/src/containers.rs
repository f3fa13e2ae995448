//! Containers as the store knows them: one row each, and the state machine of that row.
//!
//! ```text
//!  creating ──► created ──► running ──► exited ──► removing ──► (no row)
//!                  │  ▲        ▲ │         │ ▲
//!                  │  └─ start │ └─ reconciled by whoever looks when the monitor's lock is free
//!                  └──────► removing
//! ```
//! `creating` and `removing` are the only states whose files may be half there; a process in them holds
//! the container's lock, so whoever finds one with the lock free finishes the removal. The row goes
//! first and last: directories without a row do not exist.

use crate::{Discarded, Error, NewVolume, Result, Store, networks, volumes};
use rusqlite::{OptionalExtension, Row, Transaction, params};
use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use tug_types::{ContainerId, DiffId, Digest};

/// State of a container's row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ContainerState {
    /// Its files are being made.
    Creating,
    /// Whole, never started.
    Created,
    /// Started; true only while the monitor holds the lock.
    Running,
    /// Its last run ended.
    Exited,
    /// Its files are being removed.
    Removing,
}

impl ContainerState {
    fn as_str(self) -> &'static str {
        match self {
            Self::Creating => "creating",
            Self::Created => "created",
            Self::Running => "running",
            Self::Exited => "exited",
            Self::Removing => "removing",
        }
    }

    fn parse(text: &str) -> Option<Self> {
        [Self::Creating, Self::Created, Self::Running, Self::Exited, Self::Removing]
            .into_iter()
            .find(|state| state.as_str() == text)
    }
}

/// One container.
#[derive(Clone, Debug)]
pub struct ContainerRow {
    /// Id.
    pub id: ContainerId,
    /// Name.
    pub name: String,
    /// State.
    pub state: ContainerState,
    /// Its image's id.
    pub image: Digest,
    /// Nanoseconds since the epoch.
    pub created: i64,
    /// Nanoseconds since the epoch; 0 before the first start.
    pub started: i64,
    /// Nanoseconds since the epoch; 0 before the first end.
    pub finished: i64,
    /// Of the last run.
    pub exit_code: i32,
    /// The last run was ended for memory.
    pub oom_killed: bool,
    /// Why the last start failed.
    pub error: String,
    /// The engine's own JSON.
    pub record: String,
    /// The address it holds.
    pub address: Option<Ipv4Addr>,
}

/// A container to be recorded.
#[derive(Clone, Debug)]
pub struct NewContainer<'a> {
    /// Id.
    pub id: &'a ContainerId,
    /// Image id.
    pub image: &'a Digest,
    /// Layers it stands on, protected for as long as the container exists.
    pub layers: &'a [DiffId],
    /// The engine's own JSON.
    pub record: &'a str,
    /// Volumes it uses, recorded with it where they are new: a creation that is killed leaves no
    /// volume of its own without a container to find it by, and a removal cannot come in between.
    pub volumes: &'a [NewVolume<'a>],
}

/// How a run ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// 0-255.
    pub exit_code: i32,
    /// Nanoseconds since the epoch; 0 when it never ran.
    pub started: i64,
    /// Nanoseconds since the epoch.
    pub finished: i64,
    /// Ended for memory.
    pub oom_killed: bool,
    /// Why it never ran.
    pub error: String,
}

/// Picks an address among those not in the set.
pub type NextAddress<'a> = &'a dyn Fn(&BTreeSet<Ipv4Addr>) -> Option<Ipv4Addr>;

const COLUMNS: &str = "id, name, state, image, created, started, finished, exit_code, oom_killed, \
     error, record, (SELECT address FROM addresses WHERE container = containers.id)";

/// Whether a container that is no step of a build has a layer that no image has, but the build cache: without
/// the container it counts as the cache's.
const ONLY_HAS: &str = "SELECT EXISTS (SELECT 1 FROM container_layers AS c
    JOIN build_cache_layers AS b ON b.diff_id = c.diff_id
    WHERE c.container = ?1 AND NOT EXISTS (SELECT 1 FROM image_layers AS i WHERE i.diff_id = c.diff_id))
    AND EXISTS (SELECT 1 FROM containers WHERE id = ?1 AND image <> ?2)";

impl Store {
    /// Records a container in state `creating`, under `name` or the first free one of `names`.
    ///
    /// # Errors
    /// [`Error::NameTaken`] when a wished name is held.
    pub fn insert_container(
        &self,
        new: &NewContainer<'_>,
        name: Option<&str>,
        names: impl FnMut() -> String,
    ) -> Result<String> {
        self.write(|transaction| {
            let name = free_name(transaction, name, names)?;
            transaction
                .prepare_cached(
                    "INSERT INTO containers (id, name, state, image, created, record)
                     VALUES (?1, ?2, 'creating', ?3, ?4, ?5)",
                )?
                .execute(params![
                    new.id.as_str(),
                    name,
                    new.image.to_string(),
                    crate::db::now(),
                    new.record
                ])?;
            let mut layer = transaction
                .prepare_cached("INSERT OR IGNORE INTO container_layers VALUES (?1, ?2)")?;
            for diff_id in new.layers {
                layer.execute(params![new.id.as_str(), diff_id.to_string()])?;
            }
            let mut volume =
                transaction.prepare_cached("INSERT OR IGNORE INTO volume_uses VALUES (?1, ?2)")?;
            for used in new.volumes {
                volumes::insert(transaction, used)?;
                volume.execute(params![used.name, new.id.as_str()])?;
            }
            Ok(name)
        })
    }

    /// Moves a container to another state, if it is in one of `from`. False when it is not, or is gone.
    ///
    /// # Errors
    /// When the database fails.
    pub fn set_container_state(
        &self,
        id: &ContainerId,
        from: &[ContainerState],
        to: ContainerState,
    ) -> Result<bool> {
        self.write(|transaction| move_state(transaction, id, from, to))
    }

    /// A start: state `running`, and an address in `network` when one is named.
    ///
    /// # Errors
    /// [`Error::NoAddress`] when the range is used up.
    pub fn mark_running(
        &self,
        id: &ContainerId,
        network: Option<(&str, NextAddress<'_>)>,
    ) -> Result<Option<Ipv4Addr>> {
        self.write(|transaction| {
            let from = [ContainerState::Creating, ContainerState::Created, ContainerState::Exited];
            if !move_state(transaction, id, &from, ContainerState::Running)? {
                return Err(Error::Identifier { what: format!("container {}", id.short()) });
            }
            networks::release(transaction, id)?;
            network.map(|(name, next)| networks::allocate(transaction, name, id, next)).transpose()
        })
    }

    /// The end of a run: state `exited` (or `created` when it never ran), the address released.
    ///
    /// # Errors
    /// When the database fails.
    pub fn mark_ended(&self, id: &ContainerId, outcome: &Outcome) -> Result<()> {
        self.write(|transaction| {
            let state = if outcome.started == 0 { "created" } else { "exited" };
            transaction
                .prepare_cached(
                    "UPDATE containers SET state = ?2, started = max(started, ?3), finished = ?4,
                     exit_code = ?5, oom_killed = ?6, error = ?7 WHERE id = ?1 AND state = 'running'",
                )?
                .execute(params![
                    id.as_str(),
                    state,
                    outcome.started,
                    if outcome.started == 0 { 0 } else { outcome.finished },
                    outcome.exit_code,
                    outcome.oom_killed,
                    outcome.error
                ])?;
            networks::release(transaction, id)
        })
    }

    /// The beginning of a removal: state `removing`, and the engine's JSON replaced when the removal
    /// is to spare what it names.
    ///
    /// # Errors
    /// When the database fails.
    pub fn mark_removing(&self, id: &ContainerId, record: Option<&str>) -> Result<()> {
        self.write(|transaction| {
            transaction
                .prepare_cached(
                    "UPDATE containers SET state = 'removing', record = coalesce(?2, record)
                     WHERE id = ?1",
                )?
                .execute(params![id.as_str(), record])?;
            Ok(())
        })
    }

    /// Forgets a container, and the anonymous volumes named, unless another container uses them:
    /// their files are out of their place then, and to be deleted.
    ///
    /// # Errors
    /// When the database fails, or a volume cannot be moved.
    pub fn forget_container(&self, id: &ContainerId, owned: &[String]) -> Result<Discarded> {
        let (mut moved, mut evicted) = (Vec::new(), Vec::new());
        let committed = self.write(|transaction| {
            let is_caches: bool = transaction
                .prepare_cached(ONLY_HAS)?
                .query_row(params![id.as_str(), crate::STEP_IMAGE.to_string()], |row| row.get(0))?;
            transaction
                .prepare_cached("DELETE FROM containers WHERE id = ?1")?
                .execute([id.as_str()])?;
            if is_caches {
                evicted = crate::room::fit(transaction)?;
            }
            for name in owned {
                moved.extend(volumes::forget_unused(transaction, self.root(), name)?);
            }
            Ok(())
        });
        let discarded = volumes::settled(committed, moved)?;
        Ok(discarded.and(self.discard(&evicted, &[])?))
    }

    /// All containers, newest first.
    ///
    /// # Errors
    /// When the database fails or a row cannot be read.
    pub fn containers(&self) -> Result<Vec<ContainerRow>> {
        let connection = self.connection()?;
        let mut statement = connection
            .prepare_cached(&format!("SELECT {COLUMNS} FROM containers ORDER BY created DESC"))?;
        let rows = statement.query_map([], |row| Ok(read(row)))?;
        rows.map(|row| row?).collect()
    }

    /// Containers whose name is `text` or whose id starts with it; an exact name or id stands alone.
    ///
    /// # Errors
    /// When the database fails or a row cannot be read.
    pub fn find_containers(&self, text: &str) -> Result<Vec<ContainerRow>> {
        let name = text.strip_prefix('/').unwrap_or(text);
        let connection = self.connection()?;
        let one = connection
            .prepare_cached(&format!(
                "SELECT {COLUMNS} FROM containers WHERE id = ?1 OR name = ?1"
            ))?
            .query_row([name], |row| Ok(read(row)))
            .optional()?;
        if let Some(row) = one {
            return Ok(vec![row?]);
        }
        let hex = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
        if text.is_empty() || !text.bytes().all(hex) {
            return Ok(Vec::new());
        }
        let mut statement = connection.prepare_cached(&format!(
            "SELECT {COLUMNS} FROM containers WHERE id >= ?1 AND id < ?1 || 'g' ORDER BY created DESC"
        ))?;
        let rows = statement.query_map([text], |row| Ok(read(row)))?;
        rows.map(|row| row?).collect()
    }

    /// Gives a container another name.
    ///
    /// # Errors
    /// [`Error::NameTaken`].
    pub fn rename_container(&self, id: &ContainerId, name: &str) -> Result<()> {
        self.write(|transaction| {
            free_name(transaction, Some(name), String::new)?;
            transaction.execute(
                "UPDATE containers SET name = ?2 WHERE id = ?1",
                params![id.as_str(), name],
            )?;
            Ok(())
        })
    }

    /// Replaces the engine's JSON of a container.
    ///
    /// # Errors
    /// When the database fails.
    pub fn set_container_record(&self, id: &ContainerId, record: &str) -> Result<()> {
        self.write(|transaction| {
            transaction
                .prepare_cached("UPDATE containers SET record = ?2 WHERE id = ?1")?
                .execute(params![id.as_str(), record])?;
            Ok(())
        })
    }
}

fn move_state(
    transaction: &Transaction<'_>,
    id: &ContainerId,
    from: &[ContainerState],
    to: ContainerState,
) -> Result<bool> {
    let states: Vec<&str> = from.iter().map(|state| state.as_str()).collect();
    let changed = transaction
        .prepare_cached(
            "UPDATE containers SET state = ?2 WHERE id = ?1
             AND instr(',' || ?3 || ',', ',' || state || ',') > 0",
        )?
        .execute(params![id.as_str(), to.as_str(), states.join(",")])?;
    Ok(changed > 0)
}

fn free_name(
    transaction: &Transaction<'_>,
    wished: Option<&str>,
    mut names: impl FnMut() -> String,
) -> Result<String> {
    let mut holder = transaction.prepare_cached("SELECT id FROM containers WHERE name = ?1")?;
    let mut held_by =
        |name: &str| holder.query_row([name], |row| row.get::<_, String>(0)).optional();
    if let Some(name) = wished {
        return match held_by(name)? {
            Some(by) => Err(Error::NameTaken { name: name.to_owned(), by }),
            None => Ok(name.to_owned()),
        };
    }
    loop {
        let name = names();
        if held_by(&name)?.is_none() {
            return Ok(name);
        }
    }
}

fn read(row: &Row<'_>) -> Result<ContainerRow> {
    let id: String = row.get(0)?;
    let bad = || Error::Identifier { what: format!("container {id:?}") };
    let state: String = row.get(2)?;
    let image: String = row.get(3)?;
    let address: Option<u32> = row.get(11)?;
    Ok(ContainerRow {
        name: row.get(1)?,
        state: ContainerState::parse(&state).ok_or_else(bad)?,
        image: Digest::parse(&image).map_err(|_| bad())?,
        created: row.get(4)?,
        started: row.get(5)?,
        finished: row.get(6)?,
        exit_code: row.get(7)?,
        oom_killed: row.get(8)?,
        error: row.get(9)?,
        record: row.get(10)?,
        address: address.map(Ipv4Addr::from_bits),
        id: ContainerId::parse(&id).map_err(|_| bad())?,
    })
}
