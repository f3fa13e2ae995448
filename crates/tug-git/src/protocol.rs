//! What is said to a server: which refs there are, and one commit with all its files.
//!
//! Version 2 is asked for. A server that does not know it, or whose ssh lets no variable through, answers with
//! version 0, which is the same conversation in another order:
//!
//! ```text
//! version 2   capabilities ◄── greet     ls-refs ──► ask ──► refs     fetch ──► ask ──► sections, pack
//! version 0   refs, abilities ◄── greet                               wants ──► ask ──► shallow, NAK, pack
//! ```

use crate::error::Error;
use crate::object::Oid;
use crate::pack::Pack;
use crate::packet::{self, Packet};
use std::io::{Read, Write};

/// What every request says of who asks.
const AGENT: &str = concat!("agent=tug/", env!("CARGO_PKG_VERSION"));

/// Refs a server may list, in bytes.
const LARGEST_LIST: usize = 256 << 20;

/// The way to one repository.
pub trait Transport {
    /// Begins a conversation: what the server says of itself.
    ///
    /// # Errors
    /// When there is no way.
    fn greet(&mut self) -> std::io::Result<Box<dyn Read + '_>>;

    /// Sends a request. The answer is read up to its end.
    ///
    /// # Errors
    /// When there is no way any more.
    fn ask(&mut self, request: Vec<u8>) -> std::io::Result<Box<dyn Read + '_>>;
}

/// What a ref is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Its full name; none where a commit was named.
    pub name: Option<String>,
    /// The commit, or the annotated tag of it.
    pub id: Oid,
    /// The commit, as far as the server says so.
    pub commit: Oid,
}

impl Found {
    /// A commit, or a tag, that is named itself.
    pub fn commit(id: Oid) -> Self {
        Self { name: None, id, commit: id }
    }

    /// Proves that the commit or its tag begins as somebody said.
    ///
    /// # Errors
    /// When it does not.
    pub fn verify(&self, checksum: &str) -> Result<(), Error> {
        if checksum.is_empty() || !checksum.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(Error::NoChecksum { checksum: checksum.to_owned() });
        }
        let names = [self.id.to_string(), self.commit.to_string()];
        if names.iter().any(|name| name.starts_with(checksum)) {
            return Ok(());
        }
        let actual = match self.id == self.commit {
            true => names[0].clone(),
            false => names.join(" or "),
        };
        Err(Error::Checksum { expected: checksum.to_owned(), actual })
    }
}

/// A conversation with a server.
pub struct Session<'t> {
    transport: &'t mut dyn Transport,
    dialect: Dialect,
}

enum Dialect {
    /// With whether it makes shallow packs.
    Two {
        shallow: bool,
    },
    Zero(Advertised),
}

/// What a server of version 0 says first.
#[derive(Default)]
struct Advertised {
    refs: Vec<Ref>,
    abilities: Vec<String>,
}

struct Ref {
    name: String,
    id: Oid,
    peeled: Option<Oid>,
    /// Of `HEAD`: the branch.
    target: Option<String>,
}

impl<'t> Session<'t> {
    /// Begins one.
    ///
    /// # Errors
    /// When the server does not answer, or not as git does.
    pub fn open(transport: &'t mut dyn Transport) -> Result<Self, Error> {
        let dialect = {
            let mut answer = transport.greet().map_err(Error::talk)?;
            greeted(&mut *answer)?
        };
        Ok(Self { transport, dialect })
    }

    /// What a ref is. A commit is not asked about.
    ///
    /// # Errors
    /// When the server has no such ref.
    pub fn resolve(&mut self, reference: Option<&str>) -> Result<Found, Error> {
        if let Some(id) = reference.and_then(Oid::parse) {
            return Ok(Found::commit(id));
        }
        let name = reference.unwrap_or("HEAD");
        let wanted = candidates(name);
        let listed = match &self.dialect {
            Dialect::Zero(advertised) => &advertised.refs,
            Dialect::Two { .. } => &self.list(&wanted)?,
        };
        let best = wanted.iter().find_map(|name| listed.iter().find(|known| known.name == *name));
        let best = best.ok_or_else(|| Error::NoRef { name: name.to_owned() })?;
        let name = match best.name.as_str() {
            "HEAD" => best.target.clone(),
            name => Some(name.to_owned()),
        };
        Ok(Found { name, id: best.id, commit: best.peeled.unwrap_or(best.id) })
    }

