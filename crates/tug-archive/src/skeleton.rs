//! Skeletons: the bytes of a tar that are in no file, so that the exact tar can be made again.
//!
//! A layer is kept unpacked, but pushing, saving and checking it need the very tar its digest was
//! taken of. Headers, padding, order and trailing bytes are recorded while the tar is unpacked or
//! packed; file contents are taken from the tree again.
//!
//! ```text
//! file    = "TUGSKEL" version:u8  zstd(record*)  footer  footer length:u32le  "TUGSKEND"
//! record  = 0 length bytes            bytes of the tar as they are
//!         | 1 length                  that many zero bytes
//!         | 2 name length             the first `length` bytes of a file
//!         | 3 name count piece*       stretches of a file: piece = offset length
//! footer  = tar length, body count, count displaced*
//! displaced = name ordinal            see below
//! name    = length bytes              below the root, no link on the way, no slash at the start
//! ```
//! Numbers are LEB128 where not said otherwise. The end marker at the very end tells a whole
//! skeleton from one that was cut short.
//!
//! A tar may hold a name twice. What the later entry replaces is renamed to `displaced/<n>`, and
//! line `n` of the footer says which name it had and how many bodies (records 2 and 3) had been
//! recorded by then: earlier bodies of that name, or below it, are found in `displaced/<n>`.

mod assembler;
mod recorder;

pub use assembler::{Assembler, assemble};
pub use recorder::Recorder;

const MAGIC: &[u8; 7] = b"TUGSKEL";
const END: &[u8; 8] = b"TUGSKEND";
const VERSION: u8 = 1;

const RAW: u8 = 0;
const ZEROS: u8 = 1;
const BODY: u8 = 2;
const PIECES: u8 = 3;
