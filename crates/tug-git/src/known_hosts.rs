//! Ssh's list of hosts whose keys somebody has looked at: `known_hosts`, in the format of sshd(8).
//!
//! ```text
//! [@revoked|@cert-authority] PATTERN[,PATTERN…] TYPE KEY [COMMENT]
//! ```
//!
//! A pattern is a name with `*` and `?`, turned round by `!`, `[NAME]:PORT`, or `|1|SALT|HASH` of a name.

use sha1::{Digest as _, Sha1};

/// The lines of such a file.
#[derive(Clone, Debug, Default)]
pub struct KnownHosts {
    lines: Vec<Line>,
}

#[derive(Clone, Debug)]
struct Line {
    number: usize,
    revoked: bool,
    patterns: Vec<String>,
    kind: String,
    /// In base64, as it stands there.
    key: String,
}

/// What is known of a host and a key it shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Known {
    /// It is this host's.
    Yes,
    /// It has another key of this type, on that line.
    Changed {
        /// From 1.
        line: usize,
    },
    /// That line says that nobody may trust it.
    Revoked {
        /// From 1.
        line: usize,
    },
    /// Nothing.
    No,
}

impl KnownHosts {
    /// Reads it. Lines that are none are nobody's.
    pub fn read(text: &[u8]) -> Self {
        let text = String::from_utf8_lossy(text);
        let lines = text.lines().enumerate().filter_map(|(at, line)| {
            let mut words = line.split_ascii_whitespace().peekable();
            let revoked = match words.peek()? {
                &"@revoked" => true,
                // Certificates of hosts are not asked for.
                mark if mark.starts_with('@') || mark.starts_with('#') => return None,
                _ => false,
            };
            if revoked {
                words.next();
            }
            let patterns = words.next()?.split(',').map(str::to_owned).collect();
            let (kind, key) = (words.next()?.to_owned(), words.next()?.to_owned());
            Some(Line { number: at + 1, revoked, patterns, kind, key })
        });
        Self { lines: lines.collect() }
    }

    /// What is known of a key: its type, and itself in base64.
    pub fn check(&self, host: &str, port: u16, kind: &str, key: &str) -> Known {
        let name = host_name(host, port);
        let same = |line: &&Line| line.kind == kind && line.key == key;
        let of_host = || self.lines.iter().filter(|line| line.names(&name));
        if let Some(line) = of_host().filter(same).find(|line| line.revoked) {
            return Known::Revoked { line: line.number };
        }
        if of_host().any(|line| same(&line)) {
            return Known::Yes;
        }
        let other = of_host().find(|line| !line.revoked && line.kind == kind);
        other.map_or(Known::No, |line| Known::Changed { line: line.number })
    }

    /// The types of keys a host is known by: it should be asked for one of these.
    pub fn kinds(&self, host: &str, port: u16) -> Vec<&str> {
        let name = host_name(host, port);
        let of_host = self.lines.iter().filter(|line| !line.revoked && line.names(&name));
        of_host.map(|line| line.kind.as_str()).collect()
    }
}

/// A host as these files name it.
pub fn host_name(host: &str, port: u16) -> String {
    let host = host.to_ascii_lowercase();
    if port == 22 { host } else { format!("[{host}]:{port}") }
}

impl Line {
    fn names(&self, host: &str) -> bool {
        let mut found = false;
        for pattern in &self.patterns {
            let (pattern, negated) = match pattern.strip_prefix('!') {
                Some(pattern) => (pattern, true),
                None => (pattern.as_str(), false),
            };
            if !matches(pattern, host) {
                continue;
            }
            if negated {
                return false;
            }
            found = true;
        }
        found
    }
}

fn matches(pattern: &str, host: &str) -> bool {
    if let Some(hashed) = pattern.strip_prefix("|1|") {
        let parts = hashed.split_once('|').and_then(|(s, h)| Some((decoded(s)?, decoded(h)?)));
        return parts.is_some_and(|(salt, hash)| hmac(&salt, host.as_bytes())[..] == hash[..]);
    }
    alike(pattern.to_ascii_lowercase().as_bytes(), host.as_bytes())
}

