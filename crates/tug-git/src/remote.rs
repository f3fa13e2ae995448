//! Addresses of repositories, as `ADD` and the command line take them.

use crate::error::{Error, Query};

/// A repository, what of it is wanted, and how.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Remote {
    /// `https://host/repo.git`, `git@host:repo.git`
    pub url: String,
    /// Branch, tag, full ref or commit; none is what `HEAD` is there.
    pub reference: Option<String>,
    /// Only this directory; empty is all.
    pub subdir: String,
    /// How the commit, or its tag, begins.
    pub checksum: Option<String>,
    /// With `.git`, where the address says so.
    pub keep_git_dir: Option<bool>,
    /// Without submodules.
    pub no_submodules: bool,
    /// The commit is what `checksum` says; the ref is only what it is to be called.
    pub by_commit: bool,
}

impl Remote {
    /// Whether a word is the address of a repository rather than of a file.
    pub fn is_git(text: &str) -> bool {
        let path = text.split(['#', '?']).next().unwrap_or(text);
        text.starts_with("git://")
            || text.starts_with("ssh://")
            || is_scp(text)
            || (text.starts_with("http://") || text.starts_with("https://"))
                && path.ends_with(".git")
    }

    /// Reads `URL[?ref=…&subdir=…][#REF[:DIR]]`.
    ///
    /// # Errors
    /// For questions nobody knows, and answers that contradict each other.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let fail = |problem| Error::Address { problem };
        let text = match text.strip_prefix("github.com/") {
            Some(rest) => format!("https://github.com/{rest}"),
            None => text.to_owned(),
        };
        let (url, fragment) = match text.split_once('#') {
            Some((url, fragment)) => (url, Some(fragment)),
            None => (text.as_str(), None),
        };
        let (url, query) = url.split_once('?').unwrap_or((url, ""));
        let mut remote = Self { url: url.to_owned(), ..Self::default() };
        if let Some(fragment) = fragment {
            // What comes after `user@host:` is not written as in an address.
            let fragment = match is_scp(&text) {
                true => fragment.to_owned(),
                false => decoded(fragment, false).ok_or_else(|| fail(Query::Escape))?,
            };
            let (reference, subdir) = fragment.split_once(':').unwrap_or((&fragment, ""));
            remote.reference = Some(reference.to_owned()).filter(|name| !name.is_empty());
            remote.subdir = cleaned(subdir);
        }
        remote.query(query).map_err(fail)?;
        remote.subdir = cleaned(&remote.subdir);
        if remote.reference.as_ref().is_some_and(|name| name.starts_with('-')) {
            return Err(fail(Query::Ref));
        }
        Ok(remote)
    }

    fn query(&mut self, query: &str) -> Result<(), Query> {
        let mut seen = Vec::new();
        let (mut tag, mut branch) = (None, None);
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let name = decoded(name, true).ok_or(Query::Escape)?;
            let value = decoded(value, true).ok_or(Query::Escape)?;
            if seen.contains(&name) {
                return Err(Query::Twice { name });
            }
            seen.push(name.clone());
            let is_switch =
                ["submodules", "keep-git-dir", "fetch-by-commit"].contains(&name.as_str());
            if value.is_empty() && !is_switch {
                return Err(Query::Empty { name });
            }
            match name.as_str() {
                "ref" => self.named(value)?,
                "tag" => tag = Some(value),
                "branch" => branch = Some(value),
                "subdir" if !self.subdir.is_empty() && self.subdir != value => {
                    return Err(Query::Subdir { one: self.subdir.clone(), other: value });
                }
                "subdir" => self.subdir = value,
                "checksum" | "commit" => self.checksum = Some(value),
                "keep-git-dir" => self.keep_git_dir = Some(switch(name, value)?),
                "submodules" => self.no_submodules = !switch(name, value)?,
                "fetch-by-commit" => self.by_commit = switch(name, value)?,
                // The only times the files ever have here.
                "mtime" if value == "commit" => {}
                "mtime" => return Err(Query::Times { value }),
                _ => return Err(Query::Unknown { name }),
            }
        }
        if tag.is_some() && branch.is_some() {
            return Err(Query::BranchAndTag);
        }
        let full = |start: &str, name: String| match name.starts_with(start) {
            true => name,
            false => format!("{start}{name}"),
        };
        let named = tag.map(|name| full("refs/tags/", name));
        match named.or(branch.map(|name| full("refs/heads/", name))) {
            Some(name) => self.named(name),
            None => Ok(()),
        }
    }

    fn named(&mut self, name: String) -> Result<(), Query> {
        match self.reference.replace(name) {
            Some(one) if self.reference.as_ref() != Some(&one) => {
                Err(Query::Refs { one, other: self.reference.take().unwrap_or_default() })
            }
            _ => Ok(()),
        }
    }

    /// The address of a submodule: relative ones count from the repository.
    pub fn relative(&self, url: &str) -> String {
        if !url.starts_with("./") && !url.starts_with("../") {
            return url.to_owned();
        }
        let mut base = self.url.trim_end_matches('/').to_owned();
        let mut separator = '/';
        let mut rest = url;
        loop {
            if let Some(up) = rest.strip_prefix("../") {
                // Above the last directory of `user@host:dir` is what stands before the colon.
                let at = base.rfind('/').or_else(|| base.rfind(':')).unwrap_or(0);
                separator = base[at..].chars().next().unwrap_or('/');
                base.truncate(at);
                rest = up;
            } else if let Some(same) = rest.strip_prefix("./") {
                rest = same;
            } else {
                return format!("{base}{separator}{rest}");
            }
        }
    }
}

