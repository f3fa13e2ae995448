//! Repositories over ssh: a real sshd, a real agent, and whom they let in.

use super::git::repositories;
use super::{Project, in_app};
use std::path::{Path, PathBuf};
use tug_test::output::Output;
use tug_test::sandbox::Sandbox;
use tug_test::sshd::{SshAgent, Sshd, key};

/// A sandbox with repositories and a server that lets `key` in and whose key is known.
fn served(options: &str) -> Option<(Sandbox, Sshd, PathBuf, Vec<String>)> {
    let s = Sandbox::new();
    let commits = repositories(&s);
    let server = Sshd::start(&s.dir().join("sshd"), options).unwrap_or_else(|e| panic!("{e}"))?;
    let own = s.dir().join("key");
    key(&own, "ed25519", "").unwrap_or_else(|error| panic!("{error}"));
    server.allow(&own);
    know(&s, &server.line());
    Some((s, server, own, commits))
}

/// What the caller's `known_hosts` says.
fn know(s: &Sandbox, lines: &str) {
    let dir = s.dir().join("home/.ssh");
    let written =
        std::fs::create_dir_all(&dir).and_then(|()| std::fs::write(dir.join("known_hosts"), lines));
    assert!(written.is_ok(), "{written:?}");
}

fn url(s: &Sandbox, server: &Sshd) -> String {
    format!("ssh://git@127.0.0.1:{}{}/srv/app.git", server.port, s.dir().display())
}

fn with(key: &Path) -> String {
    format!("default={}", key.display())
}

fn add(s: &Sandbox, source: &str, flags: &[&str]) -> Output {
    Project::new(s, &format!("FROM busybox\nADD {source} /got\n"), &[])
        .try_build(s, &[&["-t", "app"], flags].concat())
}

#[test]
fn repositories_open_over_ssh_with_a_key() {
    // A server that lets the version of the protocol through, and one that is asked in the old one.
    for options in ["AcceptEnv GIT_PROTOCOL", ""] {
        let Some((s, server, own, commits)) = served(options) else { return };
        let url = url(&s, &server);
        add(&s, &format!("--keep-git-dir {url}#v2"), &["--ssh", &with(&own)]).ok();
        assert_eq!(in_app(&s, "cat /got/file; tail -n1 /got/long"), "second\n20001");
        add(&s, &format!("{url}#{}", commits[0]), &["--ssh", &with(&own)]).ok();
        assert_eq!(in_app(&s, "cat /got/file; test -e /got/.git || echo bare"), "first\nbare");
        // A context, its submodule beside it; at port 22, from the user's home.
        let key = std::fs::read_to_string(s.dir().join("sshd/host.pub")).unwrap_or_default();
        know(&s, &format!("127.0.0.1 {key}"));
        s.tug(&["build", "-t", "app", "--ssh", &with(&own), "git@127.0.0.1:srv/app.git"]).ok();
        assert_eq!(in_app(&s, "cat /built /ctx/sub/code"), "third\nlibrary");
    }
}

#[test]
fn keys_of_every_kind_are_keys() {
    let Some((s, server, _, _)) = served("") else { return };
    for (name, kind) in [("rsa", "rsa"), ("ecdsa", "ecdsa")] {
        let own = s.dir().join(name);
        key(&own, kind, "").unwrap_or_else(|error| panic!("{error}"));
        server.allow(&own);
        add(&s, &format!("{}#v1", url(&s, &server)), &["--ssh", &with(&own), "--no-cache"]).ok();
    }
}

#[test]
fn an_agent_opens_them_too() {
    let Some((mut s, server, own, _)) = served("") else { return };
    let Ok(agent) = SshAgent::start(&s.dir().join("agent")) else {
        return tug_test::skip::skip("ssh-agent is missing (./dev install)");
    };
    s.set_env("SSH_AUTH_SOCK", &agent.socket.to_string_lossy());
    let url = url(&s, &server);
    add(&s, &url, &["--ssh", "default"]).code(1).says("holds no key").hint("ssh-add");
    // One it does not let in, and one it does.
    let other = s.dir().join("other");
    key(&other, "ed25519", "").unwrap_or_else(|error| panic!("{error}"));
    agent.add(&other);
    add(&s, &url, &["--ssh", "default"])
        .code(1)
        .says("127.0.0.1")
        .says("refuses git with ssh-ed25519 SHA256:");
    agent.add(&own);
    add(&s, &format!("{url}#v1"), &["--ssh", "default"]).ok();
    assert_eq!(in_app(&s, "cat /got/file"), "first");
    // Who asks for a repository need not say so twice; what a Dockerfile adds is given no agent unasked.
    s.tug(&["build", "-t", "app", &url]).ok();
    add(&s, &url, &["--no-cache"])
        .code(1)
        .says("no ssh agent and no key was given")
        .hint("--ssh default");
}

