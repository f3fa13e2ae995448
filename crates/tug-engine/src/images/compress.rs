//! A layer's tar into gzip or zstd, on all cores, always into the same bytes.
//!
//! The tar is cut into blocks, each becomes a gzip member or a zstd frame of its own, and these follow
//! each other in order: a stream by RFC 1952 or RFC 8878 that every reader of layers takes (it is how
//! eStargz, zstd:chunked and bgzip do it). Against one long member it costs about one percent of the size.

use flate2::GzBuilder;
use std::io::{self, Read, Write};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use tug_registry::media;

/// What one gzip member holds of the tar.
const BLOCK: usize = 1 << 20;
/// What one zstd frame holds of it: its window is larger.
const FRAME: usize = 4 << 20;

/// How layers are compressed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Compression {
    /// By what.
    pub method: Method,
    /// 0-9 for gzip, 0-22 for zstd; none is the method's own default.
    pub level: Option<u32>,
    /// Layers that are compressed otherwise already, too.
    pub force: bool,
}

/// What compresses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Method {
    /// The plain tar.
    Uncompressed,
    /// What every reader of layers knows.
    #[default]
    Gzip,
    /// Only in OCI's media types.
    Zstd,
}

impl Method {
    /// What a layer's media type says.
    pub(super) fn of(media_type: &str) -> Self {
        match media_type {
            text if text.ends_with("gzip") => Self::Gzip,
            text if text.ends_with("zstd") => Self::Zstd,
            _ => Self::Uncompressed,
        }
    }

    /// The media type of a layer, in Docker's family or OCI's.
    pub(super) fn media_type(self, docker: bool) -> &'static str {
        match (self, docker) {
            (Self::Uncompressed, true) => media::DOCKER_LAYER_PLAIN,
            (Self::Uncompressed, false) => media::OCI_LAYER,
            (Self::Gzip, true) => media::DOCKER_LAYER,
            (Self::Gzip, false) => media::OCI_LAYER_GZIP,
            (Self::Zstd, _) => media::OCI_LAYER_ZSTD,
        }
    }
}

impl Compression {
    /// Names everything that decides about the bytes: whoever changes the rest changes this.
    pub(super) fn recipe(&self) -> String {
        match self.method {
            Method::Uncompressed => "plain".to_owned(),
            Method::Gzip => format!("gzip members of 1 MiB, level {}, zlib-rs", self.level()),
            Method::Zstd => format!("zstd frames of 4 MiB, level {}, zstd 1.5", self.level()),
        }
    }

    /// The tar as it is to be sent. The plain one ends as it ends; the others in threads of their own.
    pub(super) fn pack(&self, tar: Box<dyn Read + Send>) -> io::Result<Box<dyn Read + Send>> {
        match self.method {
            Method::Uncompressed => Ok(tar),
            _ => Ok(Box::new(packed(tar, *self)?)),
        }
    }

    /// zlib's own default and Docker's, and zstd's.
    fn level(&self) -> u32 {
        self.level.unwrap_or(if self.method == Method::Zstd { 3 } else { 6 })
    }

    fn block(&self) -> usize {
        if self.method == Method::Zstd { FRAME } else { BLOCK }
    }

    fn member(&self, block: &[u8]) -> Member {
        if self.method == Method::Zstd {
            return zstd::bulk::compress(block, i32::try_from(self.level()).unwrap_or(3));
        }
        let out = Vec::with_capacity(block.len() / 2);
        let mut encoder = GzBuilder::new().write(out, flate2::Compression::new(self.level()));
        encoder.write_all(block)?;
        encoder.finish()
    }
}

type Member = io::Result<Vec<u8>>;
type Work = (Vec<u8>, SyncSender<Member>);

/// Reads the compressed stream.
pub(super) struct Packed {
    members: Receiver<Receiver<Member>>,
    current: Vec<u8>,
    position: usize,
}

