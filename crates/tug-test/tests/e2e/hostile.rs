//! What strangers send: layers that try to leave their root, broken blobs, registries that misbehave.
//! Each gets a clear error, and nothing stays in the store.

use std::path::Path;
use tug_test::layer::{LayerTar, Meta};
use tug_test::layout::{Compression, Family, Layer, Layout, Manifest};
use tug_test::output::Output;
use tug_test::sandbox::{Sandbox, busybox_in};
use tug_test::scripted::{Reply, Server};
use tug_test::shelf::Shelf;

type Sink<'a> = LayerTar<&'a mut dyn std::io::Write>;

/// Everything below the store that is content.
fn stored(s: &Sandbox) -> Vec<String> {
    let found = s.shell("cd data 2>/dev/null && find blobs layers tmp containers -mindepth 1 \\( -type f -o -path 'layers/*' -o -path 'tmp/*' \\) 2>/dev/null; true");
    found
        .ok()
        .lines()
        .filter(|line| !["blobs/sha256", "tmp/.collect", "tmp/.sweep"].contains(line))
        .map(str::to_owned)
        .collect()
}

fn nothing_stored(s: &Sandbox) {
    assert_eq!(s.tug(&["images", "-aq"]).ok(), "");
    let stored = stored(s);
    assert!(stored.is_empty(), "left in the store: {stored:?}");
}

