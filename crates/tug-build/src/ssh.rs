//! `--ssh`: the caller's agents, and agents made of key files.
//!
//! A key in a file is given to an agent of tug's own that lives as long as the build: so a step that asks for it
//! with `RUN --mount=type=ssh`, and a repository, find an agent either way, and no step ever sees a key.

use russh::keys::agent::client::AgentClient;
use russh::keys::agent::server::{self, MessageType};
use russh::keys::{PrivateKey, decode_secret_key};
use std::collections::BTreeMap;
use std::fmt;
use std::io::Error;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tempfile::TempDir;
use tokio::net::{UnixListener, UnixStream};
use tokio::runtime::Runtime;
use tug_types::{Explain, Kind};

/// The largest file that may hold a key, as in BuildKit.
const LARGEST: u64 = 100 << 10;

/// Who the caller is where ssh is spoken.
#[derive(Clone, Debug, Default)]
pub struct Ssh {
    /// `--ssh`, by id.
    pub agents: BTreeMap<String, Agent>,
    /// Lists of known hosts; a host that is in none is not spoken to.
    pub known_hosts: Vec<PathBuf>,
    /// Where an address names nobody.
    pub user: Option<String>,
}

/// Something that signs with keys.
#[derive(Clone)]
pub struct Agent {
    socket: PathBuf,
    /// It is ours, and ends with the last that holds it.
    _own: Option<Arc<Keyring>>,
}

/// Why a key cannot be used.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each message says it")]
pub enum KeyError {
    #[error("read the key {}", path.display())]
    Read { path: PathBuf, source: Error },
    #[error("{} is too large for a key", path.display())]
    Large { path: PathBuf },
    #[error("{} is neither the socket of an ssh agent nor a private key", path.display())]
    NoKey { path: PathBuf, source: russh::keys::Error },
    #[error("the key {} is protected by a passphrase", path.display())]
    Passphrase { path: PathBuf },
    #[error("start an agent for the keys")]
    Agent { source: Error },
    #[error("give the keys to an agent")]
    Hand { source: russh::keys::Error },
}

impl Explain for KeyError {
    fn kind(&self) -> Kind {
        match self {
            Self::Agent { .. } | Self::Hand { .. } => Kind::Internal,
            _ => Kind::Invalid,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Passphrase { path } => Some(format!(
                "give it to an agent, which asks for it once: ssh-add {}; then --ssh default",
                path.display()
            )),
            _ => None,
        }
    }
}

impl Agent {
    /// Behind a socket.
    pub fn socket_at(socket: PathBuf) -> Self {
        Self { socket, _own: None }
    }

    /// Of keys in files.
    ///
    /// # Errors
    /// When one is no key, or wants a passphrase.
    pub fn of_keys(files: &[PathBuf]) -> Result<Self, KeyError> {
        let keys = files.iter().map(|path| key(path)).collect::<Result<Vec<_>, _>>()?;
        let ring = Keyring::start(&keys)?;
        Ok(Self { socket: ring.socket(), _own: Some(Arc::new(ring)) })
    }

    /// Where it is spoken to.
    pub fn socket(&self) -> &Path {
        &self.socket
    }
}

impl fmt::Debug for Agent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.socket.fmt(f)
    }
}

fn key(path: &Path) -> Result<PrivateKey, KeyError> {
    let failed = |source| KeyError::Read { path: path.to_owned(), source };
    if std::fs::metadata(path).map_err(failed)?.len() > LARGEST {
        return Err(KeyError::Large { path: path.to_owned() });
    }
    let bytes = std::fs::read(path).map_err(failed)?;
    let text = String::from_utf8_lossy(&bytes);
    match decode_secret_key(&text, None) {
        Ok(key) => Ok(key),
        Err(russh::keys::Error::KeyIsEncrypted) => {
            Err(KeyError::Passphrase { path: path.to_owned() })
        }
        Err(_) if text.contains("ENCRYPTED") => Err(KeyError::Passphrase { path: path.to_owned() }),
        Err(source) => Err(KeyError::NoKey { path: path.to_owned(), source }),
    }
}