/// What Go takes for a truth value; nothing is true.
fn switch(name: String, value: String) -> Result<bool, Query> {
    match value.as_str() {
        "" | "1" | "t" | "T" | "TRUE" | "true" | "True" => Ok(true),
        "0" | "f" | "F" | "FALSE" | "false" | "False" => Ok(false),
        _ => Err(Query::Switch { name, value }),
    }
}

/// A path from the root of the repository, without `.` and `..`.
fn cleaned(path: &str) -> String {
    let mut parts = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    parts.join("/")
}

/// Without its `%20`; in a query `+` is a space.
pub(crate) fn decoded(text: &str, query: bool) -> Option<String> {
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        match byte {
            b'%' => {
                let mut digit = || char::from(rest.next()?).to_digit(16);
                bytes.push(u8::try_from(digit()? << 4 | digit()?).ok()?);
            }
            b'+' if query => bytes.push(b' '),
            byte => bytes.push(byte),
        }
    }
    String::from_utf8(bytes).ok()
}

/// `user@host:path`
fn is_scp(text: &str) -> bool {
    let word = |text: &str, more: &[char]| {
        !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || more.contains(&c))
    };
    text.split_once('@').is_some_and(|(user, rest)| {
        let host = rest.split_once(':').map_or("", |(host, _)| host);
        word(user, &['-', '_']) && word(host, &['-', '.'])
    })
}

/// Takes a name and a password out of an address of the web.
pub fn login(url: &str) -> Option<(String, (String, String))> {
    let (scheme, rest) = url.split_once("://")?;
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (login, host) = rest[..end].rsplit_once('@')?;
    let (name, password) = login.split_once(':').unwrap_or((login, ""));
    let login = (decoded(name, false)?, decoded(password, false)?);
    Some((format!("{scheme}://{host}{}", &rest[end..]), login))
}

/// An address without who asks and the password.
pub fn redacted(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return url.to_owned() };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    match rest[..end].rsplit_once('@') {
        Some((login, _)) if login.contains(':') || scheme.starts_with("http") => {
            format!("{scheme}://xxxxx:xxxxx@{}", &rest[login.len() + 1..])
        }
        _ => url.to_owned(),
    }
}

