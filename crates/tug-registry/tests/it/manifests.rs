//! Resolving: what is refused, and in which words.

use crate::support::*;
use serde_json::json;
use tug_registry::{Client, Platform, Settings};
use tug_test::layout::{Family, Manifest, digest_of};
use tug_test::scripted::{Reply, Server};
use tug_types::{Digest, Explain, Kind};

fn is_manifest(asked: &tug_test::scripted::Asked) -> bool {
    asked.target.contains("/manifests/")
}

#[test]
fn an_unknown_tag_is_said_as_docker_says_it() {
    let fixture = Fixture::new();
    let server = serve(fixture.shelf(), |_| None);
    let error =
        resolve(settings(), &reference(&server.address(), "app:nope")).map(|_| ()).unwrap_err();
    let failure = named(&error, &server);
    assert_eq!(failure.message, "manifest for HOST/app:nope not found: manifest unknown");
    assert_eq!(failure.kind, Kind::NotFound);
    assert!(failure.hint.unwrap().contains("check the tag"));
}

#[test]
fn a_bare_404_is_an_unknown_manifest_too() {
    let server = Server::start(|_| Reply::new(404, "<html>not here</html>")).unwrap();
    let failure = refused(&server, settings());
    assert_eq!(failure.message, "manifest for HOST/app:latest not found: manifest unknown");
}

#[test]
fn an_unknown_repository_may_be_a_private_one() {
    let server = Server::start(|_| {
        Reply::refusal(404, "NAME_UNKNOWN", "repository name not known to registry")
    })
    .unwrap();
    let failure = refused(&server, settings());
    assert_eq!(
        failure.message,
        "pull access denied for HOST/app, repository does not exist or may require authorization: \
         name unknown: repository name not known to registry"
    );
    assert_eq!(failure.kind, Kind::Denied);
    assert_eq!(failure.hint.unwrap(), "check the name, or log in with `tug login HOST`");
}

#[test]
fn server_errors_are_tried_again_then_named() {
    let server = Server::start(|_| Reply::refusal(500, "UNKNOWN", "disk on fire")).unwrap();
    let failure = refused(&server, settings());
    assert_eq!(
        failure.message,
        "get manifest latest of app from HOST: HTTP 500 Internal Server Error: unknown: disk on fire"
    );
    assert_eq!(failure.kind, Kind::Unavailable);
    assert_eq!(server.count("/manifests/latest"), 3);

    let fixture = Fixture::new();
    let server = serve(fixture.shelf(), |asked| (asked.earlier < 2).then(|| Reply::new(503, "")));
    resolve(settings(), &reference(&server.address(), "app")).map(|_| ()).unwrap();
}

#[test]
fn a_rate_limit_is_waited_for_when_short_and_told_when_long() {
    let fixture = Fixture::new();
    let server = serve(fixture.shelf(), |asked| {
        let limited = Reply::refusal(429, "TOOMANYREQUESTS", "slow down");
        (is_manifest(asked) && asked.earlier == 0).then(|| limited.with("Retry-After", "1"))
    });
    let started = std::time::Instant::now();
    let client = Client::new(settings()).unwrap();
    let waits = std::sync::Mutex::new(Vec::new());
    let told = |attempt, wait| waits.lock().unwrap().push((attempt, wait));
    client.resolve(&reference(&server.address(), "app"), None, &told).unwrap();
    assert!(started.elapsed().as_secs() >= 1, "did not wait");
    assert_eq!(*waits.lock().unwrap(), [(2, std::time::Duration::from_secs(1))]);

    let server = Server::start(|_| {
        let limited =
            Reply::refusal(429, "TOOMANYREQUESTS", "you have reached your pull rate limit");
        limited.with("Retry-After", "3600")
    })
    .unwrap();
    let failure = refused(&server, settings());
    assert_eq!(
        failure.message,
        "get manifest latest of app from HOST: too many requests (HTTP 429): toomanyrequests: you \
         have reached your pull rate limit"
    );
    let hint = failure.hint.unwrap();
    assert!(hint.starts_with("retry after 3600 s, at ") && hint.ends_with(" UTC"), "{hint}");
    assert_eq!(server.count("/manifests/"), 1, "a long wait must not be tried at all");
}

