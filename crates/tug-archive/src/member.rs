//! Members of an archive that no file on the disk stands behind: headers for `save`.

use crate::entry::BLOCK;

/// The header of a plain file of `size` bytes, root's, 0644, of the epoch: the same bytes every
/// time. `name` is at most 100 bytes long.
pub fn file_header(name: &str, size: u64) -> [u8; BLOCK] {
    header(name, b'0', 0o644, size)
}

/// The header of a directory; `name` ends in a slash.
pub fn directory_header(name: &str) -> [u8; BLOCK] {
    header(name, b'5', 0o755, 0)
}

/// Zero bytes that fill the last block of a body of `size` bytes.
pub fn padding(size: u64) -> &'static [u8] {
    static ZEROS: [u8; BLOCK] = [0; BLOCK];
    &ZEROS[..crate::reader::padding(size) as usize]
}

/// What ends an archive.
pub const END: [u8; 2 * BLOCK] = [0; 2 * BLOCK];

fn header(name: &str, type_flag: u8, mode: u32, size: u64) -> [u8; BLOCK] {
    let mut block = [0u8; BLOCK];
    let name = &name.as_bytes()[..name.len().min(100)];
    block[..name.len()].copy_from_slice(name);
    block[100..108].copy_from_slice(format!("{mode:07o}\0").as_bytes());
    block[108..116].copy_from_slice(b"0000000\0");
    block[116..124].copy_from_slice(b"0000000\0");
    if size < 1 << 33 {
        block[124..136].copy_from_slice(format!("{size:011o}\0").as_bytes());
    } else {
        // Binary, as GNU tar, Go and Python read it.
        block[124] = 0x80;
        block[128..136].copy_from_slice(&size.to_be_bytes());
    }
    block[136..148].copy_from_slice(b"00000000000\0");
    block[156] = type_flag;
    block[257..265].copy_from_slice(b"ustar\x0000");
    block[148..156].fill(b' ');
    let sum: u32 = block.iter().copied().map(u32::from).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    block
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn others_read_what_is_written() {
        for size in [0, 1, 511, 512, (1 << 33) - 1, 1 << 33, 1 << 40] {
            let header = file_header("blobs/sha256/0", size);
            let header = tar::Header::from_byte_slice(&header);
            assert_eq!(header.entry_size().unwrap(), size);
            assert_eq!(header.path_bytes().as_ref(), b"blobs/sha256/0");
            assert!(crate::entry::checksum_matches(header));
            assert_eq!((size as usize + padding(size).len()) % BLOCK, 0);
        }
        let header = directory_header("blobs/");
        let header = tar::Header::from_byte_slice(&header);
        assert!(header.entry_type().is_dir() && header.mode().unwrap() == 0o755);
    }
}
