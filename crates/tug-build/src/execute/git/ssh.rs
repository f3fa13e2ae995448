//! Repositories over ssh: the host's key, the caller's keys, and `git-upload-pack` on the other side.
//!
//! Nothing is taken from `~/.ssh/config`, as in BuildKit. A host's key is never learned here: what
//! `known_hosts` does not know ends the build with the line that would make it known.

use crate::build::Cancel;
use crate::execute::waiting::Waiting;
use crate::ssh::Ssh;
use russh::client::{self, AuthResult, Handle, Msg};
use russh::keys::agent::AgentIdentity;
use russh::keys::agent::client::AgentClient;
use russh::keys::{Algorithm, HashAlg, PublicKey, PublicKeyOrCertificate};
use russh::{Channel, ChannelMsg, MethodKind, Preferred};
use std::io::{Error, ErrorKind, Read};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::net::{TcpStream, UnixStream};
use tug_git::{Known, KnownHosts, SshAddress, Transport};
use tug_types::{Explain, Kind};

/// How long a server may take to accept a connection.
const CONNECT: Duration = Duration::from_secs(30);

/// What of a server's complaints is kept.
const COMPLAINTS: usize = 4096;

/// Why a server cannot be spoken to.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each message says it")]
pub enum SshError {
    #[error("connect to {host} port {port}")]
    Connect { host: String, port: u16, source: Error },
    #[error("speak ssh with {host}")]
    Speak { host: String, source: russh::Error },
    #[error("the host key of {host} is not known: it shows the {kind} key {fingerprint}")]
    UnknownHost { host: String, kind: String, fingerprint: String, line: String, file: PathBuf },
    #[error(
        "the host key of {host} has changed: it shows the {kind} key {fingerprint}, but {} line {line} has another one",
        file.display()
    )]
    ChangedHost { host: String, kind: String, fingerprint: String, file: PathBuf, line: usize },
    #[error(
        "the host key of {host} is revoked by {} line {line}: {kind} key {fingerprint}",
        file.display()
    )]
    RevokedHost { host: String, kind: String, fingerprint: String, file: PathBuf, line: usize },
    #[error("no ssh agent and no key was given")]
    NoAgent,
    #[error("ask the ssh agent {}", socket.display())]
    Agent { socket: PathBuf, source: russh::keys::Error },
    #[error("the ssh agent {} holds no key", socket.display())]
    NoKey { socket: PathBuf },
    #[error("{host} lets nobody in with a key, only with: {methods}")]
    NoMethod { host: String, methods: String },
    #[error("{host} refuses {user} with {keys}")]
    Refused { host: String, user: String, keys: String },
    #[error("the build was cancelled")]
    Cancelled,
}

impl Explain for SshError {
    fn kind(&self) -> Kind {
        match self {
            Self::Connect { .. } | Self::Speak { .. } | Self::Agent { .. } => Kind::Unavailable,
            Self::UnknownHost { .. } | Self::ChangedHost { .. } | Self::RevokedHost { .. } => {
                Kind::Denied
            }
            Self::NoMethod { .. } | Self::Refused { .. } => Kind::Denied,
            Self::NoAgent | Self::NoKey { .. } => Kind::Invalid,
            Self::Cancelled => Kind::Cancelled,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::UnknownHost { line, file, .. } => Some(format!(
                "compare the fingerprint with what the host's owner says, then: echo '{line}' >> {}",
                file.display()
            )),
            Self::ChangedHost { host, file, .. } => Some(format!(
                "somebody may be listening in; if the host's owner says it is right: ssh-keygen -f {} -R '{host}'",
                file.display()
            )),
            Self::NoAgent => {
                Some("give one with --ssh default, or --ssh default=KEYFILE".to_owned())
            }
            Self::NoKey { .. } => {
                Some("add one with ssh-add, or give --ssh default=KEYFILE".to_owned())
            }
            Self::Refused { .. } => {
                Some("give the key that opens it: --ssh default=KEYFILE".to_owned())
            }
            _ => None,
        }
    }
}

