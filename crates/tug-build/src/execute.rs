//! The operations: what each depends on, where results are kept, and doing them.

mod borrowed;
mod budget;
mod command;
mod download;
mod files;
pub(crate) mod git;
mod hand_out;
mod mounts;
mod waiting;
pub(crate) mod web;

use crate::build::Cancel;
use crate::error::BuildError;
use crate::explain::{self, Explanation};
use crate::files::overlay::Overlay;
use crate::files::rooted;
use crate::files::tree::Tree;
use crate::ops::{Info, Layer, Op, Output, layers};
use crate::progress::{self, Board, LineId};
use crate::request::BuildRequest;
use crate::share::{Import, Record};
use rustix::fs::FlockOperation;
use sha2::{Digest as _, Sha256};
use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tug_engine::Settings;
use tug_solver::{Event, Executor, Graph, Inputs, Key, VertexId};
use tug_store::{Lease, NewCacheRow, Store};
use tug_types::{DiffId, Digest, Explain as _};

/// Changes when a step's result would come out differently for the same inputs.
const FORMAT: &str = "1";

pub(crate) use budget::Budget;
pub(crate) use hand_out::Files;
pub(crate) use mounts::{WRITTEN, caches_dir, sweep, take_cache};

/// Does what the graph says, over one store.
pub(crate) struct Worker<'b> {
    pub graph: &'b Graph<Op>,
    pub info: &'b [Info],
    pub request: &'b BuildRequest,
    pub settings: &'b Settings,
    pub board: &'b Board,
    pub cancel: &'b Cancel,
    pub contexts: BTreeMap<String, Arc<Tree>>,
    store: Mutex<Store>,
    lease: Lease,
    layers: tug_store::Layers,
    /// Keys whose results were used or made.
    used: Mutex<BTreeSet<String>>,
    /// Titles and kinds of the steps with those keys.
    titles: Mutex<BTreeMap<String, (String, String)>>,
    /// Sums of stages' files that keys are made of.
    sums: Mutex<BTreeMap<String, String>>,
    imports: &'b [Import],
    /// Results that came from there.
    borrowed: Mutex<BTreeMap<String, Record>>,
    explanations: Mutex<Vec<Explanation>>,
    budget: Budget,
    /// Results there was no room for, by key: with an image they may cost nothing.
    unkept: Mutex<BTreeMap<String, Record>>,
    /// Layers that may be nobody's at the end.
    loose: Mutex<BTreeSet<DiffId>>,
    slots: String,
    epoch: Option<i64>,
    /// The last output of commands that failed, by vertex.
    tails: Mutex<BTreeMap<usize, Vec<u8>>>,
    /// The upper directory of the step that failed, kept for a look at it.
    pub failed: Mutex<Option<command::FailedStep>>,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What a worker is made of.
pub(crate) struct Means<'b> {
    pub graph: &'b Graph<Op>,
    pub info: &'b [Info],
    pub request: &'b BuildRequest,
    pub settings: &'b Settings,
    pub board: &'b Board,
    pub cancel: &'b Cancel,
    pub contexts: BTreeMap<String, Arc<Tree>>,
    pub lease: Lease,
    pub budget: Budget,
    /// Names this Dockerfile of this context, for what changed since its last build.
    pub slots: String,
    pub epoch: Option<i64>,
    /// Caches elsewhere.
    pub imports: &'b [Import],
}

impl<'b> Worker<'b> {
    pub(crate) fn new(means: Means<'b>) -> Self {
        let Means { graph, info, request, settings, board, cancel, contexts, lease, .. } = means;
        let store = Store::new(&settings.data_root);
        Self {
            graph,
            info,
            request,
            settings,
            board,
            cancel,
            contexts,
            layers: store.layers(),
            store: Mutex::new(store),
            lease,
            used: Mutex::default(),
            titles: Mutex::default(),
            sums: Mutex::default(),
            imports: means.imports,
            borrowed: Mutex::default(),
            explanations: Mutex::default(),
            budget: means.budget,
            unkept: Mutex::default(),
            loose: Mutex::default(),
            slots: means.slots,
            epoch: means.epoch,
            tails: Mutex::default(),
            failed: Mutex::default(),
        }
    }

    pub(crate) fn lease(&self) -> &Lease {
        &self.lease
    }

    /// Notes what was used, and what there is room for now that an image has some of it.
    pub(crate) fn finish(&self) -> Result<(), BuildError> {
        self.keep_borrowed()?;
        for (key, record) in std::mem::take(&mut *locked(&self.unkept)) {
            if !self.put_record(&key, &record)? {
                locked(&self.unkept).insert(key, record);
            }
        }
        let used = locked(&self.used).clone();
        let store = locked(&self.store);
        if !used.is_empty() {
            store.cache_used(used.iter().map(String::as_str))?;
        }
        Ok(())
    }