    fn list(&mut self, prefixes: &[String]) -> Result<Vec<Ref>, Error> {
        let mut request = Vec::new();
        packet::write(&mut request, "command=ls-refs\n");
        packet::write(&mut request, &format!("{AGENT}\n"));
        request.extend(b"0001");
        packet::write(&mut request, "peel\n");
        packet::write(&mut request, "symrefs\n");
        for name in prefixes {
            packet::write(&mut request, &format!("ref-prefix {name}\n"));
        }
        request.extend(b"0000");
        let mut answer = self.transport.ask(request).map_err(Error::talk)?;
        let (mut found, mut bytes) = (Vec::new(), 0);
        while let Some(line) = packet::line(&mut answer)? {
            limit(&mut bytes, &line)?;
            let mut words = line.split(' ');
            let id = words.next().and_then(Oid::parse);
            let (Some(id), Some(name)) = (id, words.next()) else { continue };
            let mut one = Ref { name: name.to_owned(), id, peeled: None, target: None };
            for word in words {
                if let Some(id) = word.strip_prefix("peeled:") {
                    one.peeled = Oid::parse(id);
                } else if let Some(target) = word.strip_prefix("symref-target:") {
                    one.target = Some(target.to_owned());
                }
            }
            found.push(one);
        }
        Ok(found)
    }

    /// Fetches one commit and nothing that came before it, or, where the server hands out no single commits, all it
    /// has.
    ///
    /// # Errors
    /// When the server does not hand it out, or what comes is broken.
    pub fn fetch(&mut self, id: Oid) -> Result<Pack, Error> {
        match &self.dialect {
            Dialect::Two { shallow } => {
                let request = request_two(id, *shallow);
                let mut answer = self.transport.ask(request).map_err(Error::talk)?;
                sections(&mut *answer)?;
                pack(&mut *answer, true)
            }
            Dialect::Zero(advertised) => {
                let able = |name: &str| advertised.abilities.iter().any(|able| able == name);
                let named = advertised.refs.iter().any(|known| known.id == id);
                let single =
                    named || able("allow-reachable-sha1-in-want") || able("allow-any-sha1-in-want");
                let wants = match single {
                    true => vec![id],
                    false => advertised.refs.iter().map(|known| known.id).collect(),
                };
                if wants.is_empty() {
                    return Err(Error::Unadvertised { commit: id.to_string() });
                }
                let shallow = single && able("shallow");
                let side_band = able("side-band-64k");
                let request = request_zero(&wants, shallow, advertised);
                let mut answer = self.transport.ask(request).map_err(Error::talk)?;
                acknowledged(&mut *answer, shallow)?;
                let pack = pack(&mut *answer, side_band)?;
                match single || pack.kind(id).is_some() {
                    true => Ok(pack),
                    false => Err(Error::Unadvertised { commit: id.to_string() }),
                }
            }
        }
    }
}

/// The full names a name may stand for, the best first: a branch comes before a tag, as for `git checkout`.
fn candidates(name: &str) -> Vec<String> {
    if name == "HEAD" {
        return vec![name.to_owned()];
    }
    let mut list = Vec::new();
    for start in ["refs/", "refs/heads/", "refs/tags/"] {
        let full = format!("{start}{}", name.strip_prefix(start).unwrap_or(name));
        if !list.contains(&full) {
            list.push(full);
        }
    }
    list
}

fn limit(bytes: &mut usize, line: &str) -> Result<(), Error> {
    *bytes += line.len();
    match *bytes > LARGEST_LIST {
        true => Err(Error::Answer { what: "its list of refs does not end" }),
        false => Ok(()),
    }
}

fn only_sha1(format: Option<&str>) -> Result<(), Error> {
    match format {
        Some(format) if format != "sha1" => Err(Error::ObjectFormat { format: format.to_owned() }),
        _ => Ok(()),
    }
}

