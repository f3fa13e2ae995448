//! save and export, read by tug itself and by others; hostile archives for load and import.

use serde_json::{Value, json};
use std::io::Write;
use std::path::Path;
use tug_test::layer::{LayerTar, Meta};
use tug_test::layout::{Compression, Family, Layout, Manifest};
use tug_test::sandbox::{Sandbox, cache};
use tug_test::skip::skip;

/// An image of two layers in an OCI layout.
fn layered(dir: &Path, compression: Compression) -> (Layout, Manifest) {
    let layout = Layout::create(dir).unwrap();
    let lower = layout.layer(compression, |tar| {
        tar.dir("etc", Meta::mode(0o755))?;
        tar.file("etc/one", Meta::mode(0o644), b"one\n")?;
        tar.file("etc/gone", Meta::mode(0o600), b"gone\n")?;
        tar.hardlink("etc/again", "etc/one")?;
        tar.symlink("link", "etc/one")
    });
    let upper = layout.layer(compression, |tar| {
        tar.file("etc/.wh.gone", Meta::mode(0o644), b"")?;
        tar.file("etc/two", Meta { mode: 0o4755, uid: 7, gid: 8 }, &vec![b'2'; 100_000])
    });
    let image = layout
        .image(Family::Oci, &json!({"Cmd": ["true"]}), &[lower.unwrap(), upper.unwrap()])
        .unwrap();
    (layout, image)
}

fn loaded(s: &Sandbox, compression: Compression, names: &[&str]) -> Manifest {
    let (layout, image) = layered(&s.dir().join("layout"), compression);
    let file = std::fs::File::create(s.path("in.tar")).unwrap();
    let pairs: Vec<(&Manifest, &str)> = names.iter().map(|name| (&image, *name)).collect();
    layout.oci_archive(file, &pairs).unwrap();
    s.tug(&["load", "-q", "-i", &s.path("in.tar")]).ok();
    image
}

fn member(archive: &str, name: &str) -> Vec<u8> {
    let mut tar = tar::Archive::new(std::fs::File::open(archive).unwrap());
    for entry in tar.entries().unwrap() {
        let mut entry = entry.unwrap();
        if entry.path_bytes().as_ref() == name.as_bytes() {
            let mut bytes = Vec::new();
            std::io::copy(&mut entry, &mut bytes).unwrap();
            return bytes;
        }
    }
    panic!("{archive} has no {name}");
}

fn json_member(archive: &str, name: &str) -> Value {
    serde_json::from_slice(&member(archive, name)).unwrap()
}

#[test]
fn what_is_saved_is_loaded_again_as_it_was() {
    let s = Sandbox::empty();
    let image = loaded(&s, Compression::Gzip, &["app:1", "app:2", "other:1"]);
    let (one, two) = (s.path("one.tar"), s.path("two.tar"));
    s.tug(&["save", "-o", &one, "app:1", "other:1"]).ok();
    // A repository without a tag is all its tags.
    s.shell(&format!("$TUG save app > {two}")).ok();
    let table = json_member(&one, "manifest.json");
    assert_eq!(table[0]["RepoTags"], json!(["app:1", "other:1"]), "{table}");
    assert_eq!(table.as_array().map(Vec::len), Some(1));
    assert_eq!(json_member(&two, "manifest.json")[0]["RepoTags"], json!(["app:1", "app:2"]));
    let repositories = json_member(&one, "repositories");
    assert!(repositories["app"]["1"].is_string() && repositories["other"]["1"].is_string());
    assert_eq!(json_member(&one, "oci-layout"), json!({"imageLayoutVersion": "1.0.0"}));

    let other = Sandbox::empty();
    let said = other.tug(&["load", "-i", &one]);
    assert_eq!(said.ok(), "Loaded image: app:1\nLoaded image: other:1");
    let id = other.tug(&["images", "-q", "--no-trunc", "app"]);
    assert_eq!(id.ok(), image.config, "the image's id is its configuration's digest");
    // And once more: the same bytes.
    other.tug(&["save", "-o", &other.path("again.tar"), "app:1", "other:1"]).ok();
    assert!(std::fs::read(other.path("again.tar")).unwrap() == std::fs::read(&one).unwrap());
}

