//! One layer's way to a registry: by the cheapest way that gives the very blob it came as, and only
//! when there is none, compressed anew.

use super::{Push, PushEvent, PushState, observer};
use crate::Error;
use crate::images::compress::Method;
use crate::images::pull::failed;
use sha2::{Digest as _, Sha256};
use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use tug_registry::Descriptor;
use tug_store::{BlobRecord, Blobs, ImageRow};
use tug_types::{DiffId, Digest, ImageReference};

/// Layers under way at once.
const AT_ONCE: usize = 4;

/// One layer to be pushed.
pub(super) struct Job {
    pub(super) diff_id: DiffId,
    /// The blob it came as.
    pub(super) wanted: Option<Descriptor>,
    /// Repositories of the same registry that may have it.
    pub(super) relatives: Vec<String>,
    /// Where the image came from.
    pub(super) origins: Vec<ImageReference>,
    /// What it was compressed to here before.
    pub(super) known: Option<BlobRecord>,
    /// What a layer compressed anew is called.
    pub(super) media_type: &'static str,
}

impl Job {
    /// As progress names it.
    pub(super) fn shown(&self) -> String {
        self.diff_id.0.short()
    }
}

/// What pushing layers needs.
pub(super) struct Layers<'a> {
    pub(super) push: &'a Push<'a>,
    pub(super) store: tug_store::Layers,
    pub(super) blobs: Blobs,
}

/// What became of a layer.
#[derive(Clone, Debug)]
pub(super) struct Arrived {
    /// What the manifest has to say of it.
    pub(super) descriptor: Descriptor,
    /// To be remembered: it was compressed here.
    pub(super) made: Option<BlobRecord>,
}

/// What the threads share.
struct Crew<'a> {
    jobs: Mutex<Vec<&'a Job>>,
    done: Mutex<HashMap<DiffId, Arrived>>,
    failure: Mutex<Option<Error>>,
    stopped: AtomicBool,
}

