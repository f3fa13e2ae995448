//! To a registry and back; logging in and out; searching.

use crate::pull::registry_with_busybox;
use tug_test::output::{Output, normal};
use tug_test::registry::{LOGIN, Registry};
use tug_test::sandbox::Sandbox;
use tug_test::scripted::{Reply, Server};

fn digest(output: &Output) -> String {
    let line = output.lines().into_iter().find_map(|line| {
        line.strip_prefix("Digest: ")
            .or_else(|| line.split_once("digest: ").map(|(_, rest)| rest))
            .and_then(|rest| rest.split(' ').next())
    });
    line.unwrap_or_default().to_owned()
}

#[test]
fn an_image_goes_from_one_registry_to_another_with_its_digest_and_docker_s_lines() {
    let s = Sandbox::empty();
    let Some(origin) = registry_with_busybox() else { return };
    let Ok(Some(target)) = Registry::start() else { return };
    let (from, to) = (
        format!("{}/library/busybox", origin.address()),
        format!("{}/copies/box", target.address()),
    );
    let pulled = digest(s.tug(&["pull", &from]).code(0));
    // Nothing but what is here is needed any more.
    drop(origin);
    s.tug(&["tag", &from, &to]).ok();
    s.tug(&["tag", &from, &format!("{to}:2")]).ok();
    let push = s.tug(&["push", &to]);
    push.code(0);
    let said = normal(&push.stdout.replace(target.address(), "HOST"));
    let lines: Vec<_> = said.lines().collect();
    assert_eq!(
        lines[..2],
        ["Using default tag: latest", "The push refers to repository [HOST/copies/box]"]
    );
    assert!(lines[2].ends_with(": Preparing"), "{push}");
    assert!(lines[3].ends_with(": Pushed"), "{push}");
    assert!(lines[4].starts_with("latest: digest: sha256:<DIGEST> size: "), "{push}");
    assert_eq!(push.stderr, "");
    assert_eq!(digest(&push), pulled);

    let all = s.tug(&["push", "-a", &to]);
    all.shows(": Layer already exists").shows("2: digest: sha256:");
    let quiet = s.tug(&["image", "push", "-q", "--disable-content-trust", &format!("{to}:2")]);
    assert_eq!(quiet.ok(), format!("{to}:2"));
    s.tug(&["push", "-a", &format!("{to}:2")]).refused(1, "tag can't be used with --all-tags/-a");
    s.tug(&["push", &format!("{to}:3")])
        .refused(1, &format!("An image does not exist locally with the tag: {to}"));
    let mounted = format!("{}/other", target.address());
    s.tug(&["tag", &to, &mounted]).ok();
    s.tug(&["push", &mounted]).shows(": Mounted from copies/box");

    // From an empty store.
    for id in s.tug(&["images", "-q"]).lines() {
        s.tug(&["rmi", "-f", id]).ok();
    }
    let other = &s;
    let pull = other.tug(&["pull", "-a", &to]);
    pull.shows("2: Pulling from copies/box").shows("latest: Pulling from copies/box");
    let last: Vec<_> = pull.lines().into_iter().rev().take(2).collect();
    assert_eq!(last, [to.as_str(), &format!("Status: Downloaded newer image for {to}")]);
    other.tug(&["run", "--rm", &to, "true"]).ok();
    assert_eq!(other.tug(&["images", "-q"]).lines().len(), 2);
    let by_digest = other.tug(&["pull", &format!("{to}:2@{pulled}")]);
    by_digest.shows(&format!("{to}@{pulled}: Pulling from copies/box"));
    by_digest.shows("Status: Image is up to date for");
}

