//! Where the files come from.

use super::{Project, in_app};
use std::os::unix::fs::symlink;
use tug_test::sandbox::Sandbox;

#[test]
fn ignored_files_are_not_there_and_exceptions_are() {
    let s = Sandbox::new();
    let p = Project::new(
        &s,
        "FROM busybox\nCOPY . /all/\n",
        &[
            (".dockerignore", "# comment\n*.log\nnode_modules\n**/tmp\ndocs\n!docs/keep.md\n"),
            ("a.log", ""),
            ("b.txt", ""),
            ("node_modules/x/y", ""),
            ("deep/tmp/z", ""),
            ("deep/c.log", ""),
            ("docs/drop.md", ""),
            ("docs/keep.md", ""),
        ],
    );
    p.build(&s, &[]);
    let seen = in_app(&s, "cd /all && find . -type f | sort");
    assert_eq!(seen, "./.dockerignore\n./Dockerfile\n./b.txt\n./deep/c.log\n./docs/keep.md");
    p.write("Dockerfile", "FROM busybox\nCOPY a.log /\n");
    p.try_build(&s, &[]).code(1).says("\"/a.log\": not found").hint("ignore file");
    p.write("Other", "FROM busybox\nCOPY . /all/\n");
    p.write("Other.dockerignore", "*\n!b.txt\n");
    p.build(&s, &["-f", &format!("{}/Other", p.path())]);
    assert_eq!(in_app(&s, "cd /all && find . -type f"), "./b.txt");
}

#[test]
fn dockerfiles_and_contexts_come_through_pipes() {
    let s = Sandbox::new();
    let built = s.tug_with(&["build", "-t", "app", "-"], b"FROM busybox\nRUN echo piped > /f\n");
    built.ok();
    assert_eq!(in_app(&s, "cat /f"), "piped");
    let p = Project::new(
        &s,
        "FROM busybox\nCOPY f /f\n",
        &[("f", "in a tar"), ("sub/D", "FROM busybox\nCOPY f /g\n")],
    );
    s.shell(&format!("tar -C {} -cz . | \"$TUG\" build -t app -", p.path())).ok();
    assert_eq!(in_app(&s, "cat /f"), "in a tar");
    s.shell(&format!("tar -C {} -c . | \"$TUG\" build -t app -f sub/D -", p.path())).ok();
    assert_eq!(in_app(&s, "cat /g"), "in a tar");
    let dockerfile = b"FROM busybox\nCOPY f /h\n";
    s.tug_with(&["build", "-t", "app", "-f", "-", &p.path()], dockerfile).ok();
    assert_eq!(in_app(&s, "cat /h"), "in a tar");
}

#[test]
fn odd_files_are_copied_or_left_out() {
    let s = Sandbox::new();
    let p = Project::new(&s, "FROM busybox\nCOPY . /all/\n", &[("f", "x"), ("sub/g", "y")]);
    let _socket = std::os::unix::net::UnixListener::bind(p.dir.join("socket")).unwrap();
    s.shell(&format!("mkfifo {0}/fifo; ln {0}/f {0}/hard; chmod 4755 {0}/f", p.path())).ok();
    symlink("/etc/passwd", p.dir.join("absolute")).unwrap();
    symlink("../../../../etc", p.dir.join("up")).unwrap();
    symlink("nowhere", p.dir.join("dangling")).unwrap();
    let mut deep = p.dir.join("deep");
    for _ in 0..200 {
        deep.push("directory");
    }
    std::fs::create_dir_all(&deep).unwrap();
    p.build(&s, &[]);
    let seen = in_app(
        &s,
        "cd /all && ls; for l in absolute up dangling; do readlink $l; done; stat -c '%a %h %F' f fifo",
    );
    assert_eq!(
        seen,
        "Dockerfile\nabsolute\ndangling\ndeep\nf\nfifo\nhard\nsub\nup\n/etc/passwd\n../../../../etc\nnowhere\n4755 2 regular file\n644 1 fifo"
    );
    let out = Project::new(&s, "FROM busybox\nCOPY out /x\n", &[]);
    symlink("/etc/shadow", out.dir.join("out")).unwrap();
    out.try_build(&s, &[]).code(1).says("not found");
    let above = Project::new(&s, "FROM busybox\nCOPY ../../../etc/hostname /x\n", &[]);
    above.try_build(&s, &[]).code(1).says("not found");
}

#[test]
fn copies_replace_and_merge_as_docker_does() {
    let s = Sandbox::new();
    let p = Project::new(
        &s,
        concat!(
            "FROM busybox\n",
            "RUN mkdir -p /d/sub /real && echo old > /d/f && echo kept > /d/kept && chmod 700 /d && ln -s /real /link\n",
            "COPY d /d\n",
            "COPY d/f /link/\n",
            "COPY d /link\n",
            "COPY d/f /new/name\n",
        ),
        &[("d/f", "new"), ("d/sub/g", "g")],
    );
    p.build(&s, &[]);
    assert_eq!(in_app(&s, "cat /d/f /d/kept; stat -c %a /d; cat /d/sub/g"), "newkept\n700\ng");
    assert_eq!(
        in_app(&s, "stat -c %F /link; ls /real; cat /new/name"),
        "symbolic link\nf\nsub\nnew"
    );
    p.write("Dockerfile", "FROM busybox\nCOPY d/f /etc\nCOPY d /etc/passwd\n");
    p.try_build(&s, &[]).code(1).says("/etc/passwd");
}