/// `*` is any text and `?` any letter. Goes back to the last star alone, so that no pattern takes long.
fn alike(pattern: &[u8], text: &[u8]) -> bool {
    let (mut p, mut t, mut star) = (0, 0, None);
    while t < text.len() {
        match pattern.get(p) {
            Some(b'*') => {
                star = Some((p, t));
                p += 1;
            }
            Some(byte) if *byte == b'?' || *byte == text[t] => (p, t) = (p + 1, t + 1),
            _ => match star {
                Some((at, from)) => {
                    star = Some((at, from + 1));
                    (p, t) = (at + 1, from + 1);
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|byte| *byte == b'*')
}

/// Base64 with its padding.
fn decoded(text: &str) -> Option<Vec<u8>> {
    const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = Vec::new();
    let (mut bits, mut count) = (0u32, 0);
    for byte in text.trim_end_matches('=').bytes() {
        let value = ALPHABET.iter().position(|known| *known == byte)?;
        bits = (bits << 6 | u32::try_from(value).ok()?) & 0xffff;
        count += 6;
        if count >= 8 {
            count -= 8;
            out.push(u8::try_from(bits >> count & 0xff).ok()?);
        }
    }
    Some(out)
}

/// HMAC-SHA1 (RFC 2104), whose key these files keep as salt: always shorter than a block.
fn hmac(key: &[u8], text: &[u8]) -> [u8; 20] {
    let padded = |with: u8| {
        let mut block = [with; 64];
        block.iter_mut().zip(key).for_each(|(byte, key)| *byte ^= key);
        block
    };
    let inner = Sha1::new().chain_update(padded(0x36)).chain_update(text).finalize();
    Sha1::new().chain_update(padded(0x5c)).chain_update(inner).finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIST: &str = "\
# a comment
h.lan,10.0.0.1 ssh-ed25519 AAAA comment
[h.lan]:2222 ssh-ed25519 BBBB
*.wild.lan,!no.wild.lan\tssh-rsa CCCC
@revoked * ssh-rsa EVIL
@cert-authority *.ca.lan ssh-rsa DDDD
broken
|1|F1E1KeoE/eEWhi10WpGv4OdiO6Y=|3988QV0VE8wmZL7suNrYQLITLCg= ssh-rsa EEEE
";

    #[test]
    fn hosts_are_known_by_their_keys() {
        let list = KnownHosts::read(LIST.as_bytes());
        let check = |host, port, kind, key| list.check(host, port, kind, key);
        assert_eq!(check("H.lan", 22, "ssh-ed25519", "AAAA"), Known::Yes);
        assert_eq!(check("10.0.0.1", 22, "ssh-ed25519", "AAAA"), Known::Yes);
        assert_eq!(check("h.lan", 22, "ssh-ed25519", "BBBB"), Known::Changed { line: 2 });
        assert_eq!(check("h.lan", 2222, "ssh-ed25519", "BBBB"), Known::Yes);
        assert_eq!(check("h.lan", 23, "ssh-ed25519", "BBBB"), Known::No);
        assert_eq!(check("h.lan", 22, "ssh-rsa", "AAAA"), Known::No);
        assert_eq!(check("a.wild.lan", 22, "ssh-rsa", "CCCC"), Known::Yes);
        assert_eq!(check("no.wild.lan", 22, "ssh-rsa", "CCCC"), Known::No);
        assert_eq!(check("anybody", 22, "ssh-rsa", "EVIL"), Known::Revoked { line: 5 });
        assert_eq!(check("a.ca.lan", 22, "ssh-rsa", "DDDD"), Known::No);
        // Made by `ssh-keygen -H`.
        assert_eq!(check("192.168.1.61", 22, "ssh-rsa", "EEEE"), Known::Yes);
        assert_eq!(check("192.168.1.62", 22, "ssh-rsa", "EEEE"), Known::No);
        assert_eq!(list.kinds("h.lan", 22), ["ssh-ed25519"]);
        assert!(list.kinds("nobody", 22).is_empty());
    }

    #[test]
    fn stars_end() {
        let many = "*a".repeat(40) + "b";
        assert!(!alike(many.as_bytes(), "a".repeat(4000).as_bytes()));
        assert!(alike(b"*.h?st*", b"a.b.host"));
        assert!(!alike(b"?", b"") && alike(b"*", b""));
    }
}
