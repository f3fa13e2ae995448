//! Caches handed from one data root to another: through a registry, a directory, and the image itself.

use super::{Project, steps};
use tug_test::registry::Registry;
use tug_test::sandbox::Sandbox;

const FILE: &str = "FROM busybox AS make\nRUN head -c 300000 /dev/urandom > /big && echo made > /made\n\
    FROM busybox\nWORKDIR /w\nCOPY a /a\nCOPY --from=make /made /made\nRUN cat /a /made > /both\n";

/// From now on another data root, with the base image.
fn move_on(s: &mut Sandbox, name: &str) {
    let root = s.path(name);
    s.set_env("TUG_DATA_ROOT", &root);
    if name != "data" {
        s.load("busybox");
    }
}

fn layers(s: &Sandbox, root: &str) -> usize {
    std::fs::read_dir(s.dir().join(root).join("layers")).map_or(0, Iterator::count)
}

/// Builds at an empty second data root: nothing runs, and the image is the same.
fn all_cached(s: &mut Sandbox, p: &Project, from: &str, root: &str) {
    let id = s.tug(&["images", "-q", "--no-trunc", "app"]).ok().to_owned();
    move_on(s, root);
    let output = p.build(s, &["--cache-from", from]);
    let (cached, ran) = steps(&output);
    assert_eq!((ran.len(), cached.len()), (0, 5), "{output}");
    assert_eq!(s.tug(&["images", "-q", "--no-trunc", "app"]).ok(), id);
    assert_eq!(s.tug(&["run", "--rm", "app", "cat", "/both"]).ok(), "1made");
    // The base, the directory, two copies, the command: not what the other stage made.
    assert_eq!(layers(s, root), 5, "only what the image is made of came");
    // What came is this data root's own now.
    let (_, ran) = steps(&p.build(s, &[]));
    assert!(ran.len() <= 1, "only the stage that was never fetched: {ran:?}");
    s.tug(&["system", "reset", "-f"]);
    move_on(s, "data");
}

#[test]
fn a_cache_goes_through_a_registry() {
    let mut s = Sandbox::new();
    let Ok(Some(registry)) = Registry::start() else { return };
    let p = Project::new(&s, FILE, &[("a", "1")]);
    let name = format!("{}/cache:1", registry.address());
    p.build(&s, &["--cache-to", &format!("type=registry,ref={name},mode=max")]);
    all_cached(&mut s, &p, &format!("type=registry,ref={name}"), "second");
    // Something else in its place is no reason to fail, and nothing to believe.
    let broken = p.build(&s, &["--cache-from", &format!("{}/none:1", registry.address())]);
    broken.says("there is no such cache");
    p.try_build(&s, &["--cache-to", "type=gha"]).code(1).says("type \"gha\" are not supported");
}

#[test]
fn a_cache_goes_through_a_directory_and_is_proven() {
    let mut s = Sandbox::new();
    let p = Project::new(&s, FILE, &[("a", "1")]);
    let dir = s.path("cache");
    p.build(&s, &["--cache-to", &format!("type=local,dest={dir},mode=max")]);
    all_cached(&mut s, &p, &format!("type=local,src={dir}"), "second");
    // A file changed in a layer: its digest tells.
    let change = |from: &str, to: &str| {
        let each = format!("if grep -qa {from} $f; then sed -i s,{from},{to}, $f; fi");
        s.shell(&format!("cd {dir}/blobs/sha256 && for f in *; do {each}; done")).ok();
    };
    change("1made", "1MADE");
    let from = format!("type=local,src={dir}");
    move_on(&mut s, "third");
    let output = p.build(&s, &["--cache-from", &from]);
    output.says("does not deliver").says("so its steps run here");
    assert_eq!(s.tug(&["run", "--rm", "app", "cat", "/both"]).ok(), "1made");
    let (_, ran) = steps(&output);
    assert!(ran.iter().any(|step| step.contains("cat /a /made")), "{output}");
    assert!(!ran.iter().any(|step| step.contains("WORKDIR")), "what is whole is taken: {output}");
    s.tug(&["system", "check"]).ok();
    s.tug(&["builder", "prune", "-a", "-f"]).ok();
    s.tug(&["rmi", "app"]).ok();
    s.tug(&["builder", "prune", "-a", "-f"]).ok();
    // What says which results there are is proven too; without it, everything runs.
    s.shell(&format!("cd {dir}/blobs/sha256 && for f in *; do if grep -qa cat.*both $f; then echo >> $f; fi; done")).ok();
    p.build(&s, &["--cache-from", &from]).says("is damaged");
    assert_eq!(s.tug(&["run", "--rm", "app", "cat", "/both"]).ok(), "1made");
    s.tug(&["system", "reset", "-f"]);
    move_on(&mut s, "data");
}