/// A connection that has been let in.
pub(super) struct Connection {
    waiting: Waiting,
    address: SshAddress,
    handle: Handle<Checker>,
    channel: Option<Channel<Msg>>,
    /// What came and nobody has read yet.
    unread: bytes::Bytes,
    /// What the other side's programs said besides.
    complaints: Vec<u8>,
    ended: bool,
}

impl Connection {
    pub(super) fn open(address: SshAddress, ssh: &Ssh, cancel: &Cancel) -> Result<Self, SshError> {
        let host = || tug_git::host_name(&address.host, address.port);
        let connect =
            |source| SshError::Connect { host: address.host.clone(), port: address.port, source };
        let waiting = Waiting::new(cancel).map_err(connect)?;
        let place = (address.host.as_str(), address.port);
        let stream = waiting.wait_for(CONNECT, TcpStream::connect(place)).map_err(connect)?;
        let known = Lists::read(&ssh.known_hosts);
        let config = client::Config {
            preferred: Preferred { key: known.order(&address).into(), ..Preferred::DEFAULT },
            nodelay: true,
            ..client::Config::default()
        };
        let verdict = Arc::new(Mutex::new(None));
        let checker = Checker { known, address: address.clone(), verdict: verdict.clone() };
        let config = Arc::new(config);
        let opened = waiting.wait(async {
            client::connect_stream(config, stream, checker).await.map_err(Error::other)
        });
        let mut handle = match opened {
            Ok(handle) => handle,
            Err(error) => {
                let verdict = verdict.lock().unwrap_or_else(PoisonError::into_inner).take();
                return Err(verdict.unwrap_or_else(|| speak(&host(), error)));
            }
        };
        let user = address.user.clone().or_else(|| ssh.user.clone());
        let user = user.unwrap_or_else(|| "root".to_owned());
        let socket = ssh.agents.get("default").map(|agent| agent.socket().to_owned());
        let visitor = Visitor { host: host(), user, socket };
        let result = waiting.wait(async { Ok(visitor.enter(&mut handle).await) });
        result.map_err(|error| speak(&visitor.host, error))??;
        Ok(Self {
            waiting,
            address,
            handle,
            channel: None,
            unread: bytes::Bytes::new(),
            complaints: Vec::new(),
            ended: false,
        })
    }

    fn send(&mut self, request: Vec<u8>) -> std::io::Result<Box<dyn Read + '_>> {
        let channel = self.channel.as_ref().ok_or(ErrorKind::NotConnected)?;
        let sent = self.waiting.wait(async { channel.data_bytes(request).await.map_err(broken) });
        // What the other side said before it went says more.
        match sent {
            Err(error) if error.kind() == ErrorKind::TimedOut => Err(error),
            _ => Ok(Box::new(self)),
        }
    }

    fn end(&self) -> std::io::Result<usize> {
        let said = String::from_utf8_lossy(&self.complaints);
        let lines: Vec<&str> =
            said.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
        match lines.is_empty() {
            true => Ok(0),
            false => Err(Error::other(format!("the server says: {}", lines.join(" ")))),
        }
    }
}

fn broken(error: russh::Error) -> Error {
    match error {
        russh::Error::IO(error) => error,
        error => Error::other(error),
    }
}

/// What a wait for the protocol ended with.
fn speak(host: &str, error: Error) -> SshError {
    let host = host.to_owned();
    let source = match error.kind() {
        ErrorKind::Other => match error.downcast::<russh::Error>() {
            Ok(source) => source,
            Err(error) => russh::Error::IO(error),
        },
        _ => russh::Error::IO(error),
    };
    SshError::Speak { host, source }
}

