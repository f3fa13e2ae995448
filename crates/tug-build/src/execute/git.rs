//! `ADD` of repositories, and contexts from them: commits with their submodules.

mod daemon;
mod http;
mod ssh;

pub use ssh::SshError;

use super::Worker;
use crate::build::Cancel;
use crate::error::BuildError;
use crate::ops::{Commit, Git, Output};
use crate::request::Secret;
use crate::ssh::Ssh;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use tug_git::{Found, Kept, Oid, Query, Remote, Session, SshAddress, Target, Transport};

/// Submodules within submodules.
const DEEPEST: usize = 8;

/// What servers are shown: `GIT_AUTH_TOKEN` and `GIT_AUTH_HEADER`, those of a host with its name behind.
#[derive(Clone, Debug, Default)]
pub struct Login(BTreeMap<String, Secret>);

impl Login {
    /// From the secrets of a build.
    pub fn of(secrets: &BTreeMap<String, Secret>) -> Self {
        let ours = |id: &str| id.starts_with("GIT_AUTH_TOKEN") || id.starts_with("GIT_AUTH_HEADER");
        let chosen = secrets.iter().filter(|(id, _)| ours(id));
        Self(chosen.map(|(id, secret)| (id.clone(), secret.clone())).collect())
    }

    /// The `Authorization` of one address. What names no host is meant for the server of the repository that was asked
    /// for, and for no other that a submodule of it may name.
    fn header(&self, url: &str, home: &str) -> Option<String> {
        let host = origin(url).split_once("://").map_or("", |(_, host)| host).to_owned();
        let mut names = vec![
            (format!("GIT_AUTH_HEADER.{host}"), false),
            (format!("GIT_AUTH_TOKEN.{host}"), true),
        ];
        if origin(url) == origin(home) {
            names.push(("GIT_AUTH_HEADER".to_owned(), false));
            names.push(("GIT_AUTH_TOKEN".to_owned(), true));
        }
        let (secret, is_token) =
            names.into_iter().find_map(|(name, is_token)| Some((self.0.get(&name)?, is_token)))?;
        let text = String::from_utf8_lossy(secret.expose()).trim().to_owned();
        Some(if is_token { http::basic("x-access-token", &text) } else { text })
    }
}

/// `https://host:port` of an address.
fn origin(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return String::new() };
    let place = rest.split(['/', '?', '#']).next().unwrap_or(rest);
    let host = place.rsplit_once('@').map_or(place, |(_, host)| host);
    format!("{scheme}://{host}").to_ascii_lowercase()
}

/// Whether a context is a repository.
pub fn is_git(text: &str) -> bool {
    Remote::is_git(text) || text.starts_with("github.com/")
}

/// As whom repositories are asked for, and until when.
#[derive(Clone, Copy)]
pub struct Access<'a> {
    /// Over HTTP.
    pub login: &'a Login,
    /// Over ssh.
    pub ssh: &'a Ssh,
    /// The end of it all.
    pub cancel: &'a Cancel,
}

/// Writes the files a context address names into an empty directory. `keep`: with `.git`.
///
/// # Errors
/// When they cannot be had.
pub fn clone(address: &str, into: &Path, keep: bool, access: Access<'_>) -> Result<(), BuildError> {
    let remote = Remote::parse(address).map_err(|error| BuildError::git(address, error))?;
    let git = Git {
        keep_git_dir: keep || remote.keep_git_dir == Some(true),
        url: remote.url,
        reference: remote.reference,
        subdir: remote.subdir,
        no_submodules: remote.no_submodules,
        checksum: remote.checksum,
        by_commit: remote.by_commit,
    };
    let fetcher = Fetcher { access, home: &git.url };
    let found = fetcher.resolve(&git)?;
    fetcher.write(&git, &found, &Place::at(into))
}

