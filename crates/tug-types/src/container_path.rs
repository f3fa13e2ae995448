//! A path inside a container. It is not a host path: only a rooted open turns it into a
//! descriptor, and only the engine's volume and mount code ever shows it to a person.

use serde::{Deserialize, Serialize};
use std::fmt;

/// An absolute, lexically cleaned path inside a container's root. `..` never climbs above `/`.
/// Nothing converts it into a `std::path::Path`: opening goes through a directory descriptor and
/// `openat2(2)` with `RESOLVE_IN_ROOT`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ContainerPath(String);

/// Why a text is no path inside a container.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum ContainerPathError {
    /// The path does not start at the root.
    #[error("path {0:?} inside the container is not absolute")]
    NotAbsolute(String),
    /// The path holds a NUL byte, which no kernel call can take.
    #[error("path {0:?} inside the container holds a NUL byte")]
    Nul(String),
}

impl ContainerPath {
    /// The container's root.
    pub fn root() -> Self {
        Self("/".to_owned())
    }

    /// Cleans an absolute path as Go's `path.Clean` does: `//`, `.` and `..` are resolved by text.
    ///
    /// # Errors
    /// When the path is relative or holds a NUL.
    pub fn parse(text: &str) -> Result<Self, ContainerPathError> {
        if text.contains('\0') {
            return Err(ContainerPathError::Nul(text.to_owned()));
        }
        if !text.starts_with('/') {
            return Err(ContainerPathError::NotAbsolute(text.to_owned()));
        }
        let mut parts: Vec<&str> = Vec::new();
        for part in text.split('/') {
            match part {
                "" | "." => {}
                ".." => {
                    parts.pop();
                }
                name => parts.push(name),
            }
        }
        Ok(Self(format!("/{}", parts.join("/"))))
    }

    /// The same path with `relative` appended and cleaned; an absolute `relative` replaces it.
    ///
    /// # Errors
    /// When the result holds a NUL.
    pub fn join(&self, relative: &str) -> Result<Self, ContainerPathError> {
        if relative.starts_with('/') {
            Self::parse(relative)
        } else {
            Self::parse(&format!("{}/{relative}", self.0))
        }
    }

    /// The text, starting with `/`.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The text without its leading `/`, as `openat2(2)` relative to the root wants it; `.` for
    /// the root itself.
    pub fn relative(&self) -> &str {
        match &self.0[1..] {
            "" => ".",
            rest => rest,
        }
    }

    /// Whether this is `/`.
    pub fn is_root(&self) -> bool {
        self.0 == "/"
    }
}

impl TryFrom<String> for ContainerPath {
    type Error = ContainerPathError;

    fn try_from(text: String) -> Result<Self, ContainerPathError> {
        Self::parse(&text)
    }
}

impl From<ContainerPath> for String {
    fn from(path: ContainerPath) -> Self {
        path.0
    }
}

impl fmt::Display for ContainerPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cleaning_follows_go() {
        for (text, clean) in
            [("/", "/"), ("//a//b/", "/a/b"), ("/a/./b/../c", "/a/c"), ("/../../x", "/x")]
        {
            assert_eq!(ContainerPath::parse(text).unwrap().as_str(), clean);
        }
    }

    #[test]
    fn joining_keeps_inside_the_root() {
        let base = ContainerPath::parse("/app").unwrap();
        assert_eq!(base.join("../../etc").unwrap().as_str(), "/etc");
        assert_eq!(base.join("/srv").unwrap().as_str(), "/srv");
    }

    #[test]
    fn relative_paths_and_nul_are_refused() {
        assert_eq!(ContainerPath::parse("a"), Err(ContainerPathError::NotAbsolute("a".into())));
        assert_eq!(ContainerPath::parse("/a\0"), Err(ContainerPathError::Nul("/a\0".into())));
    }
}