#[test]
fn a_manifest_whose_layers_are_all_here_is_kept_to_the_byte() {
    let s = Sandbox::empty();
    let image = loaded(&s, Compression::None, &["app:1"]);
    let out = s.path("out.tar");
    let said = s.tug(&["save", "-o", &out, "app:1"]);
    assert_eq!(said.stderr, "");
    let index = json_member(&out, "index.json");
    assert_eq!(index["manifests"][0]["digest"], json!(image.digest), "{index}");
    let name = &index["manifests"][0]["annotations"]["io.containerd.image.name"];
    assert_eq!(name, "docker.io/library/app:1");
}

#[test]
fn an_index_survives_being_loaded_and_saved() {
    let s = Sandbox::empty();
    let (layout, image) = layered(&s.dir().join("layout"), Compression::None);
    let index = layout.index(Family::Oci, &[(&image, "linux/amd64")]).unwrap();
    let (archive, out) = (s.path("in.tar"), s.path("out.tar"));
    layout.oci_archive(std::fs::File::create(&archive).unwrap(), &[(&index, "app:1")]).unwrap();
    s.tug(&["load", "-q", "-i", &archive]).ok();
    let digest = || json_member(&out, "index.json")["manifests"][0]["digest"].clone();
    s.tug(&["save", "-o", &out, "app:1"]).ok();
    assert_eq!(digest(), json!(index.digest));
    member(&out, &format!("blobs/{}", image.digest.replace(':', "/")));
    s.tug(&["save", "--platform", "linux/amd64", "-o", &out, "app:1"]).ok();
    assert_eq!(digest(), json!(image.digest), "one platform is its manifest alone");
}

#[test]
fn a_manifest_that_cannot_be_kept_is_replaced_and_that_is_said() {
    let s = Sandbox::empty();
    let image = loaded(&s, Compression::Gzip, &["app:1"]);
    let out = s.path("out.tar");
    let said = s.tug(&["save", "-o", &out, "app:1"]);
    let index = json_member(&out, "index.json");
    let digest = index["manifests"][0]["digest"].as_str().unwrap().to_owned();
    if digest == image.digest {
        // The compressed layers were kept after all.
        assert_eq!(said.stderr, "");
    } else {
        said.says("app:1: its compressed layers are not kept here").says(&digest);
    }
}

#[test]
fn others_read_what_is_saved() {
    let s = Sandbox::empty();
    loaded(&s, Compression::Gzip, &["app:1"]);
    let (saved, layout) = (s.path("saved.tar"), s.path("oci"));
    s.tug(&["save", "-o", &saved, "app:1"]).ok();
    if s.shell("command -v skopeo").code != 0 {
        return skip("skopeo is missing (apt-get install skopeo)");
    }
    for source in [format!("docker-archive:{saved}:app:1"), format!("oci-archive:{saved}:1")] {
        s.shell(&format!(
            "rm -rf {layout}; skopeo --insecure-policy copy -q {source} oci:{layout}:1"
        ))
        .ok();
    }
    let Some(umoci) = umoci() else { return };
    s.shell(&format!("{umoci} unpack --image {layout}:1 bundle")).ok();
    let list = s.shell("cd bundle/rootfs && stat -c '%n %F %s %a %u' etc/* link | sort");
    assert_eq!(
        list.lines(),
        [
            "etc/again regular file 4 644 0",
            "etc/one regular file 4 644 0",
            "etc/two regular file 100000 4755 7",
            "link symbolic link 7 777 0",
        ]
    );
    s.shell("test bundle/rootfs/etc/one -ef bundle/rootfs/etc/again").ok();
    // And the way back: what they write is loaded.
    s.shell(&format!("{umoci} config --image {layout}:1 --config.env A=b")).ok();
    s.shell(&format!(
        "skopeo --insecure-policy copy -q oci:{layout}:1 docker-archive:back.tar:back:1"
    ))
    .ok();
    assert_eq!(s.tug(&["load", "-i", &s.path("back.tar")]).ok(), "Loaded image: back:1");
    let env = s.tug(&["image", "inspect", "-f", "{{json .Config.Env}}", "back:1"]);
    assert!(env.ok().contains("A=b"), "{}", env.ok());
}