    /// Ends it. What was made and nobody has goes.
    pub(crate) fn end(self) -> Result<(), BuildError> {
        let Self { store, lease, loose, .. } = self;
        drop(lease);
        let loose: Vec<DiffId> =
            loose.into_inner().unwrap_or_else(PoisonError::into_inner).into_iter().collect();
        locked(&store).discard(&loose, &[])?.delete()?;
        Ok(())
    }

    fn put_record(&self, key: &str, record: &Record) -> Result<bool, BuildError> {
        let result = serde_json::to_string(&record.layers).unwrap_or_default();
        let sizes: Vec<(DiffId, u64)> =
            record.layers.iter().map(|layer| (layer.diff_id, layer.size)).collect();
        let Record { kind, title: description, .. } = record;
        self.put(&NewCacheRow { key, kind, description, result: &result, layers: &sizes })
    }

    pub(crate) fn explanations(&self) -> Vec<Explanation> {
        std::mem::take(&mut *locked(&self.explanations))
    }

    /// The state a failed command left, its upper directory made a layer.
    pub(crate) fn failed_layers(
        &self,
    ) -> Result<Option<(command::FailedStep, Vec<Layer>)>, BuildError> {
        let Some(step) = locked(&self.failed).take() else { return Ok(None) };
        let made = self.adopt(&step.upper, step.layers.clone())?;
        Ok(Some((step, layers(Some(&made)))))
    }

    /// Whether layers have something to execute at a path.
    pub(crate) fn has_program(&self, layers: &[Layer], path: &str) -> bool {
        let Ok(overlay) = self.read_files(layers) else { return false };
        let real = rooted::real(&overlay.root(), path, true);
        let stat = real.and_then(|real| rooted::stat(overlay.root(), &real));
        stat.is_ok_and(|stat| rooted::kind(&stat).is_file() && stat.st_mode & 0o111 != 0)
    }

    /// The last output of a command that failed.
    pub(crate) fn tail(&self, vertex: usize) -> Vec<u8> {
        locked(&self.tails).remove(&vertex).unwrap_or_default()
    }

    fn op(&self, vertex: VertexId) -> &Op {
        &self.graph.vertex(vertex).operation
    }

    fn information(&self, vertex: VertexId) -> &Info {
        &self.info[vertex.index()]
    }

    /// The trees of layers, uppermost first, as an overlay takes them.
    fn trees(&self, layers: &[Layer]) -> Vec<PathBuf> {
        self.layers.trees(layers.iter().map(|layer| &layer.diff_id))
    }

    /// The files of layers, to be read.
    fn read_files(&self, layers: &[Layer]) -> Result<Overlay, BuildError> {
        self.ensure(layers)?;
        let mut trees = self.trees(layers);
        if trees.is_empty() {
            trees.push(self.fresh_dir("empty")?);
        }
        Overlay::compose(&trees, None).map_err(|error| BuildError::Overlay { source: error.into() })
    }

    fn fresh_dir(&self, what: &str) -> Result<PathBuf, BuildError> {
        let path = self.lease.fresh_path(what);
        std::fs::create_dir(&path).map_err(BuildError::files("create", &path))?;
        std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o755))
            .map_err(BuildError::files("set the mode of", &path))?;
        Ok(path)
    }

    /// Makes a layer of an upper directory.
    fn adopt(&self, upper: &Path, onto: Vec<Layer>) -> Result<Output, BuildError> {
        if let Some(epoch) = self.epoch {
            files::clamp_times(upper, epoch)?;
        }
        let info = self.layers.adopt(&self.lease, upper).map_err(tug_store::Error::from)?;
        let mut all = onto;
        locked(&self.loose).insert(info.diff_id);
        let created = now();
        all.push(Layer { diff_id: info.diff_id, size: info.size, created: Some(created) });
        Ok(Output::Layers(Arc::new(all)))
    }

    /// Keeps a result under its key.
    fn keep(&self, vertex: VertexId, inputs: &Inputs, output: &Output) -> Result<(), BuildError> {
        let Output::Layers(made) = output else { return Ok(()) };
        let key = inputs.key().to_string();
        let record = Record {
            title: self.information(vertex).title.clone(),
            kind: kind(self.op(vertex)).to_owned(),
            layers: made.to_vec(),
        };
        let kept = self.put_record(&key, &record)?;
        explain::remember(&locked(&self.store), &self.slot(vertex), inputs.parts())?;
        if !kept {
            locked(&self.unkept).insert(key.clone(), record);
        }
        locked(&self.used).insert(key);
        Ok(())
    }

    fn slot(&self, vertex: VertexId) -> String {
        format!("{} {}", self.slots, self.information(vertex).slot)
    }

    fn line(&self, vertex: VertexId) -> LineId {
        self.board.of_vertex(vertex.index(), &self.information(vertex).title)
    }

    /// The layers remembered for a key, if they are all there.
    fn remembered(&self, key: &str) -> Result<Option<Output>, BuildError> {
        let Some(json) = locked(&self.store).cached(key)? else { return Ok(None) };
        let Ok(found) = serde_json::from_str::<Vec<Layer>>(&json) else { return Ok(None) };
        for layer in &found {
            self.lease.protect(&layer.diff_id).map_err(tug_store::Error::from)?;
            if !self.layers.contains(&layer.diff_id) {
                return Ok(None);
            }
        }
        Ok(Some(Output::Layers(Arc::new(found))))
    }

    fn named_inputs(
        &self,
        vertex: VertexId,
        results: &[Output],
    ) -> Result<Option<Inputs>, BuildError> {
        let mut inputs = Inputs::new();
        inputs.add("format", FORMAT);
        match self.op(vertex) {
            Op::Image { .. } | Op::Context { .. } | Op::Http(_) | Op::Git(_) | Op::Merge => {
                return Ok(None);
            }
            Op::Mkdir { path, user, epoch } => {
                inputs.add("operation", "mkdir");
                inputs.add("path", path);
                inputs.add("user", user);
                inputs.add("time", format!("{epoch:?}"));
                inputs.add("files of the step before", chain(&layers(results.first())));
            }
            Op::Copy(copy) => self.copy_inputs(copy, results, &mut inputs)?,
            Op::Exec(exec) => self.exec_inputs(exec, results, &mut inputs)?,
        }
        Ok(Some(inputs))
    }
}

