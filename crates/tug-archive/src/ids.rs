//! The ids of a user namespace: what its processes write is stored with the ids the host has for theirs,
//! and an archive or an image has those they have themselves.

use crate::xattrs::Xattr;
use rustix::fs::Stat;

/// A stretch of the host's ids that is 0 and up inside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IdRange {
    /// The host's id of user 0.
    pub first: u32,
    /// How many there are.
    pub count: u32,
}

/// `security.capability` of a user namespace (revision 3) ends with the host's id of its user 0.
const REVISION_3: (u8, usize) = (3, 24);
const REVISION_2: (u8, usize) = (2, 20);

impl IdRange {
    /// The id inside. One that is not from here stays as it is.
    pub fn inside(&self, id: u32) -> u32 {
        id.checked_sub(self.first).filter(|inside| *inside < self.count).unwrap_or(id)
    }

    /// A file as its namespace sees it.
    pub(crate) fn stat(&self, stat: &Stat) -> Stat {
        let mut stat = *stat;
        (stat.st_uid, stat.st_gid) = (self.inside(stat.st_uid), self.inside(stat.st_gid));
        stat
    }

    /// Capabilities of programs that count in the namespace only become such that count for whoever
    /// uses the image.
    pub(crate) fn xattrs(&self, all: &mut [Xattr]) {
        for (name, value) in all {
            let (revision, length) = REVISION_3;
            let owner = value.get(20..24).and_then(|bytes| bytes.try_into().ok());
            if name.as_bytes() == b"security.capability"
                && value.len() == length
                && value[3] == revision
                && owner.map(u32::from_le_bytes) == Some(self.first)
            {
                value.truncate(REVISION_2.1);
                value[3] = REVISION_2.0;
            }
        }
    }
}

/// With a range, or as it is.
pub(crate) fn stat_inside(ids: Option<IdRange>, stat: &Stat) -> Stat {
    ids.map_or(*stat, |ids| ids.stat(stat))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_ids_of_the_range_are_changed() {
        let ids = IdRange { first: 100_000, count: 65_536 };
        for (outside, inside) in
            [(100_000, 0), (101_000, 1000), (165_535, 65_535), (165_536, 165_536), (0, 0)]
        {
            assert_eq!(ids.inside(outside), inside);
        }
    }

    #[test]
    fn capabilities_of_the_namespace_become_the_images() {
        let ids = IdRange { first: 0x0001_86a0, count: 65_536 };
        let body = [1, 0, 0, 3, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        let xattr = |owner: [u8; 4]| {
            vec![(c"security.capability".to_owned(), [&body[..], &owner].concat())]
        };
        let mut own = xattr([0xa0, 0x86, 1, 0]);
        ids.xattrs(&mut own);
        assert_eq!(own[0].1, [1, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        let mut foreign = xattr([1, 0, 0, 0]);
        ids.xattrs(&mut foreign);
        assert_eq!(foreign, xattr([1, 0, 0, 0]));
    }
}