/// umoci, or said to be missing.
fn umoci() -> Option<String> {
    let umoci = cache().join("tools/usr/bin/umoci");
    if !umoci.exists() {
        skip("umoci is missing (./dev install)");
        return None;
    }
    Some(umoci.display().to_string())
}

/// A layer of umoci's own making, in a layout and in a registry, and an image of tug's as umoci sees it
/// after a push.
#[test]
fn what_umoci_writes_is_loaded_and_pulled_and_what_is_pushed_it_reads() {
    let (Some(umoci), s) = (umoci(), Sandbox::new()) else { return };
    let Some(registry) = tug_test::registry::Registry::start().unwrap() else { return };
    if s.shell("command -v skopeo").code != 0 {
        return skip("skopeo is missing (apt-get install skopeo)");
    }
    let at = |name: &str| format!("{}/{name}", registry.address());
    s.tug(&["tag", "busybox", &at("ours:1")]).ok();
    s.tug(&["push", "-q", &at("ours:1")]).ok();
    s.shell(&format!(
        "skopeo --insecure-policy copy -q --src-tls-verify=false docker://{} oci:layout:ours &&
         {umoci} unpack --image layout:ours bundle && cd bundle/rootfs && test -x bin/sh &&
         rm etc/shadow && mkdir -p srv/new && echo hello > srv/new/file && chown -R 7:8 srv &&
         ln srv/new/file srv/again && chmod 4750 srv/again && rm -r var/www && cd ../.. &&
         {umoci} repack --image layout:theirs bundle && tar -C layout -cf layout.tar . &&
         skopeo --insecure-policy copy -q --dest-tls-verify=false oci:layout:theirs docker://{}",
        at("ours:1"),
        at("theirs:1")
    ))
    .ok();
    let look =
        "ls /etc/shadow /var/www 2>/dev/null; cat /srv/new/file; stat -c '%a %u:%g %h' /srv/again";
    let loaded = s.tug(&["load", "-i", &s.path("layout.tar")]);
    let ours = s.tug(&["images", "-q", "--no-trunc", "busybox"]).ok().to_owned();
    let prefix = "Loaded image ID: ";
    let ids: Vec<&str> =
        loaded.lines().into_iter().filter_map(|line| line.strip_prefix(prefix)).collect();
    // What was pushed came back as it was.
    assert!(ids.len() == 2 && ids.contains(&ours.as_str()), "{ids:?}, {ours}");
    let theirs = ids.iter().find(|id| **id != ours).copied().unwrap_or_default();
    for image in [theirs, &at("theirs:1")] {
        let seen = s.tug(&["run", "--rm", image, "sh", "-c", look]);
        assert_eq!(seen.ok(), "hello\n4750 7:8 2", "{image}");
    }
}

#[test]
fn save_refuses_before_it_writes() {
    let s = Sandbox::new();
    let out = s.path("out.tar");
    s.tug(&["save", "-o", &out, "busybox", "nothing"]).refused(1, "No such image: nothing:latest");
    s.tug(&["save", "-o", &out, "--platform", "linux/s390x", "busybox"])
        .code(1)
        .says("linux/s390x")
        .says("linux/amd64");
    s.tug(&["save", "-o", &s.path("no/such/out.tar"), "busybox"]).code(1).says("does not exist");
    s.tug(&["save", "-o", &s.path(""), "busybox"]).code(1).says("is a directory");
    assert!(!Path::new(&out).exists());
    let left = s.shell("ls -A | grep -c tug- || true");
    assert_eq!(left.ok(), "0", "no half-written file stays");
    let mut terminal = s.terminal(&["save", "busybox"]);
    terminal.expect("cowardly refusing to save to a terminal");
}