impl Worker<'_> {
    fn access<'a>(&'a self, login: &'a Login) -> Access<'a> {
        Access { login, ssh: &self.request.ssh, cancel: self.cancel }
    }

    /// Which commit it is now. Its files stay where they are as long as nobody wants them.
    pub(super) fn commit(&self, git: &Git) -> Result<Output, BuildError> {
        let login = Login::of(&self.request.secrets);
        let found = Fetcher { access: self.access(&login), home: &git.url }.resolve(git)?;
        // With `.git` it also matters what was asked for: that knows the ref.
        let id = match (&found.name, git.keep_git_dir) {
            (Some(name), true) => format!("{} {name}", found.id),
            _ => found.commit.to_string(),
        };
        Ok(Output::Git(Arc::new(Commit { git: git.clone(), found, id, files: Mutex::new(None) })))
    }

    /// Where the files of a commit are.
    pub(super) fn commit_files(&self, commit: &Commit) -> Result<std::path::PathBuf, BuildError> {
        let mut files = commit.files.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(dir) = &*files {
            return Ok(dir.clone());
        }
        let dir = self.fresh_dir("git")?;
        let login = Login::of(&self.request.secrets);
        let fetcher = Fetcher { access: self.access(&login), home: &commit.git.url };
        fetcher.write(&commit.git, &commit.found, &Place::at(&dir))?;
        *files = Some(dir.clone());
        Ok(dir)
    }
}

struct Fetcher<'a> {
    access: Access<'a>,
    /// The repository that was asked for; others are its submodules.
    home: &'a str,
}

/// Where a repository's files go.
struct Place<'a> {
    /// The directory of the one that was asked for.
    root: &'a Path,
    /// Below it: a submodule's.
    files: PathBuf,
    /// Below it: a `.git` that stays. That of a submodule is in that of its repository.
    git_dir: PathBuf,
    depth: usize,
}

impl<'a> Place<'a> {
    fn at(root: &'a Path) -> Self {
        Self { root, files: PathBuf::new(), git_dir: PathBuf::from(".git"), depth: 0 }
    }
}