/// Names layers by their content.
fn chain(layers: &[Layer]) -> String {
    let mut hash = Sha256::new();
    layers.iter().for_each(|layer| hash.update(layer.diff_id.0.as_bytes()));
    Digest::from_sha256(hash.finalize().into()).hex()
}

fn kind(op: &Op) -> &'static str {
    match op {
        Op::Exec(_) => "exec",
        Op::Image { .. } | Op::Context { .. } | Op::Http(_) | Op::Git(_) => "source",
        Op::Copy(_) | Op::Mkdir { .. } | Op::Merge => "file",
    }
}

/// Nanoseconds since the epoch.
pub(crate) fn now() -> i64 {
    i64::try_from(crate::files::index::now()).unwrap_or(i64::MAX)
}

/// The turn to execute a key, among all processes.
pub(crate) struct Turn {
    path: PathBuf,
    _lock: OwnedFd,
}

impl Drop for Turn {
    fn drop(&mut self) {
        // Before the lock goes, so that the next one makes a new file.
        let _ = std::fs::remove_file(&self.path);
    }
}

impl Executor for Worker<'_> {
    type Operation = Op;
    type Output = Output;
    type Error = BuildError;
    type Turn = Turn;

    fn inputs(&self, vertex: VertexId, results: &[Output]) -> Result<Option<Inputs>, BuildError> {
        self.cancel.check()?;
        self.named_inputs(vertex, results).map_err(|error| self.failed_at(vertex, error))
    }

    fn cached(
        &self,
        vertex: VertexId,
        key: &Key,
        _: &Inputs,
    ) -> Result<Option<Output>, BuildError> {
        if self.information(vertex).ignore_cache {
            return Ok(None);
        }
        let key = key.to_string();
        let title = (self.information(vertex).title.clone(), kind(self.op(vertex)).to_owned());
        // Of several steps that are the same one, whichever comes first in order: not in time.
        let mut titles = locked(&self.titles);
        let known = titles.entry(key.clone()).or_insert_with(|| title.clone());
        if title < *known {
            *known = title;
        }
        drop(titles);
        if let Some(record) = locked(&self.unkept).get(&key) {
            return Ok(Some(Output::Layers(Arc::new(record.layers.clone()))));
        }
        if let Some(found) = self.remembered(&key)? {
            locked(&self.used).insert(key);
            return Ok(Some(found));
        }
        Ok(self.imported(&key))
    }

    fn turn(&self, key: &Key) -> Result<Turn, BuildError> {
        let path = self.settings.data_root.join("tmp").join(format!("unpack-{key}.lock"));
        loop {
            let flags =
                rustix::fs::OFlags::RDWR | rustix::fs::OFlags::CREATE | rustix::fs::OFlags::CLOEXEC;
            let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
            let failed = |errno: rustix::io::Errno| BuildError::files("lock", &path)(errno.into());
            let lock = rustix::fs::open(&path, flags, mode).map_err(failed)?;
            loop {
                match rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive) {
                    Ok(()) => break,
                    Err(rustix::io::Errno::WOULDBLOCK) => {
                        self.cancel.check()?;
                        std::thread::sleep(std::time::Duration::from_millis(5));
                    }
                    Err(rustix::io::Errno::INTR) => {}
                    Err(error) => return Err(failed(error)),
                }
            }
            // Whoever had it before deletes the file; a lock on a deleted file excludes nobody.
            let here = rustix::fs::fstat(&lock).map(|stat| (stat.st_dev, stat.st_ino));
            let there = rustix::fs::stat(&path).map(|stat| (stat.st_dev, stat.st_ino));
            if here.is_ok() && here == there {
                return Ok(Turn { path, _lock: lock });
            }
        }
    }

    fn execute(
        &self,
        vertex: VertexId,
        results: &[Output],
        inputs: Option<&Inputs>,
    ) -> Result<Output, BuildError> {
        self.cancel.check()?;
        if let (true, Some(inputs)) = (self.request.explain, inputs) {
            let title = &self.information(vertex).title;
            let slot = self.slot(vertex);
            let explanation = match (self.information(vertex).ignore_cache, &*locked(&self.store)) {
                (true, _) => Explanation {
                    title: title.clone(),
                    reasons: vec!["the cache was not to be used".to_owned()],
                },
                (false, store) => explain::explain(store, &slot, title, inputs.parts())?,
            };
            locked(&self.explanations).push(explanation);
        }
        let (output, sure) =
            self.perform(vertex, results, inputs).map_err(|error| self.failed_at(vertex, error))?;
        if let (Some(inputs), true) = (inputs, sure) {
            self.keep(vertex, inputs, &output)?;
        }
        Ok(output)
    }

    fn cancel(&self) {
        self.cancel.end_steps();
    }

    fn event(&self, vertex: VertexId, event: Event) {
        if self.information(vertex).title.is_empty() {
            return;
        }
        match event {
            Event::Looked => {}
            Event::Cached => {
                let line = self.line(vertex);
                if self.board.end_vertex(vertex.index()) {
                    self.board.tell(progress::Event::Cached { line });
                }
            }
            Event::Started => {
                self.board.begin_vertex(vertex.index());
                let _ = self.line(vertex);
            }
            Event::Completed => {
                self.board.done(self.line(vertex));
                self.board.end_vertex(vertex.index());
            }
            // Told with its reason where that is known.
            Event::Failed => {}
            Event::Cancelled => {
                let line = self.line(vertex);
                self.board.end_vertex(vertex.index());
                self.board.tell(progress::Event::Cancelled { line });
            }
        }
    }
}