#[test]
fn export_is_what_the_container_sees() {
    let s = Sandbox::new();
    let change = "echo hi > /etc/hi; rm /etc/shadow; ln /etc/hi /etc/ho; mkdir -p /srv/deep; \
                  chown 7:8 /srv/deep; chmod 1750 /srv/deep";
    s.tug(&["run", "--name", "stopped", "busybox", "sh", "-c", change]).ok();
    let id = s.detached(
        &["--name", "running"],
        &["sh", "-c", &format!("{change}; echo done; sleep 1000")],
    );
    s.wait_for_log("running", "done");
    for name in ["stopped", "running"] {
        let out = s.path(&format!("{name}.tar"));
        s.tug(&["export", "-o", &out, name]).ok();
        let list = s.shell(&format!("tar tvf {out} | awk '{{print $1, $2, $6, $7, $8, $9}}'"));
        let has =
            |line: &str| assert!(list.lines().contains(&line), "{name}: {line}: {}", list.ok());
        has("-rw-r--r-- 0/0 etc/hi   ");
        has("drwxr-x--T 7/8 srv/deep/   ");
        assert!(!list.ok().contains("etc/shadow"), "{name}");
        assert!(!list.ok().contains("proc/1"), "{name}: what is mounted stays out");
        assert!(list.ok().contains("etc/ho link to etc/hi"), "{name}: {}", list.ok());
        s.tug(&["import", "-m", "flat", "-c", "CMD cat /etc/ho", &out, &format!("{name}:flat")])
            .ok();
        assert_eq!(s.tug(&["run", "--rm", &format!("{name}:flat")]).ok(), "hi");
    }
    assert_eq!(s.status(&id), "running");
    s.tug(&["rm", "-f", "running"]).ok();
}

/// An archive in the format of `docker save` whose only layer is any bytes.
fn archive_around(layer: &[u8]) -> Vec<u8> {
    let config = json!({
        "architecture": "amd64", "os": "linux", "config": {},
        "rootfs": {"type": "layers", "diff_ids": [tug_test::layout::digest_of(layer)]},
    });
    let table = json!([{"Config": "config.json", "RepoTags": ["bad:1"], "Layers": ["layer.tar"]}]);
    let mut tar = LayerTar::new(Vec::new());
    let meta = Meta::mode(0o644);
    tar.file("config.json", meta, config.to_string().as_bytes()).unwrap();
    tar.file("layer.tar", meta, layer).unwrap();
    tar.file("manifest.json", meta, table.to_string().as_bytes()).unwrap();
    tar.finish().unwrap()
}

/// A layer's tar that is refused with these words, by load and by import, and leaves nothing.
fn refused(layer: &[u8], words: &[&str]) {
    let s = Sandbox::empty();
    let archive = archive_around(layer);
    for (command, input) in [(&["load"][..], &archive[..]), (&["import", "-", "bad:1"], layer)] {
        let output = s.tug_with(command, input);
        output.code(1);
        for word in words {
            output.says(word);
        }
        assert_eq!(s.tug(&["images", "-aq"]).ok(), "", "{command:?}");
        let left = s.shell(&format!(
            "ls {0}/layers {0}/blobs/sha256 2>/dev/null | grep -v : | grep . | wc -l",
            s.data_root().display()
        ));
        assert_eq!(left.ok(), "0", "{command:?} left something");
        assert!(!s.dir().join("escaped").exists() && !Path::new("/escaped").exists());
    }
}

fn layer(fill: impl FnOnce(&mut LayerTar<Vec<u8>>) -> std::io::Result<()>) -> Vec<u8> {
    let mut tar = LayerTar::new(Vec::new());
    fill(&mut tar).unwrap();
    tar.finish().unwrap()
}

#[test]
fn a_path_that_climbs_out_is_refused_by_name() {
    refused(
        &layer(|tar| tar.file("a/../../escaped", Meta::mode(0o644), b"x")),
        &["a/../../escaped"],
    );
}

#[test]
fn a_hard_link_to_the_outside_is_refused_by_name() {
    refused(&layer(|tar| tar.hardlink("inside", "../../escaped")), &["inside", "../../escaped"]);
    refused(&layer(|tar| tar.hardlink("inside", "/etc/passwd")), &["inside", "/etc/passwd"]);
}

