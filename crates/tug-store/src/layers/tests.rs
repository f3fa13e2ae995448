//! Layers on a real file system.

use super::*;
use flate2::write::GzEncoder;
use std::os::unix::fs::MetadataExt;
use std::sync::atomic::{AtomicUsize, Ordering};
use tug_types::Explain;

/// A tar of these files, made by the packer.
fn tar(files: &[(&str, &[u8])]) -> Vec<u8> {
    let temp = tempfile::tempdir().unwrap();
    for (name, content) in files {
        fs::write(temp.path().join(name), content).unwrap();
    }
    let mut tar = Vec::new();
    let options = tug_archive::PackOptions::default();
    let recorder = None::<tug_archive::Recorder<Vec<u8>>>;
    tug_archive::pack(temp.path(), &mut tar, &options, recorder).unwrap();
    tar
}

/// A tar with more than a few pieces in it, not compressible to nothing.
fn large_tar() -> Vec<u8> {
    let mut state = 1u32;
    let content: Vec<u8> = (0..8 << 20)
        .map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 27) as u8
        })
        .collect();
    tar(&[("large", &content), ("small", b"content")])
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn diff_id(tar: &[u8]) -> DiffId {
    DiffId(Digest::from_sha256(Sha256::digest(tar).into()))
}

struct Fixture {
    temp: tempfile::TempDir,
    layers: Layers,
    lease: Lease,
}

impl Fixture {
    fn new() -> Self {
        let temp = tempfile::tempdir().unwrap();
        let root = temp.path().join("data");
        Self { layers: Layers::new(&root), lease: Lease::create(&root).unwrap(), temp }
    }

    fn root(&self) -> PathBuf {
        self.temp.path().join("data")
    }

    fn assert_nothing_left(&self) {
        assert_eq!(self.layers.list().unwrap(), []);
        let left: Vec<_> = entries(self.lease.dir())
            .unwrap()
            .into_iter()
            .filter(|path| !path.ends_with("lock") && !path.ends_with("protect"))
            .collect();
        assert_eq!(left, Vec::<PathBuf>::new());
    }
}

/// A source that must not be read.
struct Untouched;

impl Read for Untouched {
    fn read(&mut self, _buffer: &mut [u8]) -> io::Result<usize> {
        panic!("read although the layer is there")
    }
}

#[test]
fn every_compression_gives_the_same_layer() {
    let tar = large_tar();
    let (first, second) = tar.split_at(tar.len() / 3);
    let padded = [gzip(&tar), vec![0; 700]].concat();
    let frames = [
        zstd::encode_all(first, 1).unwrap(),
        // A skippable frame, as zstd:chunked has them.
        vec![0x50, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 1, 2, 3],
        zstd::encode_all(second, 1).unwrap(),
    ]
    .concat();
    for (compression, source) in [
        (Compression::None, tar.clone()),
        (Compression::Gzip, gzip(&tar)),
        (Compression::Gzip, [gzip(first), gzip(second)].concat()),
        (Compression::Gzip, padded),
        (Compression::Zstd, frames),
    ] {
        let fixture = Fixture::new();
        let layers = &fixture.layers;
        let info = layers.unpack(&fixture.lease, &source[..], None).unwrap();
        assert_eq!(info.diff_id, diff_id(&tar));
        assert_eq!(info.compression, compression);
        assert_eq!(info.tar_size, tar.len() as u64);
        assert_eq!((info.entries, info.size), (2, (8 << 20) + 7));
        assert_eq!(layers.info(&info.diff_id).unwrap(), info);
        let tree = layers.tree(&info.diff_id);
        assert_eq!(fs::read_to_string(tree.join("small")).unwrap(), "content");
        layers.verify(&info.diff_id).unwrap();
        assert!(layers.contains(&info.diff_id));
        assert_eq!(layers.list().unwrap(), [info.diff_id]);
    }
}

