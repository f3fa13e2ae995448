//! A blob as a blocking reader: the download runs on the client's runtime, a bounded channel
//! carries its pieces to the thread that unpacks them.
//!
//! The channel is what makes a layer a pipeline: the socket is read and hashed on one core while
//! another inflates, and a slow disk holds the network back instead of filling memory.

use crate::ask::Ask;
use crate::blob::BlobStream;
use crate::error::Error;
use crate::spool::OpenSpool;
use bytes::{Buf, Bytes};
use std::io::{self, Read};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::task::AbortHandle;

/// Pieces in flight. A piece is what one read of a socket gives, at most a few hundred KiB.
const DEPTH: usize = 32;

enum Piece {
    Bytes(Bytes),
    /// The digest is right and there is no more.
    End,
    Failed(Box<Error>),
}

/// Reads one blob. `Ok(0)` is returned only after its digest was found right. Dropping it ends
/// the download.
pub struct BlobReader {
    pieces: mpsc::Receiver<Piece>,
    current: Bytes,
    ended: bool,
    failure: Option<Error>,
    ask: Arc<Ask>,
    download: Cancel,
    left: u64,
    started: bool,
    waiting: Option<Waiting>,
}

/// A download that begins with the first read: whoever has to wait for its turn fetches nothing.
struct Waiting {
    runtime: Handle,
    stream: BlobStream,
    sender: mpsc::Sender<Piece>,
    open: Option<OpenSpool>,
}

/// Ends a download from another thread: its reader fails with [`Error::Abandoned`].
#[derive(Clone, Debug)]
pub struct Cancel(Arc<Mutex<Running>>);

#[derive(Debug)]
enum Running {
    NotYet,
    Download(AbortHandle),
    Cancelled,
}

impl Cancel {
    /// Ends it. A finished download stays finished.
    pub fn cancel(&self) {
        let mut running = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Running::Download(handle) = &*running {
            handle.abort();
        }
        *running = Running::Cancelled;
    }
}

impl BlobReader {
    pub(crate) fn new(runtime: &Handle, stream: BlobStream, open: Option<OpenSpool>) -> Self {
        let (sender, pieces) = mpsc::channel(DEPTH);
        let ask = stream.ask().clone();
        let left = stream.size();
        Self {
            pieces,
            current: Bytes::new(),
            ended: false,
            failure: None,
            ask,
            download: Cancel(Arc::new(Mutex::new(Running::NotYet))),
            left,
            started: false,
            waiting: Some(Waiting { runtime: runtime.clone(), stream, sender, open }),
        }
    }

    fn start(&mut self) {
        self.started = true;
        let Some(Waiting { runtime, mut stream, sender, open }) = self.waiting.take() else {
            return;
        };
        let mut running = self.download.0.lock().unwrap_or_else(PoisonError::into_inner);
        if matches!(*running, Running::Cancelled) {
            // The sender goes, and with it the hope for pieces.
            return;
        }
        if let Some(spool) = open.and_then(|open| open()) {
            stream.keep_in(spool);
        }
        let download = runtime.spawn(async move {
            loop {
                let piece = match stream.next().await {
                    Ok(Some(bytes)) => Piece::Bytes(bytes),
                    Ok(None) => Piece::End,
                    Err(error) => Piece::Failed(Box::new(error)),
                };
                let last = !matches!(piece, Piece::Bytes(_));
                // A closed channel: the reader was dropped, and with it the wish for more.
                if sender.send(piece).await.is_err() || last {
                    break;
                }
            }
        });
        *running = Running::Download(download.abort_handle());
    }

    /// Why reading failed: the typed error behind the [`io::Error`] that the consumer saw.
    pub fn take_failure(&mut self) -> Option<Error> {
        self.failure.take()
    }

    /// What ends this download.
    pub fn cancel(&self) -> Cancel {
        self.download.clone()
    }

    /// Bytes that neither arrived nor are known to be missing: what [`BlobReader::finish`] costs.
    pub fn left(&self) -> u64 {
        self.left
    }

    /// Reads what the consumer left over. A decompressor may stop at the end of its own format, or
    /// at the first thing it does not like; only at the end is it known whether the blob is what its
    /// digest says. A blob of which nothing was read proves nothing either way and is left alone.
    ///
    /// # Errors
    /// As reading.
    pub fn finish(&mut self) -> Result<(), Error> {
        while self.started && !self.ended && self.failure.is_none() && self.fetch().is_ok() {
            self.current = Bytes::new();
        }
        self.failure.take().map_or(Ok(()), Err)
    }

    fn fetch(&mut self) -> io::Result<()> {
        self.start();
        let failure = match self.pieces.blocking_recv() {
            Some(Piece::Bytes(bytes)) => {
                self.left = self.left.saturating_sub(bytes.len() as u64);
                self.current = bytes;
                return Ok(());
            }
            Some(Piece::End) => {
                self.ended = true;
                self.left = 0;
                return Ok(());
            }
            Some(Piece::Failed(error)) => *error,
            None => Error::Abandoned { ask: self.ask.clone() },
        };
        let shown = failure.to_string();
        // The first failure is the cause; what a consumer sees after it only follows from it.
        self.failure.get_or_insert(failure);
        Err(io::Error::other(shown))
    }
}

impl Read for BlobReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.current.is_empty() && !self.ended {
            self.fetch()?;
        }
        let taken = self.current.len().min(buffer.len());
        buffer[..taken].copy_from_slice(&self.current[..taken]);
        self.current.advance(taken);
        Ok(taken)
    }
}

impl Drop for BlobReader {
    fn drop(&mut self) {
        self.download.cancel();
    }
}