#[test]
fn a_gigantic_header_is_refused_before_it_is_read() {
    let mut header = tar::Header::new_ustar();
    header.set_entry_type(tar::EntryType::XHeader);
    header.set_size(64 << 30);
    header.set_cksum();
    let mut layer = header.as_bytes().to_vec();
    layer.extend(vec![0; 4096]);
    refused(&layer, &["header"]);
}

#[test]
fn a_size_larger_than_any_disk_is_refused_by_name() {
    let mut header = tar::Header::new_gnu();
    header.set_path("bomb").unwrap();
    header.set_size(1 << 50);
    header.set_cksum();
    refused(header.as_bytes(), &["bomb"]);
}

#[test]
fn a_million_entries_cost_no_memory() {
    let s = Sandbox::empty();
    // One name again and again, so that the disk is not what is tried here.
    let path = s.path("million.tar");
    let mut out = std::io::BufWriter::new(std::fs::File::create(&path).unwrap());
    let mut header = tar::Header::new_ustar();
    header.set_entry_type(tar::EntryType::Directory);
    header.set_path("again/").unwrap();
    header.set_mode(0o755);
    header.set_size(0);
    header.set_cksum();
    for _ in 0..1_000_000 {
        out.write_all(header.as_bytes()).unwrap();
    }
    out.write_all(&[0; 1024]).unwrap();
    out.flush().unwrap();
    s.shell(&format!("(ulimit -v 600000; $TUG import {path} many)")).ok();
    assert_eq!(s.tug(&["images", "--format", "{{.Repository}}"]).ok(), "many");
}

#[test]
fn import_takes_an_address() {
    let s = Sandbox::new();
    let tar = layer(|tar| tar.file("etc/from-afar", Meta::mode(0o644), b"hello"));
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let server = std::thread::spawn(move || {
        let (mut client, _) = listener.accept().unwrap();
        let mut asked = [0; 4096];
        let _ = std::io::Read::read(&mut client, &mut asked).unwrap();
        write!(client, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", tar.len()).unwrap();
        client.write_all(&tar).unwrap();
    });
    let url = format!("http://{address}/rootfs.tar");
    s.tug(&["import", &url, "afar"]).ok();
    server.join().unwrap();
    let comment = s.tug(&["image", "inspect", "-f", "{{.Comment}}", "afar"]);
    assert_eq!(comment.ok(), format!("Imported from {url}"));
    s.tug(&["import", &url, "again"]).code(1).says(&address.to_string());
}

/// Writes other bytes into a file of the first layer that has it.
fn damage(s: &Sandbox, name: &str) {
    let layers = s.data_root().join("layers");
    for layer in std::fs::read_dir(layers).unwrap().flatten() {
        let path = layer.path().join("fs").join(name);
        if let Ok(bytes) = std::fs::read(&path) {
            return std::fs::write(&path, vec![b'?'; bytes.len()]).unwrap();
        }
    }
    panic!("no layer has {name}");
}

#[test]
fn check_finds_what_is_damaged_and_repair_fetches_it() {
    let mut s = Sandbox::empty();
    loaded(&s, Compression::None, &["app:1"]);
    assert!(s.tug(&["system", "check"]).ok().ends_with("checked: all whole"));
    damage(&s, "etc/one");
    let prints = |flags: &[&str], code: i32, words: &[&str]| {
        let output = s.tug(&[&["system", "check"], flags].concat());
        output.code(code);
        for word in words {
            assert!(output.stdout.contains(word), "{word}: {output}");
        }
    };
    prints(&[], 1, &["of app:1: damaged", "1 damaged, 0 repaired"]);
    prints(&["--repair"], 1, &["came from no registry"]);
    s.tug(&["rmi", "app:1"]).ok();
    assert_eq!(s.tug(&["system", "check", "-q"]).ok(), "");

    let Some(registry) = crate::pull::registry_with_busybox() else { return };
    s.mirror(registry.address());
    s.tug(&["pull", "-q", "busybox"]).ok();
    damage(&s, "etc/passwd");
    s.tug(&["system", "check", "--repair"]).code(0).shows("of busybox:latest: repaired");
    assert!(s.tug(&["system", "check"]).ok().ends_with("checked: all whole"));
    s.tug(&["run", "--rm", "busybox", "grep", "-q", "root", "/etc/passwd"]).ok();
}