#[test]
fn a_manifest_other_than_its_digest_is_refused() {
    let fixture = Fixture::new();
    let server = serve(fixture.shelf(), |asked| {
        is_manifest(asked).then(|| {
            Reply::new(200, "{}").with("Docker-Content-Digest", &digest_of(b"something else"))
        })
    });
    let message = refused(&server, settings()).message;
    assert!(message.contains("content does not match its digest: expected sha256:"), "{message}");

    let by_digest = format!("app@{}", digest_of(b"what was asked for"));
    let server = serve(fixture.shelf(), |asked| is_manifest(asked).then(|| Reply::new(200, "{}")));
    let error = resolve(settings(), &reference(&server.address(), &by_digest)).map(|_| ());
    let message = error.unwrap_err().to_string();
    assert!(message.contains("content does not match its digest"), "{message}");
}

#[test]
fn what_is_no_image_is_refused_before_a_layer_moves() {
    let fixture = Fixture::new();
    let config = |kind: &str| json!({"mediaType": kind, "digest": fixture.image.config, "size": 1});
    let layer = |kind: &str| json!([{"mediaType": kind, "digest": fixture.layer, "size": 1}]);
    let image_config = "application/vnd.oci.image.config.v1+json";
    let oci_layer = "application/vnd.oci.image.layer.v1.tar+gzip";
    let cases = [
        (
            json!({"schemaVersion": 1, "name": "app", "fsLayers": [], "history": []}),
            "manifest latest of app from HOST is not an image: it is a schema 1 manifest, a format \
             Docker stopped writing in 2016"
                .to_owned(),
        ),
        (
            json!({"schemaVersion": 2, "layers": layer(oci_layer),
                   "config": config("application/vnd.cncf.helm.config.v1+json")}),
            "HOST/app:latest is not a container image but an artifact of type \
             application/vnd.cncf.helm.config.v1+json"
                .to_owned(),
        ),
        (
            json!({"schemaVersion": 2, "config": config(image_config),
                   "layers": layer("application/vnd.docker.image.rootfs.foreign.diff.tar.gzip")}),
            format!(
                "HOST/app:latest: layer {} is foreign \
                 (application/vnd.docker.image.rootfs.foreign.diff.tar.gzip): registries do not \
                 hold it",
                fixture.layer
            ),
        ),
        (
            json!({"schemaVersion": 2, "config": config(image_config),
                   "layers": layer("application/vnd.oci.image.layer.v1.tar+encrypted")}),
            format!(
                "HOST/app:latest: layer {} has the unsupported type \
                 \"application/vnd.oci.image.layer.v1.tar+encrypted\"",
                fixture.layer
            ),
        ),
    ];
    for (manifest, wanted) in cases {
        let server = serve(fixture.shelf(), move |asked| {
            is_manifest(asked).then(|| Reply::new(200, manifest.to_string()))
        });
        let failure = refused(&server, settings());
        assert_eq!(failure.message, wanted);
        assert_eq!(failure.kind, Kind::Invalid);
        assert_eq!(server.count("/blobs/"), 0);
    }
}

#[test]
fn a_page_of_html_is_no_manifest() {
    let server = Server::start(|_| {
        Reply::new(200, "<html>log in to our hotel</html>").with("Content-Type", "text/html")
    })
    .unwrap();
    let message = refused(&server, settings()).message;
    assert!(
        message.starts_with("manifest latest of app from HOST is not an image: it cannot be read"),
        "{message}"
    );
}

#[test]
fn an_endless_manifest_is_cut_off() {
    let server = Server::start(|_| {
        let mut reply = Reply::new(200, vec![b' '; 5 << 20]);
        reply.chunked = true;
        reply
    })
    .unwrap();
    let message = refused(&server, settings()).message;
    assert_eq!(
        message,
        "get manifest latest of app from HOST: larger than the 4194304 bytes tug accepts"
    );
}

