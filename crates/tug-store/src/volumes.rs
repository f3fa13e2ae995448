//! Volumes: one row each, and who uses them.

use crate::{Error, Result, Store};
use rusqlite::{OptionalExtension, Row, params};
use std::collections::BTreeMap;

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

impl Store {
    /// Records a volume unless it exists. True when it is new. Its `_data` directory must exist
    /// before, so that no row stands without files.
    ///
    /// # Errors
    /// When the database fails.
    pub fn insert_volume(&self, new: &NewVolume<'_>) -> Result<bool> {
        let json = |map: &BTreeMap<String, String>| {
            serde_json::to_string(map)
                .map_err(|source| Error::Record { what: format!("volume {}", new.name), source })
        };
        let (labels, options) = (json(&new.labels)?, json(&new.options)?);
        self.write(|transaction| {
            let added = transaction.execute(
                "INSERT OR IGNORE INTO volumes VALUES (?1, ?2, ?3, ?4, ?5)",
                params![new.name, crate::db::now(), new.anonymous, labels, options],
            )?;
            Ok(added > 0)
        })
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
        let connection = self.connection()?;
        let mut statement = connection.prepare(
            "SELECT name FROM containers JOIN volume_uses ON container = id WHERE volume = ?1",
        )?;
        let names = statement.query_map([name], |row| row.get(0))?;
        Ok(names.collect::<rusqlite::Result<_>>()?)
    }

    /// Forgets a volume that nobody uses.
    ///
    /// # Errors
    /// [`Error::VolumeInUse`], [`Error::NoVolume`].
    pub fn forget_volume(&self, name: &str) -> Result<()> {
        let by = self.volume_users(name)?;
        if !by.is_empty() {
            return Err(Error::VolumeInUse { name: name.to_owned(), by });
        }
        self.write(|transaction| {
            let removed = transaction.execute("DELETE FROM volumes WHERE name = ?1", [name])?;
            if removed == 0 {
                return Err(Error::NoVolume { name: name.to_owned() });
            }
            Ok(())
        })
    }
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
