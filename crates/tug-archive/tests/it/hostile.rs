//! Archives made to break out, to break the reader, or to break the machine.

use crate::support::{Archive, Item, refused, seal, try_unpack, unpack};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use tug_archive::{Error, Limits, UnpackOptions, Whiteouts};
use tug_types::{Explain, Kind};

#[test]
fn names_that_climb_out_are_refused_by_name() {
    for name in ["../outside", "a/../../outside", "/../outside", "..", "a/../.."] {
        let error = refused(&Archive::default().file(name, "x").end());
        assert!(matches!(&error, Error::Escapes { entry } if entry.0 == name.as_bytes()));
        assert_eq!(error.kind(), Kind::Invalid);
        assert!(error.to_string().contains(name), "{error}");
    }
    let error = refused(&Archive::default().dir("../d").end());
    assert!(matches!(error, Error::Escapes { .. }));
    let error = refused(&Archive::default().file("a/.wh...", "").end());
    assert!(matches!(error, Error::Escapes { .. }));
}

#[test]
fn absolute_names_start_at_the_root() {
    let layer = unpack(&Archive::default().file("/etc/passwd", "inside").end());
    assert_eq!(layer.read("etc/passwd"), "inside");
}

#[test]
fn links_lead_to_places_inside_only() {
    // Every one of these would overwrite a file of the host if the link meant what it says there.
    for target in ["/etc", "../../../../../../etc", "/etc/.", "/proc/self/root/etc"] {
        let tar = Archive::default().symlink("a", target).file("a/tug-was-here", "x").end();
        let layer = unpack(&tar);
        let inside = if target.starts_with("/proc") { "proc/self/root/etc" } else { "etc" };
        assert_eq!(layer.read(&format!("{inside}/tug-was-here")), "x");
        assert!(!Path::new("/etc/tug-was-here").exists());
    }
}

#[test]
fn a_link_in_place_of_a_file_is_replaced_not_followed() {
    let tar = Archive::default().symlink("a", "../outside").file("a", "new").end();
    let layer = unpack(&tar);
    assert_eq!(layer.read("a"), "new");
    assert!(!layer.path("a").is_symlink());
}

#[test]
fn links_in_circles_are_refused() {
    let tar = Archive::default().symlink("a", "b").symlink("b", "a").file("a/x", "x").end();
    assert!(matches!(refused(&tar), Error::SymlinkLoop { entry } if entry.0 == b"a/x"));
}

#[test]
fn hard_links_stay_inside() {
    for target in ["../outside", "a/../../outside", "..", "/", ""] {
        let error = refused(&Archive::default().hard_link("l", target).end());
        assert!(
            matches!(&error, Error::LinkEscapes { entry, target: t }
                if entry.0 == b"l" && t.0 == target.as_bytes()),
            "{error}"
        );
    }
    // Inside by name, but the host's file by the link in between.
    let tar = Archive::default().symlink("d", "/etc").hard_link("l", "d/passwd").end();
    assert!(matches!(refused(&tar), Error::LinkTarget { .. }));
    let tar = Archive::default().hard_link("l", "/etc/passwd").end();
    assert!(matches!(refused(&tar), Error::LinkTarget { .. }));
}

#[test]
fn a_hard_link_to_a_link_is_that_link() {
    let tar = Archive::default().symlink("s", "../outside").hard_link("l", "s").end();
    let layer = unpack(&tar);
    assert_eq!(std::fs::read_link(layer.path("l")).unwrap(), Path::new("../outside"));
    assert_eq!(layer.path("l").symlink_metadata().unwrap().nlink(), 2);
}

#[test]
fn a_hard_link_to_itself_keeps_the_file() {
    let layer = unpack(&Archive::default().file("a", "x").hard_link("./a", "a").end());
    assert_eq!(layer.read("a"), "x");
    let error = refused(&Archive::default().hard_link("a", "a").end());
    assert!(matches!(error, Error::LinkTarget { .. }));
}