#[test]
fn the_platform_is_chosen_from_an_index_or_the_choice_is_listed() {
    let fixture = Fixture::new();
    let image = |n: u32| -> Manifest {
        let config = json!({"Labels": {"n": n.to_string()}});
        let layers = fixture.layout.layers_of(&fixture.image).unwrap();
        fixture.layout.image(Family::Oci, &config, &layers).unwrap()
    };
    let (six, seven) = (image(6), image(7));
    let entries = [(&six, "linux/arm/v6"), (&seven, "linux/arm/v7")];
    for family in [Family::Oci, Family::Docker] {
        let index = fixture.layout.index(family, &entries).unwrap();
        let server = serve(fixture.shelf().tag("latest", &index), |_| None);
        let app = reference(&server.address(), "app");
        let client = Client::new(settings()).unwrap();
        let error =
            client.resolve(&app, Some(&Platform::parse("linux/s390x").unwrap()), &|_, _| {});
        let failure = named(&error.map(|_| ()).unwrap_err(), &server);
        assert_eq!(
            failure.message,
            "no matching manifest for linux/s390x in the manifest list entries of HOST/app:latest: \
             it has linux/arm/v6, linux/arm/v7"
        );
        assert_eq!(failure.hint.unwrap(), "choose one with --platform linux/arm/v6");
        // The configs say linux/amd64: what the index promises is checked against them.
        let wanted = Platform::parse("linux/arm/v7").unwrap();
        let error = client.resolve(&app, Some(&wanted), &|_, _| {}).map(|_| ()).unwrap_err();
        assert!(error.to_string().contains("wanted linux/arm/v7, actual: linux/amd64"), "{error}");
        assert_eq!(server.count(&seven.digest), 1);
        assert_eq!(server.count(&six.digest), 0);
    }
}

#[test]
fn one_image_for_another_machine_is_said_so() {
    let fixture = Fixture::new();
    let server = serve(fixture.shelf(), |_| None);
    let app = reference(&server.address(), "app");
    let client = Client::new(settings()).unwrap();
    let wanted = Platform::parse("linux/riscv64").unwrap();
    let error = client.resolve(&app, Some(&wanted), &|_, _| {}).map(|_| ()).unwrap_err();
    let failure = named(&error, &server);
    assert_eq!(
        failure.message,
        "image HOST/app:latest does not match the specified platform: wanted linux/riscv64, \
         actual: linux/amd64"
    );
    assert_eq!(failure.kind, Kind::NotFound);
}

#[test]
fn config_and_manifest_must_belong_together() {
    let fixture = Fixture::new();
    let manifest = std::fs::read(fixture.layout.blob(&fixture.image.digest)).unwrap();
    let mut manifest: serde_json::Value = serde_json::from_slice(&manifest).unwrap();
    manifest["layers"] = json!([]);
    let server = serve(fixture.shelf(), move |asked| {
        is_manifest(asked).then(|| Reply::new(200, manifest.to_string()))
    });
    assert_eq!(
        refused(&server, settings()).message,
        "HOST/app:latest: its manifest has 0 layers, its configuration 1"
    );
}

#[test]
fn bytes_are_kept_as_they_came() {
    let fixture = Fixture::new();
    let server = serve(fixture.shelf(), |_| None);
    let (_, resolved) = resolve(settings(), &reference(&server.address(), "app")).unwrap();
    let stored = |digest: &str| std::fs::read(fixture.layout.blob(digest)).unwrap();
    assert_eq!(resolved.digest.to_string(), fixture.image.digest);
    assert_eq!(resolved.manifest_bytes, stored(&fixture.image.digest));
    assert_eq!(resolved.config_bytes, stored(&fixture.image.config));
    assert_eq!(resolved.manifest.config.digest.to_string(), fixture.image.config);
    assert!(resolved.index.is_none());
}

#[test]
fn a_head_request_tells_the_digest() {
    let fixture = Fixture::new();
    let server = serve(fixture.shelf(), |_| None);
    let client = Client::new(settings()).unwrap();
    let digest = client.digest_of(&reference(&server.address(), "app")).unwrap();
    assert_eq!(digest, Some(Digest::parse(&fixture.image.digest).unwrap()));
    assert!(server.asked().iter().all(|asked| asked.method == "HEAD"));
}

#[test]
fn nobody_listening_is_said_at_once() {
    let address = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.local_addr().unwrap().to_string()
    };
    let started = std::time::Instant::now();
    let patient = Settings::default();
    let error = resolve(patient, &reference(&address, "app")).map(|_| ()).unwrap_err();
    assert!(started.elapsed().as_secs() < 2, "took {:?}", started.elapsed());
    assert_eq!(
        error.to_string().replace(&address, "HOST"),
        "get manifest latest of app from HOST: cannot connect: https://HOST: Connection refused (os \
         error 111); http://HOST: Connection refused (os error 111)"
    );
    assert_eq!(error.kind(), Kind::Unavailable);
}
