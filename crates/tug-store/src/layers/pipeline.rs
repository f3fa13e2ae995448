//! One layer's way from a compressed stream to files, on three threads:
//!
//! ```text
//! source ─► uncompress ─┬─► SHA-256
//!   (own thread)        └─► tar ─► files   (the caller's thread)
//! ```
//!
//! Inflating bounds a pull and hashing takes a third of its time again, so they run on different
//! cores. Pieces are shared, not copied, and their buffers go round; queues are short, so a layer
//! holds about 6 MiB however large it is.

use super::LayerError;
use sha2::{Digest as _, Sha256};
use std::fs::File;
use std::io::{self, BufRead, Read};
use std::path::Path;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use tug_archive::{Compression, Recorder, UnpackOptions, Unpacked};
use tug_types::{DiffId, Digest};

/// Small enough that a piece is still in the cache when it is hashed and written.
const PIECE: usize = 256 << 10;
/// Pieces waiting for each of the two consumers: enough to go on inflating while the disk is slow.
const QUEUE: usize = 16;

/// What came out.
pub(super) struct Done {
    pub(super) diff_id: DiffId,
    pub(super) unpacked: Unpacked,
    pub(super) compression: Compression,
}

/// Unpacks `source` into `dir/fs`, with `dir/skeleton.zst` beside it.
pub(super) fn unpack(
    source: impl Read + Send,
    dir: &Path,
    options: &UnpackOptions,
) -> Result<Done, LayerError> {
    let (to_hash, from_inflate) = sync_channel(QUEUE);
    let (to_tar, tar_input) = sync_channel(QUEUE);
    thread::scope(|scope| {
        let inflater = thread::Builder::new()
            .name("tug-inflate".to_owned())
            .spawn_scoped(scope, move || inflate(source, &to_hash, &to_tar))
            .map_err(|source| LayerError::Thread { source })?;
        let hasher = thread::Builder::new()
            .name("tug-hash".to_owned())
            .spawn_scoped(scope, move || hash(&from_inflate))
            .map_err(|source| LayerError::Thread { source })?;

        let mut pieces = Pieces { input: tar_input, current: None, position: 0, done: false };
        let unpacked = write_files(&mut pieces, dir, options);
        // Ends the inflater if it is still running: nobody takes its pieces any more.
        drop(pieces);
        let diff_id = hasher.join();
        let inflated = inflater.join();

        // A stream that broke is the cause of whatever else went wrong.
        let compression = match inflated {
            Ok(Inflated::Broken(error)) => return Err(error),
            Ok(Inflated::Finished(compression) | Inflated::NotWanted(compression)) => compression,
            Err(panic) => std::panic::resume_unwind(panic),
        };
        let diff_id = diff_id.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        Ok(Done { diff_id, unpacked: unpacked?, compression })
    })
}

fn write_files(
    pieces: &mut Pieces,
    dir: &Path,
    options: &UnpackOptions,
) -> Result<Unpacked, LayerError> {
    let path = dir.join("skeleton.zst");
    let skeleton = File::create(&path).map_err(|source| LayerError::Write { path, source })?;
    let unpack = || {
        let recorder = Recorder::new(skeleton, &dir.join("displaced"))?;
        tug_archive::unpack_recorded(pieces, &dir.join("fs"), options, Some(recorder))
    };
    unpack().map_err(|source| LayerError::Unpack { source })
}

/// How the inflating thread ended.
enum Inflated {
    /// All of the source was read.
    Finished(Compression),
    /// The tar side gave up first and says why.
    NotWanted(Compression),
    /// The source failed, or is not what it claims to be.
    Broken(LayerError),
}

fn inflate(
    source: impl Read,
    to_hash: &SyncSender<Arc<Piece>>,
    to_tar: &SyncSender<Option<Arc<Piece>>>,
) -> Inflated {
    let pool = Arc::new(Mutex::new(Vec::new()));
    let mut decoder = match tug_archive::decoder(source) {
        Ok(decoder) => decoder,
        Err(error) => {
            return Inflated::Broken(match error {
                tug_archive::Error::Read { source } => LayerError::Read { source },
                source => LayerError::Unpack { source },
            });
        }
    };
    let compression = decoder.compression();
    loop {
        let mut piece = Piece::take(&pool);
        match fill(&mut decoder, &mut piece.bytes) {
            Ok(0) => {
                // Without this mark, the end of the channel means that the stream broke.
                let wanted = to_tar.send(None).is_ok();
                return if wanted {
                    Inflated::Finished(compression)
                } else {
                    Inflated::NotWanted(compression)
                };
            }
            Ok(length) => {
                piece.length = length;
                let piece = Arc::new(piece);
                let hashing = to_hash.send(Arc::clone(&piece)).is_ok();
                if !hashing || to_tar.send(Some(piece)).is_err() {
                    return Inflated::NotWanted(compression);
                }
            }
            Err(source) => return Inflated::Broken(LayerError::Read { source }),
        }
    }
}

/// Reads until the buffer is full or the source ends.
fn fill(source: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match source.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

fn hash(input: &Receiver<Arc<Piece>>) -> DiffId {
    let mut hash = Sha256::new();
    for piece in input {
        hash.update(piece.bytes());
    }
    DiffId(Digest::from_sha256(hash.finalize().into()))
}

type Pool = Arc<Mutex<Vec<Vec<u8>>>>;

/// Some bytes of the tar, shared by both consumers. The last one gives the buffer back.
struct Piece {
    bytes: Vec<u8>,
    length: usize,
    pool: Pool,
}

impl Piece {
    fn take(pool: &Pool) -> Self {
        let recycled = pool.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let bytes = recycled.unwrap_or_else(|| vec![0; PIECE]);
        Self { bytes, length: 0, pool: Arc::clone(pool) }
    }

    fn bytes(&self) -> &[u8] {
        &self.bytes[..self.length]
    }
}

impl Drop for Piece {
    fn drop(&mut self) {
        let bytes = std::mem::take(&mut self.bytes);
        self.pool.lock().unwrap_or_else(PoisonError::into_inner).push(bytes);
    }
}

/// The tar side's view of the pieces: a buffered reader without a copy.
struct Pieces {
    input: Receiver<Option<Arc<Piece>>>,
    current: Option<Arc<Piece>>,
    position: usize,
    done: bool,
}

impl BufRead for Pieces {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        let rest = self.current.as_ref().map_or(0, |piece| piece.length - self.position);
        if rest == 0 && !self.done {
            self.current = None;
            self.position = 0;
            match self.input.recv() {
                Ok(Some(piece)) => self.current = Some(piece),
                Ok(None) => self.done = true,
                // The inflater has the real error; this one is never shown.
                Err(_) => return Err(io::Error::other("the stream broke")),
            }
        }
        Ok(self.current.as_ref().map_or(&[], |piece| &piece.bytes()[self.position..]))
    }

    fn consume(&mut self, amount: usize) {
        self.position += amount;
    }
}

impl Read for Pieces {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let ahead = self.fill_buf()?;
        let count = ahead.len().min(buffer.len());
        buffer[..count].copy_from_slice(&ahead[..count]);
        self.consume(count);
        Ok(count)
    }
}
