//! An image read from the archive `save` writes, layers put on each other in the slowest, plainest way.

use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

/// What an archive holds.
#[derive(Clone, Debug, Default)]
pub struct Image {
    /// The configuration blob.
    pub config: Value,
    /// The layers, lowest first.
    pub layers: Vec<Vec<Entry>>,
}

/// One entry of a layer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Without slashes at either end; empty for the root.
    pub path: String,
    /// What it is.
    pub node: Node,
    /// The path of an earlier entry it is another name of.
    pub link_to: Option<String>,
}

/// A file of any kind.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Node {
    /// `f`, `d`, `l`, `c`, `b`, `p`
    pub kind: char,
    /// Permissions with set-id and sticky bits.
    pub mode: u32,
    /// Owner.
    pub uid: u64,
    /// Group.
    pub gid: u64,
    /// Seconds since the epoch.
    pub mtime: i64,
    /// What a regular file holds.
    pub content: Vec<u8>,
    /// Where a symbolic link leads.
    pub target: String,
    /// Of a device.
    pub device: (u32, u32),
    /// Extended attributes.
    pub xattrs: BTreeMap<String, Vec<u8>>,
}

/// Files by path. Names of one file share a number.
#[derive(Clone, Debug, Default)]
pub struct Files {
    /// All files there ever were.
    pub nodes: Vec<Node>,
    /// Paths and the numbers of their nodes.
    pub names: BTreeMap<String, usize>,
}

/// Reads what `save` wrote for one image.
///
/// # Errors
/// The archive cannot be read or is none.
pub fn read(path: &Path) -> io::Result<Image> {
    let mut blobs = BTreeMap::new();
    let mut links = BTreeMap::new();
    let mut archive = tar::Archive::new(File::open(path)?);
    for entry in archive.entries()? {
        let mut entry = entry?;
        let name = entry.path()?.to_string_lossy().trim_start_matches("./").to_owned();
        if let Some(target) = entry.link_name()? {
            let base = Path::new(&name).parent().unwrap_or(Path::new(""));
            links.insert(name.clone(), plain(&base.join(target).to_string_lossy()));
            continue;
        }
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes)?;
        blobs.insert(name, bytes);
    }
    let blob = |name: &str| {
        let found = blobs.get(name).or_else(|| blobs.get(links.get(name)?));
        found.ok_or_else(|| io::Error::other(format!("the archive has no {name}")))
    };
    let manifest: Value = serde_json::from_slice(blob("manifest.json")?)?;
    let manifest = &manifest[0];
    let config = serde_json::from_slice(blob(manifest["Config"].as_str().unwrap_or_default())?)?;
    let names = manifest["Layers"].as_array().cloned().unwrap_or_default();
    let layers = names
        .iter()
        .map(|name| layer(blob(name.as_str().unwrap_or_default())?))
        .collect::<io::Result<_>>()?;
    Ok(Image { config, layers })
}

/// `a/../b` is `b`.
fn plain(path: &str) -> String {
    let mut names: Vec<&str> = Vec::new();
    for name in path.split('/') {
        match name {
            "" | "." => {}
            ".." => {
                names.pop();
            }
            name => names.push(name),
        }
    }
    names.join("/")
}

fn layer(bytes: &[u8]) -> io::Result<Vec<Entry>> {
    let plain: Box<dyn Read> = match bytes {
        [0x1f, 0x8b, ..] => Box::new(flate2::read::MultiGzDecoder::new(bytes)),
        [0x28, 0xb5, 0x2f, 0xfd, ..] => Box::new(zstd::Decoder::new(bytes)?),
        _ => Box::new(bytes),
    };
    let mut archive = tar::Archive::new(plain);
    archive.entries()?.map(|entry| read_entry(entry?)).collect()
}

fn read_entry(mut entry: tar::Entry<'_, Box<dyn Read + '_>>) -> io::Result<Entry> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let path = text(&entry.path_bytes());
    let path = path.trim_start_matches("./").trim_matches('/').to_owned();
    let mut node = Node::default();
    if let Some(extensions) = entry.pax_extensions()? {
        for extension in extensions.flatten() {
            if let Some(name) =
                extension.key().ok().and_then(|key| key.strip_prefix("SCHILY.xattr."))
            {
                node.xattrs.insert(name.to_owned(), extension.value_bytes().to_vec());
            }
        }
    }
    let link = entry.link_name_bytes().map(|bytes| text(&bytes));
    let header = entry.header();
    node.mode = header.mode()? & 0o7777;
    (node.uid, node.gid) = (header.uid()?, header.gid()?);
    node.mtime = i64::try_from(header.mtime()?).unwrap_or(i64::MAX);
    node.device = (
        header.device_major().ok().flatten().unwrap_or(0),
        header.device_minor().ok().flatten().unwrap_or(0),
    );
    let mut link_to = None;
    node.kind = match header.entry_type() {
        tar::EntryType::Directory => 'd',
        tar::EntryType::Symlink => 'l',
        tar::EntryType::Char => 'c',
        tar::EntryType::Block => 'b',
        tar::EntryType::Fifo => 'p',
        tar::EntryType::Link => {
            link_to = link.as_ref().map(|to| to.trim_start_matches('/').to_owned());
            'f'
        }
        _ => 'f',
    };
    if node.kind == 'l' {
        node.target = link.unwrap_or_default();
    }
    if !matches!(node.kind, 'c' | 'b') {
        node.device = (0, 0);
    }
    entry.read_to_end(&mut node.content)?;
    Ok(Entry { path, node, link_to })
}

impl Files {
    /// What the layers make together.
    pub fn merged(layers: &[Vec<Entry>]) -> Self {
        let mut files = Self::default();
        layers.iter().for_each(|layer| files.put(layer));
        files
    }

    /// Puts another layer on top.
    pub fn put(&mut self, layer: &[Entry]) {
        let lower = self.names.keys().cloned().collect::<BTreeSet<_>>();
        let mut own = BTreeSet::new();
        for entry in layer {
            let (dir, name) = entry.path.rsplit_once('/').unwrap_or(("", &entry.path));
            if name == ".wh..wh..opq" {
                let prefix = if dir.is_empty() { String::new() } else { format!("{dir}/") };
                self.names.retain(|path, _| {
                    !path.starts_with(&prefix) || own.contains(path) || !lower.contains(path)
                });
                continue;
            }
            if let Some(gone) = name.strip_prefix(".wh.") {
                let gone = if dir.is_empty() { gone.to_owned() } else { format!("{dir}/{gone}") };
                self.remove(&gone);
                continue;
            }
            own.insert(entry.path.clone());
            if let Some(number) = entry.link_to.as_ref().and_then(|to| self.names.get(to)).copied()
            {
                self.remove(&entry.path);
                self.names.insert(entry.path.clone(), number);
                continue;
            }
            let was = self.names.get(&entry.path).map(|number| self.nodes[*number].kind);
            if was.is_some_and(|kind| kind != 'd' || entry.node.kind != 'd') {
                self.remove(&entry.path);
            }
            self.nodes.push(entry.node.clone());
            self.names.insert(entry.path.clone(), self.nodes.len() - 1);
        }
    }

    fn remove(&mut self, path: &str) {
        let below = format!("{path}/");
        self.names.retain(|name, _| name != path && !name.starts_with(&below));
    }
}
