//! The archivers people use: what they write is unpacked as they would, and made again bit by bit;
//! what we pack is read by them.

use crate::copying::sample;
use crate::support::{Layer, assert_same, snapshot, unpack};
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use tug_archive::{PackOptions, Recorder, pack};

/// Runs a program and returns what it printed.
fn run(program: &str, arguments: &[&str]) -> Vec<u8> {
    let output = Command::new(program).args(arguments).stderr(Stdio::inherit()).output().unwrap();
    assert!(output.status.success(), "{program} {arguments:?}: {}", output.status);
    output.stdout
}

/// A tree with every kind of file, and names that need extensions.
fn tree() -> tempfile::TempDir {
    let temp = tempfile::tempdir().unwrap();
    sample(temp.path());
    std::fs::remove_file(temp.path().join("socket")).unwrap();
    let long = temp.path().join("n".repeat(200)).join("m".repeat(150));
    std::fs::create_dir_all(&long).unwrap();
    std::fs::write(long.join("deep"), "deep").unwrap();
    std::os::unix::fs::symlink("t".repeat(300), temp.path().join("long-link")).unwrap();
    let sparse = std::fs::File::create(temp.path().join("sparse")).unwrap();
    for place in 0..40u64 {
        std::os::unix::fs::FileExt::write_at(&sparse, b"data", place << 20).unwrap();
    }
    sparse.set_len(100 << 20).unwrap();
    temp
}

fn assert_unpacks(tar: &[u8], root: &Path, whole_seconds: bool, with_xattrs: bool) -> Layer {
    let layer = unpack(tar);
    let mut expected = snapshot(root);
    for node in expected.values_mut() {
        if whole_seconds {
            node.mtime.1 = 0;
        }
        if !with_xattrs {
            node.xattrs.clear();
        }
    }
    assert_same(&expected, &snapshot(&layer.root()));
    layer
}

#[test]
fn gnu_tar_in_all_its_formats() {
    let tree = tree();
    let root = tree.path().to_str().unwrap();
    for format in ["gnu", "pax", "oldgnu"] {
        for sparse in ["", "--sparse-version=0.0", "--sparse-version=0.1", "--sparse-version=1.0"] {
            if !sparse.is_empty() && format != "pax" {
                continue;
            }
            let mut arguments = vec!["-C", root, "-c", "-S", "--numeric-owner", "--format", format];
            if format == "pax" {
                arguments.push("--xattrs");
            }
            if !sparse.is_empty() {
                arguments.push(sparse);
            }
            arguments.push(".");
            let tar = run("tar", &arguments);
            let layer = assert_unpacks(&tar, tree.path(), format != "pax", format == "pax");
            let metadata = layer.path("sparse").metadata().unwrap();
            let used = std::os::unix::fs::MetadataExt::blocks(&metadata) * 512;
            assert!(used < 2 << 20, "{format} {sparse}: {used} bytes used");
        }
    }
}

#[test]
fn gnu_tar_as_ustar_and_v7() {
    let temp = tempfile::tempdir().unwrap();
    std::fs::create_dir(temp.path().join("d")).unwrap();
    std::fs::write(temp.path().join("d/f"), "content").unwrap();
    let long = format!("{}/{}", "a".repeat(90), "b".repeat(90));
    let root = temp.path().to_str().unwrap();
    let v7 = run("tar", &["-C", root, "-c", "--format", "v7", "."]);
    assert_unpacks(&v7, temp.path(), true, false);
    std::fs::create_dir_all(temp.path().join(&long)).unwrap();
    let ustar = run("tar", &["-C", root, "-c", "--format", "ustar", "."]);
    assert_unpacks(&ustar, temp.path(), true, false);
}

#[test]
fn python_in_both_its_formats() {
    let tree = tree();
    let script = "import sys, tarfile\n\
        with tarfile.open(fileobj=sys.stdout.buffer, mode='w|', format=int(sys.argv[2])) as tar:\n\
        \x20   tar.add(sys.argv[1], arcname='.')\n";
    let root = tree.path().to_str().unwrap();
    let gnu = run("python3", &["-c", script, root, "1"]);
    assert_unpacks(&gnu, tree.path(), true, false);
    // Its PAX times are floating point numbers, so only the seconds can be compared.
    let pax = unpack(&run("python3", &["-c", script, root, "2"]));
    let whole = |path: &Path| {
        let mut nodes = snapshot(path);
        for node in nodes.values_mut() {
            node.mtime.1 = 0;
            node.xattrs.clear();
        }
        nodes
    };
    assert_same(&whole(tree.path()), &whole(&pax.root()));
}

#[test]
fn busybox_writes_what_we_read() {
    if Command::new("busybox").arg("true").status().is_err() {
        #[expect(clippy::print_stderr, reason = "a skipped test says so")]
        {
            eprintln!("SKIPPED: busybox is not installed");
        }
        return;
    }
    let temp = tempfile::tempdir().unwrap();
    std::fs::create_dir(temp.path().join("d")).unwrap();
    std::fs::write(temp.path().join("d/f"), "content").unwrap();
    let tar = run("busybox", &["tar", "-C", temp.path().to_str().unwrap(), "-c", "."]);
    assert_unpacks(&tar, temp.path(), true, false);
}

#[test]
fn what_we_pack_gnu_tar_and_python_read() {
    let tree = tree();
    let mut tar = Vec::new();
    let options = PackOptions { nanoseconds: true, ..PackOptions::default() };
    let packed = pack(tree.path(), &mut tar, &options, None::<Recorder<Vec<u8>>>).unwrap();
    assert_eq!(packed.tar_size, tar.len() as u64);

    let out = tempfile::tempdir().unwrap();
    let mut child = Command::new("tar")
        .args(["-C", out.path().to_str().unwrap(), "-x", "-p", "--numeric-owner", "--xattrs"])
        .arg("--xattrs-include=*")
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(&tar).unwrap();
    assert!(child.wait().unwrap().success());
    let strip = |path: &Path| {
        let mut nodes = snapshot(path);
        // Directories above what was packed are not in the tar.
        nodes.remove(Path::new(""));
        nodes
    };
    assert_same(&strip(tree.path()), &strip(out.path()));

    let file = out.path().join("packed.tar");
    std::fs::write(&file, &tar).unwrap();
    let script = "import sys, tarfile; print(len(tarfile.open(sys.argv[1]).getnames()))";
    let count = run("python3", &["-c", script, file.to_str().unwrap()]);
    assert_eq!(String::from_utf8(count).unwrap().trim(), packed.entries.to_string());
}