#[test]
fn users_of_the_host_stay_out() {
    let fixture = Fixture::new();
    let tar = tar(&[("a", b"x")]);
    let info = fixture.layers.unpack(&fixture.lease, &tar[..], None).unwrap();
    let mode = |path: PathBuf| path.metadata().unwrap().mode() & 0o777;
    assert_eq!(mode(fixture.root()), 0o711);
    for name in ["layers", "tmp"] {
        assert_eq!(mode(fixture.root().join(name)), 0o700);
    }
    assert_eq!(mode(fixture.layers.tree(&info.diff_id)), 0o755);
}

#[test]
fn a_wrong_digest_names_both_and_leaves_nothing() {
    let fixture = Fixture::new();
    let tar = large_tar();
    let wrong = diff_id(b"something else");
    let error = fixture.layers.unpack(&fixture.lease, &gzip(&tar)[..], Some(wrong)).unwrap_err();
    assert!(matches!(error, LayerError::WrongDigest { expected, actual }
        if expected == wrong && actual == diff_id(&tar)));
    fixture.assert_nothing_left();
}

#[test]
fn damaged_streams_leave_nothing() {
    let fixture = Fixture::new();
    let tar = large_tar();
    let gzip = gzip(&tar);
    let mut flipped = gzip.clone();
    flipped[gzip.len() / 2] ^= 0x10;
    let mut zstd = zstd::encode_all(&tar[..], 1).unwrap();
    let half = zstd.len() / 2;
    zstd.truncate(half);
    let garbage = [&gzip[..], b"garbage"].concat();
    for source in [&gzip[..gzip.len() - 3], &gzip[..gzip.len() / 2], &flipped, &zstd, &garbage] {
        let error = fixture.layers.unpack(&fixture.lease, source, None).unwrap_err();
        assert!(matches!(error, LayerError::Read { .. }), "{error:?}");
        fixture.assert_nothing_left();
    }
    let error = fixture.layers.unpack(&fixture.lease, &tar[..1 << 20], None).unwrap_err();
    assert!(
        matches!(&error, LayerError::Unpack {
            source: tug_archive::Error::TruncatedEntry { entry }
        } if entry.0 == b"large"),
        "{error:?}"
    );
    fixture.assert_nothing_left();
    for cut in [&b"BZh91AY&SY"[..], &b"\xfd7zXZ\0"[..]] {
        let error = fixture.layers.unpack(&fixture.lease, cut, None).unwrap_err();
        assert!(matches!(error, LayerError::Read { .. }), "{error:?}");
    }
    fixture.assert_nothing_left();
}

#[test]
fn the_error_of_the_source_comes_through() {
    struct Breaking<'b>(&'b [u8]);
    impl Read for Breaking<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            if self.0.is_empty() {
                return Err(io::Error::other("the network is down"));
            }
            self.0.read(buffer)
        }
    }
    let fixture = Fixture::new();
    let gzip = gzip(&large_tar());
    for length in [0, 3, 100, gzip.len() / 2, gzip.len()] {
        let source = Breaking(&gzip[..length]);
        let error = fixture.layers.unpack(&fixture.lease, source, None).unwrap_err();
        let message = error.failure().message;
        assert!(message.contains("the network is down"), "{length}: {message}");
        fixture.assert_nothing_left();
    }
}

#[test]
fn a_refused_entry_is_named_and_leaves_nothing() {
    let fixture = Fixture::new();
    let mut tar = large_tar();
    tar.truncate(tar.len() - 1024);
    let mut header = tar[..512].to_vec();
    header[..9].copy_from_slice(b"../escape");
    header[124..136].copy_from_slice(b"00000000000\0");
    header[148..156].fill(b' ');
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    // Much more behind it: the inflating side must notice that nobody listens.
    let tar = [&header[..], &tar, &tar, &tar].concat();
    let error = fixture.layers.unpack(&fixture.lease, &gzip(&tar)[..], None).unwrap_err();
    assert!(error.failure().message.contains("\"../escape\""), "{error:?}");
    fixture.assert_nothing_left();
}

