//! Log-ins that no credential helper keeps: sealed on the disk.
//!
//! ```text
//! ~/.config/tug/credentials.json      {"version": 1, "sealed": {"registry.lan:5000": "…"}}
//! ~/.local/state/tug/credentials.key  32 random bytes, base64, readable by the user alone
//! ```
//!
//! Each entry is AES-256-GCM over the log-in, bound to its registry's name, under a key made of the
//! key file and this machine's id. So a copy of the home directory's settings (a backup, a
//! repository of dot files, a container it is mounted into) holds no password, and a copy of all of
//! it opens on no other machine. It does not protect from somebody who is this user, or root, on
//! this machine: nothing that unlocks without being asked can. For that there are helpers.

use crate::base64;
use crate::credentials::{Credentials, CredentialsError, Secret};
use crate::settings::Vault;
use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

/// What makes the key one of this machine.
const MACHINE_ID: &str = "/etc/machine-id";
const VERSION: u32 = 1;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Content {
    version: u32,
    sealed: BTreeMap<String, String>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Login {
    Password { user: String, secret: String },
    Identity(String),
}

/// The log-in for a registry, if there is one.
pub(crate) fn find(vault: &Vault, registry: &str) -> Result<Option<Credentials>, CredentialsError> {
    let Some(content) = read(vault)? else { return Ok(None) };
    let Some(sealed) = content.sealed.get(registry) else { return Ok(None) };
    let damaged = |reason: &str| damaged(&vault.file, reason);
    let key = key(vault, false)?;
    let mut bytes = base64::decode(sealed).ok_or_else(|| damaged("an entry is not base64"))?;
    if bytes.len() < NONCE_LEN {
        return Err(damaged("an entry is too short"));
    }
    let mut text = bytes.split_off(NONCE_LEN);
    let nonce = Nonce::try_assume_unique_for_key(&bytes).map_err(|_| damaged("no nonce"))?;
    let opened = key.open_in_place(nonce, Aad::from(registry.as_bytes()), &mut text);
    let opened = opened.map_err(|_| {
        damaged("it was sealed on another machine, or with another key: log in again")
    })?;
    let login = serde_json::from_slice(opened).map_err(|error| damaged(&error.to_string()))?;
    Ok(Some(match login {
        Login::Password { user, secret } => {
            Credentials::Password { user, secret: Secret::new(secret) }
        }
        Login::Identity(token) => Credentials::Identity(Secret::new(token)),
    }))
}

/// Keeps a log-in, in place of an earlier one.
pub(crate) fn store(
    vault: &Vault,
    registry: &str,
    credentials: &Credentials,
) -> Result<(), CredentialsError> {
    let login = match credentials {
        Credentials::Password { user, secret } => {
            Login::Password { user: user.clone(), secret: secret.reveal().to_owned() }
        }
        Credentials::Identity(token) => Login::Identity(token.reveal().to_owned()),
    };
    let failed = |reason: String| damaged(&vault.file, &reason);
    let mut text = serde_json::to_vec(&login).map_err(|error| failed(error.to_string()))?;
    let key = key(vault, true)?;
    let nonce = key.seal_in_place_append_tag(Aad::from(registry.as_bytes()), &mut text);
    let nonce = nonce.map_err(|_| failed("the log-in cannot be sealed".to_owned()))?;
    let sealed = base64::encode(&[nonce.as_ref().as_slice(), &text].concat());
    let empty = Content { version: VERSION, sealed: BTreeMap::new() };
    let mut content = read(vault)?.unwrap_or(empty);
    content.sealed.insert(registry.to_owned(), sealed);
    write(vault, &content)
}

/// Forgets a log-in. False when there was none.
pub(crate) fn erase(vault: &Vault, registry: &str) -> Result<bool, CredentialsError> {
    let Some(mut content) = read(vault)? else { return Ok(false) };
    if content.sealed.remove(registry).is_none() {
        return Ok(false);
    }
    write(vault, &content).map(|()| true)
}

fn read(vault: &Vault) -> Result<Option<Content>, CredentialsError> {
    let bytes = match std::fs::read(&vault.file) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(unreadable(&vault.file, &error)),
    };
    let content: Content =
        serde_json::from_slice(&bytes).map_err(|error| damaged(&vault.file, &error.to_string()))?;
    if content.version != VERSION {
        return Err(damaged(&vault.file, "it was written by a newer tug"));
    }
    Ok(Some(content))
}

fn write(vault: &Vault, content: &Content) -> Result<(), CredentialsError> {
    let bytes = serde_json::to_vec_pretty(content)
        .map_err(|error| damaged(&vault.file, &error.to_string()))?;
    write_private(&vault.file, &bytes).map_err(|error| unwritable(&vault.file, &error))
}

