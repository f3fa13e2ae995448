//! A blob as a blocking reader: the download runs on the client's runtime, a bounded channel
//! carries its pieces to the thread that unpacks them.
//!
//! The channel is what makes a layer a pipeline: the socket is read and hashed on one core while
//! another inflates, and a slow disk holds the network back instead of filling memory.

use crate::blob::BlobStream;
use crate::error::{Ask, Error};
use bytes::{Buf, Bytes};
use std::io::{self, Read};
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
    ask: Ask,
    download: AbortHandle,
}

impl BlobReader {
    pub(crate) fn start(runtime: &Handle, mut stream: BlobStream) -> Self {
        let (sender, pieces) = mpsc::channel(DEPTH);
        let ask = stream.ask().clone();
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
        let download = download.abort_handle();
        Self { pieces, current: Bytes::new(), ended: false, failure: None, ask, download }
    }

    /// Why reading failed: the typed error behind the [`io::Error`] that the consumer saw.
    pub fn take_failure(&mut self) -> Option<Error> {
        self.failure.take()
    }

    /// Reads what the consumer left over. A decompressor stops at the end of its own format;
    /// only then is it known whether the whole blob is what its digest says.
    ///
    /// # Errors
    /// As reading.
    pub fn finish(&mut self) -> Result<(), Error> {
        while !self.ended {
            self.current = Bytes::new();
            if self.fetch().is_err() {
                break;
            }
        }
        match self.failure.take() {
            Some(error) => Err(error),
            None if self.ended => Ok(()),
            None => Err(Error::Abandoned { ask: self.ask.clone() }),
        }
    }

    fn fetch(&mut self) -> io::Result<()> {
        let failure = match self.pieces.blocking_recv() {
            Some(Piece::Bytes(bytes)) => {
                self.current = bytes;
                return Ok(());
            }
            Some(Piece::End) => {
                self.ended = true;
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
        self.download.abort();
    }
}