#[test]
fn a_directory_replaced_by_a_link_mid_archive() {
    let tar = Archive::default()
        .dir("d")
        .file("d/a", "first")
        .symlink("d", "/etc")
        .file("d/tug-was-here", "second")
        .end();
    let layer = unpack(&tar);
    assert!(!Path::new("/etc/tug-was-here").exists());
    assert_eq!(layer.read("etc/tug-was-here"), "second");
    assert!(!layer.path("etc/a").exists());
}

#[test]
fn later_entries_win_and_the_first_contents_are_still_known() {
    let tar = Archive::default()
        .file("a", "one")
        .file("a", "two")
        .file("a", "")
        .file("a", "three")
        .dir("d")
        .file("d/f", "deep one")
        .file("d/f", "deep two")
        .file("d", "no directory any more")
        .dir("d")
        .file("d/f", "deep three")
        .end();
    let layer = unpack(&tar);
    assert_eq!(layer.read("a"), "three");
    assert_eq!(layer.read("d/f"), "deep three");
}

#[test]
fn contents_written_through_a_link_are_found_after_the_link_is_gone() {
    let tar = Archive::default()
        .dir("real")
        .symlink("alias", "real")
        .file("alias/f", "through the link")
        .file("real/f", "directly")
        .dir("alias")
        .file("alias/f", "another directory")
        .end();
    let layer = unpack(&tar);
    assert_eq!(layer.read("real/f"), "directly");
    assert_eq!(layer.read("alias/f"), "another directory");
}

#[test]
fn attributes_do_not_reach_through_what_replaced_a_directory() {
    let tar = Archive::default()
        .header(&Item {
            name: b"d/sub/",
            kind: b'5',
            link: b"",
            mode: 0o7777,
            size: 0,
            device: (0, 0),
        })
        .dir("other/sub")
        .file("d", "x")
        .symlink("d", "other")
        .end();
    let layer = unpack(&tar);
    assert_eq!(layer.path("other/sub").metadata().unwrap().mode() & 0o7777, 0o755);
}

#[test]
fn a_file_is_no_parent() {
    let tar = Archive::default().file("a", "x").file("a/b", "y").end();
    let error = refused(&tar);
    assert!(matches!(error, Error::NotADirectory { entry, parent }
        if entry.0 == b"a/b" && parent.0 == b"a"));
}

#[test]
fn the_root_is_not_replaced() {
    for name in [".", "./", "/", "a/.."] {
        let tar = Archive::default().symlink(name, "/etc").end();
        assert!(matches!(refused(&tar), Error::ReplacesRoot { .. }), "{name}");
    }
}

#[test]
fn devices_are_made_and_never_opened() {
    let item = |name, kind, device| Item { name, kind, link: b"", mode: 0o600, size: 0, device };
    let tar = Archive::default()
        .header(&item(b"null", b'3', (1, 3)))
        .header(&item(b"disk", b'4', (8, 1)))
        .header(&item(b"pipe", b'6', (0, 0)))
        .file("disk", "not written to the disk")
        .file("null", "kept")
        .file("pipe", "does not wait for a reader")
        .end();
    let layer = unpack(&tar);
    assert_eq!(layer.read("disk"), "not written to the disk");
    assert_eq!(layer.read("null"), "kept");
    assert_eq!(layer.read("pipe"), "does not wait for a reader");
}

#[test]
fn every_cut_is_noticed() {
    let tar = Archive::default()
        .file("a", &"x".repeat(700))
        .pax(&[("path", b"long")])
        .file("b", "y")
        .end();
    // Whole entries and no end marker are accepted, as everywhere.
    let whole = [512 + 1024, 512 + 1024 + 1024 + 512 + 512];
    for length in (0..tar.len() - 1024).filter(|length| !whole.contains(length) && *length > 0) {
        let options = UnpackOptions::default();
        let temp = tempfile::tempdir().unwrap();
        let result = tug_archive::unpack(&tar[..length], temp.path(), &options);
        let truncated =
            matches!(&result, Err(Error::TruncatedEntry { .. } | Error::TruncatedHeader { .. }));
        // An extended header followed by nothing changes nothing.
        assert!(truncated || (length == 2560 && result.is_ok()), "{length}: {result:?}");
    }
    let error = refused(&tar[..900]);
    assert!(matches!(error, Error::TruncatedEntry { entry } if entry.0 == b"a"));
}