/// The key, which is made when it is needed and not there.
fn key(vault: &Vault, make: bool) -> Result<RandomizedNonceKey, CredentialsError> {
    let text = match std::fs::read_to_string(&vault.key) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound && make => {
            let mut fresh = [0u8; 32];
            aws_lc_rs::rand::fill(&mut fresh)
                .map_err(|_| damaged(&vault.key, "no random bytes are to be had"))?;
            let text = base64::encode(&fresh);
            write_private(&vault.key, text.as_bytes())
                .map_err(|error| unwritable(&vault.key, &error))?;
            text
        }
        Err(error) => return Err(unreadable(&vault.key, &error)),
    };
    let secret = base64::decode(text.trim()).filter(|bytes| bytes.len() == 32);
    let secret = secret.ok_or_else(|| damaged(&vault.key, "it is no key"))?;
    let machine = std::fs::read(MACHINE_ID).unwrap_or_default();
    let mut hash = Sha256::new();
    hash.update(b"tug credentials 1\0");
    hash.update(&secret);
    hash.update(&machine);
    let bytes: [u8; 32] = hash.finalize().into();
    RandomizedNonceKey::new(&AES_256_GCM, &bytes)
        .map_err(|_| damaged(&vault.key, "it cannot be used"))
}

/// Replaces a file in one step, readable by its owner alone.
pub(crate) fn write_private(path: &Path, bytes: &[u8]) -> io::Result<()> {
    if let Some(dir) = path.parent() {
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
    }
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}", std::process::id()));
    let new = path.with_file_name(name);
    let mut options = std::fs::File::options();
    let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(&new)?;
    let written = file.write_all(bytes).and_then(|()| file.sync_all());
    let renamed = written.and_then(|()| std::fs::rename(&new, path));
    renamed.inspect_err(|_| drop(std::fs::remove_file(&new)))
}

fn damaged(path: &Path, reason: &str) -> CredentialsError {
    CredentialsError::Format { path: path.to_owned(), reason: reason.to_owned() }
}

fn unreadable(path: &Path, error: &io::Error) -> CredentialsError {
    CredentialsError::Read { path: path.to_owned(), reason: error.to_string() }
}

fn unwritable(path: &Path, error: &io::Error) -> CredentialsError {
    CredentialsError::Write { path: path.to_owned(), reason: error.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn vault(dir: &Path) -> Vault {
        Vault { file: dir.join("config/credentials.json"), key: dir.join("state/credentials.key") }
    }

    fn password(secret: &str) -> Credentials {
        Credentials::Password { user: "me".into(), secret: Secret::new(secret.into()) }
    }

    #[test]
    fn what_is_stored_is_found_and_can_be_read_by_nobody_else() {
        let dir = tempfile::tempdir().unwrap();
        let vault = vault(dir.path());
        assert_eq!(find(&vault, "r.io"), Ok(None));
        store(&vault, "r.io", &password("hunter2")).unwrap();
        store(&vault, "s.io", &Credentials::Identity(Secret::new("token".into()))).unwrap();
        assert_eq!(find(&vault, "r.io"), Ok(Some(password("hunter2"))));
        assert!(matches!(find(&vault, "s.io"), Ok(Some(Credentials::Identity(_)))));
        for path in [&vault.file, &vault.key] {
            let mode = std::fs::metadata(path).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600, "{}", path.display());
            let text = std::fs::read_to_string(path).unwrap();
            for secret in ["hunter2", &base64::encode(b"me:hunter2"), &base64::encode(b"hunter2")] {
                assert!(!text.contains(secret.trim_end_matches('=')), "{text}");
            }
        }
        assert_eq!(erase(&vault, "r.io"), Ok(true));
        assert_eq!(erase(&vault, "r.io"), Ok(false));
        assert_eq!(find(&vault, "r.io"), Ok(None));
        assert!(find(&vault, "s.io").unwrap().is_some());
    }

    #[test]
    fn an_entry_opens_for_its_registry_and_with_its_key_only() {
        let dir = tempfile::tempdir().unwrap();
        let vault = vault(dir.path());
        store(&vault, "r.io", &password("hunter2")).unwrap();
        let text = std::fs::read_to_string(&vault.file).unwrap();
        std::fs::write(&vault.file, text.replace("r.io", "evil.io")).unwrap();
        assert!(matches!(find(&vault, "evil.io"), Err(CredentialsError::Format { .. })));
        std::fs::write(&vault.file, &text).unwrap();
        std::fs::write(&vault.key, base64::encode(&[7; 32])).unwrap();
        assert!(matches!(find(&vault, "r.io"), Err(CredentialsError::Format { .. })));
    }
}
