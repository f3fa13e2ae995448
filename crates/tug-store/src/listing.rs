//! All images at a glance: what a list shows, without their configurations.

use crate::{Error, Result, Store};
use std::collections::HashMap;
use tug_types::{Digest, ImageReference};

/// Version 5: what a list shows, apart from the configurations, which are many small pages each: with
/// 200 images that is a twentieth of the reads.
pub(crate) const SCHEMA: &str = "
CREATE INDEX images_by_age ON images (created DESC, id, size);
";

const ALL: &str = "SELECT id, created, size FROM images ORDER BY created DESC, id";

/// One image of a list.
#[derive(Clone, Debug)]
pub struct ListedImage {
    /// Config digest.
    pub id: Digest,
    /// Seconds since the epoch.
    pub created: i64,
    /// Bytes of all layers' files.
    pub size: u64,
    /// Tags, in order.
    pub tags: Vec<ImageReference>,
    /// Names by digest.
    pub digests: Vec<ImageReference>,
    /// Containers made of it, running or not.
    pub containers: usize,
}

impl Store {
    /// All images, newest first, in four questions to the database however many there are.
    ///
    /// # Errors
    /// When the database fails or a row cannot be read.
    pub fn list_images(&self) -> Result<Vec<ListedImage>> {
        let connection = self.connection()?;
        let names = |table: &str| -> Result<HashMap<String, Vec<ImageReference>>> {
            let mut found: HashMap<String, Vec<ImageReference>> = HashMap::new();
            let mut statement = connection
                .prepare(&format!("SELECT image, reference FROM {table} ORDER BY reference"))?;
            let mut rows = statement.query([])?;
            while let Some(row) = rows.next()? {
                let text: String = row.get(1)?;
                let name = ImageReference::parse(&text)
                    .map_err(|_| Error::Identifier { what: format!("image name {text:?}") })?;
                found.entry(row.get(0)?).or_default().push(name);
            }
            Ok(found)
        };
        let (mut tags, mut digests) = (names("tags")?, names("repo_digests")?);
        let mut users: HashMap<String, usize> = HashMap::new();
        let mut statement =
            connection.prepare("SELECT image, count(*) FROM containers GROUP BY image")?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            users.insert(row.get(0)?, usize::try_from(row.get::<_, i64>(1)?).unwrap_or(0));
        }
        let mut statement = connection.prepare(ALL)?;
        let mut rows = statement.query([])?;
        let mut images = Vec::new();
        while let Some(row) = rows.next()? {
            let text: String = row.get(0)?;
            images.push(ListedImage {
                id: Digest::parse(&text)
                    .map_err(|_| Error::Identifier { what: format!("image {text:?}") })?,
                created: row.get(1)?,
                size: u64::try_from(row.get::<_, i64>(2)?).unwrap_or(0),
                tags: tags.remove(&text).unwrap_or_default(),
                digests: digests.remove(&text).unwrap_or_default(),
                containers: users.remove(&text).unwrap_or(0),
            });
        }
        Ok(images)
    }

    /// An image's configuration, its own bytes; `None` when there is no such image.
    ///
    /// # Errors
    /// When the database fails.
    pub fn image_config(&self, id: &Digest) -> Result<Option<Vec<u8>>> {
        use rusqlite::OptionalExtension;
        Ok(self
            .connection()?
            .prepare_cached("SELECT config FROM images WHERE id = ?1")?
            .query_row([id.to_string()], |row| row.get(0))
            .optional()?)
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_list_reads_no_configuration() {
        let dir = tempfile::tempdir().unwrap();
        let connection = crate::db::open(dir.path()).unwrap();
        let plan: String = connection
            .query_row(&format!("EXPLAIN QUERY PLAN {}", super::ALL), [], |row| row.get(3))
            .unwrap();
        assert!(plan.contains("COVERING INDEX images_by_age"), "{plan}");
    }
}