#[test]
fn a_wrong_checksum_says_where() {
    let mut tar = Archive::default().file("a", "x").file("b", "y").end();
    tar[1024] ^= 1;
    assert!(matches!(refused(&tar), Error::Checksum { offset: 1024 }));
    assert!(matches!(refused(&[b'x'; 4096]), Error::Checksum { offset: 0 }));
}

#[test]
fn a_lone_zero_block_is_no_way_to_hide_entries() {
    let mut tar = Archive::default().file("a", "x").0;
    tar.resize(tar.len() + 512, 0);
    tar.extend_from_slice(&Archive::default().file("b", "y").end());
    assert!(matches!(refused(&tar), Error::Checksum { offset: 1024 }));
}

#[test]
fn what_follows_the_end_is_part_of_the_tar_but_of_no_file() {
    let mut tar = Archive::default().file("a", "x").end();
    tar.extend_from_slice(&Archive::default().file("hidden", "y").end());
    tar.resize(tar.len() + (5 << 20), 0);
    tar.extend_from_slice(b"trailing bytes, not even a block");
    let layer = unpack(&tar);
    assert!(!layer.path("hidden").exists());
}

#[test]
fn gigantic_headers_are_refused_before_they_are_read() {
    for kind in [b'x', b'L', b'K', b'g'] {
        let tar = Archive::default()
            .header(&Item {
                name: b"x",
                kind,
                link: b"",
                mode: 0,
                size: 0o7777777777,
                device: (0, 0),
            })
            .end();
        let error = refused(&tar);
        assert!(matches!(error, Error::HeaderTooLarge { offset: 0, .. }), "{error}");
    }
}

#[test]
fn broken_pax_records_are_refused() {
    for body in [&b"nonsense"[..], b"9999 path=a\n", b"10 size=x\n", b"19 mtime=yesterday\n"] {
        let tar = Archive::default().extended(b'x', body).file("a", "x").end();
        assert!(matches!(refused(&tar), Error::PaxRecord { offset: 0 }));
    }
    let tar = Archive::default().pax(&[("path", b"a\0b")]).file("a", "x").end();
    assert!(matches!(refused(&tar), Error::HeaderField { field: "name", .. }));
}