#[test]
fn an_image_carries_its_own_cache() {
    let mut s = Sandbox::new();
    let Ok(Some(registry)) = Registry::start() else { return };
    let p = Project::new(
        &s,
        "FROM busybox\nCOPY a /a\nRUN head -c 1000 /dev/urandom > /r\n",
        &[("a", "1")],
    );
    let name = format!("{}/app:1", registry.address());
    p.try_build(&s, &["-t", &name, "--push", "--cache-to", "type=inline"]).ok();
    move_on(&mut s, "second");
    let output = p.build(&s, &["--cache-from", &name]);
    assert_eq!(steps(&output).1.len(), 0, "{output}");
    p.write("a", "2");
    let output = p.build(&s, &["--cache-from", &name]);
    assert_eq!(steps(&output).1.len(), 2, "{output}");
    s.tug(&["system", "reset", "-f"]);
    move_on(&mut s, "data");
}

/// Replaces the bytes of a registry's blobs, or removes them: those of layers, by their size.
fn damage(registry: &Registry, remove: bool) -> usize {
    let blobs = registry.storage().join("docker/registry/v2/blobs/sha256");
    let mut files = Vec::new();
    for dir in std::fs::read_dir(blobs).unwrap().flatten() {
        for blob in std::fs::read_dir(dir.path()).unwrap().flatten() {
            files.push(blob.path().join("data"));
        }
    }
    let is_layer = |path: &std::path::PathBuf| {
        std::fs::read(path).is_ok_and(|bytes| bytes.starts_with(&[0x1f, 0x8b]))
    };
    files.retain(is_layer);
    for file in &files {
        let mut bytes = std::fs::read(file).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 0xff;
        let done = if remove { std::fs::remove_file(file) } else { std::fs::write(file, bytes) };
        done.unwrap();
    }
    files.len()
}

#[test]
fn a_registry_whose_layers_are_damaged_or_gone_fails_no_build() {
    for remove in [false, true] {
        let mut s = Sandbox::new();
        let Ok(Some(registry)) = Registry::start() else { return };
        let p = Project::new(&s, FILE, &[("a", "1")]);
        let name = format!("{}/cache:1", registry.address());
        p.build(&s, &["--cache-to", &format!("type=registry,ref={name},mode=max")]);
        assert!(damage(&registry, remove) >= 5);
        move_on(&mut s, "second");
        let again = s.path("again");
        let to = format!("type=local,dest={again},mode=max");
        let output = p.build(&s, &["--cache-from", &name, "--cache-to", &to]);
        output.says("does not deliver");
        assert_eq!(s.tug(&["run", "--rm", "app", "cat", "/both"]).ok(), "1made");
        s.tug(&["system", "check"]).ok();
        // What was built instead is a cache like any other.
        move_on(&mut s, "third");
        let output = p.build(&s, &["--cache-from", &format!("type=local,src={again}")]);
        assert_eq!(steps(&output).1.len(), 0, "{output}");
        s.tug(&["system", "reset", "-f"]);
        move_on(&mut s, "second");
        s.tug(&["system", "reset", "-f"]);
        move_on(&mut s, "data");
    }
}