#[test]
fn a_login_is_sealed_used_and_forgotten() {
    let mut s = Sandbox::empty();
    let Some(mut registry) = registry_with_busybox() else { return };
    registry.require_login().unwrap_or_else(|e| panic!("{e}"));
    let name = format!("{}/library/busybox", registry.address());
    let home = s.path("home");
    s.set_env("HOME", &home);
    s.tug(&["pull", &name]).code(1).hint(&format!("tug login {}", registry.address()));

    let wrong =
        s.tug_with(&["login", "-u", LOGIN.0, "--password-stdin", registry.address()], b"no");
    wrong.code(1).says("refuses this user name and password");
    let (user, secret) = LOGIN;
    let input = format!("{secret}\n");
    let login = s.tug_with(
        &["login", "--username", user, "--password-stdin", registry.address()],
        input.as_bytes(),
    );
    assert_eq!(login.ok(), "Login Succeeded");
    login.says("The log-in is sealed in");
    let grep = s.shell(&format!(
        "grep -rlF -e {secret} -e $(printf '{user}:{secret}' | base64) {home}; stat -c %a {home}/.config/tug/credentials.json"
    ));
    assert_eq!(grep.stdout.trim(), "600", "no file holds the password");
    s.tug(&["pull", &name]).ok();
    let copy = format!("{}/mine", registry.address());
    s.tug(&["tag", &name, &copy]).ok();
    s.tug(&["push", &copy]).ok();
    s.tug(&["login", registry.address()]).shows("Authenticating with existing credentials...");

    let logout = s.tug(&["logout", registry.address()]);
    assert_eq!(logout.ok(), format!("Removing login credentials for {}", registry.address()));
    s.tug(&["push", &copy]).code(1).says("push access denied for");
    let logout = s.tug(&["logout", registry.address()]);
    assert_eq!(logout.ok(), format!("Not logged in to {}", registry.address()));

    let plain = s.tug(&["login", "-u", user, "-p", secret, "--plain-text", registry.address()]);
    plain.shows("Login Succeeded");
    plain.says("the password is kept unencrypted in");
    s.tug(&["push", &copy]).ok();
    s.tug(&["login", registry.address(), "-u", user])
        .refused(1, "Cannot perform an interactive login from a non TTY device");
    s.tug(&["login", "--password-stdin"])
        .refused(1, "Must provide --username with --password-stdin");
}

#[test]
fn a_password_is_asked_for_and_not_shown() {
    let mut s = Sandbox::empty();
    let Some(mut registry) = registry_with_busybox() else { return };
    registry.require_login().unwrap_or_else(|e| panic!("{e}"));
    let home = s.path("home");
    s.set_env("HOME", &home);
    let mut terminal = s.terminal(&["login", registry.address()]);
    terminal.expect("Username: ");
    terminal.send(&format!("{}\n", LOGIN.0));
    terminal.expect("Password: ");
    terminal.send(&format!("{}\n", LOGIN.1));
    terminal.expect("Login Succeeded");
    assert_eq!(terminal.wait(), 0);
    assert!(!terminal.screen().contains(LOGIN.1), "{}", terminal.screen());
}

#[test]
fn a_credential_helper_keeps_what_docker_s_file_tells_it_to() {
    let mut s = Sandbox::empty();
    let Some(mut registry) = registry_with_busybox() else { return };
    registry.require_login().unwrap_or_else(|e| panic!("{e}"));
    let home = s.path("home");
    let helper = "#!/bin/sh\ncd \"$HOME\"\necho \"$1\" >>helper.log\ncase $1 in\nstore) cat >kept ;;\n\
                  get) cat >/dev/null; [ -s kept ] && cat kept || { echo 'credentials not found in native keychain'; exit 1; } ;;\n\
                  erase) cat >/dev/null; rm kept ;;\nesac\n";
    s.shell(&format!(
        "mkdir -p {home}/.docker {home}/bin && cat >{home}/bin/docker-credential-test <<'X'\n{helper}X\n\
         chmod 755 {home}/bin/docker-credential-test && echo '{{\"credsStore\":\"test\"}}' >{home}/.docker/config.json"
    ))
    .ok();
    s.set_env("HOME", &home);
    s.set_env("PATH", &format!("{home}/bin:/usr/sbin:/usr/bin:/sbin:/bin"));
    let (user, secret) = LOGIN;
    let login = s.tug_with(
        &["login", "-u", user, "--password-stdin", registry.address()],
        secret.as_bytes(),
    );
    login.shows("Login Succeeded");
    login.says("The log-in is kept by docker-credential-test.");
    let name = format!("{}/library/busybox", registry.address());
    s.tug(&["pull", &name]).ok();
    s.tug(&["logout", registry.address()]).shows("Removing login credentials");
    s.tug(&["logout", registry.address()]).shows("Not logged in");
    let log =
        s.shell(&format!("sort -u {home}/helper.log; ls {home}/.config/tug 2>/dev/null; true"));
    assert_eq!(log.lines(), ["erase", "get", "store"], "{log}");
}

