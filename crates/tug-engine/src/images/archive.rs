//! The members of an image archive, taken in as they stream by: metadata into memory, plain layers
//! straight into the store, compressed layers spooled and unpacked by other threads meanwhile.
//!
//! An archive tells what its members are for only at its end (`manifest.json` comes last), so a
//! member is judged by its content. What turns out to belong to no image is collected afterwards;
//! a layer that cannot be unpacked is an error only if an image names it.

use super::error::ImageError;
use super::intake::Claim;
use super::members::{Head, MemberKind, Members, is_header};
use crate::Error;
use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Mutex, PoisonError};
use tug_archive::Compression;
use tug_store::{LayerError, LayerInfo, Layers};
use tug_types::{DiffId, Digest, Explain, Failure};

/// A manifest or a configuration larger than this is none.
const LARGEST_METADATA: u64 = 8 << 20;
/// All of them together.
const MOST_METADATA: u64 = 128 << 20;
/// Compressed layers unpacked at once.
const AT_ONCE: usize = 4;
const BLOCK: usize = 512;

/// One member that may matter.
#[derive(Debug)]
enum Member {
    Metadata { bytes: Vec<u8>, digest: Digest },
    Layer(LayerMember),
    Broken(Failure),
    Link(String),
    Other,
}

/// A member that was unpacked.
#[derive(Clone, Copy, Debug)]
pub(super) struct LayerMember {
    /// Of the plain tar.
    pub(super) diff_id: DiffId,
    /// Of the member as it is; the same for a plain tar.
    pub(super) blob: Digest,
    /// Bytes of its files.
    pub(super) size: u64,
}

/// All members by name.
#[derive(Debug)]
pub(super) struct Archive {
    members: HashMap<String, Member>,
}

/// A compressed layer waiting to be unpacked.
struct Spooled {
    name: String,
    path: PathBuf,
    blob: Digest,
}

/// Where layers go.
struct Sink<'a> {
    claim: &'a Claim,
    layers: Layers,
    found: Mutex<HashMap<String, Member>>,
}

impl Archive {
    /// Reads an archive to its end.
    pub(super) fn take(
        input: impl Read + Send,
        claim: &Claim,
        layers: Layers,
    ) -> Result<Self, Error> {
        let plain =
            tug_archive::decoder(input).map_err(|source| ImageError::Compression { source })?;
        // Nothing that is larger than the disk can be meant to be read.
        let most = layers.limits().limits.bytes;
        let sink = Sink { claim, layers, found: Mutex::default() };
        let (spool, spooled) = sync_channel(AT_ONCE);
        let spooled = Mutex::new(spooled);
        std::thread::scope(|scope| {
            for _ in 0..AT_ONCE {
                let work = || sink.unpack_spooled(&spooled);
                std::thread::Builder::new()
                    .name("tug-layer".into())
                    .spawn_scoped(scope, work)
                    .map_err(|source| Error::System { what: "start a thread", source })?;
            }
            sink.read(Members::new(plain, most), spool)
        })?;
        let members = sink.found.into_inner().unwrap_or_else(PoisonError::into_inner);
        Ok(Self { members })
    }

    /// Whether there is a member of that name.
    pub(super) fn has(&self, name: &str) -> bool {
        self.find(name).is_some()
    }

    /// A member that is metadata, with its digest. `by` is what names it.
    pub(super) fn metadata(&self, by: &str, name: &str) -> Result<(&[u8], Digest), Error> {
        match self.find(name) {
            Some(Member::Metadata { bytes, digest }) => Ok((bytes, *digest)),
            _ => Err(missing(by, name)),
        }
    }

    /// The same, parsed.
    pub(super) fn json<T: serde::de::DeserializeOwned>(
        &self,
        by: &str,
        name: &str,
    ) -> Result<T, Error> {
        let (bytes, _) = self.metadata(by, name)?;
        let parsed = serde_json::from_slice(bytes);
        Ok(parsed.map_err(|source| ImageError::Json { name: name.to_owned(), source })?)
    }

    /// A member that is a layer.
    pub(super) fn layer(&self, by: &str, name: &str) -> Result<LayerMember, Error> {
        match self.find(name) {
            Some(Member::Layer(layer)) => Ok(*layer),
            Some(Member::Broken(failure)) => Err(Error::Failed(failure.clone())),
            Some(_) => {
                Err(ImageError::NotALayer { by: by.to_owned(), name: name.to_owned() }.into())
            }
            None => Err(missing(by, name)),
        }
    }

    fn find(&self, name: &str) -> Option<&Member> {
        // As many links as the kernel follows.
        const MOST_LINKS: usize = 40;
        let mut name = name.trim_start_matches("./");
        for _ in 0..MOST_LINKS {
            match self.members.get(name)? {
                Member::Link(target) => name = target,
                member => return Some(member),
            }
        }
        None
    }
}

