//! Platforms: reading `--platform`, normalising what indexes say, and choosing the best match.
//!
//! The rules are containerd's: an unset variant is the architecture's common one (`arm64/v8`,
//! `arm/v7`, `amd64/v1`), and an older variant or the 32-bit brother runs where the newer does.

use serde::Deserialize;
use std::fmt;

/// An operating system and a processor, in Go's names, normalised.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Deserialize)]
pub struct Platform {
    /// `linux`.
    pub os: String,
    /// `amd64`, `arm64`, …
    pub architecture: String,
    /// `v7` of `arm/v7`; empty where the architecture has one common variant.
    #[serde(default)]
    pub variant: String,
}

/// Why a text names no platform.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a platform: expected os[/arch[/variant]], such as linux/arm64")]
pub struct PlatformError(pub String);

impl Platform {
    /// Normalises the three parts.
    pub fn new(os: &str, architecture: &str, variant: &str) -> Self {
        let os = match os.to_ascii_lowercase() {
            os if os == "macos" => "darwin".to_owned(),
            os => os,
        };
        let variant = variant.to_ascii_lowercase();
        let (architecture, variant) = normalise(&architecture.to_ascii_lowercase(), &variant);
        Self { os, architecture, variant }
    }

    /// This machine's.
    pub fn host() -> Self {
        Self::new("linux", std::env::consts::ARCH, "")
    }

    /// Reads `os`, `arch`, `os/arch` or `os/arch/variant`; what is left out is this machine's.
    ///
    /// # Errors
    /// [`PlatformError`] on other shapes and unknown single words.
    pub fn parse(text: &str) -> Result<Self, PlatformError> {
        let wrong = || PlatformError(text.to_owned());
        let word = |part: &&str| {
            !part.is_empty()
                && part.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-.".contains(&b))
        };
        let parts: Vec<&str> = text.split('/').collect();
        if !parts.iter().all(word) {
            return Err(wrong());
        }
        let host = Self::host();
        match parts[..] {
            [os] if is_known_os(os) => Ok(Self::new(os, &host.architecture, &host.variant)),
            [architecture] if is_known_architecture(architecture) => {
                Ok(Self::new(&host.os, architecture, ""))
            }
            [os, architecture] => Ok(Self::new(os, architecture, "")),
            [os, architecture, variant] => Ok(Self::new(os, architecture, variant)),
            _ => Err(wrong()),
        }
    }

    /// How well an image for `offered` runs where `self` is wanted: `None` not at all, else the
    /// smaller the better.
    pub fn rank(&self, offered: &Self) -> Option<usize> {
        let offered = Self::new(&offered.os, &offered.architecture, &offered.variant);
        self.runnable().iter().position(|candidate| *candidate == offered)
    }

    /// Everything that runs here, best first.
    fn runnable(&self) -> Vec<Self> {
        let on = |architecture: &str, variant: &str| Self::new(&self.os, architecture, variant);
        let mut all = vec![self.clone()];
        let level = |default: u32| {
            self.variant.strip_prefix('v').and_then(|v| v.parse().ok()).unwrap_or(default)
        };
        match self.architecture.as_str() {
            "amd64" => {
                all.extend((1..level(1)).rev().map(|v| on("amd64", &format!("v{v}"))));
                all.push(on("386", ""));
            }
            "arm64" => {
                all.extend((8..level(8)).rev().map(|v| on("arm64", &format!("v{v}"))));
                all.extend((5..=8).rev().map(|v| on("arm", &format!("v{v}"))));
            }
            "arm" => all.extend((5..level(7)).rev().map(|v| on("arm", &format!("v{v}")))),
            _ => {}
        }
        all
    }
}

fn normalise(architecture: &str, variant: &str) -> (String, String) {
    let (architecture, variant) = match (architecture, variant) {
        ("x86_64" | "x86-64" | "amd64", "v1") => ("amd64", ""),
        ("x86_64" | "x86-64", variant) => ("amd64", variant),
        ("i386" | "i486" | "i586" | "i686" | "x86" | "386", _) => ("386", ""),
        ("aarch64" | "arm64", "8" | "v8") => ("arm64", ""),
        ("aarch64", variant) => ("arm64", variant),
        ("armhf", _) | ("arm", "" | "7") => ("arm", "v7"),
        ("armel", _) | ("arm", "6") => ("arm", "v6"),
        ("arm", "5") => ("arm", "v5"),
        ("arm", "8") => ("arm", "v8"),
        ("powerpc64le" | "powerpc64", variant) => ("ppc64le", variant),
        ("loongarch64", variant) => ("loong64", variant),
        other => other,
    };
    (architecture.to_owned(), variant.to_owned())
}

fn is_known_os(text: &str) -> bool {
    matches!(text, "linux" | "windows" | "darwin" | "macos" | "freebsd" | "netbsd" | "openbsd")
}

fn is_known_architecture(text: &str) -> bool {
    matches!(
        normalise(text, "").0.as_str(),
        "386"
            | "amd64"
            | "arm"
            | "arm64"
            | "loong64"
            | "mips64le"
            | "ppc64le"
            | "riscv64"
            | "s390x"
    )
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        if !self.variant.is_empty() {
            write!(f, "/{}", self.variant)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_normalised_as_containerd_does() {
        for (text, shown) in [
            ("linux/amd64", "linux/amd64"),
            ("linux/x86_64", "linux/amd64"),
            ("linux/arm64/v8", "linux/arm64"),
            ("Linux/AArch64", "linux/arm64"),
            ("linux/arm", "linux/arm/v7"),
            ("linux/armel", "linux/arm/v6"),
            ("arm64", "linux/arm64"),
            ("windows/amd64", "windows/amd64"),
            ("linux/amd64/v1", "linux/amd64"),
            ("linux/amd64/v3", "linux/amd64/v3"),
        ] {
            assert_eq!(Platform::parse(text).unwrap().to_string(), shown, "{text}");
        }
        for text in ["", "/", "linux/", "nonsense", "a/b/c/d", "linux/am d64"] {
            assert_eq!(Platform::parse(text), Err(PlatformError(text.into())));
        }
    }

    #[test]
    fn the_closest_variant_ranks_first() {
        let wanted = Platform::parse("linux/arm/v7").unwrap();
        let rank = |text: &str| wanted.rank(&Platform::parse(text).unwrap());
        assert!(rank("linux/arm/v7") < rank("linux/arm/v6"));
        assert_eq!(rank("linux/arm/v8"), None);
        assert_eq!(rank("linux/arm64"), None);
        let amd64 = Platform::parse("linux/amd64").unwrap();
        assert_eq!(amd64.rank(&Platform::parse("linux/amd64/v3").unwrap()), None);
        assert!(amd64.rank(&Platform::parse("linux/386").unwrap()).is_some());
        assert_eq!(amd64.rank(&Platform::parse("windows/amd64").unwrap()), None);
    }
}