#[test]
fn sizes_that_do_not_exist_are_refused() {
    let mut tar = Archive::default().file("a", "x").end();
    tar[124..136].copy_from_slice(b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff");
    seal(&mut tar[..512]);
    assert!(matches!(refused(&tar), Error::HeaderField { field: "size", .. }));
    tar[124..136].copy_from_slice(b"\x80\0\0\0\x7f\xff\xff\xff\xff\xff\xff\xff");
    seal(&mut tar[..512]);
    assert!(matches!(refused(&tar), Error::TooLarge { entry, .. } if entry.0 == b"a"));
    tar[124..136].copy_from_slice(b"12345678901x");
    seal(&mut tar[..512]);
    assert!(matches!(refused(&tar), Error::HeaderField { field: "size", .. }));
}

#[test]
fn limits_name_the_entry_that_went_beyond() {
    let limits = Limits { entries: 2, ..Limits::default() };
    let options = UnpackOptions { limits, ..UnpackOptions::default() };
    let tar = Archive::default().file("a", "").file("b", "").file("c", "").end();
    let error = try_unpack(&tar, &options).err().unwrap();
    assert!(matches!(error, Error::TooManyEntries { entry, limit: 2 } if entry.0 == b"c"));

    let limits = Limits { bytes: 4096, ..Limits::default() };
    let options = UnpackOptions { limits, ..UnpackOptions::default() };
    let tar = Archive::default().file("small", "x").file("big", &"x".repeat(5000)).end();
    let error = try_unpack(&tar, &options).err().unwrap();
    assert!(matches!(error, Error::TooLarge { entry, limit: 4096 } if entry.0 == b"big"));
    // A bomb may also be behind the last entry.
    let mut tar = Archive::default().file("small", "x").end();
    tar.resize(1 << 20, 0);
    let error = try_unpack(&tar, &options).err().unwrap();
    assert!(matches!(error, Error::TooLarge { .. }));
}

#[test]
fn unknown_types_are_refused_by_name() {
    let item = Item { name: b"odd", kind: b'Z', link: b"", mode: 0, size: 0, device: (0, 0) };
    let error = refused(&Archive::default().header(&item).end());
    assert!(matches!(error, Error::UnknownType { entry, kind: 'Z' } if entry.0 == b"odd"));
}

#[test]
fn sizes_of_links_and_directories_mean_nothing() {
    // As in Go's reader: otherwise two readers would see different archives.
    let item = |name, kind, link| Item { name, kind, link, mode: 0o755, size: 512, device: (0, 0) };
    let tar = Archive::default()
        .file("a", "x")
        .header(&item(b"d", b'5', b""))
        .header(&item(b"s", b'2', b"a"))
        .header(&item(b"h", b'1', b"a"))
        .file("b", "y")
        .end();
    assert_eq!(unpack(&tar).read("b"), "y");
}

#[test]
fn attributes_of_overlays_are_not_taken_over() {
    let tar = Archive::default()
        .pax(&[
            ("SCHILY.xattr.trusted.overlay.redirect", b"/etc/shadow"),
            ("SCHILY.xattr.trusted.overlay.metacopy", b""),
            ("SCHILY.xattr.user.overlay.opaque", b"y"),
            ("SCHILY.xattr.user.kept", b"value"),
        ])
        .file("a", "x")
        .end();
    let (layer, unpacked) = try_unpack(&tar, &UnpackOptions::default()).unwrap();
    let xattrs = crate::support::xattrs(&layer.path("a"));
    assert_eq!(
        xattrs.into_iter().collect::<Vec<_>>(),
        [(b"user.kept".to_vec(), b"value".to_vec())]
    );
    assert_eq!(unpacked.skipped_xattrs, 3);
}

#[test]
fn very_long_and_very_deep_names() {
    let deep = "d/".repeat(1500) + "file";
    let tar =
        Archive::default().extended(b'L', (deep.clone() + "\0").as_bytes()).file("x", "deep").end();
    let layer = unpack(&tar);
    assert_eq!(layer.read(&deep), "deep");
    tug_archive::remove_tree(&layer.root()).unwrap();

    let too_deep = "d/".repeat(3000) + "file";
    let tar = Archive::default().pax(&[("path", too_deep.as_bytes())]).file("x", "").end();
    let error = refused(&tar);
    assert!(matches!(&error, Error::Unpack { .. }), "{error}");
    assert!(error.failure().message.len() < 600, "names are cut in errors");
    let tar = Archive::default().pax(&[("path", &[b'n'; 300])]).file("x", "").end();
    assert!(matches!(refused(&tar), Error::Unpack { .. }));
}

#[test]
fn a_sparse_file_costs_what_it_holds() {
    // The old GNU format: 10 GB of which four bytes at the end exist.
    let size: u64 = 10 << 30;
    let mut header = Archive::default()
        .header(&Item {
            name: b"sparse",
            kind: b'S',
            link: b"",
            mode: 0o644,
            size: 4,
            device: (0, 0),
        })
        .0;
    header[257..265].copy_from_slice(b"ustar  \0");
    header[329..512].fill(0);
    let number = |field: &mut [u8], value: u64| {
        field.copy_from_slice(format!("{value:012o}").as_bytes());
    };
    number(&mut header[386..398], size - 4);
    number(&mut header[398..410], 4);
    number(&mut header[483..495], size);
    seal(&mut header);
    let tar = Archive(header).bytes(b"end!").end();
    let (layer, unpacked) = try_unpack(&tar, &UnpackOptions::default()).unwrap();
    let metadata = layer.path("sparse").metadata().unwrap();
    assert_eq!(metadata.len(), size);
    assert!(metadata.blocks() * 512 < 1 << 20, "{} bytes used", metadata.blocks() * 512);
    assert_eq!(unpacked.size, size);
}

#[test]
fn zeros_of_an_ordinary_entry_become_holes() {
    let mut content = vec![0u8; 16 << 20];
    content[5 << 20] = 1;
    let header = Item {
        name: b"zeros",
        kind: b'0',
        link: b"",
        mode: 0o644,
        size: content.len() as u64,
        device: (0, 0),
    };
    let tar = Archive::default().header(&header).bytes(&content).end();
    let layer = unpack(&tar);
    assert_eq!(std::fs::read(layer.path("zeros")).unwrap(), content);
    let metadata = layer.path("zeros").metadata().unwrap();
    assert!(metadata.blocks() * 512 < 1 << 20, "{} bytes used", metadata.blocks() * 512);
}

#[test]
fn broken_sparse_maps_are_refused() {
    let records = |map: &'static [u8]| {
        [
            ("GNU.sparse.major", &b"0"[..]),
            ("GNU.sparse.minor", b"1"),
            ("GNU.sparse.size", b"100"),
            ("GNU.sparse.map", map),
        ]
    };
    for map in [&b"0,5"[..], b"0,1,50", b"90,20", b"50,2,0,2"] {
        let tar = Archive::default().pax(&records(map)).file("s", "1234").end();
        assert!(matches!(refused(&tar), Error::SparseMap { .. }), "{}", map.escape_ascii());
    }
    let unknown = [("GNU.sparse.major", &b"7"[..]), ("GNU.sparse.minor", b"0")];
    let tar = Archive::default().pax(&unknown).file("s", "1234").end();
    assert!(matches!(refused(&tar), Error::SparseMap { .. }));
    for body in ["no number\n", "9999999\n", "1\n0\n"] {
        let version = [
            ("GNU.sparse.major", &b"1"[..]),
            ("GNU.sparse.minor", b"0"),
            ("GNU.sparse.realsize", b"100"),
        ];
        let tar = Archive::default().pax(&version).file("s", body).end();
        assert!(matches!(refused(&tar), Error::SparseMap { .. }), "{body}");
    }
}

#[test]
fn random_damage_never_escapes_and_never_panics() {
    let tar = Archive::default()
        .dir("d")
        .pax(&[("path", b"d/long"), ("SCHILY.xattr.user.k", b"v"), ("mtime", b"1.5")])
        .file("x", "content")
        .symlink("s", "d")
        .hard_link("h", "d/long")
        .file("s/through", "content")
        .file(".wh.gone", "")
        .end();
    // A fixed sequence: the same damage every time.
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut random = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    for _ in 0..1500 {
        let mut damaged = tar.clone();
        for _ in 0..1 + random() % 4 {
            let place = (random() % damaged.len() as u64) as usize;
            damaged[place] = (random() & 0xff) as u8;
            // Half of the time with a checksum that matches, so that the damage is looked at.
            if random() % 2 == 0 {
                let start = place / 512 * 512;
                seal(&mut damaged[start..start + 512]);
            }
        }
        let options = UnpackOptions {
            limits: Limits { bytes: 1 << 20, ..Limits::default() },
            whiteouts: Whiteouts::Overlay,
        };
        // Checks for files outside, and for the same tar when it is accepted.
        let _ = try_unpack(&damaged, &options);
    }
}
