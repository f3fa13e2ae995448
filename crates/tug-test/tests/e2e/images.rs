//! load, import, images, inspect, tag, rmi; and that a layer arrives as it was packed.

use std::collections::BTreeMap;
use tug_test::layer::Meta;
use tug_test::layout::{Compression, Family};
use tug_test::output::normal;
use tug_test::sandbox::{Sandbox, busybox_in};

#[test]
fn images_has_dockers_columns() {
    let s = Sandbox::empty();
    assert_eq!(s.tug(&["images"]).ok(), "REPOSITORY   TAG       IMAGE ID   CREATED   SIZE");
    s.load("busybox");
    let table = s.tug(&["image", "ls"]);
    let row: Vec<_> =
        table.lines()[1].split("   ").map(str::trim).filter(|c| !c.is_empty()).collect();
    assert_eq!(
        (row[0], row[1], normal(row[2])),
        ("busybox", "latest", "<SHORT>".into()),
        "{table}"
    );
    assert!(row[3].ends_with("ago") && row[4].ends_with("MB"), "{table}");
    let id = s.tug(&["images", "-q", "--no-trunc"]).ok().to_owned();
    assert!(id.starts_with("sha256:") && id.len() == 71);
    assert_eq!(s.tug(&["images", "-q"]).ok(), &id[7..19]);
    assert_eq!(s.tug(&["images", "--format", "{{.Repository}}:{{.Tag}}"]).ok(), "busybox:latest");
}

#[test]
fn images_filters() {
    let s = Sandbox::new();
    s.tug(&["tag", "busybox", "team/tool:1"]).ok();
    s.image("labelled:2", &serde_json::json!({"Cmd": ["sh"], "Labels": {"kind": "test"}}), |_| {
        Ok(())
    });
    let names = |flags: &[&str]| {
        let list = s.tug(&[&["images", "--format", "{{.Repository}}:{{.Tag}}"], flags].concat());
        let mut names = list.lines().iter().map(ToString::to_string).collect::<Vec<_>>();
        names.sort();
        names.join(" ")
    };
    assert_eq!(names(&[]), "busybox:latest labelled:2 team/tool:1");
    assert_eq!(names(&["team/tool"]), "team/tool:1");
    assert_eq!(names(&["-f", "reference=b*"]), "busybox:latest");
    assert_eq!(names(&["-f", "label=kind=test"]), "labelled:2");
    assert_eq!(names(&["-f", "dangling=true"]), "");
}

#[test]
fn load_takes_every_kind_of_archive() {
    let s = Sandbox::empty();
    let dir = s.dir().join("layout");
    let (layout, image) = busybox_in(&dir).unwrap_or_else(|e| panic!("{e}"));
    let file =
        |name: &str| std::fs::File::create(s.dir().join(name)).unwrap_or_else(|e| panic!("{e}"));
    layout.oci_archive(file("oci.tar"), &[(&image, "oci:1")]).unwrap_or_else(|e| panic!("{e}"));
    layout
        .docker_archive(file("docker.tar"), &image, &["docker:1", "docker:2"])
        .unwrap_or_else(|e| panic!("{e}"));
    s.shell("gzip -k oci.tar; xz -k docker.tar 2>/dev/null; zstd -q docker.tar 2>/dev/null; true")
        .ok();
    assert_eq!(s.tug(&["load", "-i", &s.path("oci.tar")]).ok(), "Loaded image: oci:1");
    assert_eq!(
        s.tug(&["load", "--input", &s.path("docker.tar")]).ok(),
        "Loaded image: docker:1\nLoaded image: docker:2"
    );
    let gz = std::fs::read(s.path("oci.tar.gz")).unwrap_or_default();
    s.tug(&["rmi", "oci:1"]).ok();
    assert_eq!(s.tug_with(&["load"], &gz).ok(), "Loaded image: oci:1");
    for name in ["oci:1", "docker:1", "docker:2"] {
        s.tug(&["run", "--rm", name, "true"]).ok();
    }
    let ids = s
        .tug(&["images", "-q", "--no-trunc"])
        .lines()
        .iter()
        .collect::<std::collections::BTreeSet<_>>()
        .len();
    assert_eq!(ids, 1, "one image under three names");
    s.tug_with(&["load"], b"this is no archive").code(1);
    s.tug(&["load", "-i", "/not/there.tar"]).code(1).says("/not/there.tar");
}

