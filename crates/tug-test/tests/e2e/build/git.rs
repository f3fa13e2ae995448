//! Repositories and addresses as sources and contexts, served by git itself.

use super::{Project, in_app};
use tug_test::git;
use tug_test::sandbox::Sandbox;

/// Repositories below `srv`: `app.git` with a submodule, two branches and tags. The commits' names.
fn repositories(s: &Sandbox) -> Vec<String> {
    let script = "
        set -e; export HOME=$PWD GIT_CONFIG_NOSYSTEM=1
        export GIT_AUTHOR_DATE='2024-01-02T03:04:05Z' GIT_COMMITTER_DATE='2024-01-02T03:04:05Z'
        git config --global user.name n; git config --global user.email e
        git config --global init.defaultBranch main; git config --global protocol.file.allow always
        mkdir srv; cd srv
        git init -q lib; (cd lib; echo library > code; git add .; git commit -qm lib)
        git clone -q --bare lib lib.git
        git init -q app; cd app
        mkdir -p dir/deep; printf 'FROM busybox\\nCOPY . /ctx\\nRUN cat /ctx/file > /built\\n' > Dockerfile
        printf 'FROM busybox\\nCOPY deep/x /x\\n' > dir/Dockerfile
        echo first > file; echo x > dir/deep/x; ln -s file link; echo run > script; chmod +x script
        seq 1 20000 > long
        git add .; git commit -qm one; git tag v1
        seq 1 20001 > long; echo second > file; git commit -qam two; git tag -a v2 -m tag; git branch side
        git submodule -q add ../lib.git sub 2>/dev/null; sed -i s,$PWD/../,../, .gitmodules
        git config -f .gitmodules submodule.sub.url ../lib.git; git add -A; echo third > file
        git commit -qam three; cd ..
        git clone -q --bare app app.git; git -C app.git repack -adq
        git -C app.git rev-parse v1 'v2^{commit}' main";
    s.shell(&format!("cd {} && {script}", s.dir().display()))
        .lines()
        .iter()
        .map(|l| (*l).to_owned())
        .collect()
}

#[test]
fn repositories_are_added_at_a_ref_with_their_submodules() {
    let s = Sandbox::new();
    let commits = repositories(&s);
    let Ok(Some(address)) = git::http(&s.dir().join("srv"), None) else { return };
    let url = format!("http://{address}/app.git");
    let p = Project::new(
        &s,
        &format!(
            "FROM busybox\nADD {url} /head\nADD {url}#v1 /v1\nADD {url}#v2:dir /dir\nADD --keep-git-dir {url}#{} /kept\n",
            commits[1]
        ),
        &[],
    );
    p.build(&s, &[]);
    assert_eq!(
        in_app(
            &s,
            "cat /head/file /head/sub/code /v1/file; ls /dir; test -e /head/.git || echo bare"
        ),
        "third\nlibrary\nfirst\nDockerfile\ndeep\nbare"
    );
    assert_eq!(
        in_app(
            &s,
            "readlink /v1/link; stat -c '%a %u %Y' /v1/script /v1/file; tail -n1 /v1/long /kept/long"
        ),
        "file\n755 0 1704164645\n644 0 1704164645\n==> /v1/long <==\n20000\n\n==> /kept/long <==\n20001"
    );
    // Git goes on with what was kept.
    let out = s.path("out");
    p.try_build(&s, &["-o", &out]).ok();
    let seen = s.shell(&format!("cd {out}/kept && git -c safe.directory='*' status --porcelain && git -c safe.directory='*' log --format=%H && git -c safe.directory='*' fsck --strict"));
    assert_eq!(seen.ok(), commits[1], "{seen}");
    // Nothing changed: nothing is fetched again. A branch that moved is seen.
    let again = p.build(&s, &[]);
    assert_eq!(super::steps(&again).1.len(), 0, "{again}");
    let moved = s.shell(&format!("cd {}/srv/app && echo fourth > file && HOME={} git commit -qam four && git push -q ../app.git main", s.dir().display(), s.dir().display()));
    moved.ok();
    p.build(&s, &[]);
    assert_eq!(in_app(&s, "cat /head/file"), "fourth");
}

