//! Version 2 of the protocol: which refs there are, and one commit with all its files.

use crate::error::Error;
use crate::object::Oid;
use crate::pack::Pack;
use crate::packet::{self, Packet};
use std::io::{Read, Write};

/// What every request says of who asks.
const AGENT: &str = concat!("agent=tug/", env!("CARGO_PKG_VERSION"), "\n");

/// The way to one repository.
pub trait Transport {
    /// Begins a conversation: what the server says of itself, from its `version 2` line on.
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

/// Which commit a ref is, asked of the server unless it is one itself.
///
/// # Errors
/// When the server does not answer, or has no such ref.
pub fn resolve(transport: &mut dyn Transport, reference: Option<&str>) -> Result<Oid, Error> {
    greet(transport)?;
    if let Some(commit) = reference.and_then(Oid::parse) {
        return Ok(commit);
    }
    let name = reference.unwrap_or("HEAD");
    // A branch before a tag of the same name, as `git checkout` has it.
    let wanted = match name {
        "HEAD" => vec!["HEAD".to_owned()],
        name if name.starts_with("refs/") => vec![name.to_owned()],
        name => ["refs/heads/", "refs/tags/", "refs/"].map(|start| format!("{start}{name}")).into(),
    };
    let mut request = Vec::new();
    for text in ["command=ls-refs\n", AGENT] {
        packet::write(&mut request, text);
    }
    request.extend(b"0001");
    packet::write(&mut request, "peel\n");
    for name in &wanted {
        packet::write(&mut request, &format!("ref-prefix {name}\n"));
    }
    request.extend(b"0000");
    let mut answer = transport.ask(request).map_err(Error::talk)?;
    let mut found = Vec::new();
    while let Some(line) = packet::line(&mut answer)? {
        let mut words = line.split(' ');
        let id = words.next().and_then(Oid::parse);
        let (Some(id), Some(name)) = (id, words.next()) else { continue };
        let peeled = words.find_map(|word| Oid::parse(word.strip_prefix("peeled:")?));
        found.push((name.to_owned(), peeled.unwrap_or(id)));
    }
    let best = wanted.iter().find_map(|name| found.iter().find(|(known, _)| known == name));
    match best {
        Some((_, commit)) => Ok(*commit),
        None => Err(Error::NoRef { name: name.to_owned() }),
    }
}

fn greet(transport: &mut dyn Transport) -> Result<(), Error> {
    let mut answer = transport.greet().map_err(Error::talk)?;
    if packet::line(&mut answer)?.as_deref() != Some("version 2") {
        return Err(Error::OldProtocol);
    }
    while let Some(line) = packet::line(&mut answer)? {
        if let Some(format) = line.strip_prefix("object-format=")
            && format != "sha1"
        {
            return Err(Error::ObjectFormat { format: format.to_owned() });
        }
    }
    Ok(())
}

/// Fetches one commit and nothing that came before it. After [`resolve`] on the same transport.
///
/// # Errors
/// When the server does not hand it out, or what comes is broken.
pub fn fetch(transport: &mut dyn Transport, commit: Oid) -> Result<Pack, Error> {
    let mut request = Vec::new();
    for text in ["command=fetch\n", AGENT] {
        packet::write(&mut request, text);
    }
    request.extend(b"0001");
    let want = format!("want {commit}\n");
    for text in ["no-progress\n", "ofs-delta\n", "deepen 1\n", &want, "done\n"] {
        packet::write(&mut request, text);
    }
    request.extend(b"0000");
    let mut answer = transport.ask(request).map_err(Error::talk)?;
    loop {
        match packet::line(&mut answer)?.as_deref() {
            Some("packfile") => break,
            // A part of the answer that says nothing new.
            Some(_) => while packet::line(&mut answer)?.is_some() {},
            None => return Err(Error::Answer { what: "there is no pack in it" }),
        }
    }
    let mut spool = Pack::spool()?;
    while let Packet::Data(data) = packet::read(&mut answer)? {
        match data.split_first() {
            Some((1, bytes)) => spool.write_all(bytes).map_err(Error::talk)?,
            Some((3, message)) => {
                let message = String::from_utf8_lossy(message).trim().to_owned();
                return Err(Error::Refused { message });
            }
            _ => {}
        }
    }
    drop(answer);
    Pack::read(spool)
}
