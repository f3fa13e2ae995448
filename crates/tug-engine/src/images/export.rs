//! `export`: all files of a container as one tar, as it sees them, without what is mounted there.

use crate::record::Record;
use crate::spec::SUBORDINATE_IDS;
use crate::{Engine, Error};
use rustix::fs::CWD;
use rustix::mount::{OpenTreeFlags, open_tree};
use std::io::{BufWriter, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{SyncSender, sync_channel};
use tug_archive::{IdRange, PackOptions, Recorder};
use tug_store::Lease;
use tug_types::{ContainerId, Explain};

/// A container's files, about to be written.
pub struct Export {
    tree: OwnedFd,
    /// Whose ids the files have.
    ids: Option<IdRange>,
    /// Keeps what was copied to be read.
    _copied: Option<Lease>,
}

impl Engine {
    /// Opens the files of a container, running or not.
    ///
    /// # Errors
    /// When there is none, or its files cannot be reached.
    pub fn export(&self, name: &str) -> Result<Export, Error> {
        let row = self.container(name)?;
        let record = Record::read(&row)?;
        let ids = own_ids(&record);
        if let Some(run) = self.run_state(&row)? {
            // It sees the image through its ids, so all it shows has them.
            return Ok(Export { tree: tree_of_process(run.pid)?, ids, _copied: None });
        }
        let mut trees = self.trees_below(&record)?;
        let mut copied = None;
        let upper = match ids {
            None => self.container_dir(&row.id).join("upper"),
            // The layers have other ids than what was written over them.
            Some(_) => {
                let lease = Lease::create(self.store.root()).map_err(tug_store::Error::from)?;
                let copy = self.copy_upper(&row.id, &record, &lease)?;
                copied = Some(lease);
                copy
            }
        };
        trees.insert(0, upper);
        let failed = |source| Error::System { what: "put the container's layers together", source };
        let tree = crate::filling::detached_overlay(&trees).map_err(failed)?;
        Ok(Export { tree, ids: None, _copied: copied })
    }

    /// A copy of what a container has written, with the ids it has inside, in the lease's directory.
    pub(super) fn copy_upper(
        &self,
        id: &ContainerId,
        record: &Record,
        lease: &Lease,
    ) -> Result<PathBuf, Error> {
        let upper = self.container_dir(id).join("upper");
        let copy = lease.fresh_path("upper");
        crate::engine::make_dir(&copy)?;
        let from = open_directory(&upper).map_err(Error::files("open", &upper))?;
        let to = open_directory(&copy).map_err(Error::files("open", &copy))?;
        tug_archive::copy_upper(from.as_fd(), to.as_fd(), own_ids(record))
            .map_err(|error| Error::Failed(error.failure()))?;
        Ok(copy)
    }
}

impl Export {
    /// Writes the archive.
    ///
    /// # Errors
    /// The first file that cannot be read, by name, or when the output does not take it.
    pub fn write(self, out: &mut (impl Write + Send)) -> Result<(), Error> {
        let root = PathBuf::from(format!("/proc/self/fd/{}", self.tree.as_raw_fd()));
        let (sender, pieces) = sync_channel::<Vec<u8>>(QUEUE);
        // Files are read on one core while another writes what was read.
        std::thread::scope(|scope| {
            let writer = scope.spawn(move || {
                pieces.into_iter().try_for_each(|piece| out.write_all(&piece))?;
                out.flush()
            });
            let queue = BufWriter::with_capacity(PIECE, Queue(sender));
            let nothing = None::<Recorder<std::io::Sink>>;
            let options = PackOptions { ids: self.ids, ..PackOptions::default() };
            let packed = tug_archive::pack(&root, queue, &options, nothing);
            match writer.join() {
                // That nobody took the pieces any more is a consequence.
                Ok(Err(source)) => Err(Error::System { what: "write the archive", source }),
                Ok(Ok(())) => packed.map(drop).map_err(|error| Error::Failed(error.failure())),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        })
    }
}

/// Bytes handed over at once.
const PIECE: usize = 256 << 10;
/// Pieces waiting to be written.
const QUEUE: usize = 8;

/// Hands what is written to another thread.
struct Queue(SyncSender<Vec<u8>>);

impl Write for Queue {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let gone = |_| std::io::Error::from(std::io::ErrorKind::BrokenPipe);
        self.0.send(bytes.to_vec()).map_err(gone)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// The ids that what a container writes is stored with, when they are not those it sees.
fn own_ids(record: &Record) -> Option<IdRange> {
    let own = !matches!(record.host.userns_mode.as_str(), "" | "host");
    own.then_some(IdRange { first: SUBORDINATE_IDS.outside, count: SUBORDINATE_IDS.count })
}

pub(super) fn open_directory(path: &Path) -> std::io::Result<OwnedFd> {
    use rustix::fs::{Mode, OFlags};
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    Ok(rustix::fs::open(path, flags, Mode::empty())?)
}

/// The root mount of a running container without anything mounted on it: the same live overlay. Only
/// a thread inside the container's mount namespace may pick it up, so one goes there and ends.
fn tree_of_process(pid: i32) -> Result<OwnedFd, Error> {
    let failed = |source| Error::System { what: "reach the container's files", source };
    let namespace = std::fs::File::open(format!("/proc/{pid}/ns/mnt")).map_err(failed)?;
    let inside = move || -> std::io::Result<OwnedFd> {
        tug_sys::process::unshare_directories()?;
        tug_sys::process::enter_file(namespace.as_fd())?;
        let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
        Ok(open_tree(CWD, "/", flags)?)
    };
    std::thread::scope(|scope| match scope.spawn(inside).join() {
        Ok(tree) => tree.map_err(failed),
        Err(panic) => std::panic::resume_unwind(panic),
    })
}