#[test]
fn a_search_asks_the_registry_that_is_named() {
    let s = Sandbox::empty();
    let Some(registry) = registry_with_busybox() else { return };
    let found = s.tug(&["search", &format!("{}/busy", registry.address())]);
    assert_eq!(found.lines().len(), 2, "{found}");
    assert!(found.lines()[0].starts_with("NAME"), "{found}");
    assert!(found.lines()[1].starts_with(&format!("{}/library/busybox", registry.address())));

    let server = Server::start(|asked| match asked.target.as_str() {
        "/v1/search?q=nginx&n=3" => Reply::new(
            200,
            r#"{"results":[
              {"name":"nginx","description":"Official build of Nginx.","star_count":20000,"is_official":true,"is_automated":false},
              {"name":"me/nginx","description":"mine","star_count":2,"is_official":false,"is_automated":false}]}"#,
        ),
        _ => Reply::new(404, ""),
    });
    let Ok(server) = server else { return };
    let term = format!("{}/nginx", server.address());
    let found = s.tug(&["search", "--limit", "3", &term]);
    let lines = found.lines();
    assert_eq!(
        lines[0].split_whitespace().collect::<Vec<_>>(),
        ["NAME", "DESCRIPTION", "STARS", "OFFICIAL"]
    );
    assert!(lines[1].starts_with("nginx ") && lines[1].trim_end().ends_with("[OK]"), "{found}");
    let format = "{{.Name}} {{.StarCount}}";
    let found = s.tug(&["search", "--limit", "3", "-f", "stars=3", "--format", format, &term]);
    assert_eq!(found.ok(), "nginx 20000");
    s.tug(&["search", "--limit", "4", &term])
        .code(1)
        .says("offers neither a search nor a list of its repositories");
    s.tug(&["search", "--limit", "101", "x"])
        .refused(1, "limit 101 is outside the range of [1, 100]");
}

#[test]
fn settings_and_policies_are_read_from_the_files_the_user_has() {
    let mut s = Sandbox::empty();
    let Some(registry) = registry_with_busybox() else { return };
    let home = s.path("home");
    s.set_env("HOME", &home);
    let name = format!("{}/library/busybox", registry.address());
    s.shell(&format!(
        "mkdir -p {home}/.config/tug && cd {home}/.config/tug && \
         echo '{{\"rules\":{{\"{0}/library\":\"reject\"}}}}' >policy.json && \
         echo '{{\"registries\":{{\"mirror.invalid\":{{\"fallbacks\":[\"http://{0}\"]}}}}}}' >registries.json",
        registry.address()
    ))
    .ok();
    s.tug(&["pull", &name]).code(1).says("is not wanted here").says("policy.json rejects it");
    s.tug(&["run", "--rm", &name, "true"]).code(125).says("is not wanted here");
    // What answers for a registry does not change whose image it is.
    s.tug(&["pull", "-q", "mirror.invalid/library/busybox"]).ok();
    let digests = s.tug(&["images", "--format", "{{.Repository}}"]);
    assert_eq!(digests.ok(), "mirror.invalid/library/busybox");
    s.shell(&format!("echo '{{\"regstries\":1}}' >{home}/.config/tug/registries.json")).ok();
    s.tug(&["pull", &name]).code(1).says("registries.json").says("unknown field `regstries`");
}

#[test]
fn what_a_pull_kept_goes_with_its_image() {
    let s = Sandbox::empty();
    let Some(registry) = registry_with_busybox() else { return };
    let name = format!("{}/library/busybox", registry.address());
    s.tug(&["pull", "-q", &name]).ok();
    let count =
        |dir: &str| std::fs::read_dir(s.data_root().join(dir)).map_or(0, |entries| entries.count());
    assert_eq!((count("blobs/sha256"), count("partial")), (3, 0), "config, manifest, layer");
    s.tug(&["rmi", &name]).ok();
    assert_eq!(count("blobs/sha256"), 0);
}