/// An image of one layer, in a layout of its own.
fn image(
    dir: &Path,
    packing: Compression,
    fill: impl FnOnce(&mut Sink<'_>) -> std::io::Result<()>,
) -> (Layout, Manifest) {
    let made = Layout::create(dir).and_then(|layout| {
        let layer = layout.layer(packing, fill)?;
        let image = layout.image(Family::Oci, &serde_json::json!({"Cmd": ["/x"]}), &[layer])?;
        Ok((layout, image))
    });
    made.unwrap_or_else(|e| panic!("fixture: {e}"))
}

/// Pulls the image, which must fail, once from a registry and once from an archive.
fn refused(fill: impl Fn(&mut Sink<'_>) -> std::io::Result<()>, entry: &str) {
    let s = Sandbox::empty();
    let dir = tempfile::tempdir().unwrap_or_else(|e| panic!("{e}"));
    let outside = s.path("outside");
    assert!(std::fs::create_dir(&outside).is_ok());
    let (layout, image) = image(dir.path(), Compression::Gzip, fill);
    let shelf = Shelf::new(dir.path()).tag("latest", &image);
    let server = Server::start(move |asked| shelf.answer(asked)).unwrap_or_else(|e| panic!("{e}"));
    let pull = s.tug(&["pull", &format!("{}/evil", server.address())]);
    names(&pull, entry);
    nothing_stored(&s);
    let archive = s.path("image.tar");
    let file = std::fs::File::create(&archive).unwrap_or_else(|e| panic!("{e}"));
    layout.oci_archive(file, &[(&image, "evil:1")]).unwrap_or_else(|e| panic!("{e}"));
    names(&s.tug(&["load", "-i", &archive]), entry);
    nothing_stored(&s);
    let escaped = std::fs::read_dir(&outside).map_or(0, Iterator::count);
    assert_eq!(escaped, 0, "something was written outside of the store");
}

fn names(output: &Output, entry: &str) {
    output.code(1).says(entry);
    assert!(output.stderr.starts_with("tug: "), "{output}");
    assert!(output.stderr.lines().count() <= 2, "one line and a hint: {output}");
}

fn file(tar: &mut Sink<'_>, name: &str) -> std::io::Result<()> {
    tar.file(name, Meta::mode(0o644), b"evil")
}

#[test]
fn names_with_dots_are_refused() {
    for name in ["../escape", "a/../../escape", "./../escape", "a/.."] {
        refused(|tar| file(tar, name), name);
    }
}

#[test]
fn hard_links_to_the_outside_are_refused() {
    for target in ["../../../../../../etc/passwd", "/etc/passwd", "not-in-this-layer"] {
        refused(|tar| tar.hardlink("innocent", target), "innocent");
    }
}

/// As in a chroot: the link is followed with the layer as the root.
#[test]
fn a_symlink_on_the_way_leads_nowhere_outside() {
    let s = Sandbox::empty();
    let outside = s.path("outside");
    assert!(std::fs::create_dir(&outside).is_ok());
    let (layout, image) = image(&s.dir().join("layout"), Compression::Gzip, |tar| {
        for (link, target) in [("up", "../../../../../../tmp"), ("abs", "/tmp"), ("out", &*outside)]
        {
            tar.symlink(link, target)?;
            file(tar, &format!("{link}/tug-escape"))?;
            tar.dir(&format!("{link}/tug-escape-dir"), Meta::mode(0o777))?;
            tar.device(&format!("{link}/tug-escape-null"), tar::EntryType::Char, (1, 3))?;
        }
        Ok(())
    });
    let archive = s.path("image.tar");
    let written = std::fs::File::create(&archive)
        .and_then(|file| layout.oci_archive(file, &[(&image, "links:1")]));
    assert!(written.is_ok());
    let load = s.tug(&["load", "-q", "-i", &archive]);
    if load.code != 0 {
        names(&load, "tug-escape");
        nothing_stored(&s);
    }
    for place in ["/tmp", &outside] {
        let escaped = std::fs::read_dir(place).into_iter().flatten().flatten();
        let escaped: Vec<_> =
            escaped.filter(|e| e.file_name().to_string_lossy().starts_with("tug-escape")).collect();
        assert!(escaped.is_empty(), "{escaped:?}");
    }
    refused(
        |tar| {
            tar.symlink("link", "/etc")?;
            tar.hardlink("hard", "link/passwd")
        },
        "hard",
    );
}

#[test]
fn an_absolute_symlink_itself_is_harmless() {
    let s = Sandbox::new();
    s.image(
        "links:1",
        &serde_json::json!({"Cmd": ["cat", "/passwd"], "Env": ["PATH=/bin"]}),
        |tar| tar.symlink("passwd", "/etc/passwd"),
    );
    s.tug(&["run", "--rm", "links:1"]).shows("tester:x:1000");
}

#[test]
fn whiteouts_cannot_reach_outside() {
    for name in [".wh...", ".wh..", "a1/.wh.."] {
        refused(
            |tar| {
                tar.dir("a1", Meta::mode(0o755))?;
                tar.file(name, Meta::mode(0o644), b"")
            },
            ".wh.",
        );
    }
}

#[test]
fn an_absolute_name_stays_inside() {
    let s = Sandbox::new();
    let marker = format!("/tug-escape-{}", tug_test::unique());
    s.image("abs:1", &serde_json::json!({"Cmd": ["cat", &marker], "Env": ["PATH=/bin"]}), |tar| {
        tar.file(&marker, Meta::mode(0o644), b"inside")
    });
    assert_eq!(s.tug(&["run", "--rm", "abs:1"]).ok(), "inside");
    assert!(!Path::new(&marker).exists());
}

#[test]
fn device_nodes_of_an_image_open_nothing() {
    let s = Sandbox::new();
    s.image("dev:1", &serde_json::json!({"Cmd": ["sh"], "Env": ["PATH=/bin"]}), |tar| {
        tar.device("kmsg", tar::EntryType::Char, (1, 11))?;
        tar.device("mem", tar::EntryType::Char, (1, 1))
    });
    for node in ["/kmsg", "/mem"] {
        s.tug(&["run", "--rm", "dev:1", "head", "-c1", node])
            .code(1)
            .says("Operation not permitted");
    }
}

#[test]
fn a_huge_file_of_nothing_takes_no_space() {
    const SIZE: u64 = 10 << 30;
    let s = Sandbox::empty();
    let dir = tempfile::tempdir().unwrap_or_else(|e| panic!("{e}"));
    let (layout, image) = image(dir.path(), Compression::Zstd, |tar| tar.zeros("huge", SIZE));
    let archive = s.path("image.tar");
    let written = std::fs::File::create(&archive)
        .and_then(|file| layout.oci_archive(file, &[(&image, "huge:1")]));
    assert!(written.is_ok());
    let load = s.tug(&["load", "-q", "-i", &archive]);
    if load.code != 0 {
        names(&load, "huge");
        nothing_stored(&s);
        return;
    }
    let disk = s.shell("du -sk data | cut -f1");
    assert!(disk.ok().parse::<u64>().is_ok_and(|kib| kib < 100 << 10), "{disk}");
    let size = s.shell("stat -c %s data/layers/*/fs/huge");
    assert_eq!(size.ok(), SIZE.to_string());
}

/// A registry serving busybox, whose blobs a test spoils.
fn spoiled(
    spoil: impl Fn(&Layer, Reply) -> Reply + Send + Sync + 'static,
) -> (Server, tempfile::TempDir) {
    let dir = tempfile::tempdir().unwrap_or_else(|e| panic!("{e}"));
    let (layout, image) = busybox_in(dir.path()).unwrap_or_else(|e| panic!("{e}"));
    let layer = layout.layers_of(&image).unwrap_or_else(|e| panic!("{e}")).remove(0);
    let shelf = Shelf::new(dir.path()).tag("latest", &image);
    let server = Server::start(move |asked| {
        let answer = shelf.answer(asked);
        if asked.target.ends_with(&layer.digest) && asked.method == "GET" {
            spoil(&layer, answer)
        } else {
            answer
        }
    });
    (server.unwrap_or_else(|e| panic!("{e}")), dir)
}

#[test]
fn a_broken_blob_is_refused_by_its_digest() {
    let breaks: [fn(&Layer, Reply) -> Reply; 3] = [
        |_, mut reply| {
            let middle = reply.body.len() / 2;
            reply.body[middle] ^= 1;
            reply
        },
        |_, mut reply| {
            reply.body.truncate(reply.body.len() / 2);
            reply
        },
        |_, mut reply| {
            reply.body = b"something else".to_vec();
            reply
        },
    ];
    for spoil in breaks {
        let s = Sandbox::empty();
        let (server, dir) = spoiled(spoil);
        let pull = s.tug(&["pull", &format!("{}/box", server.address())]);
        names(&pull, "sha256:");
        nothing_stored(&s);
        drop(dir);
    }
}

#[test]
fn a_line_cut_in_the_middle_is_taken_up_again() {
    let s = Sandbox::empty();
    let cuts = std::sync::atomic::AtomicU32::new(0);
    let (server, _dir) = spoiled(move |_, mut reply| {
        if cuts.fetch_add(1, std::sync::atomic::Ordering::SeqCst) < 2 {
            reply.cut_after = Some(300_000);
        }
        reply
    });
    let name = format!("{}/box", server.address());
    s.tug(&["pull", "-q", &name]).ok();
    s.tug(&["run", "--rm", &name, "true"]).ok();
}

#[test]
fn a_line_always_cut_is_an_error() {
    let s = Sandbox::empty();
    let (server, _dir) = spoiled(|_, mut reply| {
        reply.cut_after = Some(0);
        reply
    });
    let pull = s.tug(&["pull", &format!("{}/box", server.address())]);
    names(&pull, &server.address());
    nothing_stored(&s);
}

#[test]
fn a_registrys_refusals_are_told_with_what_was_asked() {
    for (status, code, message, said) in [
        (404, "MANIFEST_UNKNOWN", "manifest unknown", "not found"),
        (401, "UNAUTHORIZED", "authentication required", "box"),
        (403, "DENIED", "requested access to the resource is denied", "denied"),
        (429, "TOOMANYREQUESTS", "slow down", "slow down"),
        (500, "UNKNOWN", "the disk is on fire", "500"),
    ] {
        let s = Sandbox::empty();
        let server =
            Server::start(move |_| Reply::refusal(status, code, message).with("Retry-After", "0"));
        let server = server.unwrap_or_else(|e| panic!("{e}"));
        let name = format!("{}/box:1", server.address());
        let pull = s.tug(&["pull", &name]);
        names(&pull, &server.address());
        pull.says("box");
        assert!(pull.stderr.to_lowercase().contains(said), "must say {said}: {pull}");
        nothing_stored(&s);
        s.tug(&["run", "--rm", &name]).code(125).says(&server.address());
    }
}

#[test]
fn a_registry_that_is_not_there_is_named() {
    let s = Sandbox::empty();
    let pull = s.tug(&["pull", "127.0.0.1:9/box"]);
    names(&pull, "127.0.0.1:9");
    pull.says("onnection refused");
    let run = s.tug(&["run", "--rm", "127.0.0.1:9/box"]);
    run.code(125).says("127.0.0.1:9");
}

#[test]
fn a_manifest_that_is_none_is_refused() {
    for body in [
        "",
        "{}",
        "[1,2",
        r#"{"schemaVersion":1,"fsLayers":[]}"#,
        r#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{"digest":"sha256:../../x","size":1},"layers":[]}"#,
    ] {
        let s = Sandbox::empty();
        let server = Server::start(move |_| {
            Reply::new(200, body).with("Content-Type", "application/vnd.oci.image.manifest.v1+json")
        });
        let server = server.unwrap_or_else(|e| panic!("{e}"));
        names(&s.tug(&["pull", &format!("{}/box", server.address())]), "box");
        nothing_stored(&s);
    }
}

#[test]
fn a_config_that_lies_about_its_layers_is_refused() {
    let s = Sandbox::empty();
    let dir = tempfile::tempdir().unwrap_or_else(|e| panic!("{e}"));
    let (layout, good) = busybox_in(dir.path()).unwrap_or_else(|e| panic!("{e}"));
    let layers = layout.layers_of(&good).unwrap_or_else(|e| panic!("{e}"));
    let zero = format!("sha256:{}", "0".repeat(64));
    for diff_ids in
        [serde_json::json!([zero]), serde_json::json!([]), serde_json::json!([zero, zero])]
    {
        let config = serde_json::json!({"architecture": "amd64", "os": "linux", "config": {}, "rootfs": {"type": "layers", "diff_ids": diff_ids}});
        let image = layout
            .image_of(Family::Oci, config.to_string().as_bytes(), &layers)
            .unwrap_or_else(|e| panic!("{e}"));
        let shelf = Shelf::new(dir.path()).tag("latest", &image);
        let server =
            Server::start(move |asked| shelf.answer(asked)).unwrap_or_else(|e| panic!("{e}"));
        let pull = s.tug(&["pull", &format!("{}/liar", server.address())]);
        pull.code(1);
        assert!(pull.stderr.starts_with("tug: ") && pull.stderr.lines().count() <= 2, "{pull}");
        nothing_stored(&s);
    }
}

#[test]
fn an_archive_of_rubbish_is_refused() {
    let s = Sandbox::empty();
    let dir = s.dir().join("layout");
    let (layout, image) = busybox_in(&dir).unwrap_or_else(|e| panic!("{e}"));
    let mut archive = Vec::new();
    layout.oci_archive(&mut archive, &[(&image, "x:1")]).unwrap_or_else(|e| panic!("{e}"));
    let cut = s.tug_with(&["load"], &archive[..archive.len() / 2]);
    cut.code(1);
    nothing_stored(&s);
    let whiteout_only = {
        let mut tar = LayerTar::new(Vec::new());
        let written = tar.file("../manifest.json", Meta::mode(0o644), b"[]");
        assert!(written.is_ok());
        tar.finish().unwrap_or_default()
    };
    s.tug_with(&["load"], &whiteout_only).code(1);
    nothing_stored(&s);
}
