//! A pull's layers: those that are missing are downloaded and unpacked side by side, each on its
//! own, in no particular order. Nothing waits for the layer below it.

use super::intake::Claim;
use super::pull::failed;
use crate::Error;
use crate::view::{LayerState, Progress, PullEvent};
use std::collections::HashSet;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tug_registry::{BlobEvent, BlobReader, Cancel, Client, Descriptor, Resolved, Source, Spool};
use tug_store::{Blobs, LayerEntry, LayerError, Layers, Partial, Partials};
use tug_types::{DiffId, Digest, Explain, Failure, ImageReference};

/// Layers under way at once. Inflating bounds each of them to one core's 450 MB/s, so more than
/// there are cores only fill gaps; registries dislike many connections.
const AT_ONCE: usize = 4;

/// Progress is told once for so many bytes: a terminal draws no finer.
const STEP: u64 = 256 << 10;

/// What is left of a blob after its content was found wrong is fetched up to here, to tell a
/// damaged download from a damaged image.
const PROOF: u64 = 256 << 20;

/// What fetching needs.
pub(super) struct Fetch<'a> {
    pub(super) store: Layers,
    pub(super) partials: Partials,
    pub(super) blobs: Blobs,
    pub(super) claim: &'a Claim,
    pub(super) client: &'a Client,
    pub(super) resolved: &'a Resolved,
    pub(super) reference: &'a ImageReference,
    pub(super) progress: &'a Arc<dyn Progress>,
}

/// One missing layer.
struct Job<'a> {
    blob: &'a Descriptor,
    diff_id: DiffId,
}

/// What the threads share.
struct Crew<'a> {
    jobs: Mutex<Vec<Job<'a>>>,
    stopped: AtomicBool,
    downloads: Mutex<Vec<Cancel>>,
    failure: Mutex<Option<Error>>,
    /// Whether what arrived is worth keeping: it was the line that failed.
    resumable: AtomicBool,
}

/// What came of all the layers.
pub(super) struct Fetched {
    pub(super) entries: Vec<LayerEntry>,
    /// Blobs that came over the network with their sizes, verified and still among the partials,
    /// unless there was no room to keep them.
    pub(super) blobs: Vec<(Digest, u64)>,
}

/// Brings all layers of the image into the store.
pub(super) fn layers(fetch: &Fetch<'_>) -> Result<Fetched, Error> {
    let mut jobs = fetch.missing()?;
    let blobs: Vec<_> = jobs.iter().map(|job| (job.blob.digest, job.blob.size)).collect();
    let threads = jobs.len().min(AT_ONCE);
    // Taken from the end: the largest first, so that none of them is left over for one thread
    // while the others have nothing to do.
    jobs.sort_by_key(|job| job.blob.size);
    let crew = Crew {
        jobs: Mutex::new(jobs),
        stopped: AtomicBool::new(false),
        downloads: Mutex::new(Vec::new()),
        failure: Mutex::new(None),
        resumable: AtomicBool::new(false),
    };
    std::thread::scope(|scope| {
        for _ in 0..threads {
            let work = || {
                while let Some(job) = crew.next() {
                    fetch.layer(&job, &crew).unwrap_or_else(|failed| crew.stop(failed));
                }
            };
            let spawned =
                std::thread::Builder::new().name("tug-layer".into()).spawn_scoped(scope, work);
            if let Err(source) = spawned {
                let error = Error::System { what: "start a thread for a layer", source };
                crew.stop(Stopped { error, resumable: false });
            }
        }
    });
    let failure = crew.failure.into_inner().unwrap_or_else(PoisonError::into_inner);
    if failure.is_some() && !crew.resumable.into_inner() {
        for (blob, _) in &blobs {
            // Swept later if it cannot be removed now.
            let _ = fetch.partials.discard(blob);
        }
    }
    match failure {
        Some(error) => Err(error),
        None => Ok(Fetched { entries: fetch.entries()?, blobs }),
    }
}

