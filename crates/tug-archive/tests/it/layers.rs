//! What makes a tar a layer: deletion marks, attributes, order of operations.

use crate::support::{Archive, Item, snapshot, try_unpack, unpack, xattrs};
use rustix::fs::FileType;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use tug_archive::{UnpackOptions, Whiteouts};

fn is_whiteout(path: &std::path::Path) -> bool {
    let metadata = path.symlink_metadata().unwrap();
    metadata.file_type().is_char_device() && metadata.rdev() == 0
}

fn is_opaque(path: &std::path::Path) -> bool {
    xattrs(path).get(&b"trusted.overlay.opaque"[..]).is_some_and(|value| value == b"y")
}

#[test]
fn deletion_marks_become_overlay_marks() {
    let tar = Archive::default()
        .dir("d")
        .file("d/.wh.gone", "")
        .file("d/.wh..wh..opq", "")
        .file(".wh..wh.plnk", "")
        .file(".wh.top", "")
        .end();
    let layer = unpack(&tar);
    assert!(is_whiteout(&layer.path("d/gone")));
    assert!(is_whiteout(&layer.path("top")));
    assert!(is_opaque(&layer.path("d")));
    assert_eq!(snapshot(&layer.root()).len(), 4);
}

#[test]
fn deletion_marks_speak_of_the_layers_below() {
    // Whatever the order, what the same layer brings stays, and hides what is below.
    let orders = [
        Archive::default().file(".wh.d", "").dir("d").file("d/f", "x"),
        Archive::default().file(".wh.d", "").file("d/f", "x"),
        Archive::default().dir("d").file("d/f", "x").file(".wh.d", ""),
    ];
    for archive in orders {
        let layer = unpack(&archive.end());
        assert_eq!(layer.read("d/f"), "x");
        assert!(is_opaque(&layer.path("d")));
    }
    for archive in [
        Archive::default().file(".wh.f", "").file("f", "x"),
        Archive::default().file("f", "x").file(".wh.f", ""),
    ] {
        assert_eq!(unpack(&archive.end()).read("f"), "x");
    }
}

#[test]
fn an_archive_that_is_no_layer_keeps_its_names() {
    let options = UnpackOptions { whiteouts: Whiteouts::Keep, ..UnpackOptions::default() };
    let tar = Archive::default().file(".wh.f", "x").file(".wh..wh..opq", "y").end();
    let (layer, _) = try_unpack(&tar, &options).unwrap();
    assert_eq!(layer.read(".wh.f"), "x");
    assert_eq!(layer.read(".wh..wh..opq"), "y");
}

#[test]
fn modes_owners_and_times_are_exact() {
    let records: [(&str, &[u8]); 3] =
        [("uid", b"70000"), ("gid", b"3000000"), ("mtime", b"1500000000.123456789")];
    let item = |name, kind, mode| Item { name, kind, link: b"t", mode, size: 0, device: (1, 3) };
    let tar = Archive::default()
        .pax(&records)
        .header(&item(b"suid", b'0', 0o4755))
        .pax(&records)
        .header(&item(b"d/", b'5', 0o3777))
        .pax(&records)
        .header(&item(b"d/none", b'0', 0))
        .pax(&records)
        .header(&item(b"d/closed/", b'5', 0))
        .file("d/closed/f", "made although its directory is closed")
        .pax(&records)
        .header(&item(b"link", b'2', 0o777))
        .pax(&records)
        .header(&item(b"device", b'3', 0o2666))
        .pax(&records)
        .header(&item(b"./", b'5', 0o1711))
        .end();
    let layer = unpack(&tar);
    let nodes = snapshot(&layer.root());
    for (name, kind, mode) in [
        ("suid", FileType::RegularFile, 0o4755),
        ("d", FileType::Directory, 0o3777),
        ("d/none", FileType::RegularFile, 0),
        ("d/closed", FileType::Directory, 0),
        ("link", FileType::Symlink, 0o777),
        ("device", FileType::CharacterDevice, 0o2666),
        ("", FileType::Directory, 0o1711),
    ] {
        let node = &nodes[std::path::Path::new(name)];
        assert_eq!((node.kind, node.mode), (kind, mode), "{name}");
        assert_eq!(node.owner, (70000, 3_000_000), "{name}");
        assert_eq!(node.mtime, (1_500_000_000, 123_456_789), "{name}");
    }
    // Made in a directory whose group is inherited: not before its mode is set.
    assert_eq!(nodes[std::path::Path::new("d/closed/f")].owner, (0, 0));
}

#[test]
fn the_root_is_0755_of_root_where_the_archive_does_not_say() {
    let layer = unpack(&Archive::default().file("a", "").end());
    let node = &snapshot(&layer.root())[std::path::Path::new("")];
    assert_eq!((node.mode, node.owner), (0o755, (0, 0)));
}

#[test]
fn capabilities_survive_the_change_of_owner() {
    // cap_net_bind_service, effective and permitted, revision 2.
    let capability: [u8; 20] = [1, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let tar = Archive::default()
        .pax(&[
            ("SCHILY.xattr.security.capability", &capability),
            ("SCHILY.xattr.user.with=equals", b"line\nbreak"),
            ("uid", b"1000"),
        ])
        .file("ping", "x")
        .end();
    let layer = unpack(&tar);
    let found = xattrs(&layer.path("ping"));
    assert_eq!(found[&b"security.capability"[..]], capability);
    // Go splits at the first equals sign.
    assert_eq!(found[&b"user.with"[..]], b"equals=line\nbreak");
}

#[test]
fn names_are_bytes() {
    let name = b"new\nline \xff\xfe tab\t".as_slice();
    let item = Item { name, kind: b'0', link: b"", mode: 0o644, size: 0, device: (0, 0) };
    let layer = unpack(&Archive::default().header(&item).end());
    let names: Vec<_> = std::fs::read_dir(layer.root())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_encoded_bytes())
        .collect();
    assert_eq!(names, [name]);
}

#[test]
fn the_umask_changes_nothing() {
    // The umask belongs to the process: change it in a child.
    let test = std::env::current_exe().unwrap();
    if std::env::args().any(|argument| argument == "--exact") {
        return;
    }
    let status = std::process::Command::new("sh")
        .args(["-c", "umask 0277; exec \"$0\" --exact layers::modes_owners_and_times_are_exact"])
        .arg(test)
        .stdout(std::process::Stdio::null())
        .status()
        .unwrap();
    assert!(status.success());
}
