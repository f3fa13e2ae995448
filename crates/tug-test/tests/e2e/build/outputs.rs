//! Where results go, what the checks say, and what the cache may take.

use super::{Project, in_app, steps};
use std::io::{Read, Write};
use tug_test::sandbox::Sandbox;

#[test]
fn files_go_into_directories_and_archives() {
    let s = Sandbox::new();
    let p = Project::new(
        &s,
        "FROM scratch\nCOPY --chown=7:7 --chmod=640 a /out/a\nCOPY b /out/sub/b\n",
        &[("a", "1"), ("b", "2")],
    );
    let dir = s.path("exported");
    p.try_build(&s, &["-o", &dir]).ok();
    s.shell(&format!("cat {dir}/out/a {dir}/out/sub/b; stat -c ' %a %u' {dir}/out/a"))
        .shows("12 640 0");
    assert_eq!(s.tug(&["images", "-q"]).lines().len(), 1, "nothing but the base");
    let tar = s.path("x.tar");
    p.try_build(&s, &["-o", &format!("type=tar,dest={tar}")]).ok();
    assert_eq!(
        s.shell(&format!("tar tf {tar} | sort")).lines(),
        ["out/", "out/a", "out/sub/", "out/sub/b"]
    );
    let piped = s.shell(&format!("\"$TUG\" build -q -o - {} | tar tf - | wc -l", p.path()));
    assert_eq!(piped.ok(), "4");
    let archive = s.path("image.tar");
    p.try_build(&s, &["-t", "kept:1", "-o", &format!("type=docker,dest={archive}")]).ok();
    s.tug(&["load", "-i", &archive]).shows("Loaded image: kept:1");
}

#[test]
fn the_checks_are_run_alone_and_with_every_build() {
    let s = Sandbox::new();
    let p = Project::new(&s, "FROM busybox\nMAINTAINER me\nCMD echo hi\n", &[]);
    let checked = p.try_build(&s, &["--check"]);
    checked.code(1);
    assert!(checked.stdout.contains("WARNING: MaintainerDeprecated"), "{checked}");
    assert!(checked.stdout.contains("WARNING: JSONArgsRecommended"), "{checked}");
    p.build(&s, &[]).says("2 warnings found").says("- JSONArgsRecommended: ").says("(line 3)");
    p.write("Dockerfile", "# check=error=true\nFROM busybox\nCMD echo hi\n");
    p.try_build(&s, &[]).code(1).says("lint violation found for rules: JSONArgsRecommended");
    p.write("Dockerfile", "FROM busybox\nCMD [\"echo\"]\n");
    p.try_build(&s, &["--check"]).shows("no warnings found");
    // What a build would fail with is told, too; programs get it with the answer.
    p.write("Dockerfile", "FROM busybox\nSTOPSIGNAL nope\n");
    let wrong = p.try_build(&s, &["--check"]);
    wrong.code(1).says("Dockerfile:2").says("invalid signal: nope");
    assert_eq!(wrong.stdout, "");
    p.write("Dockerfile", "FROM busybox\nRUM true\n");
    let wrong = p.try_build(&s, &["--call", "check,format=json"]);
    wrong.code(1).says("unknown instruction: RUM");
    let json: serde_json::Value = serde_json::from_str(&wrong.stdout).unwrap();
    assert_eq!(json["buildError"]["location"]["ranges"][0]["start"]["line"], 2);
    p.write("Dockerfile", "FROM busybox\nRUN --network=host true\n");
    p.try_build(&s, &["--check"]).shows("no warnings found");
}

#[test]
fn the_cache_is_listed_pruned_and_kept_in_bounds() {
    let s = Sandbox::new();
    let p = Project::new(
        &s,
        "FROM busybox\nRUN --mount=type=cache,target=/c echo x > /c/f; head -c 100000 /dev/zero > /a\nRUN head -c 200000 /dev/zero > /b\n",
        &[],
    );
    p.try_build(&s, &[]).ok();
    s.tug(&["builder", "du"]).shows("Total:");
    s.tug(&["builder", "du", "--verbose"]).shows("RUN head -c 200000");
    // Layers of images are no prey.
    let kept = s.tug(&["builder", "prune", "-f"]);
    kept.shows("Total:\t2B");
    s.tug(&["image", "prune", "-f"]).ok();
    p.try_build(&s, &["-t", "app"]).ok();
    s.tug(&["rmi", "app"]).ok();
    let pruned = s.tug(&["builder", "prune", "-af"]);
    pruned.shows("LAST ACCESSED").shows("Total:\t300kB");
    assert_eq!(steps(&p.build(&s, &[])).0.len(), 0, "all of it is gone");
    s.tug(&["builder", "prune"]).shows("Are you sure you want to continue? [y/N]");
    assert_eq!(steps(&p.build(&s, &[])).0.len(), 2, "nobody said yes");
}

/// A web server for one file.
fn serve(content: &'static [u8]) -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let _ = stream.read(&mut [0; 4096]);
            let head = format!(
                "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nLast-Modified: Thu, 01 Jan 1970 00:01:40 GMT\r\nConnection: close\r\n\r\n",
                content.len()
            );
            let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(content));
        }
    });
    format!("http://{address}/dir/file.txt")
}

#[test]
fn addresses_are_downloaded_and_checked() {
    let s = Sandbox::on_host();
    s.load("busybox");
    let url = serve(b"downloaded");
    let p = Project::new(
        &s,
        &format!("FROM busybox\nADD {url} /got/\nADD --chmod=644 {url} /named\n"),
        &[],
    );
    p.build(&s, &[]);
    assert_eq!(
        in_app(&s, "cat /got/file.txt; stat -c ' %a %Y' /got/file.txt; stat -c %a /named"),
        "downloaded 600 100\n644"
    );
    assert_eq!(steps(&p.build(&s, &[])).0.len(), 2, "the same content is the same layer");
    let sum = s.shell("printf downloaded | sha256sum | cut -c1-64").ok().to_owned();
    p.write("Dockerfile", &format!("FROM busybox\nADD --checksum=sha256:{sum} {url} /f\n"));
    p.build(&s, &[]);
    p.write(
        "Dockerfile",
        &format!("FROM busybox\nADD --checksum=sha256:{} {url} /f\n", "0".repeat(64)),
    );
    p.try_build(&s, &[]).code(1).says("its digest is");
    p.write("Dockerfile", "FROM busybox\nADD http://127.0.0.1:1/x /f\n");
    p.try_build(&s, &[]).code(1).says("download http://127.0.0.1:1/x");
}