#[test]
fn what_is_not_in_a_repository_is_said() {
    let s = Sandbox::new();
    let commits = repositories(&s);
    let Ok(Some(address)) = git::http(&s.dir().join("srv"), None) else { return };
    let url = format!("http://{address}/app.git");
    let fails =
        |line: &str| Project::new(&s, &format!("FROM scratch\n{line}\n"), &[]).try_build(&s, &[]);
    fails(&format!("ADD {url}#nowhere /a"))
        .code(1)
        .says("the repository has no nowhere")
        .says("Dockerfile:2");
    fails(&format!("ADD {url}#v1:no/dir /a"))
        .code(1)
        .says("\"no/dir\" is no directory of the repository");
    fails(&format!("ADD http://{address}/none.git /a")).code(1).says("404");
    fails(&format!("ADD --checksum={} {url}#v1 /a", commits[1]))
        .code(1)
        .says("expected checksum to match");
    fails("ADD git@host:a/b.git /a").code(1).says("over ssh are not supported by tug");
    Project::new(&s, &format!("FROM scratch\nADD --checksum={} {url}#v1 /a\n", commits[0]), &[])
        .try_build(&s, &[])
        .ok();
}

#[test]
fn repositories_and_addresses_are_contexts() {
    let s = Sandbox::new();
    repositories(&s);
    let served = s.dir().join("srv");
    let Ok(Some(address)) = git::http(&served, None) else { return };
    let Ok(Some(daemon)) = git::Daemon::start(&served) else { return };
    let build = |context: &str, flags: &[&str]| {
        s.tug(&[&["build", "-t", "app"], flags, &[context]].concat())
    };
    build(&format!("http://{address}/app.git"), &[]).ok();
    assert_eq!(
        in_app(&s, "cat /built; ls -a /ctx | grep -c git$; cat /ctx/sub/code"),
        "third\n0\nlibrary"
    );
    build(&format!("git://{}/app.git#v1", daemon.address), &[]).ok();
    assert_eq!(in_app(&s, "cat /built"), "first");
    build(&format!("http://{address}/app.git#side:dir"), &[]).ok();
    assert_eq!(in_app(&s, "cat /x"), "x");
    build(
        &format!("http://{address}/app.git#v2"),
        &["--build-arg", "BUILDKIT_CONTEXT_KEEP_GIT_DIR=1"],
    )
    .ok();
    assert_eq!(in_app(&s, "head -c 4 /ctx/.git/HEAD | wc -c"), "4");
    build(&format!("http://{address}/app.git#v2"), &["-f", "dir/Dockerfile", "--target", "no"])
        .code(1)
        .says("no");
    // Files: a Dockerfile, an archive.
    s.shell(&format!("cd {}/srv && tar czf ctx.tar.gz -C app Dockerfile file && printf 'FROM busybox\\nRUN echo alone > /built\\n' > Dockerfile", s.dir().display())).ok();
    build(&format!("http://{address}/ctx.tar.gz"), &[]).ok();
    assert_eq!(in_app(&s, "cat /built"), "third");
    build(&format!("http://{address}/Dockerfile"), &[]).ok();
    assert_eq!(in_app(&s, "cat /built"), "alone");
    build(&format!("http://{address}/nothing"), &[]).code(1).says("404");
}

#[test]
fn a_token_opens_a_repository() {
    let s = Sandbox::new();
    repositories(&s);
    // base64 of `x-access-token:secret`
    let Ok(Some(address)) = git::http(&s.dir().join("srv"), Some("eC1hY2Nlc3MtdG9rZW46c2VjcmV0"))
    else {
        return;
    };
    let url = format!("http://{address}/app.git");
    let p =
        Project::new(&s, &format!("FROM busybox\nADD {url}#v1 /v1\n"), &[("token", "secret\n")]);
    p.try_build(&s, &[]).code(1).says("401");
    let token = format!("id=GIT_AUTH_TOKEN,src={}/token", p.path());
    p.build(&s, &["--secret", &token]);
    assert_eq!(in_app(&s, "cat /v1/file"), "first");
    s.tug(&["build", "-t", "app", "--secret", &token, &format!("{url}#v1")]).ok();
}
