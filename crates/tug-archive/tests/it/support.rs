//! Making archives by hand, and looking at trees.

use rustix::fs::{AtFlags, CWD, FileType};
use std::collections::{BTreeMap, HashMap};
use std::ffi::OsStr;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use tug_archive::{Error, Recorder, UnpackOptions, Unpacked, assemble, unpack_recorded};

/// An archive made header by header, so that it can be wrong in any way.
#[derive(Default)]
pub(crate) struct Archive(pub(crate) Vec<u8>);

/// One header.
pub(crate) struct Item<'n> {
    pub(crate) name: &'n [u8],
    pub(crate) kind: u8,
    pub(crate) link: &'n [u8],
    pub(crate) mode: u64,
    pub(crate) size: u64,
    pub(crate) device: (u64, u64),
}

impl Archive {
    pub(crate) fn header(mut self, item: &Item<'_>) -> Self {
        let mut block = [0u8; 512];
        block[..item.name.len()].copy_from_slice(item.name);
        octal(&mut block[100..108], item.mode);
        octal(&mut block[108..116], 0);
        octal(&mut block[116..124], 0);
        octal(&mut block[124..136], item.size);
        octal(&mut block[136..148], 1_600_000_000);
        block[156] = item.kind;
        block[157..157 + item.link.len()].copy_from_slice(item.link);
        block[257..265].copy_from_slice(b"ustar\x0000");
        octal(&mut block[329..337], item.device.0);
        octal(&mut block[337..345], item.device.1);
        seal(&mut block);
        self.0.extend_from_slice(&block);
        self
    }

    pub(crate) fn bytes(mut self, bytes: &[u8]) -> Self {
        self.0.extend_from_slice(bytes);
        self.0.resize(self.0.len().next_multiple_of(512), 0);
        self
    }

    fn item(self, name: &[u8], kind: u8, link: &[u8], mode: u64) -> Self {
        self.header(&Item { name, kind, link, mode, size: 0, device: (0, 0) })
    }

    pub(crate) fn file(self, name: &str, content: &str) -> Self {
        let size = content.len() as u64;
        self.header(&Item {
            name: name.as_bytes(),
            kind: b'0',
            link: b"",
            mode: 0o644,
            size,
            device: (0, 0),
        })
        .bytes(content.as_bytes())
    }

    pub(crate) fn dir(self, name: &str) -> Self {
        self.item(name.as_bytes(), b'5', b"", 0o755)
    }

    pub(crate) fn symlink(self, name: &str, target: &str) -> Self {
        self.item(name.as_bytes(), b'2', target.as_bytes(), 0o777)
    }

    pub(crate) fn hard_link(self, name: &str, target: &str) -> Self {
        self.item(name.as_bytes(), b'1', target.as_bytes(), 0o644)
    }

    pub(crate) fn extended(self, kind: u8, body: &[u8]) -> Self {
        let size = body.len() as u64;
        self.header(&Item { name: b"x", kind, link: b"", mode: 0, size, device: (0, 0) })
            .bytes(body)
    }

    pub(crate) fn pax(self, records: &[(&str, &[u8])]) -> Self {
        let mut body = Vec::new();
        for (key, value) in records {
            let rest = key.len() + value.len() + 3;
            let mut length = rest + 1;
            while rest + length.to_string().len() != length {
                length = rest + length.to_string().len();
            }
            body.extend_from_slice(format!("{length} {key}=").as_bytes());
            body.extend_from_slice(value);
            body.push(b'\n');
        }
        self.extended(b'x', &body)
    }

    pub(crate) fn end(mut self) -> Vec<u8> {
        self.0.resize(self.0.len() + 1024, 0);
        self.0
    }
}

fn octal(field: &mut [u8], number: u64) {
    let text = format!("{number:0width$o}", width = field.len() - 1);
    field[..text.len()].copy_from_slice(text.as_bytes());
}

/// Writes the checksum.
pub(crate) fn seal(block: &mut [u8]) {
    block[148..156].fill(b' ');
    let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
}

/// A layer as the store keeps it, in a directory of its own beside a file that must stay as it is.
pub(crate) struct Layer {
    temp: tempfile::TempDir,
}

impl Layer {
    pub(crate) fn root(&self) -> PathBuf {
        self.temp.path().join("fs")
    }

    pub(crate) fn path(&self, below: &str) -> PathBuf {
        self.root().join(below)
    }

    pub(crate) fn read(&self, below: &str) -> String {
        std::fs::read_to_string(self.path(below)).unwrap()
    }

    /// The tar made again.
    pub(crate) fn tar(&self) -> Result<Vec<u8>, Error> {
        let dir = self.temp.path();
        let mut tar = Vec::new();
        assemble(&dir.join("skeleton"), &self.root(), &dir.join("displaced"), &mut tar)?;
        Ok(tar)
    }

    pub(crate) fn dir(&self) -> &Path {
        self.temp.path()
    }
}

