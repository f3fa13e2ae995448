//! `.git/index`: what git compares the files with. Version 2, without what the files' status was: git looks
//! itself when it is first asked.

use crate::object::{EntryKind, Oid};
use sha1::{Digest as _, Sha1};

/// One path.
#[derive(Clone, Debug)]
pub(crate) struct Line {
    pub path: Vec<u8>,
    pub kind: EntryKind,
    pub id: Oid,
}

/// Its bytes.
pub(crate) fn write(mut lines: Vec<Line>) -> Vec<u8> {
    lines.sort_by(|a, b| a.path.cmp(&b.path));
    let mut out = b"DIRC\0\0\0\x02".to_vec();
    out.extend(u32::try_from(lines.len()).unwrap_or(u32::MAX).to_be_bytes());
    for line in &lines {
        let mode: u32 = match line.kind {
            EntryKind::File { executable: true } => 0o100_755,
            EntryKind::File { executable: false } => 0o100_644,
            EntryKind::Link => 0o120_000,
            EntryKind::Submodule | EntryKind::Directory => 0o160_000,
        };
        let start = out.len();
        // Two times, device and inode: not known.
        out.extend([0; 24]);
        out.extend(mode.to_be_bytes());
        // Owner, group, size.
        out.extend([0; 12]);
        out.extend(line.id.0);
        let length = u16::try_from(line.path.len()).unwrap_or(0xfff).min(0xfff);
        out.extend(length.to_be_bytes());
        out.extend(&line.path);
        let padding = 8 - (out.len() - start) % 8;
        out.extend(std::iter::repeat_n(0, padding));
    }
    let digest = Sha1::digest(&out);
    out.extend(digest);
    out
}
