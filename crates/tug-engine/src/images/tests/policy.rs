//! Signatures that are demanded: made by cosign's rules with openssl, kept in Debian's registry.

use super::*;
use std::path::Path;
use tug_test::push::push;
use tug_test::registry::Registry;
use tug_types::Kind;

#[expect(clippy::disallowed_methods, reason = "another program signs")]
fn openssl(arguments: &[&str], dir: &Path) {
    let output = std::process::Command::new("openssl").args(arguments).current_dir(dir).output();
    let output = output.unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// A key pair; `NAME.key` and `NAME.pub` in the directory.
fn make_key(dir: &Path, name: &str) {
    let (key, public) = (format!("{name}.key"), format!("{name}.pub"));
    let kind: &[&str] = match name.starts_with("ed") {
        true => &["genpkey", "-algorithm", "ed25519", "-out", &key],
        false => {
            &["genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", &key]
        }
    };
    openssl(kind, dir);
    openssl(&["pkey", "-in", &key, "-pubout", "-out", &public], dir);
}

fn base64_of(bytes: &[u8], dir: &Path) -> String {
    std::fs::write(dir.join("raw"), bytes).unwrap();
    openssl(&["base64", "-A", "-in", "raw", "-out", "text"], dir);
    std::fs::read_to_string(dir.join("text")).unwrap()
}

struct Signer {
    dir: TempDir,
    registry: Registry,
    fixture: Fixture,
}

impl Signer {
    fn new() -> Option<Self> {
        let registry = Registry::start().unwrap()?;
        let dir = tempfile::tempdir().unwrap();
        for name in ["team", "other", "ed"] {
            make_key(dir.path(), name);
        }
        Some(Self { dir, registry, fixture: Fixture::new() })
    }

    /// Puts the image there under a name.
    fn put(&self, name: &str) -> ImageReference {
        let address = self.registry.address();
        push(address, &self.fixture.layout, &self.fixture.image, name, "1").unwrap();
        reference(&format!("{address}/{name}:1"))
    }

    /// Signs what is said about a digest, and puts it where the signature of `of` belongs.
    fn sign(&self, name: &str, of: &str, says: &str, identity: &str, key: &str) {
        let dir = self.dir.path();
        let payload = json!({"critical": {"identity": {"docker-reference": identity},
            "image": {"docker-manifest-digest": says},
            "type": "cosign container image signature"}, "optional": null})
        .to_string();
        std::fs::write(dir.join("payload"), &payload).unwrap();
        let key_file = format!("{key}.key");
        match key.starts_with("ed") {
            true => openssl(
                &[
                    "pkeyutl", "-sign", "-rawin", "-inkey", &key_file, "-in", "payload", "-out",
                    "sig",
                ],
                dir,
            ),
            false => {
                openssl(&["dgst", "-sha256", "-sign", &key_file, "-out", "sig", "payload"], dir)
            }
        }
        let signature = base64_of(&std::fs::read(dir.join("sig")).unwrap(), dir);
        let layout = &self.fixture.layout;
        let (config, layer) = (b"{}", payload.as_bytes());
        let manifest = json!({"schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": {"mediaType": "application/vnd.oci.image.config.v1+json",
                "digest": layout.put(config).unwrap(), "size": config.len()},
            "layers": [{"mediaType": "application/vnd.dev.cosign.simplesigning.v1+json",
                "digest": layout.put(layer).unwrap(), "size": layer.len(),
                "annotations": {"dev.cosignproject.cosign/signature": signature}}]})
        .to_string();
        let manifest = Manifest {
            media_type: "application/vnd.oci.image.manifest.v1+json".to_owned(),
            digest: layout.put(manifest.as_bytes()).unwrap(),
            size: manifest.len() as u64,
            config: String::new(),
        };
        let tag = format!("{}.sig", of.replace(':', "-"));
        push(self.registry.address(), layout, &manifest, name, &tag).unwrap();
    }

    /// A sandbox whose policy demands a signature by these keys for `REGISTRY/team`, and rejects
    /// `REGISTRY/evil`.
    fn sandbox(&self, keys: &[&str], identity: &str) -> Sandbox {
        let mut sandbox = Sandbox::new();
        let path = sandbox.dir.path().join("policy.json");
        let keys: Vec<_> =
            keys.iter().map(|key| self.dir.path().join(format!("{key}.pub"))).collect();
        let address = self.registry.address();
        let policy = json!({"rules": {
            format!("{address}/team"): {"keys": keys, "identity": identity},
            format!("{address}/evil"): "reject"}});
        std::fs::write(&path, policy.to_string()).unwrap();
        sandbox.engine.settings.registries.policies = vec![path];
        sandbox
    }
}

#[test]
fn what_is_signed_as_demanded_is_pulled_and_nothing_else() {
    let Some(signer) = Signer::new() else { return };
    let digest = signer.fixture.image.digest.clone();
    let (app, free) = (signer.put("team/app"), signer.put("free/app"));
    let refused = |sandbox: &Sandbox, name: &ImageReference, words: &str| {
        let failure = sandbox.pull(name).expect_err("the pull succeeded").failure();
        assert_eq!(failure.kind, Kind::Denied, "{}", failure.message);
        assert!(failure.message.contains(words), "{}", failure.message);
        assert!(failure.hint.is_some());
        assert_eq!(sandbox.leftovers(), [""; 0]);
    };
    let sandbox = signer.sandbox(&["team", "ed"], "any");
    sandbox.pull(&free).unwrap();
    let sandbox = signer.sandbox(&["team", "ed"], "any");
    refused(&sandbox, &app, "is not signed");
    refused(&sandbox, &signer.put("evil/app"), "is not wanted here");

    signer.sign("team/app", &digest, &digest, app.name().as_str(), "other");
    refused(&sandbox, &app, "made with another key");
    let elsewhere = tug_test::layout::digest_of(b"another image");
    signer.sign("team/app", &digest, &elsewhere, app.name().as_str(), "team");
    refused(&sandbox, &app, "for another image");

    for key in ["team", "ed"] {
        signer.sign("team/app", &digest, &digest, app.name().as_str(), key);
        let sandbox = signer.sandbox(&["team", "ed"], "repository");
        let (pulled, _) = sandbox.pull(&app).unwrap();
        assert_eq!(pulled.digest.to_string(), digest, "{key}");
        // The second time, too, it is looked at.
        sandbox.pull(&app).unwrap();
    }
    signer.sign("team/app", &digest, &digest, free.name().as_str(), "team");
    signer.sandbox(&["team"], "any").pull(&app).unwrap();
    refused(&signer.sandbox(&["team"], "repository"), &app, "for another repository");
}

#[test]
fn the_signature_of_an_index_covers_its_images() {
    let Some(signer) = Signer::new() else { return };
    let fixture = &signer.fixture;
    let index = fixture.layout.index(Family::Oci, &[(&fixture.image, "linux/amd64")]).unwrap();
    push(signer.registry.address(), &fixture.layout, &index, "team/index", "1").unwrap();
    let name = reference(&format!("{}/team/index:1", signer.registry.address()));
    signer.sign("team/index", &index.digest, &index.digest, "", "team");
    signer.sandbox(&["team"], "any").pull(&name).unwrap();
}

/// The policy is asked at the door: what came in before it stays and runs, and is refused at its next pull.
#[test]
fn what_came_before_a_policy_stays_until_it_is_pulled_again() {
    let Some(signer) = Signer::new() else { return };
    let free = signer.put("free/app");
    let sandbox = signer.sandbox(&["team"], "any");
    sandbox.pull(&free).unwrap();
    let before = sandbox.leftovers();
    let path = &sandbox.engine.settings.registries.policies[0];
    std::fs::write(path, r#"{"default": "reject"}"#).unwrap();
    let failure = sandbox.pull(&free).expect_err("the pull succeeded").failure();
    assert_eq!(failure.kind, Kind::Denied, "{}", failure.message);
    assert_eq!(sandbox.leftovers(), before);
    let row = sandbox.engine.store().image_by_reference(&free).unwrap();
    assert_eq!(row.unwrap().id.to_string(), signer.fixture.image.config);
}