fn greeted(answer: &mut dyn Read) -> Result<Dialect, Error> {
    let mut line = packet::first(answer)?;
    // Over HTTP the older versions say first which service it is.
    if line.as_deref().is_some_and(|line| line.starts_with("# service=")) {
        while packet::line(answer)?.is_some() {}
        line = packet::line(answer)?;
    }
    match line.as_deref() {
        Some("version 2") => {}
        Some("version 1") => return advertised(packet::line(answer)?, answer),
        _ => return advertised(line, answer),
    }
    let mut makes_shallow = true;
    while let Some(line) = packet::line(answer)? {
        only_sha1(line.strip_prefix("object-format="))?;
        if let Some(features) = line.strip_prefix("fetch=") {
            makes_shallow = features.split(' ').any(|feature| feature == "shallow");
        }
    }
    Ok(Dialect::Two { shallow: makes_shallow })
}

/// `ID NAME\0ABILITIES`, then `ID NAME`; `NAME^{}` is what the tag before it points at.
fn advertised(first: Option<String>, answer: &mut dyn Read) -> Result<Dialect, Error> {
    let mut known = Advertised::default();
    let (mut next, mut bytes) = (first, 0);
    while let Some(line) = next {
        limit(&mut bytes, &line)?;
        let (line, abilities) = line.split_once('\0').unwrap_or((&line, ""));
        known.abilities.extend(abilities.split(' ').map(str::to_owned));
        let (id, name) = line.split_once(' ').unwrap_or((line, ""));
        match (Oid::parse(id), name.strip_suffix("^{}")) {
            (Some(id), Some(name)) => {
                let last = known.refs.last_mut().filter(|last| last.name == name);
                // An empty repository lists `capabilities^{}` alone.
                last.into_iter().for_each(|last| last.peeled = Some(id));
            }
            (Some(id), None) => {
                known.refs.push(Ref { name: name.to_owned(), id, peeled: None, target: None })
            }
            (None, _) if id == "shallow" => {}
            (None, _) if id.len() == 64 => {
                return Err(Error::ObjectFormat { format: "sha256".to_owned() });
            }
            (None, _) => return Err(Error::NoGit),
        }
        next = packet::line(answer)?;
    }
    for ability in &known.abilities {
        only_sha1(ability.strip_prefix("object-format="))?;
        if let Some(target) = ability.strip_prefix("symref=HEAD:") {
            let head = known.refs.iter_mut().find(|known| known.name == "HEAD");
            head.into_iter().for_each(|head| head.target = Some(target.to_owned()));
        }
    }
    Ok(Dialect::Zero(known))
}

fn request_two(id: Oid, shallow: bool) -> Vec<u8> {
    let mut request = Vec::new();
    packet::write(&mut request, "command=fetch\n");
    packet::write(&mut request, &format!("{AGENT}\n"));
    request.extend(b"0001");
    packet::write(&mut request, "no-progress\n");
    packet::write(&mut request, "ofs-delta\n");
    if shallow {
        packet::write(&mut request, "deepen 1\n");
    }
    packet::write(&mut request, &format!("want {id}\n"));
    packet::write(&mut request, "done\n");
    request.extend(b"0000");
    request
}

/// The parts of an answer before the pack.
fn sections(answer: &mut dyn Read) -> Result<(), Error> {
    loop {
        match packet::line(answer)?.as_deref() {
            Some("packfile") => return Ok(()),
            // A part of the answer that says nothing new.
            Some(_) => while packet::line(answer)?.is_some() {},
            None => return Err(Error::Answer { what: "there is no pack in it" }),
        }
    }
}

fn request_zero(wants: &[Oid], shallow: bool, known: &Advertised) -> Vec<u8> {
    let mut request = Vec::new();
    let mut chosen = Vec::new();
    for wish in ["side-band-64k", "ofs-delta", "no-progress"] {
        if known.abilities.iter().any(|able| able == wish) {
            chosen.push(wish);
        }
    }
    if known.abilities.iter().any(|able| able.starts_with("agent=")) {
        chosen.push(AGENT);
    }
    if shallow {
        chosen.push("shallow");
    }
    let mut wants: Vec<Oid> = wants.to_vec();
    wants.sort_unstable();
    wants.dedup();
    for (at, id) in wants.iter().enumerate() {
        let abilities = if at == 0 { format!(" {}", chosen.join(" ")) } else { String::new() };
        packet::write(&mut request, &format!("want {id}{}\n", abilities.trim_end()));
    }
    if shallow {
        packet::write(&mut request, "deepen 1\n");
    }
    request.extend(b"0000");
    packet::write(&mut request, "done\n");
    request
}