impl Transport for Connection {
    fn greet(&mut self) -> std::io::Result<Box<dyn Read + '_>> {
        let path = self.address.path.replace('\'', "'\\''");
        let handle = &self.handle;
        let channel = self.waiting.wait(async {
            let channel = handle.channel_open_session().await.map_err(broken)?;
            // Many servers let no variable through. They are spoken to in version 0.
            channel.set_env(false, "GIT_PROTOCOL", "version=2").await.map_err(broken)?;
            let command = format!("git-upload-pack '{path}'");
            channel.exec(true, command).await.map_err(broken)?;
            Ok(channel)
        })?;
        self.channel = Some(channel);
        Ok(Box::new(self))
    }

    fn ask(&mut self, request: Vec<u8>) -> std::io::Result<Box<dyn Read + '_>> {
        self.send(request)
    }
}

impl Read for Connection {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        while self.unread.is_empty() {
            if self.ended {
                return self.end();
            }
            let channel = self.channel.as_mut().ok_or(ErrorKind::NotConnected)?;
            match self.waiting.wait(async { Ok(channel.wait().await) })? {
                Some(ChannelMsg::Data { data }) => self.unread = data,
                Some(ChannelMsg::ExtendedData { data, .. }) => {
                    let room = COMPLAINTS.saturating_sub(self.complaints.len());
                    self.complaints.extend(data.iter().take(room));
                }
                Some(ChannelMsg::Failure) => {
                    return Err(Error::other("the server does not run git-upload-pack"));
                }
                // Complaints may come after the end of the data.
                Some(ChannelMsg::Close) | None => self.ended = true,
                Some(_) => {}
            }
        }
        let count = buffer.len().min(self.unread.len());
        buffer[..count].copy_from_slice(&self.unread.split_to(count));
        Ok(count)
    }
}

/// Who wants to be let in.
struct Visitor {
    host: String,
    user: String,
    /// The agent's.
    socket: Option<PathBuf>,
}

impl Visitor {
    async fn enter(&self, handle: &mut Handle<Checker>) -> Result<(), SshError> {
        let speak = |source| SshError::Speak { host: self.host.clone(), source };
        let AuthResult::Failure { remaining_methods, .. } =
            handle.authenticate_none(&self.user).await.map_err(speak)?
        else {
            return Ok(());
        };
        if !remaining_methods.contains(&MethodKind::PublicKey) {
            let methods: Vec<&str> = remaining_methods.iter().map(<&str>::from).collect();
            let (host, methods) = (self.host.clone(), methods.join(", "));
            return Err(SshError::NoMethod { host, methods });
        }
        let socket = self.socket.as_ref().ok_or(SshError::NoAgent)?;
        let failed = |source| SshError::Agent { socket: socket.clone(), source };
        let mut agent = AgentClient::<UnixStream>::connect_uds(socket).await.map_err(failed)?;
        let identities = agent.request_identities().await.map_err(failed)?;
        if identities.is_empty() {
            return Err(SshError::NoKey { socket: socket.clone() });
        }
        let mut hash = Some(HashAlg::Sha512);
        // Some servers never say which they know, and to find that out takes a second.
        if identities.iter().any(|identity| is_rsa(&identity.public_key().algorithm())) {
            let known = handle.best_supported_rsa_hash().await.map_err(speak)?;
            hash = known.unwrap_or(hash);
        }
        let mut shown = Vec::new();
        for identity in identities {
            let (name, entered) = match identity {
                AgentIdentity::PublicKey { key, .. } => {
                    let name = described(&key);
                    let hash = hash.filter(|_| is_rsa(&key.algorithm()));
                    let user = &self.user;
                    (name, handle.authenticate_publickey_with(user, key, hash, &mut agent).await)
                }
                AgentIdentity::Certificate { certificate, .. } => {
                    let name = format!("the certificate {}", certificate.key_id());
                    let hash = hash.filter(|_| is_rsa(&certificate.algorithm()));
                    let user = &self.user;
                    let entered =
                        handle.authenticate_certificate_with(user, certificate, hash, &mut agent);
                    (name, entered.await)
                }
            };
            shown.push(name);
            match entered {
                Ok(AuthResult::Success) => return Ok(()),
                // An agent may refuse to use one of its keys. A server ends it after a few.
                Ok(AuthResult::Failure { .. }) | Err(_) if handle.is_closed() => break,
                Ok(AuthResult::Failure { .. }) | Err(_) => {}
            }
        }
        let (host, user) = (self.host.clone(), self.user.clone());
        Err(SshError::Refused { host, user, keys: shown.join(", ") })
    }
}

