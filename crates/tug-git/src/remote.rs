//! Addresses of repositories, as `ADD` and the command line take them.

use crate::error::Error;

/// A repository, what of it is wanted, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remote {
    /// `https://host/repo.git`
    pub url: String,
    /// Branch, tag, full ref or commit; none is what `HEAD` is there.
    pub reference: Option<String>,
    /// Only this directory; empty is all.
    pub subdir: String,
    /// With `.git`, where the address says so.
    pub keep_git_dir: Option<bool>,
    /// Without submodules.
    pub no_submodules: bool,
}

impl Remote {
    /// Whether a word is the address of a repository rather than of a file.
    pub fn is_git(text: &str) -> bool {
        let path = text.split(['#', '?']).next().unwrap_or(text);
        text.starts_with("git://")
            || text.starts_with("git@")
            || text.starts_with("ssh://")
            || (text.starts_with("http://") || text.starts_with("https://"))
                && path.ends_with(".git")
    }

    /// Reads `URL[?ref=…&subdir=…][#REF[:DIR]]`.
    ///
    /// # Errors
    /// For ways to a repository that need a program of its own, and for questions nobody knows.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let fail = |why| Error::Address { address: text.to_owned(), why };
        let text = match text.strip_prefix("github.com/") {
            Some(rest) => format!("https://github.com/{rest}"),
            None => text.to_owned(),
        };
        if text.starts_with("ssh://") || text.starts_with("git@") {
            return Err(fail("repositories over ssh are not supported by tug"));
        }
        let (url, fragment) = match text.split_once('#') {
            Some((url, fragment)) => (url, Some(fragment)),
            None => (text.as_str(), None),
        };
        let (url, query) = match url.split_once('?') {
            Some((url, query)) => (url, query),
            None => (url, ""),
        };
        let mut remote = Self {
            url: url.to_owned(),
            reference: None,
            subdir: String::new(),
            keep_git_dir: None,
            no_submodules: false,
        };
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, "true"));
            match name {
                "ref" | "commit" | "checksum" => remote.reference = Some(value.to_owned()),
                "branch" => remote.reference = Some(format!("refs/heads/{value}")),
                "tag" => remote.reference = Some(format!("refs/tags/{value}")),
                "subdir" => value.clone_into(&mut remote.subdir),
                "keep-git-dir" => remote.keep_git_dir = Some(value == "true" || value == "1"),
                "submodules" => remote.no_submodules = value == "false" || value == "0",
                _ => return Err(fail("it has a query that is not known")),
            }
        }
        if let Some(fragment) = fragment {
            let (reference, subdir) = fragment.split_once(':').unwrap_or((fragment, ""));
            if !reference.is_empty() {
                remote.reference = Some(reference.to_owned());
            }
            if !subdir.is_empty() {
                subdir.clone_into(&mut remote.subdir);
            }
        }
        remote.subdir = remote.subdir.trim_matches('/').to_owned();
        Ok(remote)
    }

    /// The address of a submodule: relative ones count from the repository.
    pub fn relative(&self, url: &str) -> String {
        if !url.starts_with("./") && !url.starts_with("../") {
            return url.to_owned();
        }
        let mut base = self.url.trim_end_matches('/').to_owned();
        let mut rest = url;
        loop {
            if let Some(up) = rest.strip_prefix("../") {
                base.truncate(base.rfind('/').unwrap_or(0));
                rest = up;
            } else if let Some(same) = rest.strip_prefix("./") {
                rest = same;
            } else {
                return format!("{base}/{rest}");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_name_a_ref_and_a_directory() {
        let read = |text: &str| Remote::parse(text).unwrap();
        let remote = read("https://h/a.git#v1:sub/dir");
        assert_eq!((remote.url.as_str(), remote.subdir.as_str()), ("https://h/a.git", "sub/dir"));
        assert_eq!(remote.reference.as_deref(), Some("v1"));
        assert_eq!(read("https://h/a.git").reference, None);
        assert_eq!(read("git://h/a#:x").subdir, "x");
        let asked = read("https://h/a.git?branch=main&subdir=d&keep-git-dir=1");
        assert_eq!(asked.reference.as_deref(), Some("refs/heads/main"));
        assert_eq!((asked.subdir.as_str(), asked.keep_git_dir), ("d", Some(true)));
        assert_eq!(read("github.com/a/b").url, "https://github.com/a/b");
        for bad in ["git@h:a/b.git", "ssh://h/a.git", "https://h/a.git?what=1"] {
            assert!(Remote::parse(bad).is_err(), "{bad}");
        }
        assert!(Remote::is_git("https://h/a.git#x") && Remote::is_git("git@h:a"));
        assert!(!Remote::is_git("https://h/a.tar.gz") && !Remote::is_git("dir.git"));
        assert_eq!(remote.relative("../b.git"), "https://h/b.git");
        assert_eq!(remote.relative("https://x/c"), "https://x/c");
    }
}