#[test]
fn a_bomb_is_refused_before_it_fills_the_disk() {
    let fixture = Fixture::new();
    let bomb = gzip(&tar(&[("bomb", &vec![b'x'; 32 << 20])]));
    let limits = tug_archive::Limits { bytes: 1 << 20, ..Default::default() };
    let options = UnpackOptions { limits, ..Default::default() };
    let error = fixture.layers.unpack_with(&fixture.lease, &bomb[..], None, &options).unwrap_err();
    assert!(error.failure().message.contains("\"bomb\""), "{error:?}");
    fixture.assert_nothing_left();
}

#[test]
fn a_layer_that_is_there_is_not_read_again() {
    let fixture = Fixture::new();
    let tar = tar(&[("a", b"x")]);
    let info = fixture.layers.unpack(&fixture.lease, &tar[..], Some(diff_id(&tar))).unwrap();
    let again = fixture.layers.unpack(&fixture.lease, Untouched, Some(info.diff_id)).unwrap();
    assert_eq!(again, info);
    // Without knowing what it will be, it is unpacked, and the one there stays.
    let inode = || fixture.layers.tree(&info.diff_id).metadata().unwrap().ino();
    let before = inode();
    assert_eq!(fixture.layers.unpack(&fixture.lease, &tar[..], None).unwrap(), info);
    assert_eq!(inode(), before);
}

#[test]
fn many_at_once_make_one() {
    let fixture = Fixture::new();
    let (tar, reads) = (large_tar(), AtomicUsize::new(0));
    struct Counted<'c>(&'c [u8], &'c AtomicUsize, bool);
    impl Read for Counted<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            if !std::mem::replace(&mut self.2, true) {
                self.1.fetch_add(1, Ordering::Relaxed);
            }
            self.0.read(buffer)
        }
    }
    std::thread::scope(|scope| {
        for number in 0..8 {
            let (fixture, tar, reads) = (&fixture, &tar, &reads);
            scope.spawn(move || {
                let lease = Lease::create(&fixture.root()).unwrap();
                let expected = (number % 4 != 0).then(|| diff_id(tar));
                let source = Counted(tar, reads, false);
                fixture.layers.unpack(&lease, source, expected).unwrap();
            });
        }
    });
    // Two did not say what they unpack; of the others one did it for all.
    assert!(reads.load(Ordering::Relaxed) <= 3);
    assert_eq!(fixture.layers.list().unwrap(), [diff_id(&tar)]);
    fixture.layers.verify(&diff_id(&tar)).unwrap();
}

#[test]
fn after_a_crash_only_synced_layers_count() {
    let fixture = Fixture::new();
    let layers = &fixture.layers;
    let (synced, lost) = (tar(&[("a", b"synced")]), tar(&[("a", b"lost")]));
    let (synced_id, lost_id) = (diff_id(&synced), diff_id(&lost));
    layers.unpack(&fixture.lease, &synced[..], None).unwrap();
    layers.sync().unwrap();
    layers.unpack(&fixture.lease, &lost[..], None).unwrap();
    // The next boot: what was written before has another boot's name in it.
    for layer in [synced_id, lost_id] {
        let path = layers.dir(&layer).join("layer.json");
        let text = fs::read_to_string(&path).unwrap().replace(&boot_id(), "an-earlier-boot");
        fs::write(&path, text).unwrap();
    }
    fs::write(layers.tree(&lost_id).join("a"), "").unwrap();
    assert!(layers.contains(&synced_id));
    assert!(!layers.contains(&lost_id));
    // Another sync does not vouch for it, and unpacking replaces it.
    layers.sync().unwrap();
    assert!(!layers.contains(&lost_id));
    layers.unpack(&fixture.lease, &lost[..], Some(lost_id)).unwrap();
    layers.verify(&lost_id).unwrap();
    assert!(layers.contains(&lost_id));
}

