//! Platforms, `linux/arm64/v8`, and the variables that name them in a Dockerfile.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use crate::env::Env;

/// An operating system, architecture and variant, in the usual spelling.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Platform {
    /// `linux`
    pub os: String,
    /// `amd64`
    pub architecture: String,
    /// `v7`, or nothing.
    pub variant: String,
    /// Windows' build number, or nothing.
    pub os_version: String,
}

/// A platform that is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlatformError {
    /// Nothing, or characters that no part has.
    #[error(
        "{part:?} is an invalid component of {text:?}: platform specifier component must match \
         \"^[A-Za-z0-9_.-]+$\""
    )]
    Component {
        /// The part.
        part: String,
        /// All of it.
        text: String,
    },
    /// One word that is neither.
    #[error("{0:?}: unknown operating system or architecture")]
    Unknown(String),
    /// More than three parts.
    #[error("{0:?}: cannot parse platform specifier")]
    Parts(String),
}

const SYSTEMS: &[&str] = &[
    "aix",
    "android",
    "darwin",
    "dragonfly",
    "freebsd",
    "hurd",
    "illumos",
    "ios",
    "js",
    "linux",
    "nacl",
    "netbsd",
    "openbsd",
    "plan9",
    "solaris",
    "windows",
    "zos",
];

const ARCHITECTURES: &[&str] = &[
    "386",
    "amd64",
    "amd64p32",
    "arm",
    "armbe",
    "arm64",
    "arm64be",
    "loong64",
    "mips",
    "mipsle",
    "mips64",
    "mips64le",
    "mips64p32",
    "mips64p32le",
    "ppc",
    "ppc64",
    "ppc64le",
    "riscv",
    "riscv64",
    "s390",
    "s390x",
    "sparc",
    "sparc64",
    "wasm",
];

impl Platform {
    /// The machine's own: Linux on the architecture this program is made for.
    pub fn host() -> Self {
        let (architecture, variant) = normal_architecture(std::env::consts::ARCH, "");
        Self { os: "linux".into(), architecture, variant, os_version: String::new() }
    }

    /// With Windows' build number in parentheses where there is one.
    pub fn full(&self) -> String {
        let version = match self.os_version.as_str() {
            "" => String::new(),
            version => format!("({version})"),
        };
        let mut out = format!("{}{version}/{}", self.os, self.architecture);
        if !self.variant.is_empty() {
            out = out + "/" + &self.variant;
        }
        out
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        if self.variant.is_empty() { Ok(()) } else { write!(f, "/{}", self.variant) }
    }
}

impl FromStr for Platform {
    type Err = PlatformError;

    fn from_str(text: &str) -> Result<Self, PlatformError> {
        let parts: Vec<&str> = text.split('/').collect();
        let (system, version) =
            match parts[0].strip_suffix(')').and_then(|part| part.split_once('(')) {
                Some((system, version)) => (system, version),
                None => (parts[0], ""),
            };
        for part in [system].iter().chain(&parts[1..]) {
            let fits = |c: char| c.is_ascii_alphanumeric() || "_.-".contains(c);
            if part.is_empty() || !part.chars().all(fits) {
                return Err(PlatformError::Component {
                    part: (*part).to_owned(),
                    text: text.to_owned(),
                });
            }
        }
        let os = normal_system(system);
        let os_version = version.to_owned();
        let host = Self::host();
        let (os, (architecture, variant)) = match parts[..] {
            [_] if SYSTEMS.contains(&os.as_str()) => (os, (host.architecture, host.variant)),
            [word] => {
                let normal = normal_architecture(word, "");
                if !ARCHITECTURES.contains(&normal.0.as_str()) {
                    return Err(PlatformError::Unknown(text.to_owned()));
                }
                (host.os, normal)
            }
            [_, architecture] => (os, normal_architecture(architecture, "")),
            [_, architecture, variant] => (os, normal_architecture(architecture, variant)),
            _ => return Err(PlatformError::Parts(text.to_owned())),
        };
        Ok(Self { os, architecture, variant, os_version })
    }
}

