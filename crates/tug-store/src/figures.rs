//! How large the files of containers and volumes were when they were last counted, and whether that is
//! still so. Nobody tells the store what a process writes, so a figure holds for as long as nothing can
//! have written:
//!
//! - a container's, until it is started again: it is kept with the time of the end it was counted after;
//! - a volume's, until a container that uses it is started, ends, or is made (its filling): triggers
//!   count that in `volume_figures.uses`, and a figure is kept with the count it was taken at, read
//!   before counting began.
//!
//! Either is also kept with the change time of the directory itself, which shows some of what somebody
//! does there from the host; what happens deeper down in it is not seen before a container has used it.

use crate::{LeaseError, Result, Store, lease};
use rusqlite::{Row, params};
use rustix::fs::FlockOperation;
use std::collections::HashMap;
use std::io::ErrorKind;
use std::os::fd::OwnedFd;
use tug_types::ContainerId;

/// Version 6.
pub(crate) const SCHEMA: &str = "
CREATE TABLE container_figures (
    container TEXT PRIMARY KEY REFERENCES containers(id) ON DELETE CASCADE,
    size INTEGER NOT NULL,           -- bytes of its own files
    stamp INTEGER NOT NULL,          -- this and the next: see Figure
    changed INTEGER NOT NULL,
    counted INTEGER NOT NULL         -- nanoseconds since the epoch
) WITHOUT ROWID;
CREATE TABLE volume_figures (
    volume TEXT PRIMARY KEY REFERENCES volumes(name) ON DELETE CASCADE,
    uses INTEGER NOT NULL DEFAULT 0, -- grows whenever a container that uses it changes its state
    size INTEGER,                    -- bytes; null before it was counted
    stamp INTEGER NOT NULL DEFAULT 0,
    changed INTEGER NOT NULL DEFAULT 0,
    counted INTEGER NOT NULL DEFAULT 0
) WITHOUT ROWID;
INSERT INTO volume_figures (volume) SELECT name FROM volumes;
CREATE TRIGGER volume_made AFTER INSERT ON volumes BEGIN
    INSERT INTO volume_figures (volume) VALUES (new.name);
END;
CREATE TRIGGER volume_used AFTER UPDATE OF state ON containers WHEN old.state <> new.state BEGIN
    UPDATE volume_figures SET uses = uses + 1
    WHERE volume IN (SELECT volume FROM volume_uses WHERE container = new.id);
END;
";

/// What was counted once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Figure {
    /// Bytes.
    pub size: u64,
    /// What must be found again for the figure to hold: of a container the end of its last run, of a
    /// volume its uses. -1 when it ran, or was used, while it was counted.
    pub stamp: i64,
    /// The same: when its directory was changed last, in nanoseconds since the epoch.
    pub changed: i64,
    /// When counting began, in nanoseconds since the epoch.
    pub counted: i64,
}

/// What is known of a volume's size.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct VolumeFigure {
    /// When it was counted last; `None` before the first time.
    pub last: Option<Figure>,
    /// How often containers that use it have changed their state.
    pub uses: i64,
    /// Containers that use it.
    pub links: usize,
    /// One of them runs.
    pub in_use: bool,
}

impl Store {
    /// The figures of containers that were counted.
    ///
    /// # Errors
    /// When the database fails.
    pub fn container_figures(&self) -> Result<HashMap<String, Figure>> {
        let connection = self.connection()?;
        let mut statement = connection.prepare_cached(
            "SELECT size, stamp, changed, counted, container FROM container_figures",
        )?;
        let rows = statement.query_map([], |row| Ok((row.get(4)?, figure(row)?)))?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }

    /// What is known of all volumes, by name.
    ///
    /// # Errors
    /// When the database fails.
    pub fn volume_figures(&self) -> Result<HashMap<String, VolumeFigure>> {
        let connection = self.connection()?;
        let mut statement = connection.prepare_cached(
            "SELECT coalesce(size, 0), stamp, changed, counted, volume_figures.volume,
                    size IS NOT NULL, uses, count(containers.id), coalesce(sum(state = 'running'), 0)
             FROM volume_figures
             LEFT JOIN volume_uses ON volume_uses.volume = volume_figures.volume
             LEFT JOIN containers ON containers.id = container
             GROUP BY volume_figures.volume",
        )?;
        let rows = statement.query_map([], |row| {
            let last = row.get::<_, bool>(5)?.then(|| figure(row)).transpose()?;
            let links = usize::try_from(row.get::<_, i64>(7)?).unwrap_or(0);
            let in_use = row.get::<_, i64>(8)? > 0;
            Ok((row.get(4)?, VolumeFigure { last, uses: row.get(6)?, links, in_use }))
        })?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }

    /// Keeps what was counted. What is gone meanwhile is left out.
    ///
    /// # Errors
    /// When the database fails.
    pub fn keep_figures(
        &self,
        containers: &[(ContainerId, Figure)],
        volumes: &[(String, Figure)],
    ) -> Result<()> {
        if containers.is_empty() && volumes.is_empty() {
            return Ok(());
        }
        let size = |figure: &Figure| i64::try_from(figure.size).unwrap_or(i64::MAX);
        self.write(|transaction| {
            for (id, figure) in containers {
                transaction.execute(
                    "INSERT OR REPLACE INTO container_figures
                     SELECT id, ?2, ?3, ?4, ?5 FROM containers WHERE id = ?1",
                    params![
                        id.as_str(),
                        size(figure),
                        figure.stamp,
                        figure.changed,
                        figure.counted
                    ],
                )?;
            }
            for (name, figure) in volumes {
                transaction.execute(
                    "UPDATE volume_figures SET size = ?2, stamp = ?3, changed = ?4, counted = ?5
                     WHERE volume = ?1",
                    params![name, size(figure), figure.stamp, figure.changed, figure.counted],
                )?;
            }
            Ok(())
        })
    }
}

impl Store {
    /// The right to count what runs, which takes a while; `None` when somebody else is at it.
    ///
    /// # Errors
    /// When the lock cannot be opened.
    pub fn count_alone(&self) -> Result<Option<OwnedFd>> {
        let path = lease::tmp_dir(self.root())?.join(".count");
        match lease::lock(&path, FlockOperation::NonBlockingLockExclusive) {
            Ok(lock) => Ok(Some(lock)),
            Err(LeaseError::Lock { source, .. }) if source.kind() == ErrorKind::WouldBlock => {
                Ok(None)
            }
            Err(error) => Err(error.into()),
        }
    }
}

fn figure(row: &Row<'_>) -> rusqlite::Result<Figure> {
    Ok(Figure {
        size: u64::try_from(row.get::<_, i64>(0)?).unwrap_or(0),
        stamp: row.get(1)?,
        changed: row.get(2)?,
        counted: row.get(3)?,
    })
}
