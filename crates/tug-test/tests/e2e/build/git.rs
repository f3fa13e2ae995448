//! Repositories and addresses as sources and contexts, served by git itself.

use super::{Project, in_app};
use tug_test::git;
use tug_test::lighttpd::Lighttpd;
use tug_test::sandbox::Sandbox;

/// Repositories below `srv`: `app.git` with a submodule, two branches and tags. The commits' names.
pub(super) fn repositories(s: &Sandbox) -> Vec<String> {
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
            "FROM busybox\nADD {url} /head\nADD {url}#v1 /v1\nADD {url}#v2:dir /dir\nADD --keep-git-dir {url}#{} /kept\nADD --keep-git-dir {url} /whole\nADD --keep-git-dir {url}#v2 /tag\n",
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
    // A submodule's is in its repository's, as git has it; the ref is there by its name.
    let git = |place: &str, command: &str| {
        let script = format!("cd {out}/{place} && git -c safe.directory='*' {command}");
        s.shell(&script).ok().to_owned()
    };
    assert_eq!(git("whole", "status --porcelain"), "");
    assert_eq!(
        git("whole", "for-each-ref --format='%(refname) %(objectname)'"),
        format!("refs/heads/main {}", commits[2])
    );
    assert_eq!(git("whole/sub", "rev-parse --git-dir"), format!("{out}/whole/.git/modules/sub"));
    assert_eq!(git("whole", "submodule status | cut -d' ' -f3"), "sub");
    assert_eq!(git("whole/sub", "status --porcelain"), "");
    assert_eq!(git("whole/sub", "log --format=%s"), "lib");
    assert_eq!(git("tag", "describe"), "v2");
    assert_eq!(git("tag", "fsck --strict"), "");
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
    fails(&format!("ADD {url}?what=1 /a")).code(1).says("unexpected query \"what\"");
    fails(&format!("ADD {url}#{} /a", &commits[0][..8])).code(1).says("the repository has no");
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
    // By name: a repository's directory, and a file as it is, called as in BuildKit.
    let named = Project::new(
        &s,
        "FROM busybox\nCOPY --from=repo deep/x /x\nCOPY --from=file context /context\n",
        &[],
    );
    let repo = format!("repo=http://{address}/app.git#side:dir");
    let file = format!("file=http://{address}/ctx.tar.gz");
    named.build(&s, &["--build-context", &repo, "--build-context", &file]);
    assert_eq!(in_app(&s, "cat /x; tar xzOf /context file"), "x\nthird");
    let missing = format!("repo=http://{address}/none.git");
    named
        .try_build(&s, &["--build-context", &missing, "--build-context", &file])
        .code(1)
        .says("404");
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

#[test]
fn a_private_authority_is_trusted_when_it_is_named() {
    let mut s = Sandbox::new();
    repositories(&s);
    let start = Lighttpd::start(&s.dir().join("web"), &s.dir().join("srv"), None);
    let Some(web) = start.unwrap_or_else(|error| panic!("{error}")) else { return };
    let p = Project::new(
        &s,
        &format!(
            "FROM busybox\nADD {0}#v1 /v1\nADD {0} /head\nADD {0}#v2 /v2\n",
            format_args!("{}/git/app.git", web.url)
        ),
        &[],
    );
    p.try_build(&s, &[]).code(1).says("certificate");
    s.set_env("SSL_CERT_FILE", &web.authority.to_string_lossy());
    p.build(&s, &[]);
    assert_eq!(
        in_app(&s, "cat /v1/file /v2/file /head/file /head/sub/code"),
        "first\nsecond\nthird\nlibrary"
    );
    s.tug(&["build", "-t", "app", &format!("{}/git/app.git#side:dir", web.url)]).ok();
    assert_eq!(in_app(&s, "cat /x"), "x");
    // Files alone are no server.
    let page = format!("FROM scratch\nADD {}/x.git /a\n", web.url);
    s.shell("mkdir -p web/x.git/info && git -C srv/app.git update-server-info && cp srv/app.git/info/refs web/x.git/info").ok();
    Project::new(&s, &page, &[])
        .try_build(&s, &[])
        .code(1)
        .says("the server does not speak git's protocol");
}

#[test]
fn servers_of_the_old_protocol_are_spoken_to() {
    let mut s = Sandbox::new();
    let commits = repositories(&s);
    let start = Lighttpd::start(&s.dir().join("web"), &s.dir().join("srv"), None);
    let Some(web) = start.unwrap_or_else(|error| panic!("{error}")) else { return };
    s.set_env("SSL_CERT_FILE", &web.authority.to_string_lossy());
    let url = format!("{}/old/app.git", web.url);
    let asked = format!(
        "curl -sk -H 'Git-Protocol: version=2' '{url}/info/refs?service=git-upload-pack' | tr -d '\\0'"
    );
    assert!(!s.shell(&asked).ok().contains("version 2"), "it is to be an old one");
    let add = |reference: &str| {
        let text = format!("FROM busybox\nADD --keep-git-dir {url}{reference} /a\n");
        Project::new(&s, &text, &[]).try_build(&s, &["-t", "app"])
    };
    let head = format!("third\nlibrary\n{}", commits[2]);
    add("").ok();
    assert_eq!(in_app(&s, "cat /a/file /a/sub/code /a/.git/HEAD"), head);
    for (reference, file) in [("v1", "first"), ("v2", "second"), ("side", "second")] {
        add(&format!("#{reference}")).ok();
        assert_eq!(in_app(&s, "cat /a/file"), file, "{reference}");
    }
    add("#nowhere").code(1).says("the repository has no nowhere");
    // It hands out only what a ref names: for another commit all of it is fetched.
    s.shell("git -C srv/app.git update-ref -d refs/tags/v1").ok();
    add(&format!("#{}", commits[0])).ok();
    assert_eq!(in_app(&s, "cat /a/file /a/.git/HEAD"), format!("first\n{}", commits[0]));
    add(&format!("#{}", "0123456789".repeat(4))).code(1).says("which none of its refs names");
}

#[test]
fn tokens_and_headers_open_what_is_private() {
    let mut s = Sandbox::new();
    repositories(&s);
    let login = Some("x-access-token:secret");
    let start = Lighttpd::start(&s.dir().join("web"), &s.dir().join("srv"), login);
    let Some(web) = start.unwrap_or_else(|error| panic!("{error}")) else { return };
    s.set_env("SSL_CERT_FILE", &web.authority.to_string_lossy());
    let host = web.url.trim_start_matches("https://").to_owned();
    let url = format!("{}/git/app.git", web.url);
    let p = Project::new(&s, &format!("FROM busybox\nADD {url} /a\n"), &[]);
    for (name, text) in [
        ("token", "secret\n"),
        ("wrong", "guess"),
        // The same, said in full.
        ("header", "Basic eC1hY2Nlc3MtdG9rZW46c2VjcmV0"),
    ] {
        p.write(name, text);
    }
    let secret = |id: &str, file: &str| format!("id={id},src={}/{file}", p.path());
    let build = |secrets: &[(&str, &str)]| {
        let words: Vec<String> = secrets.iter().map(|(id, file)| secret(id, file)).collect();
        let mut flags = vec!["-t", "app", "--no-cache"];
        words.iter().for_each(|word| flags.extend(["--secret", word]));
        p.try_build(&s, &flags)
    };
    build(&[]).code(1).says("401").hint("GIT_AUTH_TOKEN");
    build(&[("GIT_AUTH_TOKEN", "wrong")]).code(1).says("401");
    build(&[("GIT_AUTH_TOKEN.other.lan", "token")]).code(1).says("401");
    build(&[("GIT_AUTH_TOKEN", "token")]).ok();
    assert_eq!(in_app(&s, "cat /a/file /a/sub/code"), "third\nlibrary");
    build(&[("GIT_AUTH_HEADER", "header")]).ok();
    // What is of this host alone comes first.
    let (own_token, own_header) =
        (format!("GIT_AUTH_TOKEN.{host}"), format!("GIT_AUTH_HEADER.{host}"));
    build(&[(&own_token, "token"), ("GIT_AUTH_TOKEN", "wrong")]).ok();
    build(&[(&own_header, "header"), ("GIT_AUTH_HEADER", "wrong")]).ok();
    build(&[(&own_token, "wrong"), ("GIT_AUTH_TOKEN", "token")]).code(1).says("401");
    // A name and a password in the address; in no message.
    let with =
        |password: &str| url.replace("https://", &format!("https://x-access-token:{password}@"));
    s.tug(&["build", "-t", "app", &with("secret")]).ok();
    let refused = s.tug(&["build", "-t", "app", &with("unguessable")]);
    refused.code(1).says("401");
    assert!(!refused.stderr.contains("unguessable"), "{refused}");
}
