//! Volumes: one row each, and who uses them.
//!
//! A volume's directory is made after its row and moved away before the row goes, both by whoever
//! holds the row: a name that is given anew never finds files of an older volume.

use crate::{Discarded, Error, Result, Store, lease};
use rusqlite::{Connection, OptionalExtension, Row, Transaction, params};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// One volume.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VolumeRow {
    /// Name; 64 hexadecimal digits for an anonymous one.
    pub name: String,
    /// Nanoseconds since the epoch.
    pub created: i64,
    /// Made without a name: goes with its container when asked.
    pub anonymous: bool,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Driver options.
    pub options: BTreeMap<String, String>,
}

/// A volume to be recorded.
#[derive(Clone, Debug, Default)]
pub struct NewVolume<'a> {
    /// Name.
    pub name: &'a str,
    /// Made without a name.
    pub anonymous: bool,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Driver options.
    pub options: BTreeMap<String, String>,
}

/// Records a volume unless it exists. True when it is new.
pub(crate) fn insert(transaction: &Transaction<'_>, new: &NewVolume<'_>) -> Result<bool> {
    let json = |map: &BTreeMap<String, String>| {
        serde_json::to_string(map)
            .map_err(|source| Error::Record { what: format!("volume {}", new.name), source })
    };
    let (labels, options) = (json(&new.labels)?, json(&new.options)?);
    let added = transaction
        .prepare_cached("INSERT OR IGNORE INTO volumes VALUES (?1, ?2, ?3, ?4, ?5)")?
        .execute(params![new.name, crate::db::now(), new.anonymous, labels, options])?;
    Ok(added > 0)
}

/// Forgets a volume that nobody uses and moves its files out of their place. `None` when it is used
/// or not there.
pub(crate) fn forget_unused(
    transaction: &Transaction<'_>,
    root: &Path,
    name: &str,
) -> Result<Option<Moved>> {
    let removed = transaction
        .prepare_cached(
            "DELETE FROM volumes WHERE name = ?1
             AND NOT EXISTS (SELECT 1 FROM volume_uses WHERE volume = ?1)",
        )?
        .execute([name])?;
    if removed == 0 {
        return Ok(None);
    }
    let moved = Moved { place: root.join("volumes").join(name), trash: lease::trash_path(root)? };
    match std::fs::rename(&moved.place, &moved.trash) {
        // Never used since its row was made: there may be no directory yet.
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(Error::Lease(crate::LeaseError::Remove { path: moved.place, source: error }))
        }
        _ => Ok(Some(moved)),
    }
}

/// A volume's files, on their way out.
pub(crate) struct Moved {
    place: PathBuf,
    trash: PathBuf,
}

/// What is to be deleted once the rows are gone for good. When they stay, the files go back.
pub(crate) fn settled(committed: Result<()>, moved: Vec<Moved>) -> Result<Discarded> {
    if let Err(error) = committed {
        for one in moved {
            // The failure of the database is what the user must read.
            let _ = std::fs::rename(&one.trash, &one.place);
        }
        return Err(error);
    }
    Ok(Discarded::of(moved.into_iter().map(|one| one.trash).collect()))
}

impl Store {
    /// Records a volume unless it exists. True when it is new. Its directory is made afterwards.
    ///
    /// # Errors
    /// When the database fails.
    pub fn insert_volume(&self, new: &NewVolume<'_>) -> Result<bool> {
        self.write(|transaction| insert(transaction, new))
    }

    /// All volumes, by name.
    ///
    /// # Errors
    /// When the database fails or a row cannot be read.
    pub fn volumes(&self) -> Result<Vec<VolumeRow>> {
        let connection = self.connection()?;
        let mut statement = connection.prepare("SELECT * FROM volumes ORDER BY name")?;
        let rows = statement.query_map([], |row| Ok(read(row)))?;
        rows.map(|row| row?).collect()
    }

    /// One volume.
    ///
    /// # Errors
    /// When the database fails or the row cannot be read.
    pub fn volume(&self, name: &str) -> Result<Option<VolumeRow>> {
        self.connection()?
            .prepare_cached("SELECT * FROM volumes WHERE name = ?1")?
            .query_row([name], |row| Ok(read(row)))
            .optional()?
            .transpose()
    }

    /// Names of the containers that use a volume.
    ///
    /// # Errors
    /// When the database fails.
    pub fn volume_users(&self, name: &str) -> Result<Vec<String>> {
        users(&*self.connection()?, name)
    }

    /// Forgets a volume that nobody uses. Its files are out of their place then, and to be deleted.
    ///
    /// # Errors
    /// [`Error::VolumeInUse`], [`Error::NoVolume`].
    pub fn forget_volume(&self, name: &str) -> Result<Discarded> {
        let mut moved = Vec::new();
        let committed = self.write(|transaction| {
            moved.extend(forget_unused(transaction, self.root(), name)?);
            if !moved.is_empty() {
                return Ok(());
            }
            let by = users(transaction, name)?;
            Err(match by.is_empty() {
                true => Error::NoVolume { name: name.to_owned() },
                false => Error::VolumeInUse { name: name.to_owned(), by },
            })
        });
        settled(committed, moved)
    }
}

fn users(connection: &Connection, name: &str) -> Result<Vec<String>> {
    let mut statement = connection.prepare(
        "SELECT name FROM containers JOIN volume_uses ON container = id WHERE volume = ?1",
    )?;
    let names = statement.query_map([name], |row| row.get(0))?;
    Ok(names.collect::<rusqlite::Result<_>>()?)
}

fn read(row: &Row<'_>) -> Result<VolumeRow> {
    let name: String = row.get(0)?;
    let json = |text: String| {
        serde_json::from_str(&text)
            .map_err(|source| Error::Record { what: format!("volume {name}"), source })
    };
    Ok(VolumeRow {
        created: row.get(1)?,
        anonymous: row.get(2)?,
        labels: json(row.get(3)?)?,
        options: json(row.get(4)?)?,
        name: name.clone(),
    })
}