impl Sink<'_> {
    fn read<R: Read + Send>(
        &self,
        mut members: Members<R>,
        spool: SyncSender<Spooled>,
    ) -> Result<(), Error> {
        let mut metadata = 0;
        while let Some(head) = members.next()? {
            let member = match &head.kind {
                MemberKind::Directory => continue,
                MemberKind::Link(target) => Member::Link(target.clone()),
                MemberKind::File => match self.file(&head, &mut members, &spool)? {
                    Some(member) => member,
                    // Comes from another thread.
                    None => continue,
                },
            };
            if let Member::Metadata { bytes, .. } = &member {
                metadata += bytes.len() as u64;
                if metadata > MOST_METADATA {
                    return Err(ImageError::TooMuchMetadata { limit: MOST_METADATA }.into());
                }
            }
            self.keep(head.name, member);
        }
        Ok(())
    }

    fn file<R: Read + Send>(
        &self,
        head: &Head,
        members: &mut Members<R>,
        spool: &SyncSender<Spooled>,
    ) -> Result<Option<Member>, Error> {
        let start = read_start(&mut members.body()).map_err(unreadable)?;
        let compression = Compression::detect(&start);
        let member = match compression {
            Compression::Gzip | Compression::Zstd | Compression::Xz | Compression::Bzip2 => {
                let spooled = self.spool(head, &start, members)?;
                // The threads outlive the sender, so they are there to take it.
                let _ = spool.send(spooled);
                return Ok(None);
            }
            Compression::None if is_tar(&start, head.size) => {
                if let Some(known) = self.known(&head.name) {
                    return Ok(Some(known));
                }
                let source = start.as_slice().chain(members.body());
                let unpacked = self.layers.unpack(self.claim.lease(), source, None);
                if members.has_failed() {
                    return Err(unreadable(io::ErrorKind::UnexpectedEof.into()).into());
                }
                self.unpacked(&head.name, unpacked, None)
            }
            _ if head.size <= LARGEST_METADATA => {
                let mut bytes = start;
                members.body().read_to_end(&mut bytes).map_err(unreadable)?;
                let digest = super::intake::digest_of(&bytes);
                Member::Metadata { bytes, digest }
            }
            _ => Member::Other,
        };
        Ok(Some(member))
    }

    /// A plain layer named by its digest that is here already needs no unpacking: what the archive
    /// has instead is not looked at.
    fn known(&self, name: &str) -> Option<Member> {
        let diff_id = DiffId(Digest::from_hex(name.strip_prefix("blobs/sha256/")?)?);
        self.claim.protect(diff_id).ok()?;
        let info = self.layers.contains(&diff_id).then(|| self.layers.info(&diff_id))?.ok()?;
        Some(Member::Layer(LayerMember { diff_id, blob: diff_id.0, size: info.size }))
    }

    fn spool<R: Read>(
        &self,
        head: &Head,
        start: &[u8],
        members: &mut Members<R>,
    ) -> Result<Spooled, Error> {
        let path = self.claim.lease().fresh_path("member");
        let written = (|| {
            let mut out = Hashing::create(&path)?;
            out.write_all(start)?;
            io::copy(&mut members.body(), &mut out)?;
            Ok(out.digest())
        })();
        match written {
            Ok(blob) => Ok(Spooled { name: head.name.clone(), path, blob }),
            Err(error) if members.has_failed() => Err(unreadable(error).into()),
            Err(error) => Err(Error::files("write", path)(error)),
        }
    }

    fn unpack_spooled(&self, spooled: &Mutex<Receiver<Spooled>>) {
        loop {
            let next = spooled.lock().unwrap_or_else(PoisonError::into_inner).recv();
            let Ok(Spooled { name, path, blob }) = next else { return };
            let unpacked = File::open(&path)
                .map_err(|source| LayerError::Read { source })
                .and_then(|file| self.layers.unpack(self.claim.lease(), file, None));
            // The lease's directory goes as a whole in the end.
            let _ = std::fs::remove_file(&path);
            let member = self.unpacked(&name, unpacked, Some(blob));
            self.keep(name, member);
        }
    }

    fn unpacked(
        &self,
        name: &str,
        unpacked: Result<LayerInfo, LayerError>,
        blob: Option<Digest>,
    ) -> Member {
        match unpacked {
            Ok(info) => {
                self.claim.remember(info.diff_id);
                let blob = blob.unwrap_or(info.diff_id.0);
                Member::Layer(LayerMember { diff_id: info.diff_id, blob, size: info.size })
            }
            Err(source) => {
                let name = name.to_owned();
                Member::Broken(ImageError::Layer { name, source }.failure())
            }
        }
    }

    /// A later member of the same name replaces an earlier one, as in any tar.
    fn keep(&self, name: String, member: Member) {
        self.found.lock().unwrap_or_else(PoisonError::into_inner).insert(name, member);
    }
}

/// A file whose content is hashed as it is written.
struct Hashing {
    file: File,
    hash: sha2::Sha256,
}

impl Hashing {
    fn create(path: &std::path::Path) -> io::Result<Self> {
        use sha2::Digest as _;
        Ok(Self { file: File::create_new(path)?, hash: sha2::Sha256::new() })
    }

    fn digest(self) -> Digest {
        use sha2::Digest as _;
        Digest::from_sha256(self.hash.finalize().into())
    }
}

impl Write for Hashing {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        use sha2::Digest as _;
        let count = self.file.write(bytes)?;
        self.hash.update(&bytes[..count]);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// Enough of a member to tell what it is.
fn read_start(body: &mut impl Read) -> io::Result<Vec<u8>> {
    let mut start = Vec::with_capacity(BLOCK);
    body.take(BLOCK as u64).read_to_end(&mut start)?;
    Ok(start)
}

/// A header, or the zeros an empty tar consists of.
fn is_tar(start: &[u8], size: u64) -> bool {
    let Ok(block) = <&[u8; BLOCK]>::try_from(start) else { return false };
    is_header(block) || (*block == [0; BLOCK] && size.is_multiple_of(BLOCK as u64))
}

fn unreadable(source: io::Error) -> ImageError {
    ImageError::Archive { source }
}

fn missing(by: &str, name: &str) -> Error {
    ImageError::Missing { by: by.to_owned(), name: name.to_owned() }.into()
}