/// Where the history is cut off, then that nothing is known in common.
fn acknowledged(answer: &mut dyn Read, shallow: bool) -> Result<(), Error> {
    if shallow {
        while packet::line(answer)?.is_some() {}
    }
    match packet::line(answer)?.as_deref() {
        Some("NAK") => Ok(()),
        _ => Err(Error::Answer { what: "there is no pack in it" }),
    }
}

fn pack(answer: &mut dyn Read, side_band: bool) -> Result<Pack, Error> {
    let mut spool = Pack::spool()?;
    if !side_band {
        std::io::copy(answer, &mut spool).map_err(Error::talk)?;
        return Pack::read(spool);
    }
    while let Packet::Data(data) = packet::read(answer)? {
        match data.split_first() {
            Some((1, bytes)) => spool.write_all(bytes).map_err(Error::talk)?,
            Some((3, message)) => {
                let message = String::from_utf8_lossy(message).trim().to_owned();
                return Err(Error::Refused { message });
            }
            _ => {}
        }
    }
    Pack::read(spool)
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Said(Vec<u8>);

    impl Transport for Said {
        fn greet(&mut self) -> std::io::Result<Box<dyn Read + '_>> {
            Ok(Box::new(&self.0[..]))
        }

        fn ask(&mut self, _: Vec<u8>) -> std::io::Result<Box<dyn Read + '_>> {
            Err(std::io::ErrorKind::NotConnected.into())
        }
    }

    fn lines(lines: &[&str]) -> Vec<u8> {
        let mut out = Vec::new();
        lines.iter().for_each(|line| packet::write(&mut out, line));
        out.extend(b"0000");
        out
    }

    #[test]
    fn refs_of_the_older_version() {
        let [a, b, c] = ["a", "b", "c"].map(|digit| digit.repeat(40));
        let said = lines(&[
            &format!("{a} HEAD\0shallow symref=HEAD:refs/heads/main agent=x\n"),
            &format!("{a} refs/heads/main\n"),
            &format!("{b} refs/tags/v1\n"),
            &format!("{c} refs/tags/v1^{{}}\n"),
        ]);
        let with_service = [&b"001e# service=git-upload-pack\n0000"[..], &said].concat();
        let of_version_1 = [&b"000eversion 1\n"[..], &said].concat();
        for said in [said, with_service, of_version_1] {
            let mut said = Said(said);
            let mut session = Session::open(&mut said).unwrap();
            let head = session.resolve(None).unwrap();
            assert_eq!(
                (head.id.to_string(), head.name.as_deref()),
                (a.clone(), Some("refs/heads/main"))
            );
            for name in ["v1", "tags/v1", "refs/tags/v1"] {
                let tag = session.resolve(Some(name)).unwrap();
                assert_eq!((tag.id.to_string(), tag.commit.to_string()), (b.clone(), c.clone()));
                assert!(tag.verify("bb").is_ok() && tag.verify(&c).is_ok());
                assert!(matches!(tag.verify("abc"), Err(Error::Checksum { .. })));
                assert!(matches!(tag.verify("xyz"), Err(Error::NoChecksum { .. })));
            }
            assert!(matches!(session.resolve(Some("v2")), Err(Error::NoRef { .. })));
            assert_eq!(session.resolve(Some(&c)).unwrap(), Found::commit(Oid::parse(&c).unwrap()));
        }
    }

    #[test]
    fn what_is_no_git_is_said() {
        for said in ["<html>nothing here</html>", "", "0000", "0008\x00x\n", "zzzz"] {
            let mut said = Said(said.as_bytes().to_vec());
            let result = Session::open(&mut said).and_then(|mut session| session.resolve(None));
            assert!(result.is_err());
        }
        let said = lines(&["version 2\n", "object-format=sha256\n"]);
        assert!(matches!(Session::open(&mut Said(said)), Err(Error::ObjectFormat { .. })));
        let page = Said(b"<!DOCTYPE html>".to_vec());
        assert!(matches!(Session::open(&mut { page }), Err(Error::NoGit)));
    }
}
