//! The database: how it is opened, and its schema.
//!
//! SQLite in WAL mode with `synchronous=NORMAL`: a commit costs no fsync, survives any kill, and after
//! a power loss the database is whole although its last moments may be missing, which is what
//! containers that died with the power need. Nothing holds it open for long: no daemon exists, every
//! command opens it anew, so opening must be cheap: the log is kept short (see `CHECKPOINT_PAGES`)
//! because the first opener reads it whole.

use crate::{Error, Result};
use rusqlite::{Connection, OpenFlags, config::DbConfig};
use std::path::Path;
use std::time::Duration;

/// Bytes of a page. A commit writes whole pages to the log, and the first opener of the log reads and
/// checks every byte of it; rows here are small and few.
const PAGE_SIZE: i64 = 1024;

/// Pages of write-ahead log after which a commit moves them into the database file. A checkpoint
/// costs two fsyncs; reading the log at every cold open costs about 1 µs a page.
const CHECKPOINT_PAGES: i64 = 400;

/// How long a writer waits in line. Transactions take well under a millisecond, so this is met only
/// by a stopped process holding the lock.
const PATIENCE: Duration = Duration::from_secs(30);

/// One script a version: the database's `user_version` counts those that ran. What has been released
/// is never edited; the next change is the next script.
const MIGRATIONS: &[&str] = &[
    SCHEMA,
    crate::cache::SCHEMA,
    SEVERAL_PLATFORMS,
    crate::settle::SCHEMA,
    crate::listing::SCHEMA,
    crate::figures::SCHEMA,
    crate::room::SCHEMA,
];

const VERSION: i64 = MIGRATIONS.len() as i64;

/// Version 3: names remember what they stood for where they came from, so that the other platforms of
/// an index are found again, and an index or manifest can be handed on as it was.
const SEVERAL_PLATFORMS: &str = "
ALTER TABLE tags ADD COLUMN target TEXT;  -- digest of the index or manifest it names; its bytes are a blob
CREATE INDEX tags_by_target ON tags (target);
CREATE INDEX repo_digests_by_digest ON repo_digests (substr(reference, -71));
CREATE INDEX images_by_manifest ON images (manifest_digest);
CREATE INDEX image_layers_by_blob ON image_layers (blob);
CREATE TABLE index_images (
    target TEXT NOT NULL,            -- digest of the index
    image TEXT NOT NULL REFERENCES images(id) ON DELETE CASCADE,
    platform TEXT NOT NULL,          -- linux/arm64
    manifest TEXT NOT NULL,          -- digest of the manifest the index has for it
    PRIMARY KEY (target, image)
) WITHOUT ROWID;
CREATE INDEX index_images_by_image ON index_images (image);
CREATE INDEX index_images_by_manifest ON index_images (manifest);
CREATE TABLE layer_blobs (
    diff_id TEXT NOT NULL,
    digest TEXT NOT NULL,            -- of the compressed blob
    size INTEGER NOT NULL,           -- its bytes
    media_type TEXT NOT NULL,
    recipe TEXT NOT NULL,            -- how tug compressed it, so that it can do so again; '' is unknown
    PRIMARY KEY (diff_id, digest)
) WITHOUT ROWID;
";

const SCHEMA: &str = "
CREATE TABLE images (
    id TEXT PRIMARY KEY,             -- config digest
    config BLOB NOT NULL,            -- the config's own bytes
    manifest_digest TEXT,
    created INTEGER NOT NULL,        -- seconds since the epoch
    size INTEGER NOT NULL,           -- bytes of all layers' files
    tagged INTEGER NOT NULL          -- last time somebody here gave it a name, nanoseconds since the epoch
) WITHOUT ROWID;
CREATE TABLE image_layers (
    image TEXT NOT NULL REFERENCES images(id) ON DELETE CASCADE,
    position INTEGER NOT NULL,       -- 0 is the base
    diff_id TEXT NOT NULL,
    size INTEGER NOT NULL,
    blob TEXT,                       -- digest of the compressed blob it came as
    media_type TEXT,
    PRIMARY KEY (image, position)
) WITHOUT ROWID;
CREATE INDEX image_layers_by_diff_id ON image_layers (diff_id);
CREATE TABLE tags (
    reference TEXT PRIMARY KEY,      -- docker.io/library/busybox:latest
    image TEXT NOT NULL REFERENCES images(id) ON DELETE CASCADE
) WITHOUT ROWID;
CREATE INDEX tags_by_image ON tags (image);
CREATE TABLE repo_digests (
    reference TEXT PRIMARY KEY,      -- docker.io/library/busybox@sha256:...
    image TEXT NOT NULL REFERENCES images(id) ON DELETE CASCADE
) WITHOUT ROWID;
CREATE INDEX repo_digests_by_image ON repo_digests (image);
CREATE TABLE containers (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    state TEXT NOT NULL,             -- see ContainerState
    image TEXT NOT NULL,             -- kept when the image is removed by force
    created INTEGER NOT NULL,        -- nanoseconds since the epoch
    started INTEGER NOT NULL DEFAULT 0,
    finished INTEGER NOT NULL DEFAULT 0,
    exit_code INTEGER NOT NULL DEFAULT 0,
    oom_killed INTEGER NOT NULL DEFAULT 0,
    error TEXT NOT NULL DEFAULT '',
    record TEXT NOT NULL             -- JSON of the engine's
) WITHOUT ROWID;
CREATE INDEX containers_by_image ON containers (image);
CREATE TABLE container_layers (
    container TEXT NOT NULL REFERENCES containers(id) ON DELETE CASCADE,
    diff_id TEXT NOT NULL,
    PRIMARY KEY (container, diff_id)
) WITHOUT ROWID;
CREATE INDEX container_layers_by_diff_id ON container_layers (diff_id);
CREATE TABLE networks (
    name TEXT PRIMARY KEY,
    config TEXT NOT NULL             -- JSON of the engine's
) WITHOUT ROWID;
CREATE TABLE addresses (
    network TEXT NOT NULL,
    address INTEGER NOT NULL,        -- IPv4 as a number
    container TEXT NOT NULL REFERENCES containers(id) ON DELETE CASCADE,
    PRIMARY KEY (network, address)
) WITHOUT ROWID;
CREATE INDEX addresses_by_container ON addresses (container);
CREATE TABLE volumes (
    name TEXT PRIMARY KEY,
    created INTEGER NOT NULL,        -- nanoseconds since the epoch
    anonymous INTEGER NOT NULL,
    labels TEXT NOT NULL,            -- JSON object
    options TEXT NOT NULL            -- JSON object
) WITHOUT ROWID;
CREATE TABLE volume_uses (
    volume TEXT NOT NULL REFERENCES volumes(name),
    container TEXT NOT NULL REFERENCES containers(id) ON DELETE CASCADE,
    PRIMARY KEY (volume, container)
) WITHOUT ROWID;
CREATE INDEX volume_uses_by_container ON volume_uses (container);
";