#[test]
fn what_is_wrong_with_a_context_is_said() {
    let s = Sandbox::new();
    s.tug(&["build", "/nonexistent"])
        .refused(1, "failed to solve: unable to prepare context: path \"/nonexistent\" not found");
    let empty = Project::new(&s, "", &[]);
    std::fs::remove_file(empty.dir.join("Dockerfile")).unwrap();
    empty.try_build(&s, &[]).code(1).says("failed to read dockerfile").hint("-f");
    s.tug(&["build", "ssh://127.0.0.1:1/x.git"]).code(1).says("connect to 127.0.0.1 port 1");
    s.tug(&["build"]).code(1).says("requires 1 argument");
}

#[test]
fn names_of_all_kinds_are_copied_also_those_that_are_no_text() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;
    let s = Sandbox::new();
    let p = Project::new(&s, "FROM busybox\nCOPY . /all/\n", &[]);
    p.write("a\nb", "newline");
    p.write("-rf \\ \"x\" $y *[?]", "odd");
    p.write("\u{1f6a2}/\u{e9}", "unicode");
    p.build(&s, &[]);
    assert_eq!(
        in_app(&s, "cd /all && cat 'a\nb' ./-rf* \u{1f6a2}/*; ls -A | wc -l"),
        "newlineoddunicode4"
    );
    // Two that would be the same if they were made text.
    for (name, text) in [(&b"caf\xe9.txt"[..], "latin1"), (b"caf\xe8.txt", "another")] {
        std::fs::write(p.dir.join(OsStr::from_bytes(name)), text).unwrap();
    }
    p.write(
        "Dockerfile",
        "FROM busybox AS first\nCOPY caf?.txt /some/\nFROM busybox\nCOPY --from=first /some /all\n",
    );
    p.build(&s, &[]);
    let read = r"cd /all && ls | wc -l && cat $(printf 'caf\351.txt') $(printf 'caf\350.txt')";
    assert_eq!(in_app(&s, read), "2\nlatin1another");
    std::fs::write(p.dir.join(OsStr::from_bytes(b"caf\xe8.txt")), "new").unwrap();
    p.build(&s, &[]);
    assert_eq!(in_app(&s, read), "2\nlatin1new");
    p.write(".dockerignore", "caf*\n");
    p.write("Dockerfile", "FROM busybox\nCOPY . /all\n");
    p.build(&s, &[]);
    assert_eq!(in_app(&s, "ls -A /all | grep -c caf || true"), "0");
}

#[test]
fn devices_are_copied_and_what_cannot_be_read_ends_the_build() {
    let s = Sandbox::new();
    let p = Project::new(
        &s,
        "FROM busybox\nCOPY . /all/\n",
        &[("f", "x"), ("closed/g", "y"), (".dockerignore", "closed\n")],
    );
    s.shell(&format!(
        "cd {} && mknod null c 1 3 && mknod loop b 7 0 && mkfifo -m 600 pipe",
        p.path()
    ))
    .ok();
    p.build(&s, &[]);
    assert_eq!(
        in_app(&s, "cd /all && stat -c '%F %t %T' null loop; stat -c '%F %a' pipe"),
        "character special file 1 3\nblock special file 7 0\nfifo 600"
    );
    // Root without the capabilities that open everything.
    let build = || {
        let caps = "-dac_override,-dac_read_search";
        let script = format!(
            "chmod 000 {0}/closed {0}/f; setpriv --bounding-set {caps} --inh-caps {caps} $TUG build {0}",
            p.path()
        );
        s.shell(&script)
    };
    let refused = build();
    refused.code(1).says("\"f\"").says("permission denied");
    p.write(".dockerignore", "closed\nf\n");
    // Nobody asked for it then: what fails now is the overlay, which needs those capabilities.
    let ignored = build();
    assert!(!ignored.stderr.contains("\"f\"") && !ignored.stderr.contains("\"closed"), "{ignored}");
    p.write(".dockerignore", "f\n");
    build().code(1).says("\"closed\"").says("permission denied");
    s.shell(&format!("chmod 755 {0}/closed", p.path())).ok();
}

#[test]
fn a_tree_a_thousand_directories_deep_becomes_an_image() {
    let s = Sandbox::new();
    let p = Project::new(&s, "FROM busybox\nCOPY deep /deep\nRUN cp -r /deep /copy || true\n", &[]);
    std::fs::create_dir(p.dir.join("deep")).unwrap();
    let flags = rustix::fs::OFlags::DIRECTORY | rustix::fs::OFlags::CLOEXEC;
    let open = |dir: &rustix::fd::OwnedFd| {
        rustix::fs::openat(dir, "directory", flags, rustix::fs::Mode::empty()).unwrap()
    };
    let mut dir = rustix::fs::open(p.dir.join("deep"), flags, rustix::fs::Mode::empty()).unwrap();
    for _ in 0..1000 {
        rustix::fs::mkdirat(&dir, "directory", rustix::fs::Mode::from_raw_mode(0o755)).unwrap();
        dir = open(&dir);
    }
    p.build(&s, &["--build-arg", "SOURCE_DATE_EPOCH=5"]);
    let depth = in_app(
        &s,
        "cd /deep; i=0; while cd -P directory 2>/dev/null || cd directory 2>/dev/null; do i=$((i+1)); done; echo $i",
    );
    assert!(depth.parse::<u32>().unwrap() >= 400, "{depth}: as deep as the shell goes");
    let out = s.path("out");
    p.try_build(&s, &["--build-arg", "SOURCE_DATE_EPOCH=5", "-o", &out]).ok();
    let mut dir =
        rustix::fs::open(format!("{out}/deep"), flags, rustix::fs::Mode::empty()).unwrap();
    (0..1000).for_each(|_| dir = open(&dir));
    assert_eq!(rustix::fs::fstat(&dir).unwrap().st_mtime, 5);
}
