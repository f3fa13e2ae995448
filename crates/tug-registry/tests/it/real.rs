//! Against Debian's `docker-registry`.

use crate::support::*;
use serde_json::json;
use tug_registry::{Client, Platform};
use tug_test::layout::{Compression, Family};
use tug_test::push::push;
use tug_test::registry::Registry;
use tug_types::{Explain, Kind};

#[test]
fn both_families_and_an_index_are_pulled_and_missing_ones_are_named() {
    let Some(registry) = Registry::start().unwrap() else { return };
    let fixture = Fixture::new();
    let (layout, address) = (&fixture.layout, registry.address());
    let layers = layout.layers_of(&fixture.image).unwrap();
    let docker = layout.image(Family::Docker, &json!({}), &layers).unwrap();
    let list = layout.index(Family::Docker, &[(&docker, "linux/amd64")]).unwrap();
    let index = layout
        .index(Family::Oci, &[(&docker, "linux/arm64"), (&fixture.image, "linux/amd64")])
        .unwrap();
    for (tag, image) in
        [("oci", &fixture.image), ("docker", &docker), ("list", &list), ("index", &index)]
    {
        push(address, layout, image, "library/app", tag).unwrap();
    }
    let client = Client::new(settings()).unwrap();
    let amd64 = Platform::parse("linux/amd64").unwrap();
    for (tag, top, image) in [
        ("oci", &fixture.image, &fixture.image),
        ("docker", &docker, &docker),
        ("list", &list, &docker),
        ("index", &index, &fixture.image),
    ] {
        let app = reference(address, &format!("library/app:{tag}"));
        let resolved = client.resolve(&app, Some(&amd64), &|_, _| {}).unwrap();
        assert_eq!(resolved.digest.to_string(), top.digest, "{tag}");
        assert_eq!(resolved.manifest_digest.to_string(), image.digest, "{tag}");
        assert_eq!(resolved.manifest_type, image.media_type, "{tag}");
        assert_eq!(resolved.index.is_some(), top.digest != image.digest, "{tag}");
        let (bytes, _) = read_layer(&client, &resolved).unwrap();
        assert!(bytes == fixture.layer_bytes(), "{tag}");
        assert_eq!(client.digest_of(&app).unwrap().unwrap().to_string(), top.digest, "{tag}");
    }
    for (name, kind) in [("library/app:nope", Kind::NotFound), ("nope", Kind::NotFound)] {
        let error = client.resolve(&reference(address, name), None, &|_, _| {}).unwrap_err();
        assert_eq!(error.kind(), kind, "{error}");
        assert!(error.to_string().ends_with("not found: manifest unknown"), "{error}");
    }
}

#[test]
fn basic_authentication_is_asked_for_and_given() {
    let Some(mut registry) = Registry::start().unwrap() else { return };
    let fixture = Fixture::new();
    push(registry.address(), &fixture.layout, &fixture.image, "app", "latest").unwrap();
    registry.require_login().unwrap();
    let app = reference(registry.address(), "app");
    let error = resolve(settings(), &app).map(|_| ()).unwrap_err();
    assert_eq!(
        error.to_string().replace(registry.address(), "HOST"),
        "pull access denied for HOST/app, repository does not exist or may require authorization: \
         unauthorized: authentication required"
    );
    let config = docker_config(registry.address());
    let (client, resolved) = resolve(with_config(config.path()), &app).unwrap();
    read_layer(&client, &resolved).unwrap();

    let wrong = config_json(&format!(
        r#"{{"auths":{{"{}":{{"username":"tug","password":"wrong"}}}}}}"#,
        registry.address()
    ));
    let error = resolve(with_config(wrong.path()), &app).map(|_| ()).unwrap_err();
    assert_eq!(error.kind(), Kind::Denied);
}

#[test]
fn layers_of_every_compression_arrive_byte_for_byte() {
    let Some(registry) = Registry::start().unwrap() else { return };
    let fixture = Fixture::new();
    let layers: Vec<_> = [Compression::None, Compression::Gzip, Compression::Zstd]
        .into_iter()
        .map(|kind| {
            let fill = |tar: &mut tug_test::layer::LayerTar<&mut dyn std::io::Write>| {
                tar.zeros("zeros", 100_000)
            };
            fixture.layout.layer(kind, fill).unwrap()
        })
        .collect();
    let image = fixture.layout.image(Family::Oci, &json!({}), &layers).unwrap();
    push(registry.address(), &fixture.layout, &image, "app", "latest").unwrap();
    let (client, resolved) = resolve(settings(), &reference(registry.address(), "app")).unwrap();
    for layer in &resolved.manifest.layers {
        let mut reader = client.open(&resolved.source, layer, std::sync::Arc::new(|_| {})).unwrap();
        let mut bytes = Vec::new();
        std::io::Read::read_to_end(&mut reader, &mut bytes).unwrap();
        assert!(bytes == std::fs::read(fixture.layout.blob(&layer.digest.to_string())).unwrap());
    }
}