/// Where a repository is that is asked for over ssh.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SshAddress {
    /// None is whoever asks.
    pub user: Option<String>,
    /// A name or an address, without brackets.
    pub host: String,
    /// 22 unless it says otherwise.
    pub port: u16,
    /// As the server takes it: from its root, or from the user's home.
    pub path: String,
}

impl SshAddress {
    /// Reads `ssh://[USER@]HOST[:PORT]/PATH` and `USER@HOST:PATH`; none is another kind of address.
    ///
    /// # Errors
    /// For one that names no host, no path, or no port.
    pub fn parse(url: &str) -> Option<Result<Self, Error>> {
        let fail = || Error::Address { problem: Query::Ssh };
        let (user, host, port, path) = if let Some(rest) = url.strip_prefix("ssh://") {
            let Some((place, path)) = rest.split_once('/') else { return Some(Err(fail())) };
            let (user, place) = match place.rsplit_once('@') {
                Some((user, place)) => (Some(user), place),
                None => (None, place),
            };
            let (host, port) = match place.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
                Some((host, port)) => (host, port.strip_prefix(':')),
                None => place.rsplit_once(':').map_or((place, None), |(h, port)| (h, Some(port))),
            };
            let path = decoded(path, false).unwrap_or_default();
            // `/~user/repo` counts from a home.
            let path = if path.starts_with('~') { path } else { format!("/{path}") };
            (user, host, port.unwrap_or("22"), path)
        } else if is_scp(url) {
            let (user, rest) = url.split_once('@')?;
            let (host, path) = rest.split_once(':')?;
            (Some(user), host, "22", path.to_owned())
        } else {
            return None;
        };
        let user = user.map(str::to_owned);
        let good = !host.is_empty()
            && !path.trim_start_matches('/').is_empty()
            && !path.starts_with('-')
            && !path.contains('\0')
            && user.as_ref().is_none_or(|user| !user.is_empty() && !user.contains(':'));
        match port.parse() {
            Ok(port) if good => Some(Ok(Self { user, host: host.to_owned(), port, path })),
            _ => Some(Err(fail())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Remote {
        Remote::parse(text).unwrap()
    }

    #[test]
    fn addresses_name_a_ref_and_a_directory() {
        let remote = read("https://h/a.git#v1:sub/dir");
        assert_eq!((remote.url.as_str(), remote.subdir.as_str()), ("https://h/a.git", "sub/dir"));
        assert_eq!(remote.reference.as_deref(), Some("v1"));
        assert_eq!(read("https://h/a.git").reference, None);
        assert_eq!(read("git://h/a#:x").subdir, "x");
        assert_eq!(read("https://h/a.git#feature%2Fx:/../a/./b/").subdir, "a/b");
        assert_eq!(read("https://h/a.git#feature%2Fx").reference.as_deref(), Some("feature/x"));
        assert_eq!(read("git@h:a/b.git#a%2Fb").reference.as_deref(), Some("a%2Fb"));
        assert_eq!(read("github.com/a/b").url, "https://github.com/a/b");
        assert!(Remote::is_git("https://h/a.git#x") && Remote::is_git("git@h:a"));
        assert!(Remote::is_git("someone@h.lan:dir") && Remote::is_git("ssh://h/a"));
        assert!(!Remote::is_git("https://h/a.tar.gz") && !Remote::is_git("dir.git"));
        assert!(
            !Remote::is_git("a b@h:x") && !Remote::is_git("a@h/x:y") && !Remote::is_git("@h:x")
        );
    }

    #[test]
    fn questions_are_buildkits() {
        let asked = read("https://h/a.git?branch=main&subdir=d&keep-git-dir=1&checksum=ab");
        assert_eq!(asked.reference.as_deref(), Some("refs/heads/main"));
        assert_eq!((asked.subdir.as_str(), asked.keep_git_dir), ("d", Some(true)));
        assert_eq!(asked.checksum.as_deref(), Some("ab"));
        assert_eq!(read("git@h:a.git?tag=v1").reference.as_deref(), Some("refs/tags/v1"));
        assert_eq!(read("git@h:a.git?ref=v1#v1").reference.as_deref(), Some("v1"));
        assert!(read("https://h/a.git?submodules=0").no_submodules);
        assert!(!read("https://h/a.git?submodules").no_submodules);
        assert_eq!(read("https://h/a.git?keep-git-dir=f").keep_git_dir, Some(false));
        assert!(read("https://h/a.git?fetch-by-commit&mtime=commit").by_commit);
        for (query, problem) in [
            ("ref=a#b", "ref conflicts: \"b\" vs \"a\""),
            ("ref=a&tag=b", "ref conflicts: \"a\" vs \"refs/tags/b\""),
            ("tag=a&branch=b", "branch conflicts with tag"),
            ("subdir=a#:b", "subdir conflicts: \"b\" vs \"a\""),
            ("what=1", "unexpected query \"what\""),
            ("ref=", "query \"ref\" has no value"),
            ("ref=a&ref=a", "query \"ref\" has multiple values"),
            ("submodules=maybe", "invalid submodules value: \"maybe\""),
            ("mtime=checkout", "mtime"),
            ("ref=%zz", "not written"),
            ("ref=-x", "invalid git ref"),
        ] {
            let error = Remote::parse(&format!("https://h/a.git?{query}")).unwrap_err();
            assert!(error.to_string().contains(problem), "{query}: {error}");
        }
    }

    #[test]
    fn submodules_may_be_beside_their_repository() {
        assert_eq!(read("https://h/a.git").relative("../b.git"), "https://h/b.git");
        assert_eq!(read("https://h/a.git").relative("https://x/c"), "https://x/c");
        assert_eq!(read("git@h:a.git").relative("../b.git"), "git@h:b.git");
        assert_eq!(read("git@h:x/a.git").relative("../b.git"), "git@h:x/b.git");
        assert_eq!(read("ssh://h/a.git").relative("./b"), "ssh://h/a.git/b");
    }

    #[test]
    fn what_is_said_over_ssh() {
        let read = |text: &str| SshAddress::parse(text).unwrap().ok();
        let of = |user: Option<&str>, host: &str, port, path: &str| {
            let user = user.map(str::to_owned);
            Some(SshAddress { user, host: host.to_owned(), port, path: path.to_owned() })
        };
        assert_eq!(read("git@h.lan:a/b.git"), of(Some("git"), "h.lan", 22, "a/b.git"));
        assert_eq!(read("ssh://me@h:2222/srv/a"), of(Some("me"), "h", 2222, "/srv/a"));
        assert_eq!(read("ssh://h/~me/a%20b"), of(None, "h", 22, "~me/a b"));
        assert_eq!(read("ssh://[::1]:9/a"), of(None, "::1", 9, "/a"));
        for bad in ["ssh://h", "ssh://h/", "ssh:///a", "ssh://h:x/a", "git@h:-x", "ssh://a:b@h/c"] {
            assert_eq!(read(bad), None, "{bad}");
        }
        assert!(SshAddress::parse("https://h/a").is_none());
    }

    #[test]
    fn passwords_are_not_shown() {
        assert_eq!(redacted("https://me:pw@h/a@b"), "https://xxxxx:xxxxx@h/a@b");
        assert_eq!(redacted("https://token@h/a"), "https://xxxxx:xxxxx@h/a");
        assert_eq!(redacted("ssh://git@h/a"), "ssh://git@h/a");
        assert_eq!(redacted("git@h:a"), "git@h:a");
        assert_eq!(redacted("https://h/a@b"), "https://h/a@b");
        let (url, (name, password)) = login("https://me:p%40w@h:1/a@b").unwrap();
        assert_eq!((&*url, &*name, &*password), ("https://h:1/a@b", "me", "p@w"));
        assert_eq!(login("https://h/a@b"), None);
    }
}