/// An agent in this process.
struct Keyring {
    dir: TempDir,
    /// Runs it.
    runtime: Option<Runtime>,
}

/// Nobody but us gives it keys, or takes them away, as in BuildKit.
#[derive(Clone)]
struct Sealed(Arc<AtomicBool>);

impl server::Agent for Sealed {
    async fn confirm_request(&self, message: MessageType) -> bool {
        matches!(message, MessageType::RequestKeys | MessageType::Sign)
            || !self.0.load(Ordering::SeqCst)
    }
}

impl Keyring {
    fn start(keys: &[PrivateKey]) -> Result<Self, KeyError> {
        let failed = |source| KeyError::Agent { source };
        let dir = tempfile::tempdir().map_err(failed)?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .map_err(failed)?;
        let mut ring = Self { dir, runtime: None };
        let sealed = Sealed(Arc::default());
        let listener = {
            let _in = runtime.enter();
            UnixListener::bind(ring.socket()).map_err(failed)?
        };
        let visitors = futures_util::stream::unfold(listener, |listener| async {
            let visitor = listener.accept().await.map(|(stream, _)| stream);
            Some((visitor, listener))
        });
        let agent = sealed.clone();
        runtime.spawn(async { server::serve(Box::pin(visitors), agent).await });
        runtime
            .block_on(async {
                let mut client = AgentClient::<UnixStream>::connect_uds(ring.socket()).await?;
                for key in keys {
                    client.add_identity(key, &[]).await?;
                }
                Ok(())
            })
            .map_err(|source| KeyError::Hand { source })?;
        sealed.0.store(true, Ordering::SeqCst);
        ring.runtime = Some(runtime);
        Ok(ring)
    }

    fn socket(&self) -> PathBuf {
        self.dir.path().join("agent")
    }
}

impl Drop for Keyring {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use russh::keys::agent::AgentIdentity;
    use russh::keys::key::safe_rng;
    use russh::keys::{Algorithm, HashAlg};

    fn made(dir: &Path) -> (PathBuf, PrivateKey) {
        let key = PrivateKey::random(&mut safe_rng(), Algorithm::Ed25519).unwrap();
        let path = dir.join("key");
        std::fs::write(&path, key.to_openssh(Default::default()).unwrap()).unwrap();
        (path, key)
    }

    #[test]
    fn keys_in_files_are_an_agents() {
        let dir = tempfile::tempdir().unwrap();
        let (path, key) = made(dir.path());
        let agent = Agent::of_keys(&[path]).unwrap();
        let socket = agent.socket().to_owned();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut client = AgentClient::<UnixStream>::connect_uds(&socket).await.unwrap();
            let held = client.request_identities().await.unwrap();
            let [AgentIdentity::PublicKey { key: public, .. }] = &held[..] else {
                panic!("{held:?}");
            };
            assert_eq!(public.fingerprint(HashAlg::Sha256), key.fingerprint(HashAlg::Sha256));
            // What a step could do to it is nothing.
            assert!(client.add_identity(&key, &[]).await.is_err());
            assert!(client.remove_identity(key.public_key()).await.is_err());
            assert!(client.lock(b"x").await.is_err());
            assert_eq!(client.request_identities().await.unwrap().len(), 1);
        });
        let copy = agent.clone();
        drop(agent);
        assert!(socket.exists());
        drop(copy);
        assert!(!socket.exists() && !socket.parent().unwrap().exists());
    }

    #[test]
    fn what_is_no_key_is_said() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        std::fs::write(&file, "hello").unwrap();
        let error = |path: &Path| Agent::of_keys(&[path.to_owned()]).unwrap_err();
        assert!(matches!(error(&file), KeyError::NoKey { .. }));
        std::fs::write(&file, vec![b'x'; 200_000]).unwrap();
        assert!(matches!(error(&file), KeyError::Large { .. }));
        assert!(matches!(error(&dir.path().join("none")), KeyError::Read { .. }));
    }
}