#[test]
fn removal_stops_at_a_living_lease() {
    let fixture = Fixture::new();
    let layers = &fixture.layers;
    let tar = tar(&[("a", b"x")]);
    let info = layers.unpack(&fixture.lease, &tar[..], None).unwrap();
    assert!(!layers.remove(&info.diff_id).unwrap(), "its own lease protects it");
    layers.verify(&info.diff_id).unwrap();
    drop(Lease::create(&fixture.root()).unwrap());
    let Fixture { temp, layers, lease } = fixture;
    drop(lease);
    let trash = layers.detach(&info.diff_id).unwrap().unwrap();
    assert!(!layers.contains(&info.diff_id));
    assert_eq!(entries(&temp.path().join("data/tmp")).unwrap().len(), 3, "two locks and the trash");
    trash.delete().unwrap();
    assert!(layers.remove(&info.diff_id).unwrap(), "gone is gone");
    assert!(matches!(layers.info(&info.diff_id), Err(LayerError::NotFound { .. })));
}

#[test]
fn verifying_finds_what_was_changed() {
    let fixture = Fixture::new();
    let tar = tar(&[("a", b"x"), ("b", b"y")]);
    let info = fixture.layers.unpack(&fixture.lease, &tar[..], None).unwrap();
    let file = fixture.layers.tree(&info.diff_id).join("a");
    fs::write(&file, "z").unwrap();
    let error = fixture.layers.verify(&info.diff_id).unwrap_err();
    assert!(matches!(error, LayerError::Damaged { layer, .. } if layer == info.diff_id));
    for damage in [&(|| fs::write(&file, "").unwrap()) as &dyn Fn(), &|| {
        fs::remove_file(&file).unwrap();
    }] {
        damage();
        let message = fixture.layers.verify(&info.diff_id).unwrap_err().failure().message;
        assert!(message.contains("\"a\""), "{message}");
    }
    let skeleton = fixture.layers.dir(&info.diff_id).join("skeleton.zst");
    let bytes = fs::read(&skeleton).unwrap();
    for length in [0, 4, 8, bytes.len() / 2, bytes.len() - 1] {
        fs::write(&skeleton, &bytes[..length]).unwrap();
        assert!(fixture.layers.verify(&info.diff_id).is_err(), "{length}");
    }
}

#[test]
fn a_tree_becomes_the_layer_its_tar_says() {
    let fixture = Fixture::new();
    let make = |name: &str| {
        let tree = fixture.lease.fresh_path(name);
        fs::create_dir_all(tree.join("a")).unwrap();
        fs::write(tree.join("a/file"), "content").unwrap();
        for path in ["a/file", "a"] {
            let file = File::open(tree.join(path)).unwrap();
            file.set_modified(std::time::UNIX_EPOCH + std::time::Duration::from_secs(7)).unwrap();
        }
        fs::set_permissions(&tree, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        tree
    };
    let tree = make("one");
    let info = fixture.layers.adopt(&fixture.lease, &tree).unwrap();
    assert!(!tree.exists(), "renamed");
    assert_eq!((info.size, info.entries), (7, 2));
    assert!(fixture.layers.contains(&info.diff_id));
    fixture.layers.verify(&info.diff_id).unwrap();
    let again = make("two");
    let twin = fixture.layers.adopt(&fixture.lease, &again).unwrap();
    assert_eq!(twin.diff_id, info.diff_id, "the same tree is the same layer");
    assert!(!again.exists());

    let empty = fixture.lease.fresh_path("empty");
    fs::create_dir(&empty).unwrap();
    fs::set_permissions(&empty, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let nothing = fixture.layers.adopt(&fixture.lease, &empty).unwrap();
    assert!(nothing.diff_id.to_string().starts_with("sha256:5f70bf18a086"), "as everybody's");
}
