//! What makes a tar a layer: deletion marks, attributes, order of operations.

use crate::support::{Archive, Item, Layer, refused, snapshot, try_unpack, unpack, xattrs};
use rustix::fs::FileType;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use tug_archive::{Error, UnpackOptions, Whiteouts};

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
fn a_deletion_inside_an_opaque_directory_says_nothing_new() {
    for archive in [
        Archive::default().dir("d").file("d/.wh..wh..opq", "").file("d/.wh.f", ""),
        Archive::default().dir("d").file("d/.wh.f", "").file("d/.wh..wh..opq", ""),
        Archive::default().file("d/.wh.f", "").file("d/.wh..wh..opq", "").dir("d"),
    ] {
        let layer = unpack(&archive.end());
        assert!(is_opaque(&layer.path("d")));
        assert!(is_whiteout(&layer.path("d/f")));
    }
    // What the same layer brings stays.
    let layer = unpack(
        &Archive::default().file("d/f", "x").file("d/.wh..wh..opq", "").file("d/.wh.f", "").end(),
    );
    assert!(is_opaque(&layer.path("d")));
    assert_eq!(layer.read("d/f"), "x");
}

#[test]
fn the_root_can_be_opaque_too() {
    for name in [".wh..wh..opq", "./.wh..wh..opq", "/.wh..wh..opq"] {
        let layer = unpack(&Archive::default().file("f", "x").file(name, "").end());
        assert!(is_opaque(&layer.root()), "{name}");
        assert_eq!(layer.read("f"), "x");
        assert_eq!(snapshot(&layer.root()).len(), 2, "{name}");
    }
}

#[test]
fn a_deletion_names_what_is_deleted() {
    for name in [".wh.", "d/.wh."] {
        let error = refused(&Archive::default().file(name, "").end());
        assert!(matches!(&error, Error::EmptyWhiteout { entry } if entry.0 == name.as_bytes()));
        assert!(error.to_string().ends_with("marks something as deleted without naming it"));
    }
    for name in [".wh..", ".wh...", "d/.wh..."] {
        let error = refused(&Archive::default().file(name, "").end());
        assert!(
            matches!(&error, Error::Escapes { entry } if entry.0 == name.as_bytes()),
            "{error}"
        );
    }
}

#[test]
fn what_aufs_kept_for_itself_is_left_out_but_linked_to() {
    let tar = Archive::default()
        .dir(".wh..wh.orph")
        .file(".wh..wh.orph/secret", "x")
        .file(".wh..wh.aufs", "")
        .dir(".wh..wh.plnk")
        .file(".wh..wh.plnk/1.2", "twice")
        .hard_link("a", ".wh..wh.plnk/1.2")
        .hard_link("b", "/.wh..wh.plnk/1.2")
        .end();
    let layer = unpack(&tar);
    let names: Vec<_> = snapshot(&layer.root()).into_keys().collect();
    assert_eq!(names.len(), 3, "{names:?}");
    assert_eq!((layer.read("a"), layer.read("b")), ("twice".to_owned(), "twice".to_owned()));
    assert!(layer.tar().unwrap() == tar, "the tar is another one");
}

fn mode_of(layer: &Layer, name: &str) -> u32 {
    layer.path(name).symlink_metadata().unwrap().mode() & 0o7777
}

#[test]
fn the_last_name_of_a_file_decides_its_attributes() {
    let records: [(&str, &[u8]); 4] = [
        ("uid", b"70000"),
        ("gid", b"8"),
        ("mtime", b"1500000000.5"),
        ("SCHILY.xattr.user.note", b"late"),
    ];
    let link = Item { name: b"b", kind: b'1', link: b"a", mode: 0o6750, size: 0, device: (0, 0) };
    let tar = Archive::default().file("a", "x").pax(&records).header(&link).end();
    let layer = unpack(&tar);
    let found = layer.path("a").metadata().unwrap();
    assert_eq!((found.nlink(), found.uid(), found.gid()), (2, 70000, 8));
    assert_eq!(mode_of(&layer, "a"), 0o6750);
    assert_eq!((found.mtime(), found.mtime_nsec()), (1_500_000_000, 500_000_000));
    assert_eq!(xattrs(&layer.path("a"))[&b"user.note"[..]], b"late");
    assert!(layer.tar().unwrap() == tar, "the tar is another one");
}

#[test]
fn a_second_name_that_says_nothing_new_takes_no_capability_away() {
    let capability = [1, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let file = Item { name: b"a", kind: b'0', link: b"", mode: 0o4755, size: 0, device: (0, 0) };
    let link = Item { name: b"b", kind: b'1', link: b"a", ..file };
    let tar = Archive::default()
        .pax(&[("SCHILY.xattr.security.capability", &capability)])
        .header(&file)
        .header(&link)
        .end();
    let layer = unpack(&tar);
    assert_eq!(mode_of(&layer, "a"), 0o4755);
    assert!(xattrs(&layer.path("b")).contains_key(&b"security.capability"[..]));
}

#[test]
fn a_second_name_of_a_symbolic_link_does_not_reach_its_target() {
    let link = Item { name: b"b", kind: b'1', link: b"s", mode: 0o600, size: 0, device: (0, 0) };
    let tar = Archive::default()
        .file("f", "x")
        .symlink("s", "f")
        .pax(&[("uid", b"5"), ("mtime", b"1500000000")])
        .header(&link)
        .end();
    let layer = unpack(&tar);
    assert_eq!(mode_of(&layer, "f"), 0o644);
    let found = layer.path("s").symlink_metadata().unwrap();
    assert_eq!((found.uid(), found.mtime()), (5, 1_600_000_000));
    assert_eq!(layer.path("f").metadata().unwrap().uid(), 0);
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