fn is_rsa(algorithm: &Algorithm) -> bool {
    matches!(algorithm, Algorithm::Rsa { .. })
}

/// `ssh-ed25519 SHA256:…`
fn described(key: &PublicKey) -> String {
    format!("{} {}", key.algorithm(), key.fingerprint(HashAlg::Sha256))
}

/// Looks at the host's key.
struct Checker {
    known: Lists,
    address: SshAddress,
    /// What was wrong with it.
    verdict: Arc<Mutex<Option<SshError>>>,
}

impl client::Handler for Checker {
    type Error = russh::Error;

    async fn check_server_key(
        &mut self,
        shown: &PublicKeyOrCertificate,
    ) -> Result<bool, Self::Error> {
        let PublicKeyOrCertificate::PublicKey { key, .. } = shown else {
            return Ok(false);
        };
        let verdict = self.known.check(&self.address, key);
        let good = verdict.is_none();
        *self.verdict.lock().unwrap_or_else(PoisonError::into_inner) = verdict;
        Ok(good)
    }
}

/// The lists of hosts that are known.
struct Lists(Vec<(PathBuf, KnownHosts)>);

impl Lists {
    fn read(files: &[PathBuf]) -> Self {
        let read = |file: &PathBuf| std::fs::read(file).map(|text| KnownHosts::read(&text));
        Self(files.iter().map(|file| (file.clone(), read(file).unwrap_or_default())).collect())
    }

    /// What keys the host is asked for: first those it is known by.
    fn order(&self, address: &SshAddress) -> Vec<Algorithm> {
        let lists = self.0.iter();
        let kinds: Vec<&str> =
            lists.flat_map(|(_, list)| list.kinds(&address.host, address.port)).collect();
        let mut order = Preferred::DEFAULT.key.to_vec();
        // One RSA key has three names, by the hash it is used with; the oldest is not to be used any more.
        order.retain(|algorithm| algorithm.as_str() != "ssh-rsa");
        order.sort_by_key(|algorithm| {
            let name = if is_rsa(algorithm) { "ssh-rsa" } else { algorithm.as_str() };
            !kinds.contains(&name)
        });
        order
    }

    fn check(&self, address: &SshAddress, key: &PublicKey) -> Option<SshError> {
        let text = key.to_openssh().unwrap_or_default();
        let mut words = text.split(' ');
        let kind = words.next().unwrap_or_default().to_owned();
        let body = words.next().unwrap_or_default();
        let host = tug_git::host_name(&address.host, address.port);
        let fingerprint = key.fingerprint(HashAlg::Sha256).to_string();
        let mut known = false;
        let mut changed = None;
        for (file, list) in &self.0 {
            let (kind, host) = (kind.clone(), host.clone());
            let (file, fingerprint) = (file.clone(), fingerprint.clone());
            match list.check(&address.host, address.port, &kind, body) {
                Known::Yes => known = true,
                Known::No => {}
                Known::Revoked { line } => {
                    return Some(SshError::RevokedHost { host, kind, fingerprint, file, line });
                }
                Known::Changed { line } => {
                    changed.get_or_insert(SshError::ChangedHost {
                        host,
                        kind,
                        fingerprint,
                        file,
                        line,
                    });
                }
            }
        }
        if known || changed.is_some() {
            return changed.filter(|_| !known);
        }
        let line = format!("{host} {kind} {body}");
        let default = Path::new("/etc/ssh/ssh_known_hosts").to_owned();
        let file = self.0.first().map_or(default, |(file, _)| file.clone());
        Some(SshError::UnknownHost { host, kind, fingerprint, line, file })
    }
}