/// Unpacks, and when it works, proves that the skeleton makes the same tar.
pub(crate) fn try_unpack(tar: &[u8], options: &UnpackOptions) -> Result<(Layer, Unpacked), Error> {
    let temp = tempfile::tempdir().unwrap();
    let layer = Layer { temp };
    std::fs::create_dir(layer.root()).unwrap();
    let outside = layer.dir().join("outside");
    std::fs::write(&outside, "untouched").unwrap();
    let skeleton = std::fs::File::create(layer.dir().join("skeleton")).unwrap();
    let recorder = Recorder::new(skeleton, &layer.dir().join("displaced")).unwrap();
    let result = unpack_recorded(tar, &layer.root(), options, Some(recorder));
    assert_eq!(std::fs::read_to_string(&outside).unwrap(), "untouched");
    for entry in std::fs::read_dir(layer.dir()).unwrap() {
        let name = entry.unwrap().file_name();
        let known = ["fs", "skeleton", "displaced", "outside"];
        assert!(known.iter().any(|known| name == *known), "{name:?} is outside");
    }
    let unpacked = result?;
    assert_eq!(unpacked.tar_size, tar.len() as u64);
    let again = layer.tar().unwrap();
    assert!(again == tar, "the skeleton makes another tar");
    Ok((layer, unpacked))
}

pub(crate) fn unpack(tar: &[u8]) -> Layer {
    try_unpack(tar, &UnpackOptions::default()).unwrap().0
}

/// The error of an archive that must be refused.
pub(crate) fn refused(tar: &[u8]) -> Error {
    match try_unpack(tar, &UnpackOptions::default()) {
        Ok(_) => panic!("accepted"),
        Err(error) => error,
    }
}

/// Everything about a file that a layer has to keep.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Node {
    pub(crate) kind: FileType,
    pub(crate) mode: u32,
    pub(crate) owner: (u32, u32),
    pub(crate) mtime: (i64, u64),
    pub(crate) device: u64,
    /// Content, or the target of a link.
    pub(crate) content: Vec<u8>,
    pub(crate) xattrs: BTreeMap<Vec<u8>, Vec<u8>>,
    /// The first name of the same file.
    pub(crate) first_name: PathBuf,
}

/// All files below a root, the root itself as the empty path.
pub(crate) fn snapshot(root: &Path) -> BTreeMap<PathBuf, Node> {
    let mut nodes = BTreeMap::new();
    let mut names = HashMap::new();
    let mut todo = vec![PathBuf::new()];
    while let Some(path) = todo.pop() {
        let full = root.join(&path);
        let stat = rustix::fs::statat(CWD, &full, AtFlags::SYMLINK_NOFOLLOW).unwrap();
        let kind = FileType::from_raw_mode(stat.st_mode);
        let content = match kind {
            FileType::RegularFile => std::fs::read(&full).unwrap(),
            FileType::Symlink => std::fs::read_link(&full).unwrap().into_os_string().into_vec(),
            FileType::Directory => {
                let below = std::fs::read_dir(&full).unwrap();
                todo.extend(below.map(|entry| path.join(entry.unwrap().file_name())));
                // Deepest last: the first name of a link must not depend on the listing's order.
                todo.sort_by(|one, other| other.cmp(one));
                Vec::new()
            }
            _ => Vec::new(),
        };
        let is_device = matches!(kind, FileType::CharacterDevice | FileType::BlockDevice);
        let first = names.entry((stat.st_dev, stat.st_ino)).or_insert_with(|| path.clone());
        let node = Node {
            kind,
            mode: stat.st_mode & 0o7777,
            owner: (stat.st_uid, stat.st_gid),
            mtime: (stat.st_mtime, stat.st_mtime_nsec),
            device: if is_device { stat.st_rdev } else { 0 },
            content,
            xattrs: xattrs(&full),
            first_name: first.clone(),
        };
        nodes.insert(path, node);
    }
    nodes
}

pub(crate) fn xattrs(path: &Path) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let mut list = vec![0; 4096];
    let length = rustix::fs::llistxattr(path, &mut list[..]).unwrap();
    let mut found = BTreeMap::new();
    for name in list[..length].split(|byte| *byte == 0).filter(|name| !name.is_empty()) {
        let mut value = vec![0; 4096];
        let length = rustix::fs::lgetxattr(path, OsStr::from_bytes(name), &mut value[..]).unwrap();
        found.insert(name.to_vec(), value[..length].to_vec());
    }
    found
}

/// What a test compares first when two trees differ.
pub(crate) fn assert_same(one: &BTreeMap<PathBuf, Node>, other: &BTreeMap<PathBuf, Node>) {
    let names = |nodes: &BTreeMap<PathBuf, Node>| nodes.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(one), names(other));
    for (path, node) in one {
        assert_eq!(node, &other[path], "{path:?}");
    }
}
