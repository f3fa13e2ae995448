//! The policy file, `policy.json`: whose signatures an image must bear before anything of it is
//! unpacked.
//!
//! ```json
//! {
//!   "default": "accept",
//!   "rules": {
//!     "registry.lan/team": {"keys": ["/etc/tug/keys/team.pub"], "identity": "repository"},
//!     "docker.io/library": "accept",
//!     "docker.io": "reject"
//!   }
//! }
//! ```
//!
//! The rule with the longest name that the image's name equals or lies below decides; `default`
//! where there is none. With several files, the machine's and the user's, each must agree: a user
//! can be stricter than the machine, never laxer. Signatures are cosign's, by key (`cosign sign
//! --key`), from beside the image in its repository; one valid signature by one of the keys is
//! enough. They are for a digest; with `"identity": "repository"` they must also name the image's
//! own repository, so that what was signed for one cannot be offered as another.
//!
//! The policy is asked at the door, as Podman's is: at every pull, also of an image that is here and
//! up to date (`run --pull always` and the base images of `build --pull` are pulls). What came in
//! before the policy did, or by another door (`load`, `import`, `build`, `commit`), is not held
//! against it when it runs: whoever may load an image may do anything else on this machine too, and a
//! container must start while its registry cannot be reached. Becoming stricter is therefore followed
//! by a pull of what is in use.

use crate::error::Error;
use crate::registries::read_if_there;
use crate::signature::Key;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use tug_types::ImageReference;

/// All policy files together.
#[derive(Clone, Debug, Default)]
pub struct Policies(Vec<(PathBuf, Policy)>);

/// One file.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Policy {
    #[serde(default = "accept")]
    default: Rule,
    #[serde(default)]
    rules: BTreeMap<String, Rule>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
enum Rule {
    Word(Word),
    Signed(Signed),
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Word {
    Accept,
    Reject,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Signed {
    keys: Vec<PathBuf>,
    #[serde(default)]
    identity: Identity,
}

/// What a signature has to say about the name of what it signs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Identity {
    /// Whatever it likes: images are copied and mirrored.
    #[default]
    Any,
    /// The image's own registry and repository.
    Repository,
}

/// A signature that is demanded.
#[derive(Debug)]
pub(crate) struct Demand {
    /// By which file.
    pub(crate) policy: PathBuf,
    /// One of these must have made it.
    pub(crate) keys: Vec<Key>,
    pub(crate) identity: Identity,
}

fn accept() -> Rule {
    Rule::Word(Word::Accept)
}

impl Policies {
    /// Reads the files that are there.
    ///
    /// # Errors
    /// When one is there but cannot be read or understood: a policy with a mistake in it accepts
    /// nothing.
    pub fn read(paths: &[PathBuf]) -> Result<Self, Error> {
        let mut all = Vec::new();
        for path in paths {
            let Some(bytes) = read_if_there(path)? else { continue };
            let policy = Self::parse(&bytes)
                .map_err(|source| Error::SettingsFormat { path: path.clone(), source })?;
            policy.check(path)?;
            all.push((path.clone(), policy));
        }
        Ok(Self(all))
    }

    fn parse(bytes: &[u8]) -> Result<Policy, serde_json::Error> {
        serde_json::from_slice(bytes)
    }

    /// The same for bytes of no file, for whoever wants to know whether they parse.
    pub(crate) fn can_parse(bytes: &[u8]) -> bool {
        Self::parse(bytes).is_ok()
    }

