//! A pull's layers: those that are missing are downloaded and unpacked side by side, each on its
//! own, in no particular order. Nothing waits for the layer below it.

use super::intake::Claim;
use super::pull::failed;
use crate::Error;
use crate::view::{LayerState, Progress, PullEvent};
use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tug_registry::{BlobEvent, BlobReader, Cancel, Client, Descriptor, Resolved, Source};
use tug_store::{LayerEntry, LayerError, Layers};
use tug_types::{DiffId, Explain, Failure, ImageReference};

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
}

/// Brings all layers of the image into the store.
pub(super) fn layers(fetch: &Fetch<'_>) -> Result<Vec<LayerEntry>, Error> {
    let mut jobs = fetch.missing()?;
    let threads = jobs.len().min(AT_ONCE);
    // Taken from the end: the largest first, so that none of them is left over for one thread
    // while the others have nothing to do.
    jobs.sort_by_key(|job| job.blob.size);
    let crew = Crew {
        jobs: Mutex::new(jobs),
        stopped: AtomicBool::new(false),
        downloads: Mutex::new(Vec::new()),
        failure: Mutex::new(None),
    };
    std::thread::scope(|scope| {
        for _ in 0..threads {
            let work = || {
                while let Some(job) = crew.next() {
                    fetch.layer(&job, &crew).unwrap_or_else(|error| crew.stop(error));
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
        None => fetch.entries(),
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
                jobs.push(Job { blob, diff_id });
            }
        }
        Ok(jobs)
    }

    /// One layer, from the next endpoint again when one delivers wrong content.
    fn layer(&self, job: &Job<'_>, crew: &Crew<'_>) -> Result<(), Error> {
        let mut source = self.resolved.source.clone();
        loop {
            match self.layer_from(&source, job, crew) {
                Err(Broken::Content(error)) => match source.next() {
                    Some(next) => source = next,
                    None => return Err(failed(error)),
                },
                Err(Broken::Final(error)) => return Err(error),
                Ok(()) => {
                    tell(&**self.progress, job.blob, LayerState::Complete);
                    return Ok(());
                }
            }
        }
    }

    fn layer_from(&self, source: &Source, job: &Job<'_>, crew: &Crew<'_>) -> Result<(), Broken> {
        let observer = observer(self.progress.clone(), job.blob.clone());
        let opened = self.client.open(source, job.blob, observer);
        let mut reader = opened.map_err(|error| Broken::Final(failed(error)))?;
        crew.watch(reader.cancel());
        match self.store.unpack(self.claim.lease(), &mut reader, Some(job.diff_id)) {
            Ok(_) => reader.finish().map_err(classify),
            Err(error) => Err(self.explain(error, &mut reader, job)),
        }
    }

    /// Why a layer could not be unpacked: the line, the bytes, or what they say.
    fn explain(&self, error: LayerError, reader: &mut BlobReader, job: &Job<'_>) -> Broken {
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
        Broken::Final(Error::Failed(Failure { kind, message, hint, subject }))
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

/// How one attempt at a layer failed.
enum Broken {
    /// The bytes are not what the manifest says: another endpoint may have the right ones.
    Content(tug_registry::Error),
    /// Nothing to be tried.
    Final(Error),
}

fn classify(error: tug_registry::Error) -> Broken {
    match error {
        tug_registry::Error::DigestMismatch { .. } => Broken::Content(error),
        other => Broken::Final(failed(other)),
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
    fn stop(&self, error: Error) {
        lock(&self.failure).get_or_insert(error);
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
