//! A container's output on disk: the only buffer between the container and whoever reads it.
//!
//! ```text
//! <container_dir>/log/00000000000000000000.log     named after the offset of its first byte
//!                     00000000000012500112.log     begins where the one before ends
//!
//! segment  = record*
//! record   = header (16 bytes, little-endian) padding payload trailer (4 bytes)
//! header   = magic u16, kind u8, flags u8, payload length u32, timestamp i64 (ns since the epoch)
//! kind     = 1 stdout, 2 stderr, 3 lost (payload: u64, bytes of output that could not be kept)
//! flags    = bit 0: continues a line that an earlier record of the same stream began;
//!            bits 2-7: bytes of padding, which puts large payloads where copying them is fast
//! payload  = bytes exactly as one read from the container gave them
//! trailer  = length of the whole record u32, so that records can be walked backwards
//! ```
//!
//! **Offsets** are positions in the concatenation of all segments ever written, headers included;
//! they only grow, also over restarts of the container.
//!
//! **One writer** (the monitor, by the container's lock), any number of readers, which use nothing
//! but the files: the pages they read are the ones just written. A record that is not complete yet
//! is not there yet. A record cut off by a killed monitor is cut away by the next [`Writer`]; a
//! reader that meets one goes on at the next segment.
//!
//! **Rotation** removes the oldest segment before the total passes the limit, except what an
//! attached foreground client has still to print, up to [`SPOOL_LIMIT`]. Nothing is synced: the log
//! survives every kill, and a power cut as far as the filesystem wrote it back.
//!
//! There is no index: segments are small enough (at most 16 MiB unless spooling) that `--since` finds
//! its segment by the names and scans one, and `--tail` walks backwards from the end.

mod format;
mod lines;
mod reader;
mod segments;
mod since;
mod tail;
mod window;
mod writer;

pub(crate) use format::ALIGNMENT;
pub use format::Stream;
pub use lines::{Line, Lines};
pub(crate) use reader::Piece;
pub use reader::{Begin, Chunk, Item, Reader};
pub use writer::{SPOOL_LIMIT, Writer};
