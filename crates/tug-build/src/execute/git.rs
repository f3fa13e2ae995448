//! `ADD` of repositories, and contexts from them: the ways to a server, and commits with their submodules.

use super::Worker;
use crate::build::Cancel;
use crate::error::BuildError;
use crate::ops::{Commit, Git, Output};
use crate::request::Secret;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufReader, Error, Read, Seek, Write};
use std::net::TcpStream;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tug_git::{Oid, Remote, Transport};

/// Submodules within submodules.
const DEEPEST: usize = 8;

/// How long a server may say nothing.
const PATIENCE: Duration = Duration::from_secs(120);

/// What a server is shown: `GIT_AUTH_TOKEN` or `GIT_AUTH_HEADER`, of its own host alone.
#[derive(Clone, Debug, Default)]
pub struct Login {
    token: Option<Secret>,
    header: Option<Secret>,
}

impl Login {
    /// From the secrets of a build.
    pub fn of(secrets: &BTreeMap<String, Secret>) -> Self {
        let secret = |id: &str| secrets.get(id).cloned();
        Self { token: secret("GIT_AUTH_TOKEN"), header: secret("GIT_AUTH_HEADER") }
    }
}

/// Whether a context is a repository.
pub fn is_git(text: &str) -> bool {
    Remote::is_git(text) || text.starts_with("github.com/")
}

/// Writes the files a context address names into an empty directory. `keep`: with `.git`.
///
/// # Errors
/// When they cannot be had.
pub fn clone(
    address: &str,
    into: &Path,
    keep: bool,
    login: &Login,
    cancel: &Cancel,
) -> Result<(), BuildError> {
    let remote = Remote::parse(address).map_err(failed(address))?;
    let git = Git {
        keep_git_dir: remote.keep_git_dir.unwrap_or(keep),
        url: remote.url,
        reference: remote.reference,
        subdir: remote.subdir,
        no_submodules: remote.no_submodules,
        checksum: None,
    };
    let fetcher = Fetcher { login, cancel };
    let id = fetcher.resolve(&git)?;
    fetcher.write(&git, id, into, 0)
}

fn failed(url: &str) -> impl FnOnce(tug_git::Error) -> BuildError {
    let url = url.to_owned();
    move |source| BuildError::Git { url, source: Box::new(source) }
}

impl Worker<'_> {
    /// Which commit it is now. Its files stay where they are as long as nobody wants them.
    pub(super) fn commit(&self, git: &Git) -> Result<Output, BuildError> {
        let login = Login::of(&self.request.secrets);
        let id = Fetcher { login: &login, cancel: self.cancel }.resolve(git)?;
        let actual = id.to_string();
        if let Some(expected) = git.checksum.as_ref().filter(|expected| **expected != actual) {
            let (url, expected) = (git.url.clone(), expected.clone());
            return Err(BuildError::Commit { url, expected, actual });
        }
        Ok(Output::Git(Arc::new(Commit { git: git.clone(), id, files: Mutex::new(None) })))
    }

    /// Where the files of a commit are.
    pub(super) fn commit_files(&self, commit: &Commit) -> Result<std::path::PathBuf, BuildError> {
        let mut files = commit.files.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(dir) = &*files {
            return Ok(dir.clone());
        }
        let dir = self.fresh_dir("git")?;
        let login = Login::of(&self.request.secrets);
        Fetcher { login: &login, cancel: self.cancel }.write(&commit.git, commit.id, &dir, 0)?;
        *files = Some(dir.clone());
        Ok(dir)
    }
}

struct Fetcher<'a> {
    login: &'a Login,
    cancel: &'a Cancel,
}

impl Fetcher<'_> {
    fn open(&self, url: &str) -> Result<Box<dyn Transport>, BuildError> {
        self.cancel.check()?;
        if url.starts_with("git://") {
            return Ok(Box::new(Daemon { url: url.to_owned(), stream: None }));
        }
        if url.starts_with("http://") || url.starts_with("https://") {
            let http = Http::new(url, self.login.clone(), self.cancel.clone());
            return Ok(Box::new(
                http.map_err(|source| failed(url)(tug_git::Error::Talk { source }))?,
            ));
        }
        let why = "only https, http and git:// are supported by tug";
        Err(failed(url)(tug_git::Error::Address { address: url.to_owned(), why }))
    }

    fn resolve(&self, git: &Git) -> Result<Oid, BuildError> {
        let mut transport = self.open(&git.url)?;
        tug_git::resolve(&mut *transport, git.reference.as_deref()).map_err(failed(&git.url))
    }

    fn write(&self, git: &Git, id: Oid, into: &Path, depth: usize) -> Result<(), BuildError> {
        let mut transport = self.open(&git.url)?;
        let name = id.to_string();
        let pack = tug_git::resolve(&mut *transport, Some(&name))
            .and_then(|id| tug_git::fetch(&mut *transport, id))
            .map_err(failed(&git.url))?;
        let kept = git.keep_git_dir.then_some(git.url.as_str());
        let done =
            tug_git::checkout(&pack, id, &git.subdir, into, kept).map_err(failed(&git.url))?;
        drop(pack);
        if git.no_submodules || done.submodules.is_empty() {
            return Ok(());
        }
        let modules = tug_git::modules(&done.modules.unwrap_or_default());
        for (path, id) in done.submodules {
            let shown = Path::new(&git.subdir).join(&path);
            let module = modules.iter().find(|module| Path::new(&module.path) == shown);
            let fail = |why| BuildError::Submodule {
                url: git.url.clone(),
                path: shown.display().to_string(),
                why,
            };
            let module = module.ok_or_else(|| fail("is not in .gitmodules"))?;
            if depth >= DEEPEST {
                return Err(fail("is too deep"));
            }
            let remote = Remote {
                url: git.url.clone(),
                ..Remote::parse(&git.url).map_err(failed(&git.url))?
            };
            let inner = Git {
                url: remote.relative(&module.url),
                reference: None,
                subdir: String::new(),
                keep_git_dir: git.keep_git_dir,
                no_submodules: false,
                checksum: None,
            };
            self.write(&inner, id, &into.join(&path), depth + 1)?;
        }
        Ok(())
    }
}