fn normal_system(os: &str) -> String {
    match os.to_lowercase() {
        os if os == "macos" => "darwin".into(),
        os => os,
    }
}

/// The usual names: `x86_64` is `amd64`, `aarch64` is `arm64`, `armhf` is `arm/v7`.
fn normal_architecture(architecture: &str, variant: &str) -> (String, String) {
    let (architecture, variant) = (architecture.to_lowercase(), variant.to_lowercase());
    let (architecture, variant) = match architecture.as_str() {
        "i386" | "x86" => ("386", ""),
        "x86_64" | "x86-64" | "amd64" => {
            ("amd64", if variant == "v1" { "" } else { variant.as_str() })
        }
        "aarch64" | "arm64" => {
            ("arm64", if matches!(variant.as_str(), "8" | "v8") { "" } else { variant.as_str() })
        }
        "armhf" => ("arm", "v7"),
        "armel" => ("arm", "v6"),
        "arm" => match variant.as_str() {
            "" | "7" => ("arm", "v7"),
            "5" => ("arm", "v5"),
            "6" => ("arm", "v6"),
            "8" => ("arm", "v8"),
            other => ("arm", other),
        },
        other => (other, variant.as_str()),
    };
    (architecture.to_owned(), variant.to_owned())
}

/// The variables every Dockerfile has outside its stages, and inside after an `ARG` without a value:
/// `BUILDPLATFORM`, `TARGETPLATFORM` and their parts, `TARGETSTAGE`. A build argument of the same name
/// takes precedence.
pub fn platform_args(
    build: &Platform,
    target: &Platform,
    target_stage: &str,
    build_args: &BTreeMap<String, String>,
) -> Env {
    let stage = if target_stage.is_empty() { "default" } else { target_stage };
    let mut env = Env::default();
    for (name, value) in [
        ("BUILDPLATFORM", build.to_string().as_str()),
        ("BUILDOS", &build.os),
        ("BUILDOSVERSION", &build.os_version),
        ("BUILDARCH", &build.architecture),
        ("BUILDVARIANT", &build.variant),
        ("TARGETPLATFORM", &target.full()),
        ("TARGETOS", &target.os),
        ("TARGETOSVERSION", &target.os_version),
        ("TARGETARCH", &target.architecture),
        ("TARGETVARIANT", &target.variant),
        ("TARGETSTAGE", stage),
    ] {
        env.set(name, build_args.get(name).map_or(value, String::as_str));
    }
    env
}

#[cfg(test)]
mod tests {
    use super::Platform;

    #[test]
    fn spelled_as_usual() {
        for (text, usual) in [
            ("linux/amd64", "linux/amd64"),
            ("linux/x86_64", "linux/amd64"),
            ("linux/arm64/v8", "linux/arm64"),
            ("linux/aarch64", "linux/arm64"),
            ("linux/arm", "linux/arm/v7"),
            ("linux/arm/v6", "linux/arm/v6"),
            ("armhf", "linux/arm/v7"),
            ("Linux/AMD64", "linux/amd64"),
            ("s390x", "linux/s390x"),
            ("macos/arm64", "darwin/arm64"),
        ] {
            assert_eq!(
                text.parse::<Platform>().map(|p| p.to_string()),
                Ok(usual.to_owned()),
                "{text}"
            );
        }
        let windows: Platform = "windows(10.0.17763)/amd64".parse().unwrap();
        assert_eq!(
            (windows.os_version.as_str(), windows.full()),
            ("10.0.17763", "windows(10.0.17763)/amd64".into())
        );
        for text in ["", "bogus", "linux//v7", "linux/amd64/v2/x", "li nux/amd64"] {
            assert!(text.parse::<Platform>().is_err(), "{text}");
        }
    }
}