    /// The signatures an image needs; none where it is simply accepted.
    ///
    /// # Errors
    /// [`Error::PolicyRejects`], or why a key cannot be read.
    pub(crate) fn demands(&self, image: &ImageReference) -> Result<Vec<Demand>, Error> {
        let mut demands = Vec::new();
        for (path, policy) in &self.0 {
            match policy.rule(&image.name()) {
                Rule::Word(Word::Accept) => {}
                Rule::Word(Word::Reject) => {
                    let (reference, policy) = (image.familiar(), path.clone());
                    return Err(Error::PolicyRejects { reference, policy });
                }
                Rule::Signed(signed) => demands.push(Demand {
                    policy: path.clone(),
                    keys: signed.read_keys(path)?,
                    identity: signed.identity,
                }),
            }
        }
        Ok(demands)
    }
}

impl Policy {
    fn check(&self, path: &Path) -> Result<(), Error> {
        for (name, rule) in self.rules.iter().chain([(&"default".to_owned(), &self.default)]) {
            let wrong = |reason: &str| {
                let reason = format!("rules: {name:?}: {reason}");
                Err(Error::SettingsValue { path: path.to_owned(), reason })
            };
            if name.is_empty() || name.ends_with('/') {
                return wrong("expected a registry or a path in one, such as docker.io/library");
            }
            if matches!(rule, Rule::Signed(signed) if signed.keys.is_empty()) {
                return wrong("no keys: nothing would ever be accepted; say \"reject\" for that");
            }
        }
        Ok(())
    }

    fn rule(&self, name: &str) -> &Rule {
        let below = |rule: &str| {
            name.strip_prefix(rule).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        let fitting = self.rules.iter().filter(|(rule, _)| below(rule));
        fitting.max_by_key(|(rule, _)| rule.len()).map_or(&self.default, |(_, rule)| rule)
    }
}

impl Signed {
    fn read_keys(&self, policy: &Path) -> Result<Vec<Key>, Error> {
        let mut keys = Vec::new();
        for path in &self.keys {
            let failed = |source| Error::SettingsFile { path: path.clone(), source };
            let pem = std::fs::read_to_string(path).map_err(failed)?;
            let found = Key::read_all(&pem);
            if found.is_empty() {
                return Err(Error::SettingsValue {
                    path: policy.to_owned(),
                    reason: format!(
                        "{} holds no public key that tug knows (PEM, ECDSA P-256 or Ed25519)",
                        path.display()
                    ),
                });
            }
            keys.extend(found);
        }
        Ok(keys)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(text: &str) -> Policy {
        Policies::parse(text.as_bytes()).unwrap()
    }

    #[test]
    fn the_longest_rule_decides() {
        let policy = policy(
            r#"{"default": "reject", "rules": {"docker.io": "reject", "docker.io/library": "accept",
                "docker.io/library/evil": "reject", "r.io": {"keys": ["k"]}}}"#,
        );
        for (name, accepted) in [
            ("docker.io/library/busybox", true),
            ("docker.io/library/evil", false),
            ("docker.io/library/evilness", true),
            ("docker.io/libraryx/busybox", false),
            ("docker.io/me/app", false),
            ("quay.io/app", false),
        ] {
            let accepts = matches!(policy.rule(name), Rule::Word(Word::Accept));
            assert_eq!(accepts, accepted, "{name}");
        }
        assert!(matches!(policy.rule("r.io/a/b"), Rule::Signed(_)));
    }

    #[test]
    fn a_policy_with_a_mistake_accepts_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("policy.json");
        let image = ImageReference::parse("r.io/app").unwrap();
        for text in [
            "{",
            r#"{"defualt": "reject"}"#,
            r#"{"default": "maybe"}"#,
            r#"{"rules": {"r.io/": "accept"}}"#,
            r#"{"rules": {"r.io": {"keys": []}}}"#,
            r#"{"rules": {"r.io": {"keys": ["/nonexistent"]}}}"#,
            r#"{"rules": {"r.io": {"key": ["/nonexistent"]}}}"#,
        ] {
            std::fs::write(&path, text).unwrap();
            let read = Policies::read(std::slice::from_ref(&path));
            assert!(read.and_then(|policies| policies.demands(&image)).is_err(), "{text}");
        }
        std::fs::write(&path, "{}").unwrap();
        let missing = dir.path().join("missing");
        let policies = Policies::read(&[path, missing]).unwrap();
        assert!(policies.demands(&image).unwrap().is_empty());
    }
}