#[test]
fn other_tools_archives_load() {
    if !std::path::Path::new("/usr/bin/skopeo").exists() {
        tug_test::skip::skip("skopeo is not installed");
        return;
    }
    let s = Sandbox::empty();
    let dir = s.dir().join("layout");
    let (layout, image) = busybox_in(&dir).unwrap_or_else(|e| panic!("{e}"));
    layout.name(&image, "latest").unwrap_or_else(|e| panic!("{e}"));
    for kind in ["docker-archive", "oci-archive"] {
        s.shell(&format!(
            "skopeo --insecure-policy copy -q oci:layout:latest {kind}:{kind}.tar:from/{kind}:1"
        ))
        .ok();
        s.tug(&["load", "-q", "-i", &s.path(&format!("{kind}.tar"))]).ok();
        let id = s.tug(&["images", "-q"]).lines()[0].to_owned();
        s.tug(&["run", "--rm", &id, "true"]).ok();
    }
}

#[test]
fn import_makes_an_image_of_a_tree() {
    let s = Sandbox::new();
    s.shell("mkdir tree tree/bin && cp /bin/busybox tree/bin/ 2>/dev/null || true").ok();
    s.shell(&format!(
        "cp {} tree/bin/busybox; tar -C tree -cf tree.tar .",
        tug_test::sandbox::cache().join("tools/bin/busybox").display()
    ))
    .ok();
    let changes = [
        "-c",
        "CMD [\"/bin/busybox\", \"echo\", \"imported\"]",
        "--change",
        "ENV A=b",
        "-m",
        "a note",
    ];
    let id = s.tug(&[&["import"], &changes[..], &[&s.path("tree.tar"), "tree:1"]].concat());
    assert!(id.ok().starts_with("sha256:"));
    assert_eq!(s.tug(&["run", "--rm", "tree:1"]).ok(), "imported");
    assert_eq!(s.tug(&["inspect", "-f", "{{json .Config.Env}}", "tree:1"]).ok(), "[\"A=b\"]");
    let tar = std::fs::read(s.path("tree.tar")).unwrap_or_default();
    let unnamed = s.tug_with(&["import", "-"], &tar).ok().to_owned();
    s.tug(&["run", "--rm", &unnamed, "/bin/busybox", "true"]).ok();
    s.tug(&["import", "-c", "RUN false", &s.path("tree.tar")]).code(1).says("RUN");
}

#[test]
fn inspect_shows_configuration_and_layers() {
    let s = Sandbox::new();
    let json = s.tug(&["image", "inspect", "busybox"]);
    let list: serde_json::Value = serde_json::from_str(json.ok()).unwrap_or_default();
    let image = &list[0];
    assert_eq!(image["RepoTags"][0], "busybox:latest");
    assert_eq!((&image["Os"], &image["Architecture"]), (&"linux".into(), &"amd64".into()));
    assert_eq!(image["Config"]["Cmd"][0], "sh");
    assert_eq!(image["RootFS"]["Layers"].as_array().map(Vec::len), Some(1));
    assert_eq!(
        s.tug(&["image", "inspect", "--format={{ .RepoTags }}", "busybox"]).ok(),
        "[busybox:latest]"
    );
    s.tug(&["image", "inspect", "nothing"]).code(1).says("No such image: nothing");
}

