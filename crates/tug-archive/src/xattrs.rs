//! Extended attributes of a file, as packing and copying want them.

use rustix::io::Errno;
use std::ffi::CString;
use std::os::fd::{AsRawFd, BorrowedFd};

/// Name and value.
pub type Xattr = (CString, Vec<u8>);

/// Belongs to the overlay or to the host, not to the file.
const LEFT_OUT: [&[u8]; 5] =
    [b"trusted.overlay.", b"user.overlay.", b"security.selinux", b"security.ima", b"security.evm"];

/// Whether an attribute stays behind: it belongs to the overlay or to the host, not to the file.
pub fn is_left_out(name: &[u8]) -> bool {
    LEFT_OUT.iter().any(|prefix| name.starts_with(prefix))
}

/// All extended attributes of an open file, sorted by name.
///
/// # Errors
/// The kernel's; a file system without attributes has none.
pub fn of_file(file: BorrowedFd<'_>) -> rustix::io::Result<Vec<Xattr>> {
    let list = read(|buffer| rustix::fs::flistxattr(file, buffer))?;
    values(&list, |name, buffer| rustix::fs::fgetxattr(file, name, buffer))
}

/// All extended attributes of something that cannot be opened: a link, a special file.
///
/// # Errors
/// The kernel's; a file system without attributes has none.
pub fn of_name(dir: BorrowedFd<'_>, name: &[u8]) -> rustix::io::Result<Vec<Xattr>> {
    let path = path(dir, name);
    let list = read(|buffer| rustix::fs::llistxattr(path.as_slice(), buffer))?;
    values(&list, |name, buffer| rustix::fs::lgetxattr(path.as_slice(), name, buffer))
}

/// A way to name something in a directory to the calls that take no descriptor.
pub(crate) fn path(dir: BorrowedFd<'_>, name: &[u8]) -> Vec<u8> {
    [format!("/proc/self/fd/{}/", dir.as_raw_fd()).as_bytes(), name].concat()
}

fn values(
    list: &[u8],
    get: impl Fn(&CString, &mut [u8]) -> rustix::io::Result<usize>,
) -> rustix::io::Result<Vec<Xattr>> {
    let mut xattrs = Vec::new();
    for name in list.split(|byte| *byte == 0).filter(|name| !name.is_empty()) {
        let Ok(name) = CString::new(name) else { continue };
        match read(|buffer| get(&name, buffer)) {
            Ok(value) => xattrs.push((name, value)),
            // Gone in between, or listed but not readable by us.
            Err(Errno::NODATA | Errno::PERM | Errno::ACCESS) => {}
            Err(error) => return Err(error),
        }
    }
    xattrs.sort_unstable();
    Ok(xattrs)
}

/// The kernel keeps lists and values below 64 KiB.
const LARGEST: usize = 64 << 10;

fn read(get: impl Fn(&mut [u8]) -> rustix::io::Result<usize>) -> rustix::io::Result<Vec<u8>> {
    let mut buffer = vec![0; 256];
    loop {
        match get(&mut buffer) {
            Ok(length) => {
                buffer.truncate(length);
                return Ok(buffer);
            }
            Err(Errno::RANGE) if buffer.len() < LARGEST => buffer.resize(LARGEST, 0),
            // Not on this file system.
            Err(Errno::OPNOTSUPP) => return Ok(Vec::new()),
            Err(error) => return Err(error),
        }
    }
}
