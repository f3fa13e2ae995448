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
    p.try_build(&s, &["--cache-to", "type=gha"]).code(125).says("type \"gha\" are not supported");
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
    p.try_build(&s, &["-t", "app", "--cache-from", &from]).code(1).says("digest");
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