impl Fetcher<'_> {
    fn open(&self, url: &str) -> Result<Box<dyn Transport>, BuildError> {
        let Access { login, ssh, cancel } = self.access;
        cancel.check()?;
        let talk = |source| BuildError::git(url, tug_git::Error::Talk { source });
        if url.starts_with("git://") {
            return Ok(Box::new(daemon::Daemon::new(url, cancel).map_err(talk)?));
        }
        if url.starts_with("http://") || url.starts_with("https://") {
            let header = login.header(url, self.home);
            return Ok(Box::new(http::Http::new(url, header, cancel).map_err(talk)?));
        }
        match SshAddress::parse(url) {
            Some(address) => {
                let address = address.map_err(|error| BuildError::git(url, error))?;
                let opened = ssh::Connection::open(address, ssh, cancel);
                Ok(Box::new(opened.map_err(|error| self.ended(BuildError::ssh(url, error)))?))
            }
            None => Err(BuildError::git(url, tug_git::Error::Address { problem: Query::Scheme })),
        }
    }

    /// What went wrong, unless it is only that the build was cancelled.
    fn ended(&self, error: BuildError) -> BuildError {
        self.access.cancel.check().err().unwrap_or(error)
    }

    fn failed(&self, url: &str) -> impl FnOnce(tug_git::Error) -> BuildError {
        move |error| self.ended(BuildError::git(url, http::status(error)))
    }

    fn resolve(&self, git: &Git) -> Result<Found, BuildError> {
        let failed = |error| BuildError::git(&git.url, error);
        let reference = git.reference.as_deref();
        let found = match reference.and_then(Oid::parse) {
            Some(id) => Found::commit(id),
            None if git.by_commit => {
                let id = git.checksum.as_deref().and_then(Oid::parse);
                let problem = Query::ByCommit;
                let id = id.ok_or_else(|| failed(tug_git::Error::Address { problem }))?;
                let full = |name: &str| match name.starts_with("refs/") {
                    true => name.to_owned(),
                    false => format!("refs/heads/{name}"),
                };
                return Ok(Found { name: reference.map(full), id, commit: id });
            }
            None => {
                let mut transport = self.open(&git.url)?;
                Session::open(&mut *transport)
                    .and_then(|mut session| session.resolve(reference))
                    .map_err(self.failed(&git.url))?
            }
        };
        match &git.checksum {
            Some(checksum) => found.verify(checksum).map(|()| found).map_err(failed),
            None => Ok(found),
        }
    }

    fn write(&self, git: &Git, found: &Found, place: &Place<'_>) -> Result<(), BuildError> {
        let mut transport = self.open(&git.url)?;
        let pack = Session::open(&mut *transport)
            .and_then(|mut session| session.fetch(found.id))
            .map_err(self.failed(&git.url))?;
        drop(transport);
        // As in BuildKit, a directory of a repository has none.
        let keeps = git.keep_git_dir && git.subdir.is_empty();
        let kept = keeps.then_some(Kept { url: &git.url, dir: &place.git_dir });
        let target = Target { root: place.root, files: &place.files };
        let done = tug_git::checkout(&pack, found, &git.subdir, target, kept)
            .map_err(self.failed(&git.url))?;
        drop(pack);
        if git.no_submodules || done.submodules.is_empty() {
            return Ok(());
        }
        let modules = tug_git::modules(&done.modules.unwrap_or_default());
        for (path, id) in done.submodules {
            let shown = Path::new(&git.subdir).join(&path);
            let module = modules.iter().find(|module| Path::new(&module.path) == shown);
            let fail = |why| BuildError::Submodule {
                url: tug_git::redacted(&git.url),
                path: shown.display().to_string(),
                why,
            };
            let module = module.ok_or_else(|| fail("is not in .gitmodules"))?;
            if place.depth >= DEEPEST {
                return Err(fail("is too deep"));
            }
            let remote = Remote { url: git.url.clone(), ..Remote::default() };
            let inner = Git {
                url: remote.relative(&module.url),
                reference: None,
                subdir: String::new(),
                keep_git_dir: keeps,
                no_submodules: false,
                checksum: None,
                by_commit: false,
            };
            let inside = Place {
                root: place.root,
                files: place.files.join(&path),
                git_dir: place.git_dir.join("modules").join(&module.name),
                depth: place.depth + 1,
            };
            self.write(&inner, &Found::commit(id), &inside)?;
            if keeps {
                let git_dir = place.root.join(&place.git_dir);
                tug_git::register(&git_dir, module, &inner.url).map_err(self.failed(&git.url))?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_goes_to_its_own_host_alone() {
        let secret = |text: &str| Secret::new(text.as_bytes().to_vec());
        let login = Login::of(&BTreeMap::from([
            ("GIT_AUTH_TOKEN".to_owned(), secret("home\n")),
            ("GIT_AUTH_HEADER.b.lan:8443".to_owned(), secret("bearer b")),
            ("GIT_AUTH_TOKEN.c.lan".to_owned(), secret("c")),
            ("other".to_owned(), secret("x")),
        ]));
        let header = |url: &str| login.header(url, "https://a.lan/app.git");
        let home = header("https://a.lan/app.git");
        assert_eq!(home.as_deref(), Some("Basic eC1hY2Nlc3MtdG9rZW46aG9tZQ=="));
        assert_eq!(header("https://A.lan/other.git"), home);
        assert_eq!(header("https://b.lan:8443/x.git").as_deref(), Some("bearer b"));
        assert_eq!(header("https://me@c.lan/x.git"), Some(http::basic("x-access-token", "c")));
        for other in ["http://a.lan/app.git", "https://a.lan.evil/x.git", "https://b.lan/x.git"] {
            assert_eq!(header(other), None, "{other}");
        }
        assert_eq!(header("https://a.lan@evil/x.git"), None);
    }
}
