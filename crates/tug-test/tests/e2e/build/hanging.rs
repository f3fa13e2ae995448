//! Servers that stop in the middle: an interrupt ends the build at once, and nothing stays.

use super::Project;
use rustix::process::Signal;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};
use tug_test::sandbox::Sandbox;

/// What an impatient user calls at once.
const AT_ONCE: Duration = Duration::from_secs(2);

/// Says something to everybody who asks, and then nothing any more. It tells when it has said it.
fn hanging(answer: &'static [u8]) -> (String, Receiver<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap_or_else(|error| panic!("{error}"));
    let address = listener.local_addr().map(|a| a.to_string()).unwrap_or_default();
    let (said, told) = channel();
    std::thread::spawn(move || {
        let mut open = Vec::new();
        for mut stream in listener.incoming().flatten() {
            let _ = stream.read(&mut [0; 4096]);
            let _ = stream.write_all(answer);
            open.push(stream);
            let _ = said.send(());
        }
    });
    (address, told)
}

const FILE: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\nthe beginning";
const REFS: &[u8] =
    b"HTTP/1.1 200 OK\r\nContent-Type: application/x-git-upload-pack-advertisement\r\n\
    Content-Length: 1000000\r\n\r\n000eversion 2\n";

/// Starts a build, interrupts it when the server hangs, and proves that it went at once and alone.
fn interrupted(s: &mut Sandbox, flags: &[&str], context: &str, told: &Receiver<()>) {
    let temporary = s.dir().join("tmp");
    let made = std::fs::create_dir_all(&temporary);
    assert!(made.is_ok(), "{made:?}");
    s.set_env("TMPDIR", &temporary.to_string_lossy());
    let build = s.start(&[&["build"], flags, &[context]].concat());
    let hangs = told.recv_timeout(Duration::from_secs(20));
    assert!(hangs.is_ok(), "nobody asked the server: {context}");
    // It waits for what does not come.
    std::thread::sleep(Duration::from_millis(200));
    let start = Instant::now();
    build.0.signal(Signal::INT);
    let output = build.wait_in(s);
    let took = start.elapsed();
    output.code(130);
    assert!(took < AT_ONCE, "{context}: {took:?}, {output}");
    let left = |dir: std::path::PathBuf| {
        let names = std::fs::read_dir(dir).into_iter().flatten().flatten();
        let names = names.map(|entry| entry.path().display().to_string());
        // Locks of the store's own begin with a dot.
        names.filter(|name| !name.contains("/.")).collect::<Vec<_>>()
    };
    assert_eq!(left(temporary), Vec::<String>::new(), "{context}");
    assert_eq!(left(s.data_root().join("tmp")), Vec::<String>::new(), "{context}");
}

#[test]
fn an_interrupt_ends_what_hangs_in_a_download() {
    let mut s = Sandbox::new();
    let (file, told) = hanging(FILE);
    let p = Project::new(&s, &format!("FROM busybox\nADD http://{file}/x /x\n"), &[]);
    interrupted(&mut s, &[], &p.path(), &told);
    interrupted(&mut s, &[], &format!("http://{file}/context.tar"), &told);
    // A server that does not even answer.
    let (silent, told) = hanging(b"");
    let p = Project::new(&s, &format!("FROM busybox\nADD http://{silent}/x /x\n"), &[]);
    interrupted(&mut s, &[], &p.path(), &told);
}

#[test]
fn an_interrupt_ends_what_hangs_in_a_repository() {
    let mut s = Sandbox::new();
    let (http, told) = hanging(REFS);
    let p = Project::new(&s, &format!("FROM busybox\nADD http://{http}/a.git /x\n"), &[]);
    interrupted(&mut s, &[], &p.path(), &told);
    interrupted(&mut s, &[], &format!("http://{http}/a.git"), &told);
    let (daemon, told) = hanging(b"000eversion 2\n");
    interrupted(&mut s, &[], &format!("git://{daemon}/a.git"), &told);
    let (ssh, told) = hanging(b"SSH-2.0-hanging\r\n");
    interrupted(&mut s, &[], &format!("ssh://git@{ssh}/a.git"), &told);
}

#[test]
fn a_step_that_fails_does_not_wait_for_a_download() {
    let s = Sandbox::new();
    let (file, _told) = hanging(FILE);
    let p = Project::new(
        &s,
        &format!(
            "FROM busybox AS a\nADD http://{file}/x /x\nFROM busybox\nRUN sleep 0.5; exit 3\nCOPY --from=a /x /x\n"
        ),
        &[],
    );
    let start = Instant::now();
    p.try_build(&s, &[]).code(1).says("exit code: 3");
    assert!(start.elapsed() < Duration::from_secs(20), "{:?}", start.elapsed());
}
