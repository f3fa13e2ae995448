//! What a download keeps so that another one can go on from there. Where and how it is kept is the
//! caller's business; this crate owns nothing on disk.

use std::io;

/// The bytes of one blob that arrived so far, across commands.
pub trait Spool: Send {
    /// How many there are.
    fn length(&self) -> u64;

    /// Reads some of them, from an offset.
    ///
    /// # Errors
    /// They cannot be read; the download then goes on without them.
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize>;

    /// Adds what arrived.
    ///
    /// # Errors
    /// They cannot be kept; the download then goes on without keeping anything.
    fn append(&mut self, bytes: &[u8]) -> io::Result<()>;

    /// Forgets all of them: they turned out wrong, or cannot be kept.
    fn clear(&mut self);
}

/// Gives the spool when the download begins; `None`: nothing is kept.
pub type OpenSpool = Box<dyn FnOnce() -> Option<Box<dyn Spool>> + Send>;