/// `git://host[:port]/path`
struct Daemon {
    url: String,
    stream: Option<BufReader<TcpStream>>,
}

impl Transport for Daemon {
    fn greet(&mut self) -> std::io::Result<Box<dyn Read + '_>> {
        let rest = self.url.trim_start_matches("git://");
        let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
        let address = match host.rsplit_once(':') {
            Some((_, port)) if port.parse::<u16>().is_ok() => host.to_owned(),
            _ => format!("{host}:9418"),
        };
        let mut stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        let line = format!("git-upload-pack /{path}\0host={host}\0\0version=2\0");
        stream.write_all(format!("{:04x}{line}", line.len() + 4).as_bytes())?;
        Ok(Box::new(self.stream.insert(BufReader::new(stream))))
    }

    fn ask(&mut self, request: Vec<u8>) -> std::io::Result<Box<dyn Read + '_>> {
        let stream = self.stream.as_mut().ok_or(std::io::ErrorKind::NotConnected)?;
        stream.get_mut().write_all(&request)?;
        Ok(Box::new(stream))
    }
}

/// The smart protocol over HTTP. Answers come into a file: they are as large as the repository.
struct Http {
    /// Where it is after redirects.
    base: String,
    client: reqwest::Client,
    runtime: tokio::runtime::Runtime,
    login: Login,
    cancel: Cancel,
}

impl Http {
    fn new(url: &str, login: Login, cancel: Cancel) -> std::io::Result<Self> {
        let client = super::web::client().map_err(Error::other)?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        Ok(Self { base: url.trim_end_matches('/').to_owned(), client, runtime, login, cancel })
    }

    fn send(&self, request: reqwest::RequestBuilder) -> std::io::Result<(File, reqwest::Url)> {
        let mut request = request.header("Git-Protocol", "version=2");
        let text = |secret: &Secret| String::from_utf8_lossy(secret.expose()).trim().to_owned();
        if let Some(header) = &self.login.header {
            request = request.header("Authorization", text(header));
        } else if let Some(token) = &self.login.token {
            request = request.basic_auth("x-access-token", Some(text(token)));
        }
        let broken = |error: reqwest::Error| Error::other(super::web::chain(&error));
        self.runtime.block_on(async {
            let response = request.send().await.map_err(broken)?;
            let mut response = response.error_for_status().map_err(broken)?;
            let url = response.url().clone();
            let mut file = tempfile::tempfile()?;
            while let Some(bytes) = response.chunk().await.map_err(broken)? {
                self.cancel.check().map_err(|_| Error::from(std::io::ErrorKind::Interrupted))?;
                file.write_all(&bytes)?;
            }
            file.rewind()?;
            Ok((file, url))
        })
    }
}

impl Transport for Http {
    fn greet(&mut self) -> std::io::Result<Box<dyn Read + '_>> {
        const QUESTION: &str = "/info/refs?service=git-upload-pack";
        let (file, url) = self.send(self.client.get(format!("{}{QUESTION}", self.base)))?;
        if let Some(base) = url.as_str().strip_suffix(QUESTION) {
            base.clone_into(&mut self.base);
        }
        let mut reader = BufReader::new(file);
        // A line of the older version may come first: `# service=…`, then the end of that part.
        let mut start = [0; 5];
        reader.read_exact(&mut start)?;
        reader.rewind()?;
        if start[4] == b'#' {
            let length = std::str::from_utf8(&start[..4]).ok();
            let length = length.and_then(|text| u64::from_str_radix(text, 16).ok());
            reader.seek(std::io::SeekFrom::Start(length.unwrap_or(0) + 4))?;
        }
        Ok(Box::new(reader))
    }

    fn ask(&mut self, request: Vec<u8>) -> std::io::Result<Box<dyn Read + '_>> {
        let post = self
            .client
            .post(format!("{}/git-upload-pack", self.base))
            .header("Content-Type", "application/x-git-upload-pack-request")
            .header("Accept", "application/x-git-upload-pack-result")
            .body(request);
        Ok(Box::new(BufReader::new(self.send(post)?.0)))
    }
}