#[test]
fn a_host_nobody_knows_is_not_spoken_to() {
    let Some((s, server, own, _)) = served("") else { return };
    let url = format!("{}#v1", url(&s, &server));
    let host = format!("[127.0.0.1]:{}", server.port);
    let build = || add(&s, &url, &["--ssh", &with(&own)]);
    let print = server.fingerprint();
    know(&s, "# nobody\n");
    let refused = build();
    refused.code(1).says(&format!(
        "the host key of {host} is not known: it shows the ssh-ed25519 key {print}"
    ));
    // The hint is a command that helps.
    let line = refused.stderr.lines().find_map(|line| line.split_once("echo '"));
    let command = line.map(|(_, rest)| format!("echo '{rest}")).unwrap_or_default();
    s.shell(&command).ok();
    build().ok();
    // Hashed, as ssh writes them.
    s.shell("ssh-keygen -q -H -f home/.ssh/known_hosts").ok();
    assert!(!s.shell("cat home/.ssh/known_hosts").ok().contains("127.0.0.1"));
    add(&s, &url, &["--ssh", &with(&own), "--no-cache"]).ok();
    let other = s.dir().join("other");
    key(&other, "ed25519", "").unwrap_or_else(|error| panic!("{error}"));
    let public = std::fs::read_to_string(other.with_extension("pub")).unwrap_or_default();
    know(&s, &format!("\n{host} {public}"));
    build()
        .code(1)
        .says(&format!("the host key of {host} has changed"))
        .says(&print)
        .says("line 2");
    know(
        &s,
        &format!(
            "{}@revoked * {}",
            server.line(),
            server.line().split_once(' ').map_or("", |l| l.1)
        ),
    );
    build().code(1).says("is revoked by").says("line 2");
}

#[test]
fn what_does_not_open_a_repository_is_said() {
    let Some((s, server, own, _)) = served("") else { return };
    let url = url(&s, &server);
    let build = |flag: &str| add(&s, &url, &["--ssh", flag]);
    let locked = s.dir().join("locked");
    key(&locked, "ed25519", "secret").unwrap_or_else(|error| panic!("{error}"));
    build(&with(&locked)).code(1).says("is protected by a passphrase").hint("ssh-add");
    let old = s.dir().join("old");
    s.shell(&format!("ssh-keygen -q -t rsa -m PEM -N secret -f {}", old.display())).ok();
    build(&with(&old)).code(1).says("is protected by a passphrase");
    build("default=/etc/hostname")
        .code(1)
        .says("neither the socket of an ssh agent nor a private key");
    let nowhere = s.path("nowhere");
    build(&format!("default={nowhere}"))
        .code(1)
        .says(&format!("read the key {nowhere}"))
        .says("no such file");
    build("other=").code(1).says("make sure SSH_AUTH_SOCK is set");
    let stranger = s.dir().join("stranger");
    key(&stranger, "ed25519", "").unwrap_or_else(|error| panic!("{error}"));
    build(&with(&stranger))
        .code(1)
        .says("refuses git with ssh-ed25519 SHA256:")
        .hint("--ssh default=KEYFILE");
    let both = format!("default={},{}", stranger.display(), own.display());
    build(&both).ok();
    let none = url.replace("app.git", "none.git");
    add(&s, &none, &["--ssh", &with(&own)])
        .code(1)
        .says("the server says:")
        .says("does not appear to be a git repository");
    let closed = url.replace(&format!(":{}/", server.port), ":1/");
    add(&s, &closed, &["--ssh", &with(&own)])
        .code(1)
        .says("connect to 127.0.0.1 port 1")
        .says("connection refused");
}

#[test]
fn a_server_that_takes_no_keys_says_what_it_takes() {
    let Some((s, server, own, _)) = served("PubkeyAuthentication no\nPasswordAuthentication yes")
    else {
        return;
    };
    add(&s, &url(&s, &server), &["--ssh", &with(&own)])
        .code(1)
        .says("lets nobody in with a key, only with: password");
}

#[test]
fn a_step_is_given_an_agent_made_of_a_key() {
    let mut s = Sandbox::new();
    let temporary = s.dir().join("tmp");
    std::fs::create_dir(&temporary).unwrap_or_else(|error| panic!("{error}"));
    s.set_env("TMPDIR", &temporary.to_string_lossy());
    let own = s.dir().join("key");
    if key(&own, "ed25519", "").is_err() {
        return tug_test::skip::skip("ssh-keygen is missing (./dev install)");
    }
    // Ssh's own tool looks at it: what it may do, and that the key stays after what it may not.
    s.load("debian");
    let p = Project::new(
        &s,
        "FROM debian
COPY --from=host bin/ssh-add /usr/bin/
COPY --from=host lib/x86_64-linux-gnu/libcrypto.so.3 lib/x86_64-linux-gnu/libselinux.so.1 \
    lib/x86_64-linux-gnu/libpcre2-8.so.0 /usr/lib/x86_64-linux-gnu/
RUN --mount=type=ssh,required=true ssh-add -l > /before && ! ssh-add -D && ! ssh-add -d /nothing \
    && ssh-add -l > /after && ssh-add -L > /public && ssh-add -T /public
",
        &[],
    );
    p.build(&s, &["--ssh", &with(&own), "--build-context", "host=/usr"]);
    let print = s.shell(&format!("ssh-keygen -lf {}.pub | cut -d' ' -f2", own.display()));
    let held = in_app(&s, "cut -d' ' -f2 /before /after");
    assert_eq!(held, format!("{0}\n{0}", print.ok()));
    let left = std::fs::read_dir(temporary).into_iter().flatten();
    assert_eq!(left.count(), 0, "its socket goes with the build");
}