/// Starts compressing; ends when dropped.
fn packed(tar: impl Read + Send + 'static, how: Compression) -> io::Result<Packed> {
    let threads = thread::available_parallelism().map_or(1, usize::from).min(8);
    // Blocks on their way: as many again as are being compressed.
    let (to_reader, members) = sync_channel(2 * threads);
    let (to_workers, work) = sync_channel::<Work>(threads);
    let work = Arc::new(Mutex::new(work));
    for _ in 0..threads {
        let work = work.clone();
        spawn(move || compress_all(&work, how))?;
    }
    spawn(move || cut(tar, how.block(), &to_reader, &to_workers))?;
    Ok(Packed { members, current: Vec::new(), position: 0 })
}

fn spawn(work: impl FnOnce() + Send + 'static) -> io::Result<()> {
    thread::Builder::new().name("tug-deflate".to_owned()).spawn(work).map(|_| ())
}

/// Hands the blocks out, and the places where their members will appear, in order.
fn cut(
    mut tar: impl Read,
    size: usize,
    to_reader: &SyncSender<Receiver<Member>>,
    to_workers: &SyncSender<Work>,
) {
    loop {
        let (done, place) = sync_channel(1);
        let mut block = Vec::with_capacity(size);
        let read = tar.by_ref().take(size as u64).read_to_end(&mut block);
        if matches!(read, Ok(0)) || to_reader.send(place).is_err() {
            return;
        }
        match read {
            Ok(_) => {
                if to_workers.send((block, done)).is_err() {
                    return;
                }
            }
            Err(error) => {
                // The reader is there, or the place could not have been sent.
                let _ = done.send(Err(error));
                return;
            }
        }
    }
}

fn compress_all(work: &Mutex<Receiver<Work>>, how: Compression) {
    loop {
        let next = work.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok((block, done)) = next else { return };
        // Nobody waits for it any more when the reader was dropped.
        let _ = done.send(how.member(&block));
    }
}

impl Read for Packed {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.position == self.current.len() {
            let Ok(place) = self.members.recv() else { return Ok(0) };
            let lost = |_| io::Error::other("a thread that compresses ended early");
            self.current = place.recv().map_err(lost)??;
            self.position = 0;
        }
        let count = buffer.len().min(self.current.len() - self.position);
        buffer[..count].copy_from_slice(&self.current[self.position..self.position + count]);
        self.position += count;
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noise(length: usize) -> Vec<u8> {
        let mut state = 1u32;
        let step = |_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 28) as u8
        };
        (0..length).map(step).collect()
    }

    const GZIP: Compression = Compression { method: Method::Gzip, level: None, force: false };
    const ZSTD: Compression = Compression { method: Method::Zstd, level: Some(1), force: false };

    fn compressed(bytes: Vec<u8>, how: Compression) -> Vec<u8> {
        let mut out = Vec::new();
        packed(io::Cursor::new(bytes), how).unwrap().read_to_end(&mut out).unwrap();
        out
    }

    #[test]
    fn what_goes_in_comes_out_and_always_as_the_same_bytes() {
        for length in [1, BLOCK - 1, BLOCK, BLOCK + 1, 5 * BLOCK + 77] {
            let bytes = noise(length);
            let out = compressed(bytes.clone(), GZIP);
            assert_eq!(out, compressed(bytes.clone(), GZIP), "{length}");
            let mut back = Vec::new();
            flate2::read::MultiGzDecoder::new(out.as_slice()).read_to_end(&mut back).unwrap();
            assert!(back == bytes, "{length}");
            assert!(out.len() < length || length < 100);
            let out = compressed(bytes.clone(), ZSTD);
            assert!(zstd::decode_all(out.as_slice()).unwrap() == bytes, "{length}");
            assert!(out.len() < length || length < 100);
        }
    }

    #[test]
    fn a_source_that_fails_fails_the_stream() {
        struct Broken(usize);
        impl Read for Broken {
            fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
                if self.0 == 0 {
                    return Err(io::Error::other("no more"));
                }
                let count = buffer.len().min(self.0);
                buffer[..count].fill(7);
                self.0 -= count;
                Ok(count)
            }
        }
        let error =
            packed(Broken(2 * BLOCK + 5), GZIP).unwrap().read_to_end(&mut Vec::new()).unwrap_err();
        assert_eq!(error.to_string(), "no more");
    }
}