/// Opens the database of a data root, creating root and schema when missing.
pub(crate) fn open(root: &Path) -> Result<Connection> {
    let path = root.join("state.db");
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
        | OpenFlags::SQLITE_OPEN_CREATE
        | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = match Connection::open_with_flags(&path, flags) {
        Ok(connection) => connection,
        Err(_) if !root.exists() => {
            make_root(root)?;
            Connection::open_with_flags(&path, flags)
                .map_err(|source| Error::Open { path: path.clone(), source })?
        }
        Err(source) => return Err(Error::Open { path, source }),
    };
    prepare(&connection, &path)?;
    Ok(connection)
}

/// A data root holds set-user-id files of strangers' images: only root may enter it.
fn make_root(root: &Path) -> Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o710)
        .create(root)
        .map_err(|source| Error::CreateDirectory { path: root.to_owned(), source })
}

fn prepare(connection: &Connection, path: &Path) -> Result<()> {
    let open = |source| Error::Open { path: path.to_owned(), source };
    connection.busy_timeout(PATIENCE).map_err(open)?;
    // The log stays behind when the last process leaves: folding it in would cost every command
    // two fsyncs.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true).map_err(open)?;
    let version: i64 =
        connection.query_row("PRAGMA user_version", [], |row| row.get(0)).map_err(open)?;
    if version > VERSION {
        return Err(Error::Newer { path: path.to_owned(), found: version, known: VERSION });
    }
    if version < VERSION {
        migrate(connection).map_err(open)?;
    }
    connection
        .execute_batch(&format!(
            "PRAGMA synchronous=NORMAL; PRAGMA foreign_keys=ON; PRAGMA wal_autocheckpoint={CHECKPOINT_PAGES};"
        ))
        .map_err(open)
}

/// Brings an older or empty database up to date. Several processes may try at once: the first wins,
/// the others see its version when they get the lock.
fn migrate(connection: &Connection) -> rusqlite::Result<()> {
    connection.execute_batch(&format!("PRAGMA page_size={PAGE_SIZE}"))?;
    connection.query_row("PRAGMA journal_mode=WAL", [], |_| Ok(()))?;
    connection.execute_batch("BEGIN IMMEDIATE")?;
    let version: i64 = connection.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    let from = usize::try_from(version).unwrap_or(0).min(MIGRATIONS.len());
    let result = MIGRATIONS[from..]
        .iter()
        .try_for_each(|step| connection.execute_batch(step))
        .and_then(|()| match version < VERSION {
            true => connection.execute_batch(&format!("PRAGMA user_version={VERSION}")),
            false => Ok(()),
        });
    connection.execute_batch(if result.is_ok() { "COMMIT" } else { "ROLLBACK" })?;
    result
}

/// Nanoseconds since the epoch.
pub(crate) fn now() -> i64 {
    std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(0, |since| i64::try_from(since.as_nanos()).unwrap_or(i64::MAX))
}

/// A database as an older tug would have made it.
#[cfg(test)]
pub(crate) fn make_version(root: &Path, version: usize) {
    let connection = Connection::open(root.join("state.db")).unwrap();
    connection.query_row("PRAGMA journal_mode=WAL", [], |_| Ok(())).unwrap();
    for script in &MIGRATIONS[..version] {
        connection.execute_batch(script).unwrap();
    }
    connection.execute_batch(&format!("PRAGMA user_version={version}")).unwrap();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn twenty_openers_of_a_new_root_all_find_the_schema() {
        let root = std::env::temp_dir().join(format!("tug-db-{}", std::process::id()));
        std::thread::scope(|scope| {
            for _ in 0..20 {
                scope.spawn(|| {
                    let connection = open(&root).unwrap();
                    let count: i64 = connection
                        .query_row("SELECT count(*) FROM containers", [], |row| row.get(0))
                        .unwrap();
                    assert_eq!(count, 0);
                });
            }
        });
        std::fs::remove_dir_all(root).unwrap();
    }

    #[test]
    fn a_database_of_a_newer_tug_is_left_alone() {
        let root = std::env::temp_dir().join(format!("tug-db-newer-{}", std::process::id()));
        open(&root).unwrap().execute_batch("PRAGMA user_version=99").unwrap();
        assert!(matches!(open(&root), Err(Error::Newer { found: 99, .. })));
        std::fs::remove_dir_all(root).unwrap();
    }
}