#[test]
fn a_cache_has_the_form_that_is_asked_for() {
    let mut s = Sandbox::new();
    let Ok(Some(registry)) = Registry::start() else { return };
    let p = Project::new(&s, FILE, &[("a", "1")]);
    for (number, (options, kind, compressed)) in [
        ("", "manifest", "gzip"),
        (",compression=zstd,compression-level=7,force-compression=true", "manifest", "zstd"),
        (",compression=uncompressed,force-compression=true", "manifest", "tar"),
        (",image-manifest=false", "index", "gzip"),
        (",oci-mediatypes=false,compression=gzip", "list", "gzip"),
    ]
    .into_iter()
    .enumerate()
    {
        let name = format!("{}/cache:{number}", registry.address());
        let dir = s.path(&format!("cache{number}"));
        let root = format!("root{number}");
        p.build(
            &s,
            &[
                "--cache-to",
                &format!("type=registry,ref={name},mode=max{options}"),
                "--cache-to",
                &format!("type=local,dest={dir},mode=max,tag=mine{options}"),
            ],
        );
        let raw = s.shell(&format!("curl -s -H 'Accept: application/vnd.oci.image.manifest.v1+json' -H 'Accept: application/vnd.oci.image.index.v1+json' -H 'Accept: application/vnd.docker.distribution.manifest.list.v2+json' http://{}/v2/cache/manifests/{number}", registry.address()));
        let local = s.shell(&format!(
            "cat {dir}/blobs/sha256/$(sed 's/.*\"digest\":\"sha256:\\([0-9a-f]*\\).*/\\1/' {dir}/index.json)"
        ));
        // The plain form is the default of a directory, which costs the least time.
        let in_dir = if options.contains("compression") { compressed } else { "tar" };
        for (text, compressed) in [(raw, compressed), (local, in_dir)] {
            let value: serde_json::Value = serde_json::from_str(text.ok()).unwrap();
            assert!(value["mediaType"].as_str().unwrap().contains(kind), "{options}: {value}");
            let list = if kind == "manifest" { "layers" } else { "manifests" };
            let layers = value[list].as_array().unwrap();
            let packed = |layer: &&serde_json::Value| {
                layer["mediaType"].as_str().unwrap().ends_with(compressed)
            };
            assert_eq!(layers.iter().filter(packed).count(), 6, "{options}: {value}");
        }
        for from in [format!("type=registry,ref={name}"), format!("type=local,src={dir},tag=mine")]
        {
            move_on(&mut s, &root);
            let output = p.build(&s, &["--cache-from", &from]);
            assert_eq!(steps(&output).1.len(), 0, "{from}: {output}");
            s.tug(&["system", "reset", "-f"]);
            move_on(&mut s, "data");
        }
    }
    // Several in one directory, by name.
    let dir = s.path("cache0");
    p.build(&s, &["--cache-to", &format!("type=local,dest={dir},tag=other")]);
    s.shell(&format!("grep -o ref.name...[a-z]* {dir}/index.json")).shows("mine").shows("other");
    p.build(&s, &["--cache-from", &format!("type=local,src={dir},tag=none")])
        .says("it has nothing called none");
    let text =
        s.shell(&format!("sed 's/.*\"sha256:\\([0-9a-f]*\\)\".*other.*/\\1/' {dir}/index.json"));
    let from = format!("type=local,src={dir},digest=sha256:{}", text.ok().trim());
    let output = p.build(&s, &["--cache-from", &from]);
    assert!(!output.stderr.contains("WARNING"), "{output}");
    // A cache that cannot be written fails the build, unless it need not be.
    let nowhere = "type=local,dest=/proc/none";
    p.try_build(&s, &["--cache-to", nowhere]).code(1).says("/proc/none");
    p.try_build(&s, &["--cache-to", &format!("{nowhere},ignore-error=true")]).ok();
}

#[test]
fn every_platform_of_an_index_carries_its_cache() {
    let mut s = Sandbox::new();
    let Ok(Some(registry)) = Registry::start() else { return };
    let p = Project::new(
        &s,
        "FROM --platform=$BUILDPLATFORM busybox AS make\nARG TARGETARCH\n\
         RUN head -c 1000 /dev/urandom > /r; echo $TARGETARCH > /a\n\
         FROM scratch\nCOPY --from=make /r /r\nCOPY --from=make /a /a\n",
        &[],
    );
    let name = format!("{}/app:1", registry.address());
    let both = ["--platform", "linux/amd64,linux/arm64"];
    let flags = ["-t", &name, "--push", "--cache-to", "type=inline"];
    p.try_build(&s, &[&both[..], &flags[..]].concat()).ok();
    let ids = |s: &Sandbox, name: &str| {
        ["amd64", "arm64"].map(|arch| {
            let platform = format!("linux/{arch}");
            s.tug(&["image", "inspect", "--platform", &platform, "-f", "{{json .RootFS}}", name])
                .ok()
                .to_owned()
        })
    };
    let expected = ids(&s, &name);
    move_on(&mut s, "second");
    let output = p.build(&s, &[&both[..], &["--cache-from", &name]].concat());
    let (cached, ran) = steps(&output);
    assert_eq!((ran.len(), cached.len() >= 4), (0, true), "{output}");
    assert_eq!(ids(&s, "app"), expected);
    s.tug(&["system", "reset", "-f"]);
    move_on(&mut s, "data");
}