impl Fetch<'_> {
    fn pairs(&self) -> impl Iterator<Item = (&Descriptor, DiffId)> {
        let diff_ids = &self.resolved.config.rootfs.diff_ids;
        self.resolved.manifest.layers.iter().zip(diff_ids.iter().copied())
    }

    /// Protects every layer, then tells which are to be fetched: each once, however often the
    /// image has it.
    fn missing(&self) -> Result<Vec<Job<'_>>, Error> {
        let mut jobs = Vec::new();
        let (mut seen, mut shown) = (HashSet::new(), HashSet::new());
        for (blob, diff_id) in self.pairs() {
            self.claim.protect(diff_id)?;
            let fetch = seen.insert(diff_id) && !self.store.contains(&diff_id);
            if shown.insert(blob.digest) {
                let state = if fetch { LayerState::Waiting } else { LayerState::AlreadyExists };
                tell(&**self.progress, blob, state);
            }
            if fetch {
                // Should it be here, it must not be collected meanwhile.
                let protected = self.claim.lease().protect_blob(&blob.digest);
                protected.map_err(tug_store::Error::from)?;
                jobs.push(Job { blob, diff_id });
            }
        }
        Ok(jobs)
    }

    /// One layer, from the next endpoint again when one delivers wrong content.
    fn layer(&self, job: &Job<'_>, crew: &Crew<'_>) -> Result<(), Stopped> {
        let mut source = self.resolved.source.clone();
        loop {
            let kept = self.blobs.contains(&job.blob.digest);
            let before = kept || self.partials.length(&job.blob.digest) > 0;
            match self.layer_from(&source, job, crew, before) {
                Err(Broken::Content(error)) => {
                    let _ = self.partials.discard(&job.blob.digest);
                    match source.next() {
                        // What was left from before may be what was wrong.
                        _ if before => {}
                        Some(next) => source = next,
                        None => return Err(Stopped { error, resumable: true }),
                    }
                }
                Err(Broken::Line(error)) => return Err(Stopped { error, resumable: true }),
                Err(Broken::Final(error)) => return Err(Stopped { error, resumable: false }),
                Ok(()) => {
                    tell(&**self.progress, job.blob, LayerState::Complete);
                    return Ok(());
                }
            }
        }
    }

    fn layer_from(
        &self,
        source: &Source,
        job: &Job<'_>,
        crew: &Crew<'_>,
        resumed: bool,
    ) -> Result<(), Broken> {
        let observer = observer(self.progress.clone(), job.blob.clone());
        let (partials, blobs, digest) =
            (self.partials.clone(), self.blobs.clone(), job.blob.digest);
        let open = move || {
            if let Some(whole) = Whole::open(&blobs, digest) {
                return Some(Box::new(whole) as Box<dyn Spool>);
            }
            // Without a place to keep it, it is fetched all the same.
            let partial = partials.take(&digest).ok().flatten()?;
            Some(Box::new(Kept(Some(partial))) as Box<dyn Spool>)
        };
        let opened = self.client.resume(source, job.blob, observer, Box::new(open));
        let mut reader = opened.map_err(|error| Broken::Final(failed(error)))?;
        crew.watch(reader.cancel());
        match self.store.unpack(self.claim.lease(), &mut reader, Some(job.diff_id)) {
            Ok(_) => reader.finish().map_err(classify),
            Err(error) => Err(self.explain(error, &mut reader, job, resumed)),
        }
    }

    /// Why a layer could not be unpacked: the line, the bytes, or what they say.
    fn explain(
        &self,
        error: LayerError,
        reader: &mut BlobReader,
        job: &Job<'_>,
        resumed: bool,
    ) -> Broken {
        if let Some(cause) = reader.take_failure() {
            return classify(cause);
        }
        if reader.left() <= PROOF
            && let Err(cause) = reader.finish()
        {
            return classify(cause);
        }
        let Failure { kind, message, hint, subject } = error.failure();
        let (blob, reference) = (job.blob.digest, self.reference.familiar());
        let message = format!("{reference}: layer {blob}: {message}");
        let unreadable = matches!(error, LayerError::Unpack { .. } | LayerError::Read { .. });
        let error = Error::Failed(Failure { kind, message, hint, subject });
        // Too much is left to prove what is wrong: what was kept from before is suspected first.
        if resumed && unreadable { Broken::Content(error) } else { Broken::Final(error) }
    }

    fn entries(&self) -> Result<Vec<LayerEntry>, Error> {
        let entry = |(blob, diff_id): (&Descriptor, DiffId)| {
            let info = self.store.info(&diff_id).map_err(tug_store::Error::from)?;
            Ok(LayerEntry {
                diff_id,
                size: info.size,
                blob: Some(blob.digest),
                media_type: Some(blob.media_type.clone()),
            })
        };
        self.pairs().map(entry).collect()
    }
}

