//! Random trees: packed, unpacked, made again.

use crate::support::{assert_same, snapshot, try_unpack};
use proptest::prelude::*;
use rustix::fs::{AtFlags, CWD, FileType, Mode, Timespec, Timestamps, XattrFlags};
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, lchown, symlink};
use std::path::{Path, PathBuf};
use tug_archive::{PackOptions, Recorder, UnpackOptions, Whiteouts, assemble, pack};

#[derive(Clone, Debug)]
enum Kind {
    File(Vec<u8>),
    Directory,
    Symlink(Vec<u8>),
    Device(u32),
    Fifo,
    /// Another name for the n-th file so far.
    Again(usize),
    Whiteout,
    Opaque,
}

#[derive(Clone, Debug)]
struct Planned {
    /// Directory to put it in, counted among those so far.
    parent: usize,
    name: Vec<u8>,
    kind: Kind,
    mode: u32,
    owner: (u32, u32),
    mtime: (i64, i64),
    xattr: Option<Vec<u8>>,
}

fn name() -> impl Strategy<Value = Vec<u8>> {
    let byte = any::<u8>().prop_filter("no separators", |byte| !matches!(byte, 0 | b'/'));
    let short = prop::collection::vec(byte, 1..12);
    let long = (100usize..=255).prop_map(|length| vec![b'n'; length]);
    prop_oneof![4 => short, 1 => long].prop_filter("usable names", |name| {
        !matches!(&name[..], b"." | b"..") && !name.starts_with(b".wh.")
    })
}

fn kind() -> impl Strategy<Value = Kind> {
    let target = prop::collection::vec(1u8..=255, 1..300);
    let content = prop_oneof![
        prop::collection::vec(any::<u8>(), 0..2000),
        (1usize..(3 << 20)).prop_map(|size| vec![0; size]),
    ];
    prop_oneof![
        4 => content.prop_map(Kind::File),
        4 => Just(Kind::Directory),
        2 => target.prop_map(Kind::Symlink),
        1 => (1u32..200).prop_map(Kind::Device),
        1 => Just(Kind::Fifo),
        2 => any::<usize>().prop_map(Kind::Again),
        1 => Just(Kind::Whiteout),
        1 => Just(Kind::Opaque),
    ]
}

fn planned() -> impl Strategy<Value = Planned> {
    let id = prop_oneof![Just(0u32), 1u32..70000, Just(3_000_000_000)];
    let seconds = prop_oneof![0i64..2_000_000_000, -1000i64..0];
    (
        any::<usize>(),
        name(),
        kind(),
        0u32..0o10000,
        (id.clone(), id),
        (seconds, prop_oneof![Just(0i64), 0i64..1_000_000_000]),
        prop::option::of(prop::collection::vec(any::<u8>(), 0..200)),
    )
        .prop_map(|(parent, name, kind, mode, owner, mtime, xattr)| Planned {
            parent,
            name,
            kind,
            mode,
            owner,
            mtime,
            xattr,
        })
}

/// Makes the tree; directories get their attributes last.
fn make(root: &Path, plan: &[Planned]) {
    let mut directories = vec![PathBuf::new()];
    let mut files: Vec<PathBuf> = Vec::new();
    let mut made: Vec<(PathBuf, &Planned)> = Vec::new();
    for planned in plan {
        let parent = &directories[planned.parent % directories.len()];
        let path = parent.join(OsStr::from_bytes(&planned.name));
        let full = root.join(&path);
        if full.symlink_metadata().is_ok() {
            continue;
        }
        let node = |kind, device| rustix::fs::mknodat(CWD, &full, kind, Mode::RUSR, device);
        match &planned.kind {
            Kind::File(content) => {
                std::fs::write(&full, content).unwrap();
                files.push(path.clone());
            }
            Kind::Directory | Kind::Opaque => {
                std::fs::create_dir(&full).unwrap();
                directories.push(path.clone());
            }
            Kind::Symlink(target) => symlink(OsStr::from_bytes(target), &full).unwrap(),
            Kind::Device(minor) => {
                node(FileType::BlockDevice, rustix::fs::makedev(7, *minor)).unwrap();
            }
            Kind::Fifo => node(FileType::Fifo, 0).unwrap(),
            Kind::Again(which) => {
                if let Some(file) = files.get(which % files.len().max(1)) {
                    std::fs::hard_link(root.join(file), &full).unwrap();
                }
                continue;
            }
            Kind::Whiteout => {
                node(FileType::CharacterDevice, 0).unwrap();
                continue;
            }
        }
        made.push((full, planned));
    }
    for (path, planned) in made.iter().rev() {
        let is_link = matches!(planned.kind, Kind::Symlink(_));
        lchown(path, Some(planned.owner.0), Some(planned.owner.1)).unwrap();
        if !is_link {
            std::fs::set_permissions(path, PermissionsExt::from_mode(planned.mode)).unwrap();
        }
        if matches!(planned.kind, Kind::File(_) | Kind::Directory)
            && let Some(value) = &planned.xattr
        {
            rustix::fs::setxattr(path, c"user.test", value, XattrFlags::empty()).unwrap();
            rustix::fs::setxattr(path, c"trusted.test", value, XattrFlags::empty()).unwrap();
        }
        if matches!(planned.kind, Kind::Opaque) {
            let name = c"trusted.overlay.opaque";
            rustix::fs::setxattr(path, name, b"y", XattrFlags::empty()).unwrap();
        }
        let time = Timespec { tv_sec: planned.mtime.0, tv_nsec: planned.mtime.1 };
        let times = Timestamps { last_access: time, last_modification: time };
        rustix::fs::utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW).unwrap();
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]

    #[test]
    fn packed_trees_unpack_to_themselves(plan in prop::collection::vec(planned(), 0..40)) {
        let temp = tempfile::tempdir().unwrap();
        let root = temp.path().join("tree");
        std::fs::create_dir(&root).unwrap();
        make(&root, &plan);
        let options = PackOptions { layer: true, nanoseconds: true, ids: None };

        // The same bytes each time, and again from the skeleton and the packed tree itself.
        let skeleton = temp.path().join("skeleton");
        let recorder =
            Recorder::new(std::fs::File::create(&skeleton).unwrap(), Path::new("/none")).unwrap();
        let mut tar = Vec::new();
        let packed = pack(&root, &mut tar, &options, Some(recorder)).unwrap();
        let mut again = Vec::new();
        pack(&root, &mut again, &options, None::<Recorder<Vec<u8>>>).unwrap();
        prop_assert!(tar == again);
        again.clear();
        assemble(&skeleton, &root, Path::new("/none"), &mut again).unwrap();
        prop_assert!(tar == again);

        let unpack_options =
            UnpackOptions { whiteouts: Whiteouts::Overlay, ..UnpackOptions::default() };
        let (layer, unpacked) = try_unpack(&tar, &unpack_options).unwrap();
        prop_assert_eq!((unpacked.entries, unpacked.size), (packed.entries, packed.size));
        let tidy = |path: &Path| -> BTreeMap<_, _> {
            let mut nodes = snapshot(path);
            for node in nodes.values_mut() {
                // Marks are only marks; the root is only an entry if unusual.
                if node.kind == FileType::CharacterDevice {
                    (node.mode, node.owner, node.mtime) = (0, (0, 0), (0, 0));
                }
            }
            nodes.remove(Path::new(""));
            nodes
        };
        assert_same(&tidy(&root), &tidy(&layer.root()));
    }
}