#[test]
fn tags_come_and_go_and_the_last_takes_the_image() {
    let s = Sandbox::new();
    let id = s.tug(&["images", "-q", "--no-trunc"]).ok().to_owned();
    assert_eq!(s.tug(&["tag", "busybox", "localhost:5000/team/box:v1"]).ok(), "");
    s.tug(&["image", "tag", &id[7..19], "other"]).ok();
    s.tug(&["tag", "nothing", "x"]).refused(1, "No such image: nothing:latest");
    s.tug(&["tag", "busybox", "team/Case"]).code(1).says("team/Case");
    assert_eq!(s.tug(&["rmi", "busybox"]).ok(), "Untagged: busybox:latest");
    s.tug(&["rmi", &id[7..19]]).code(1).says("must be forced");
    assert_eq!(s.tug(&["rmi", "other"]).ok(), "Untagged: other:latest");
    let last = s.tug(&["rmi", "localhost:5000/team/box:v1"]);
    assert_eq!(last.lines()[0], "Untagged: localhost:5000/team/box:v1");
    last.shows(&format!("Deleted: {id}"));
    assert_eq!(s.tug(&["images", "-q"]).ok(), "");
    let left =
        |dir: &str| std::fs::read_dir(s.data_root().join(dir)).map_or(0, |d| d.flatten().count());
    assert_eq!(left("layers"), 0, "the layer is gone");
    s.tug(&["rmi", "busybox"]).refused(1, "No such image: busybox:latest");
}

#[test]
fn an_image_in_use_is_not_removed() {
    let s = Sandbox::new();
    let id = s.tug(&["create", "--name", "c1", "busybox"]).ok().to_owned();
    s.tug(&["rmi", "busybox"]).code(1).says(&id[..12]).hint("tug rm");
    s.tug(&["start", "c1"]).ok();
    s.tug(&["rmi", "-f", "busybox"]).ok();
    s.tug(&["start", "c1"]).ok();
    assert_eq!(s.format("c1", "{{.Config.Image}}"), "busybox");
}