/// A layer that could not be had, and whether the image's others are worth keeping.
struct Stopped {
    error: Error,
    resumable: bool,
}

/// A half-fetched blob of the store, as a download keeps it.
struct Kept(Option<Partial>);

impl Spool for Kept {
    fn length(&self) -> u64 {
        self.0.as_ref().map_or(0, Partial::length)
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> std::io::Result<usize> {
        self.0.as_ref().map_or(Ok(0), |partial| partial.read_at(offset, buffer))
    }

    fn append(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.0.as_mut().map_or(Ok(()), |partial| partial.append(bytes))
    }

    fn clear(&mut self) {
        if let Some(mut partial) = self.0.take()
            && partial.clear().is_err()
        {
            partial.discard();
        }
    }
}

/// A blob that is here although its layer is not: nothing of it needs to come over the network.
struct Whole {
    file: File,
    length: u64,
    blobs: Blobs,
    digest: Digest,
}

impl Whole {
    fn open(blobs: &Blobs, digest: Digest) -> Option<Self> {
        let file = blobs.open(&digest).ok()?;
        let length = file.metadata().ok()?.len();
        Some(Self { file, length, blobs: blobs.clone(), digest })
    }
}

impl Spool for Whole {
    fn length(&self) -> u64 {
        self.length
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> std::io::Result<usize> {
        self.file.read_at(buffer, offset)
    }

    fn append(&mut self, _: &[u8]) -> std::io::Result<()> {
        // Shorter than it should be: then it is not that blob, as its digest will tell.
        Ok(())
    }

    fn clear(&mut self) {
        self.length = 0;
        // Damaged, and about to be fetched anew.
        let _ = self.blobs.remove(&self.digest);
    }
}

/// How one attempt at a layer failed.
enum Broken {
    /// The bytes are not what the manifest says: another endpoint may have the right ones.
    Content(Error),
    /// The registry does not deliver: what it has delivered is kept for another try.
    Line(Error),
    /// Nothing to be tried.
    Final(Error),
}

fn classify(error: tug_registry::Error) -> Broken {
    match error {
        tug_registry::Error::DigestMismatch { .. } => Broken::Content(failed(error)),
        other => Broken::Line(failed(other)),
    }
}

impl<'a> Crew<'a> {
    fn next(&self) -> Option<Job<'a>> {
        if self.stopped.load(Ordering::SeqCst) { None } else { lock(&self.jobs).pop() }
    }

    /// Makes a download end with the others when one layer fails.
    fn watch(&self, download: Cancel) {
        lock(&self.downloads).push(download.clone());
        // Stopped in between: nobody else will look at the list again.
        if self.stopped.load(Ordering::SeqCst) {
            download.cancel();
        }
    }

    /// The first failure counts; those after it are its consequences.
    fn stop(&self, Stopped { error, resumable }: Stopped) {
        let mut failure = lock(&self.failure);
        if failure.is_none() {
            *failure = Some(error);
            self.resumable.store(resumable, Ordering::SeqCst);
        }
        drop(failure);
        self.stopped.store(true, Ordering::SeqCst);
        for download in lock(&self.downloads).iter() {
            download.cancel();
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn tell(progress: &dyn Progress, blob: &Descriptor, state: LayerState) {
    progress.event(PullEvent::Layer { layer: blob.digest.short(), state });
}

/// Turns a download's events into progress.
fn observer(progress: Arc<dyn Progress>, blob: Descriptor) -> Arc<dyn Fn(BlobEvent) + Send + Sync> {
    let told = AtomicU64::new(0);
    Arc::new(move |event| {
        let state = match event {
            BlobEvent::Received(bytes) => {
                if bytes < told.load(Ordering::Relaxed) + STEP && bytes != blob.size {
                    return;
                }
                told.store(bytes, Ordering::Relaxed);
                LayerState::Downloading(bytes, Some(blob.size))
            }
            BlobEvent::Retrying(attempt, wait) => LayerState::Retrying(attempt, wait.as_secs()),
            BlobEvent::Verified => LayerState::Downloaded,
        };
        tell(&*progress, &blob, state);
    })
}