impl Worker<'_> {
    fn failed_at(&self, vertex: VertexId, error: BuildError) -> BuildError {
        if matches!(error, BuildError::Cancelled | BuildError::Lost { .. }) {
            return error;
        }
        let line = self.line(vertex);
        let text = error.failure().message;
        self.board.tell(progress::Event::Failed { line, error: text });
        let title = self.information(vertex).title.clone();
        match error {
            step @ BuildError::Step { .. } => step,
            error => BuildError::Step { title, error: Box::new(error), output: Vec::new() },
        }
    }

    /// Does it. `false`: what came out must not be taken for what its key says.
    fn perform(
        &self,
        vertex: VertexId,
        results: &[Output],
        inputs: Option<&Inputs>,
    ) -> Result<(Output, bool), BuildError> {
        let sure = |output: Output| (output, true);
        match self.op(vertex) {
            Op::Image { layers } => self.image(layers).map(sure),
            Op::Context { name } => self.context(name).map(sure),
            Op::Http(http) => self.download(http).map(sure),
            Op::Git(git) => self.commit(git).map(sure),
            Op::Merge => {
                let mut all = layers(results.first());
                all.extend(layers(results.get(1)));
                Ok((Output::Layers(Arc::new(all)), true))
            }
            Op::Mkdir { path, user, epoch } => {
                self.mkdir(vertex, path, user, *epoch, layers(results.first())).map(sure)
            }
            Op::Copy(copy) => self.copy(vertex, copy, results, inputs),
            Op::Exec(exec) => self.exec(vertex, exec, results, inputs),
        }
    }

    fn image(&self, diff_ids: &[DiffId]) -> Result<Output, BuildError> {
        let mut all = Vec::new();
        for diff_id in diff_ids {
            self.lease.protect(diff_id).map_err(tug_store::Error::from)?;
            let info = self.layers.info(diff_id).map_err(tug_store::Error::from)?;
            all.push(Layer { diff_id: *diff_id, size: info.size, created: None });
        }
        Ok(Output::Layers(Arc::new(all)))
    }

    fn context(&self, name: &str) -> Result<Output, BuildError> {
        let tree = self.contexts.get(name).cloned();
        tree.map(Output::Context)
            .ok_or_else(|| BuildError::NotFound { path: name.to_owned(), hint: None })
    }
}
