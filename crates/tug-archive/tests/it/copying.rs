//! Copying trees.

use crate::support::{assert_same, snapshot};
use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, Timespec, Timestamps, XattrFlags};
use std::os::fd::AsFd;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;

pub(crate) fn sample(root: &Path) {
    let dir = |name: &str, mode| {
        std::fs::create_dir(root.join(name)).unwrap();
        std::fs::set_permissions(root.join(name), PermissionsExt::from_mode(mode)).unwrap();
    };
    dir("data", 0o2770);
    dir("data/empty", 0o1777);
    std::fs::write(root.join("data/file"), "content").unwrap();
    std::fs::write(root.join("data/big"), vec![7; 3 << 20]).unwrap();
    std::fs::hard_link(root.join("data/big"), root.join("again")).unwrap();
    symlink("/etc/passwd", root.join("link")).unwrap();
    std::os::unix::net::UnixListener::bind(root.join("socket")).unwrap();
    rustix::fs::mknodat(CWD, root.join("pipe"), FileType::Fifo, Mode::RWXU, 0).unwrap();
    let null = rustix::fs::makedev(1, 3);
    rustix::fs::mknodat(CWD, root.join("null"), FileType::CharacterDevice, Mode::RUSR, null)
        .unwrap();
    rustix::fs::setxattr(root.join("data"), c"user.note", b"kept", XattrFlags::empty()).unwrap();
    std::os::unix::fs::lchown(root.join("link"), Some(5), Some(6)).unwrap();
    std::os::unix::fs::chown(root.join("data/file"), Some(1000), Some(1001)).unwrap();
    std::fs::set_permissions(root.join("data/file"), PermissionsExt::from_mode(0o4711)).unwrap();
    let time = Timespec { tv_sec: 1_234_567_890, tv_nsec: 123 };
    let times = Timestamps { last_access: time, last_modification: time };
    for name in ["data", "link", "data/file", ""] {
        rustix::fs::utimensat(CWD, root.join(name), &times, AtFlags::SYMLINK_NOFOLLOW).unwrap();
    }
}

fn open(path: &Path) -> std::os::fd::OwnedFd {
    rustix::fs::open(path, OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty()).unwrap()
}

fn copy(from: &Path, to: &Path) {
    tug_archive::copy_tree(open(from).as_fd(), open(to).as_fd()).unwrap();
}

#[test]
fn a_copy_is_the_same_but_for_sockets() {
    let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    sample(from.path());
    copy(from.path(), to.path());
    let mut expected = snapshot(from.path());
    assert!(expected.remove(Path::new("socket")).is_some());
    assert_same(&expected, &snapshot(to.path()));
    assert_eq!(to.path().join("again").metadata().unwrap().nlink(), 2);
}

#[test]
fn holes_stay_holes() {
    let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let file = std::fs::File::create(from.path().join("sparse")).unwrap();
    std::os::unix::fs::FileExt::write_at(&file, b"middle", 1 << 30).unwrap();
    file.set_len(5 << 30).unwrap();
    copy(from.path(), to.path());
    let metadata = to.path().join("sparse").metadata().unwrap();
    assert_eq!(metadata.len(), 5 << 30);
    assert!(metadata.blocks() * 512 < 1 << 20);
    let copied = std::fs::File::open(to.path().join("sparse")).unwrap();
    let mut middle = [0; 6];
    std::os::unix::fs::FileExt::read_at(&copied, &mut middle, 1 << 30).unwrap();
    assert_eq!(&middle, b"middle");
}

#[test]
fn copies_go_between_file_systems_and_stop_at_mounts() {
    let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    sample(from.path());
    std::fs::create_dir(from.path().join("mounted")).unwrap();
    let mount = Mounted::tmpfs(&from.path().join("mounted"));
    std::fs::write(from.path().join("mounted/inside"), "x").unwrap();
    let target = Mounted::tmpfs(to.path());
    copy(from.path(), to.path());
    assert!(to.path().join("mounted").is_dir());
    assert!(!to.path().join("mounted/inside").exists());
    assert_eq!(std::fs::read(to.path().join("again")).unwrap(), vec![7; 3 << 20]);
    drop((mount, target));
}

struct Mounted(std::path::PathBuf);

impl Mounted {
    fn tmpfs(path: &Path) -> Self {
        let flags = rustix::mount::MountFlags::empty();
        rustix::mount::mount(c"tmpfs", path, c"tmpfs", flags, None).unwrap();
        Self(path.to_owned())
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        rustix::mount::unmount(&self.0, rustix::mount::UnmountFlags::DETACH).unwrap();
    }
}