/// An address of this machine that is not loopback, if it has one. Sends nothing.
fn own_address() -> Option<String> {
    let socket = std::net::UdpSocket::bind("0.0.0.0:0").ok()?;
    socket.connect("192.0.2.1:9").ok()?;
    Some(socket.local_addr().ok()?.ip().to_string())
}

#[test]
fn https_is_verified_except_on_this_very_machine() {
    let Some(mut registry) = Registry::start().unwrap() else { return };
    let Some(host) = own_address() else {
        eprintln!("SKIPPED: this machine has no address but loopback");
        return;
    };
    let fixture = Fixture::new();
    push(registry.address(), &fixture.layout, &fixture.image, "app", "latest").unwrap();
    let loopback = registry.address().to_owned();
    let (certificate, address) = registry.require_tls(&host).unwrap();

    let app = reference(&address, "app");
    let error = resolve(settings(), &app).map(|_| ()).unwrap_err();
    let failure = error.failure();
    assert_eq!(
        failure.message.replace(&address, "HOST"),
        "get manifest latest of app from HOST: cannot connect: https://HOST: invalid peer \
         certificate: UnknownIssuer"
    );
    assert!(failure.hint.unwrap().contains("SSL_CERT_FILE"));

    let trusting = tug_registry::Settings { ca_file: Some(certificate), ..settings() };
    let (client, resolved) = resolve(trusting.clone(), &app).unwrap();
    let (bytes, _) = read_layer(&client, &resolved).unwrap();
    assert!(bytes == fixture.layer_bytes());

    let (client, resolved) = resolve(settings(), &reference(&loopback, "app")).unwrap();
    read_layer(&client, &resolved).unwrap();

    let missing = tug_registry::Settings { ca_file: Some("/nonexistent".into()), ..settings() };
    let error = resolve(missing, &app).map(|_| ()).unwrap_err();
    assert_eq!(
        error.failure().message,
        "read CA certificates from /nonexistent: no such file or directory"
    );
}

/// A directory of `certs.d` for an address.
fn certs_d(dir: &std::path::Path, address: &str) -> std::path::PathBuf {
    let host = dir.join(address);
    std::fs::create_dir_all(&host).unwrap();
    host
}

#[test]
fn a_private_ca_and_a_client_certificate_come_from_certs_d_or_the_settings() {
    let Some(mut registry) = Registry::start().unwrap() else { return };
    let Some(host) = own_address() else {
        eprintln!("SKIPPED: this machine has no address but loopback");
        return;
    };
    let fixture = Fixture::new();
    push(registry.address(), &fixture.layout, &fixture.image, "app", "latest").unwrap();
    let (ca, address) = registry.require_tls(&host).unwrap();
    let app = reference(&address, "app");
    let dir = tempfile::tempdir().unwrap();
    let place = certs_d(dir.path(), &address);
    std::fs::copy(&ca, place.join("ca.crt")).unwrap();
    let trusting = tug_registry::Settings { certs_dirs: vec![dir.path().to_owned()], ..settings() };
    let (client, resolved) = resolve(trusting.clone(), &app).unwrap();
    assert!(read_layer(&client, &resolved).unwrap().0 == fixture.layer_bytes());

    let with = |file: String| tug_registry::Settings {
        registries: tug_registry::Registries::parse(file.as_bytes()).unwrap(),
        ..settings()
    };
    let named = format!(r#"{{"registries":{{"{address}":{{"ca":"{}"}}}}}}"#, ca.display());
    resolve(with(named), &app).map(|_| ()).unwrap();
    let insecure = format!(r#"{{"registries":{{"{address}":{{"insecure":true}}}}}}"#);
    resolve(with(insecure), &app).map(|_| ()).unwrap();

    #[expect(clippy::disallowed_methods, reason = "another program makes the certificate")]
    let made = std::process::Command::new("openssl")
        .args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=me"])
        .args(["-addext", "extendedKeyUsage=clientAuth", "-keyout", "me.key", "-out", "me.cert"])
        .current_dir(&place)
        .output()
        .unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let shown = place.join("me.cert");
    registry.require_client(&shown).unwrap();
    let (client, resolved) = resolve(trusting, &app).unwrap();
    read_layer(&client, &resolved).unwrap();
    let named = format!(
        r#"{{"registries":{{"{address}":{{"ca":"{}","client-certificate":"{}","client-key":"{}"}}}}}}"#,
        ca.display(),
        shown.display(),
        place.join("me.key").display()
    );
    resolve(with(named), &app).map(|_| ()).unwrap();
    std::fs::remove_file(&shown).unwrap();
    let without = tug_registry::Settings { certs_dirs: vec![dir.path().to_owned()], ..settings() };
    let error = resolve(without, &app).map(|_| ()).unwrap_err();
    assert_eq!(error.kind(), Kind::Unavailable, "{error}");
}
