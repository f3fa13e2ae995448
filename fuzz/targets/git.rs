//! What a server of a repository says, in both versions, with the pack and its trees; and `known_hosts`.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sha1::{Digest, Sha1};
use std::io::Read;
use std::path::Path;
use tug_git::{Kept, KnownHosts, Remote, Session, SshAddress, Target, Transport, checkout};

struct Said<'a> {
    greeting: &'a [u8],
    answers: Vec<Vec<u8>>,
}

impl Transport for Said<'_> {
    fn greet(&mut self) -> std::io::Result<Box<dyn Read + '_>> {
        Ok(Box::new(self.greeting))
    }

    fn ask(&mut self, _: Vec<u8>) -> std::io::Result<Box<dyn Read + '_>> {
        Ok(Box::new(std::io::Cursor::new(self.answers.pop().unwrap_or_default())))
    }
}

/// A pack with the digest it ends with, in side band packets.
fn packed(head: &[u8], body: &[u8]) -> Vec<u8> {
    let mut pack = body.to_vec();
    pack.extend(Sha1::digest(body));
    let mut out = head.to_vec();
    for part in pack.chunks(60_000) {
        out.extend(format!("{:04x}\u{1}", part.len() + 5).bytes());
        out.extend(part);
    }
    out.extend(b"0000");
    out
}

fuzz_target!(|bytes: &[u8]| {
    let text = String::from_utf8_lossy(bytes);
    let _ = SshAddress::parse(&text);
    if let Ok(remote) = Remote::parse(&text) {
        let _ = remote.relative("../x");
    }
    let known = KnownHosts::read(bytes);
    let _ = known.check("host.example", 22, "ssh-rsa", "AAAA");
    let _ = tug_git::modules(bytes);
    // Greeting, list of refs and pack, each after a line that says so.
    let mut parts = bytes.splitn(3, |byte| *byte == 0xff);
    let greeting = parts.next().unwrap_or_default();
    let (refs, body) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    for head in [&b"000dpackfile\n"[..], b"0008NAK\n", b"00000008NAK\n"] {
        let answers = vec![packed(head, body), refs.to_vec()];
        let mut said = Said { greeting, answers };
        let Ok(mut session) = Session::open(&mut said) else { return };
        let Ok(found) = session.resolve(None) else { continue };
        let Ok(pack) = session.fetch(found.id) else { continue };
        let Ok(dir) = tempfile::tempdir() else { return };
        let _ = checkout(
            &pack,
            &found,
            "",
            Target { root: dir.path(), files: Path::new("") },
            Some(Kept { url: "https://h/a.git", dir: Path::new(".git") }),
        );
    }
});