#[test]
fn a_layer_arrives_exactly_as_packed() {
    let s = Sandbox::new();
    let xattrs = BTreeMap::from([
        ("user.note".to_owned(), b"kept".to_vec()),
        (
            "security.capability".to_owned(),
            vec![1, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
        ),
    ]);
    s.image("exact:1", &serde_json::json!({"Cmd": ["sh"], "Env": ["PATH=/bin"]}), |tar| {
        tar.dir("x", Meta { mode: 0o3711, uid: 1000, gid: 1001 })?;
        tar.file("x/suid", Meta { mode: 0o4755, uid: 0, gid: 33 }, b"#!/bin/sh\n")?;
        tar.hardlink("x/hard", "x/suid")?;
        tar.symlink("x/dangling", "/nowhere/at/all")?;
        tar.device("x/char", tar::EntryType::Char, (1, 3))?;
        tar.device("x/block", tar::EntryType::Block, (7, 200))?;
        tar.xattrs(&xattrs)?;
        tar.file("x/attributes", Meta { mode: 0o600, uid: 65534, gid: 65534 }, b"a")?;
        tar.file(&format!("x/{}", "long".repeat(50)), Meta::mode(0o644), b"a")?;
        tar.file("x/\u{fc}n\u{ef}c\u{f6}de \t\n'", Meta::mode(0o644), b"a")
    });
    let run = |script: &str| s.tug(&["run", "--rm", "exact:1", "sh", "-c", script]).ok().to_owned();
    assert_eq!(
        run("cd /x; stat -c '%n %a %u:%g %F %h' . suid hard attributes"),
        ". 3711 1000:1001 directory 2\nsuid 4755 0:33 regular file 2\nhard 4755 0:33 regular file 2\nattributes 600 65534:65534 regular file 1"
    );
    assert_eq!(
        run("cd /x; readlink dangling; stat -c '%F %t:%T' char block"),
        "/nowhere/at/all\ncharacter special file 1:3\nblock special file 7:c8"
    );
    assert_eq!(run("stat -c %Y /x /x/suid /x/dangling"), "1704067200\n1704067200\n1704067200");
    assert_eq!(run("ls /x | wc -l"), "8");
    let layer = s.shell("getfattr --absolute-names -m - -d data/layers/*/fs/x/attributes 2>/dev/null || python3 -c 'import os,glob; p=glob.glob(\"data/layers/*/fs/x/attributes\")[0]; print(sorted(os.listxattr(p)))'");
    layer.shows("user.note").shows("security.capability");
}

#[test]
fn whiteouts_and_opaque_directories_hide_what_is_below() {
    let s = Sandbox::empty();
    let dir = s.dir().join("layout");
    let (layout, base) = busybox_in(&dir).unwrap_or_else(|e| panic!("{e}"));
    let mut layers = layout.layers_of(&base).unwrap_or_else(|e| panic!("{e}"));
    let plain = Meta::mode(0o644);
    let lower = layout.layer(Compression::Gzip, |tar| {
        for dir in ["gone", "opaque", "back"] {
            tar.dir(dir, Meta::mode(0o755))?;
            tar.file(&format!("{dir}/low"), plain, b"low")?;
        }
        tar.file("file", plain, b"low")
    });
    let upper = layout.layer(Compression::Zstd, |tar| {
        tar.file(".wh.gone", plain, b"")?;
        tar.file(".wh.file", plain, b"")?;
        tar.dir("opaque", Meta::mode(0o755))?;
        tar.file("opaque/.wh..wh..opq", plain, b"")?;
        tar.file("opaque/high", plain, b"high")?;
        tar.file("back/.wh.low", plain, b"")
    });
    let top = layout.layer(Compression::None, |tar| {
        tar.dir("back", Meta::mode(0o755))?;
        tar.file("back/low", plain, b"again")
    });
    layers.extend([lower, upper, top].into_iter().flatten());
    assert_eq!(layers.len(), 4);
    let config = serde_json::json!({"Cmd": ["sh", "-c", "ls -d /gone /file 2>&1 | grep -c No; ls -A /opaque; cat /back/low"]});
    let image = layout.image(Family::Oci, &config, &layers).unwrap_or_else(|e| panic!("{e}"));
    let archive = std::fs::File::create(s.path("image.tar")).unwrap_or_else(|e| panic!("{e}"));
    layout.oci_archive(archive, &[(&image, "white:1")]).unwrap_or_else(|e| panic!("{e}"));
    s.tug(&["load", "-q", "-i", &s.path("image.tar")]).ok();
    assert_eq!(s.tug(&["run", "--rm", "white:1"]).ok(), "2\nhigh\nagain");
}

#[test]
fn a_layer_whose_root_is_opaque_hides_every_layer_below() {
    let s = Sandbox::empty();
    let (layout, base) = busybox_in(&s.dir().join("layout")).unwrap_or_else(|e| panic!("{e}"));
    let busybox = layout.layers_of(&base).unwrap_or_else(|e| panic!("{e}")).remove(0);
    let low = layout.layer(Compression::Gzip, |tar| tar.file("low", Meta::mode(0o644), b"low"));
    let opaque = layout.layer(Compression::Gzip, |tar| {
        tar.file("here", Meta::mode(0o644), b"")?;
        tar.file(".wh..wh..opq", Meta::mode(0o644), b"")
    });
    let layers = [low, opaque].map(|layer| layer.unwrap_or_else(|e| panic!("{e}")));
    let layers = [layers.as_slice(), &[busybox]].concat();
    let config = serde_json::json!({"Cmd": ["/bin/sh", "-c", "cd /; /bin/ls low here 2>&1; true"]});
    let image = layout.image(Family::Oci, &config, &layers).unwrap_or_else(|e| panic!("{e}"));
    let archive = std::fs::File::create(s.path("image.tar")).unwrap_or_else(|e| panic!("{e}"));
    layout.oci_archive(archive, &[(&image, "opaque:1")]).unwrap_or_else(|e| panic!("{e}"));
    s.tug(&["load", "-q", "-i", &s.path("image.tar")]).ok();
    let seen = s.tug(&["run", "--name", "kept", "opaque:1"]);
    assert_eq!(seen.shows("low: No such file").lines().len(), 2);
    s.tug(&["export", "-o", &s.path("out.tar"), "kept"]).ok();
    assert_eq!(s.shell("tar -tf out.tar | grep -x 'low\\|here'").ok(), "here");
}

#[test]
fn the_image_is_never_written_to() {
    let s = Sandbox::new();
    let sum = "find data/layers/*/fs -type f -exec sha256sum {} + | sort | sha256sum";
    let before = s.shell(sum).ok().to_owned();
    s.sh(&[], "rm -rf /bin/vi /etc/passwd; echo x >> /etc/group; chmod 777 /tmp; mv /home /house")
        .ok();
    assert_eq!(s.shell(sum).ok(), before);
}