impl Layers<'_> {
    /// Brings all of them over. Answers with what each is now.
    pub(super) fn push(&self, jobs: &[Job]) -> Result<HashMap<DiffId, Arrived>, Error> {
        for job in jobs {
            self.tell(job, PushState::Preparing);
        }
        let crew = Crew {
            jobs: Mutex::new(jobs.iter().rev().collect()),
            done: Mutex::default(),
            failure: Mutex::new(None),
            stopped: AtomicBool::new(false),
        };
        std::thread::scope(|scope| {
            for _ in 0..jobs.len().min(AT_ONCE) {
                let work = || {
                    while let Some(job) = crew.next() {
                        match self.layer(job, &crew.stopped) {
                            Ok(arrived) => crew.finish(job.diff_id, arrived),
                            Err(error) => crew.stop(error),
                        }
                    }
                };
                let spawned =
                    std::thread::Builder::new().name("tug-layer".into()).spawn_scoped(scope, work);
                if let Err(source) = spawned {
                    crew.stop(Error::System { what: "start a thread for a layer", source });
                }
            }
        });
        match crew.failure.into_inner().unwrap_or_else(PoisonError::into_inner) {
            Some(error) => Err(error),
            None => Ok(crew.done.into_inner().unwrap_or_else(PoisonError::into_inner)),
        }
    }

    /// Brings the configuration over.
    pub(super) fn config(&self, row: &ImageRow) -> Result<(), Error> {
        let (client, to) = (self.push.client, self.push.destination);
        if client.probe(to, row.id).map_err(failed)?.is_some() {
            return Ok(());
        }
        let bytes: Arc<[u8]> = Arc::from(row.config.as_slice());
        let mut open = || Ok(Box::new(io::Cursor::new(bytes.clone())) as Box<dyn Read>);
        let never = AtomicBool::new(false);
        client.upload(to, row.id, &mut open, &|_| {}, &never).map_err(failed).map(|_| ())
    }

    fn layer(&self, job: &Job, stopped: &AtomicBool) -> Result<Arrived, Error> {
        if let Some(wanted) = job.wanted.as_ref().filter(|wanted| self.is_welcome(wanted))
            && self.exact(job, wanted, stopped)?
        {
            return Ok(Arrived { descriptor: wanted.clone(), made: None });
        }
        if let Some(known) = &job.known
            && self.is_there(job, &known.digest)?
        {
            let descriptor = described(job, known.digest, known.size);
            return Ok(Arrived { descriptor, made: None });
        }
        self.compressed(job, stopped)
    }

    /// Whether a blob may stay as it is, or is wished compressed otherwise.
    fn is_welcome(&self, wanted: &Descriptor) -> bool {
        let how = self.push.compression;
        !how.force || Method::of(&wanted.media_type) == how.method
    }

    /// Whether the destination has the very blob now.
    fn exact(&self, job: &Job, wanted: &Descriptor, stopped: &AtomicBool) -> Result<bool, Error> {
        if self.is_there(job, &wanted.digest)? {
            return Ok(true);
        }
        if self.blobs.contains(&wanted.digest) && self.kept(job, wanted, stopped)? {
            return Ok(true);
        }
        if wanted.digest == job.diff_id.0 {
            // It came as the plain tar, which can always be made again.
            let mut open = || Ok(self.tar(job)? as Box<dyn Read>);
            let (digest, _) = self.upload(job, None, &mut open, stopped)?;
            return Ok(digest == wanted.digest);
        }
        for origin in &job.origins {
            if self.relay(job, wanted, origin, stopped) {
                return Ok(true);
            }
            if stopped.load(Ordering::SeqCst) {
                break;
            }
        }
        Ok(false)
    }

    /// Whether the destination has the blob, if need be after taking it from a neighbour.
    fn is_there(&self, job: &Job, digest: &Digest) -> Result<bool, Error> {
        let (client, to) = (self.push.client, self.push.destination);
        if client.probe(to, *digest).map_err(failed)?.is_some() {
            self.tell(job, PushState::Exists);
            return Ok(true);
        }
        for from in &job.relatives {
            if client.mount(to, *digest, from).map_err(failed)? {
                self.tell(job, PushState::Mounted(from.clone()));
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Sends the blob that is kept here. One that turns out damaged is as good as none.
    fn kept(&self, job: &Job, wanted: &Descriptor, stopped: &AtomicBool) -> Result<bool, Error> {
        let path = self.blobs.path(&wanted.digest);
        let intact = || {
            let mut hash = Sha256::new();
            let mut file = File::open(&path)?;
            let mut buffer = vec![0; 256 << 10];
            loop {
                match file.read(&mut buffer)? {
                    0 => break,
                    count => hash.update(&buffer[..count]),
                }
            }
            Ok::<_, io::Error>(Digest::from_sha256(hash.finalize().into()) == wanted.digest)
        };
        if !intact().unwrap_or(false) {
            return Ok(false);
        }
        let mut open = || Ok(Box::new(File::open(&path)?) as Box<dyn Read>);
        let (digest, _) = self.upload(job, Some(wanted.size), &mut open, stopped)?;
        Ok(digest == wanted.digest)
    }

    /// Hands the blob on from where the image came. That it is not to be had there any more is no
    /// failure of the push.
    fn relay(
        &self,
        job: &Job,
        wanted: &Descriptor,
        origin: &ImageReference,
        stopped: &AtomicBool,
    ) -> bool {
        let client = self.push.client;
        let Ok(source) = client.source(origin) else { return false };
        let mut open = || {
            let reader = client.open(&source, wanted, Arc::new(|_| {}));
            let mut reader = reader.map_err(|error| io::Error::other(error.to_string()))?;
            // Asked for before the destination is: a blob that is gone costs it no upload.
            let mut start = vec![0; 64 << 10];
            let count = reader.read(&mut start)?;
            start.truncate(count);
            Ok(Box::new(io::Cursor::new(start).chain(reader)) as Box<dyn Read>)
        };
        match self.upload(job, Some(wanted.size), &mut open, stopped) {
            Ok((digest, _)) => digest == wanted.digest,
            Err(_) => false,
        }
    }

    fn compressed(&self, job: &Job, stopped: &AtomicBool) -> Result<Arrived, Error> {
        let how = self.push.compression;
        let mut open = || Ok(how.pack(self.tar(job)?)? as Box<dyn Read>);
        let (digest, size) = self.upload(job, None, &mut open, stopped)?;
        let made = BlobRecord {
            digest,
            size,
            media_type: job.media_type.to_owned(),
            recipe: how.recipe(),
        };
        Ok(Arrived { descriptor: described(job, digest, size), made: Some(made) })
    }

    /// The layer's tar, which fails at its end when it is not the one its diff id names.
    fn tar(&self, job: &Job) -> io::Result<Box<dyn Read + Send>> {
        let tar = self
            .store
            .tar(&job.diff_id)
            .map_err(|error| io::Error::other(tug_types::Explain::failure(&error).message))?;
        Ok(Box::new(Proven { tar, hash: Sha256::new(), diff_id: job.diff_id }))
    }

    fn upload(
        &self,
        job: &Job,
        total: Option<u64>,
        open: &mut dyn FnMut() -> io::Result<Box<dyn Read>>,
        stopped: &AtomicBool,
    ) -> Result<(Digest, u64), Error> {
        let Push { client, destination, progress, .. } = *self.push;
        let name = job.wanted.as_ref().map_or(job.diff_id.0, |wanted| wanted.digest);
        let observer = observer(progress, job, total);
        let done = client.upload(destination, name, open, &observer, stopped).map_err(failed)?;
        self.tell(job, PushState::Pushed);
        Ok(done)
    }

    fn tell(&self, job: &Job, state: PushState) {
        self.push.progress.event(PushEvent::Layer { layer: job.shown(), state });
    }
}

fn described(job: &Job, digest: Digest, size: u64) -> Descriptor {
    Descriptor {
        media_type: job.media_type.to_owned(),
        digest,
        size,
        platform: None,
        annotations: None,
        artifact_type: None,
    }
}

/// A tar that is read to its end only if it is the right one.
struct Proven<R> {
    tar: R,
    hash: Sha256,
    diff_id: DiffId,
}

impl<R: Read> Read for Proven<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.tar.read(buffer)?;
        self.hash.update(&buffer[..count]);
        if count == 0 && !buffer.is_empty() {
            let actual = Digest::from_sha256(self.hash.clone().finalize().into());
            if actual != self.diff_id.0 {
                return Err(io::Error::other(format!(
                    "the layer {} is damaged: its files make {actual}",
                    self.diff_id.0
                )));
            }
        }
        Ok(count)
    }
}

impl<'a> Crew<'a> {
    fn next(&self) -> Option<&'a Job> {
        if self.stopped.load(Ordering::SeqCst) {
            return None;
        }
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner).pop()
    }

    fn finish(&self, diff_id: DiffId, arrived: Arrived) {
        self.done.lock().unwrap_or_else(PoisonError::into_inner).insert(diff_id, arrived);
    }

    /// The first failure counts; those after it are its consequences.
    fn stop(&self, error: Error) {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
        self.stopped.store(true, Ordering::SeqCst);
    }
}
