//! SHA-256 of a stream beside the thread that makes it: reading files and hashing them take about as long.

use sha2::{Digest as _, Sha256};
use std::io::{self, Write};
use std::sync::mpsc::{Receiver, SyncSender, channel, sync_channel};
use std::thread::JoinHandle;
use tug_types::Digest;

/// A thread is not worth starting for less.
const PIECE: usize = 256 << 10;
/// Pieces waiting to be hashed.
const QUEUE: usize = 8;

/// Hashes what is written to it.
pub(super) struct Hashing {
    piece: Vec<u8>,
    /// Until there is a thread, and when none can be had.
    here: Sha256,
    thread: Option<Thread>,
    alone: bool,
}

struct Thread {
    pieces: SyncSender<Vec<u8>>,
    /// Pieces to be filled again.
    done: Receiver<Vec<u8>>,
    handle: JoinHandle<Sha256>,
}

impl Hashing {
    pub(super) fn new() -> Self {
        Self { piece: Vec::new(), here: Sha256::new(), thread: None, alone: false }
    }

    /// The digest of everything written.
    pub(super) fn finish(mut self) -> Digest {
        let hash = match self.thread.take() {
            Some(Thread { pieces, handle, .. }) => {
                // Refused only by a thread that panicked, which is told next.
                let _ = pieces.send(std::mem::take(&mut self.piece));
                drop(pieces);
                handle.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
            }
            None => self.here.chain_update(&self.piece),
        };
        Digest::from_sha256(hash.finalize().into())
    }

    /// Gives a full piece away and takes an empty one.
    fn pass(&mut self) -> io::Result<()> {
        if self.thread.is_none() && !self.alone {
            self.thread = start(self.here.clone()).ok();
            self.alone = self.thread.is_none();
        }
        let Some(thread) = &self.thread else {
            self.here.update(&self.piece);
            self.piece.clear();
            return Ok(());
        };
        let next = thread.done.try_recv().unwrap_or_default();
        let full = std::mem::replace(&mut self.piece, next);
        self.piece.clear();
        self.piece.reserve(PIECE);
        thread.pieces.send(full).map_err(|_| io::Error::other("the hashing thread has ended"))
    }
}

fn start(mut hash: Sha256) -> io::Result<Thread> {
    let (pieces, waiting) = sync_channel::<Vec<u8>>(QUEUE);
    let (give_back, done) = channel();
    let handle = std::thread::Builder::new().name("tug-hash".to_owned()).spawn(move || {
        for piece in waiting {
            hash.update(&piece);
            // Nobody wants it back any more.
            let _ = give_back.send(piece);
        }
        hash
    })?;
    Ok(Thread { pieces, done, handle })
}

impl Write for Hashing {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.piece.len() + bytes.len() > PIECE && !self.piece.is_empty() {
            self.pass()?;
        }
        self.piece.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_digest_is_that_of_all_bytes() {
        for (count, length) in [(0, 0), (1, 1), (3, 100_000), (5, PIECE), (100, 70_001)] {
            let mut hashing = Hashing::new();
            let mut all = Sha256::new();
            for number in 0..count {
                let bytes = vec![number; length];
                hashing.write_all(&bytes).unwrap();
                all.update(&bytes);
            }
            let digest = Digest::from_sha256(all.finalize().into());
            assert_eq!(hashing.finish(), digest, "{count} x {length}");
        }
    }

    #[test]
    fn little_is_hashed_without_a_thread() {
        let mut hashing = Hashing::new();
        hashing.write_all(&[1; 1000]).unwrap();
        assert!(hashing.thread.is_none());
        hashing.write_all(&[1; PIECE]).unwrap();
        assert!(hashing.thread.is_some());
    }
}
