//! Logging in: challenges, token servers, what is never sent.

use crate::support::*;
use tug_test::scripted::{Asked, Reply, Server};
use tug_types::Kind;

/// A registry that takes `token-N` for the N it currently wants, and its token server.
fn bearer(fixture: &Fixture, token_server: &Server) -> Server {
    let realm = format!("http://{}/token", token_server.address());
    serve(fixture.shelf(), move |asked| {
        let challenge = format!(
            r#"Bearer realm="{realm}",service="tests",scope="repository:app:pull",error="invalid_token""#
        );
        let wanted = asked.header("authorization") == Some("Bearer good");
        if wanted && asked.target == "/v2/" {
            return Some(Reply::new(200, "{}"));
        }
        (!wanted).then(|| {
            Reply::refusal(401, "UNAUTHORIZED", "authentication required")
                .with("WWW-Authenticate", &challenge)
        })
    })
}

fn token(body: &str) -> Reply {
    Reply::new(200, body).with("Content-Type", "application/json")
}

#[test]
fn an_anonymous_token_is_fetched_once_and_used_for_everything() {
    let fixture = Fixture::new();
    let tokens = Server::start(|_| token(r#"{"token":"good","expires_in":300}"#)).unwrap();
    let server = bearer(&fixture, &tokens);
    let (bytes, _) = download(&server, settings()).unwrap();
    assert!(bytes == fixture.layer_bytes());
    let asked = tokens.asked();
    assert_eq!(asked.len(), 1);
    assert_eq!(asked[0].target, "/token?service=tests&scope=repository%3Aapp%3Apull");
    assert_eq!(asked[0].header("authorization"), None);
}

#[test]
fn a_password_goes_to_the_token_server_alone() {
    let fixture = Fixture::new();
    let tokens = Server::start(|asked| match asked.header("authorization") {
        Some("Basic dHVnOnNlY3JldA==") => token(r#"{"access_token":"good"}"#),
        _ => Reply::new(401, ""),
    })
    .unwrap();
    let server = bearer(&fixture, &tokens);
    let config = docker_config(&server.address());
    download(&server, with_config(config.path())).unwrap();
    assert!(tokens.asked()[0].target.ends_with("&account=tug"), "{:?}", tokens.asked());
    let basic = |asked: &Asked| {
        asked.header("authorization").is_some_and(|value| value.starts_with("Basic"))
    };
    assert!(!server.asked().iter().any(basic));
}

#[test]
fn an_identity_token_is_exchanged() {
    let fixture = Fixture::new();
    let tokens = Server::start(|asked| {
        let body = String::from_utf8_lossy(&asked.body).into_owned();
        let wanted = "grant_type=refresh_token&service=tests&client_id=tug&scope=repository%3Aapp%3A\
                      pull&refresh_token=long%2Blived";
        if asked.method == "POST" && body == wanted {
            token(r#"{"access_token":"good"}"#)
        } else {
            Reply::new(400, body)
        }
    })
    .unwrap();
    let server = bearer(&fixture, &tokens);
    let config = config_json(&format!(
        r#"{{"auths":{{"{}":{{"auth":"","identitytoken":"long+lived"}}}}}}"#,
        server.address()
    ));
    download(&server, with_config(config.path())).unwrap();
}

#[test]
fn a_token_that_runs_out_is_renewed_in_the_middle() {
    let fixture = Fixture::new();
    // Every token is good for two requests.
    let tokens =
        Server::start(|asked| token(&format!(r#"{{"token":"t{}"}}"#, asked.earlier))).unwrap();
    let realm = format!("http://{}/token", tokens.address());
    let uses = std::sync::Mutex::new(std::collections::HashMap::<String, u32>::new());
    let server = serve(fixture.shelf(), move |asked| {
        let shown = asked.header("authorization").unwrap_or("none").to_owned();
        let mut uses = uses.lock().unwrap();
        let used = uses.entry(shown.clone()).or_default();
        *used += 1;
        let spent = shown == "none" || *used > 2;
        spent.then(|| {
            Reply::new(401, "").with("WWW-Authenticate", &format!(r#"Bearer realm="{realm}""#))
        })
    });
    let (bytes, _) = download(&server, settings()).unwrap();
    assert!(bytes == fixture.layer_bytes());
    assert_eq!(tokens.asked().len(), 2);
}

#[test]
fn a_lifetime_gone_by_is_not_tried_again() {
    let fixture = Fixture::new();
    let tokens = Server::start(|_| token(r#"{"token":"good","expires_in":0}"#)).unwrap();
    let server = bearer(&fixture, &tokens);
    download(&server, settings()).unwrap();
    // Manifest, config and layer each needed a token of their own.
    assert_eq!(tokens.asked().len(), 3);
}

#[test]
fn a_registry_that_is_never_satisfied_is_left() {
    let tokens = Server::start(|_| token(r#"{"token":"useless"}"#)).unwrap();
    let server = bearer(&Fixture::new(), &tokens);
    let failure = refused(&server, settings());
    assert_eq!(
        failure.message,
        "pull access denied for HOST/app, repository does not exist or may require authorization: \
         unauthorized: authentication required"
    );
    assert_eq!(failure.kind, Kind::Denied);
    assert_eq!(failure.hint.unwrap(), "check the name, or log in with `tug login HOST`");
    assert_eq!(server.asked().len(), 2);
    assert_eq!(tokens.asked().len(), 1);
}

#[test]
fn a_wrong_password_is_the_token_servers_word() {
    let tokens =
        Server::start(|_| Reply::new(401, r#"{"details":"incorrect username or password"}"#))
            .unwrap();
    let server = bearer(&Fixture::new(), &tokens);
    let config = docker_config(&server.address());
    let failure = refused(&server, with_config(config.path()));
    assert_eq!(
        failure.message.replace(&tokens.address(), "TOKENS"),
        "get manifest latest of app from HOST: token server http://TOKENS/token: HTTP 401 \
         Unauthorized: incorrect username or password"
    );
    assert_eq!(failure.kind, Kind::Denied);
    assert_eq!(failure.hint.unwrap(), "log in again with `tug login HOST`");
}

#[test]
fn a_token_server_that_is_down_or_talks_nonsense_is_named() {
    for (reply, tries, words) in [
        (Reply::new(503, ""), 3, "HTTP 503 Service Unavailable"),
        (Reply::new(200, "hello"), 1, "unreadable answer: expected value at line 1 column 1"),
        (Reply::new(200, "{}"), 1, "its answer holds no token"),
        (
            Reply::new(307, "").with("Location", "ftp://x"),
            1,
            "redirected to \"ftp://x\": that is no web address",
        ),
    ] {
        let tokens = Server::start(move |_| reply.clone()).unwrap();
        let server = bearer(&Fixture::new(), &tokens);
        let failure = refused(&server, settings());
        assert!(failure.message.ends_with(words), "{}", failure.message);
        assert_eq!(tokens.asked().len(), tries, "{words}");
    }
}

#[test]
fn an_unknown_scheme_is_shown() {
    let server =
        Server::start(|_| Reply::new(401, "").with("WWW-Authenticate", "Negotiate")).unwrap();
    assert_eq!(
        refused(&server, settings()).message,
        "get manifest latest of app from HOST: the registry wants an authentication tug does not \
         know: \"Negotiate\""
    );
}

#[test]
fn credentials_that_cannot_be_read_are_explained_when_they_are_missed() {
    let server =
        Server::start(|_| Reply::new(401, "").with("WWW-Authenticate", "Basic realm=x")).unwrap();
    let config = config_json(r#"{"credsStore":"tug-nonexistent"}"#);
    let failure = refused(&server, with_config(config.path()));
    let hint = failure.hint.unwrap();
    assert!(
        hint.starts_with("the configured credentials could not be read: credential helper"),
        "{hint}"
    );
}

/// Started again by the test below with a `PATH` that holds the helper.
#[test]
#[ignore = "runs inside a_credential_helper_is_asked"]
fn with_a_helper_in_the_path() {
    let server = Server::start(|asked| match asked.header("authorization") {
        Some("Basic aGVscGVyOnMzY3JldA==") => Reply::new(404, ""),
        _ => Reply::new(401, "").with("WWW-Authenticate", "Basic realm=x"),
    })
    .unwrap();
    let config = config_json(&format!(r#"{{"credHelpers":{{"{}":"tugtest"}}}}"#, server.address()));
    assert_eq!(refused(&server, with_config(config.path())).kind, Kind::NotFound);
}

#[test]
#[expect(clippy::disallowed_methods, reason = "a child's PATH is changed, never this process's")]
fn a_credential_helper_is_asked() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    let helper = dir.path().join("docker-credential-tugtest");
    let script = "#!/bin/sh\nread host\necho \"{\\\"ServerURL\\\":\\\"$host\\\",\\\"Username\\\":\
                  \\\"helper\\\",\\\"Secret\\\":\\\"s3cret\\\"}\"\n";
    std::fs::write(&helper, script).unwrap();
    std::fs::set_permissions(&helper, std::fs::Permissions::from_mode(0o755)).unwrap();
    let path = std::env::var("PATH").unwrap_or_default();
    let output = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "auth::with_a_helper_in_the_path", "--ignored"])
        .env("PATH", format!("{}:{path}", dir.path().display()))
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success() && text.contains("1 passed"), "{text}");
}

#[test]
fn a_login_is_checked_and_answered_with_what_is_to_be_kept() {
    use tug_registry::{Client, Error, Keeper, Settings, Vault};
    let fixture = Fixture::new();
    let tokens = Server::start(|asked| match asked.header("authorization") {
        Some("Basic dHVnOnNlY3JldA==") => token(r#"{"token":"good","refresh_token":"long+lived"}"#),
        _ => Reply::new(401, r#"{"details":"incorrect username or password"}"#),
    })
    .unwrap();
    let server = bearer(&fixture, &tokens);
    let dir = tempfile::tempdir().unwrap();
    let vault = Vault { file: dir.path().join("c"), key: dir.path().join("k") };
    let settings = Settings { vault: Some(vault.clone()), ..settings() };
    let client = Client::new(settings.clone()).unwrap();
    let error = client.login(&server.address(), "tug", "wrong").unwrap_err();
    assert!(matches!(error, Error::LoginRefused { .. }), "{error}");
    assert!(error.to_string().ends_with("incorrect username or password"), "{error}");
    assert!(client.login_again(&server.address()).unwrap().is_none());
    let account = client.login(&server.address(), "tug", "secret").unwrap();
    assert!(tokens.asked().last().unwrap().target.contains("offline_token=true"));
    let kept = tug_registry::keep(&settings, &server.address(), &account, false).unwrap();
    assert_eq!(kept, Keeper::Vault(vault.file));
    assert!(!format!("{account:?}").contains("long+lived"));
}
