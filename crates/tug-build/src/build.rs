//! One build from its request to its image.

mod checks;
#[cfg(test)]
mod truth;

pub use checks::Checked;

use crate::error::BuildError;
use crate::execute::{Budget, Means, Worker};
use crate::explain::Explanation;
use crate::export::{self, Exported, Release, Whole};
use crate::files::index::Index;
use crate::files::rooted;
use crate::files::tree::Tree;
use crate::ignore::Rules;
use crate::image::ImageConfig;
use crate::lower::{self, BaseImage, Plan};
use crate::ops::{Layer, Op, layers};
use crate::progress::{Board, Event, LineId, Progress};
use crate::prune;
use crate::request::{BuildRequest, CachePlace, DockerfileSource, FilesTo, NamedContext};
use crate::share::{self, Import};
use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use tug_dockerfile::{
    Dockerfile, GlobalScope, Outline, Platform, Report, Source, StageGraph, Targets,
};
use tug_engine::{Engine, LayerState, PullEvent, Settings, StepKiller};
use tug_solver::Limits;
use tug_store::{Lease, Store};
use tug_types::{Digest, ImageReference};

/// Ends a build from another thread.
#[derive(Clone, Default)]
pub struct Cancel(Arc<CancelState>);

#[derive(Default)]
struct CancelState {
    asked: AtomicBool,
    /// Downloads that wait for a server.
    waiting: tokio::sync::Notify,
    /// By somebody else than the build itself.
    for_good: AtomicBool,
    steps: Mutex<BTreeMap<usize, StepKiller>>,
}

/// A step that is killed when the build is cancelled; until this is dropped.
pub(crate) struct Watched<'c>(&'c Cancel, usize);

impl Cancel {
    /// Ends everything that runs, soon.
    pub fn cancel(&self) {
        self.0.for_good.store(true, Ordering::SeqCst);
        self.end_steps();
    }

    /// Lets steps run again that the build itself ended. False when somebody wants it to end.
    fn resume(&self) -> bool {
        self.0.asked.store(false, Ordering::SeqCst);
        let go_on = !self.0.for_good.load(Ordering::SeqCst);
        if !go_on {
            self.0.asked.store(true, Ordering::SeqCst);
        }
        go_on
    }

    pub(crate) fn end_steps(&self) {
        self.0.asked.store(true, Ordering::SeqCst);
        self.0.waiting.notify_waiters();
        let steps = self.0.steps.lock().unwrap_or_else(PoisonError::into_inner).clone();
        steps.values().for_each(StepKiller::kill);
    }

    pub(crate) fn check(&self) -> Result<(), BuildError> {
        match self.0.asked.load(Ordering::SeqCst) {
            true => Err(BuildError::Cancelled),
            false => Ok(()),
        }
    }

    /// Ends when the build is to end.
    pub(crate) async fn cancelled(&self) {
        let mut told = std::pin::pin!(self.0.waiting.notified());
        // From here on nothing is missed.
        told.as_mut().enable();
        if self.check().is_ok() {
            told.await;
        }
    }

    pub(crate) fn watch(&self, killer: StepKiller) -> Watched<'_> {
        let mut steps = self.0.steps.lock().unwrap_or_else(PoisonError::into_inner);
        let number = steps.last_key_value().map_or(0, |(last, _)| last + 1);
        steps.insert(number, killer.clone());
        drop(steps);
        // Asked in between: nobody else will look at the list again.
        if self.check().is_err() {
            killer.kill();
        }
        Watched(self, number)
    }
}

impl Drop for Watched<'_> {
    fn drop(&mut self) {
        let mut steps = self.0.0.steps.lock().unwrap_or_else(PoisonError::into_inner);
        steps.remove(&self.1);
    }
}

/// What a build came to.
#[derive(Debug)]
pub struct Built {
    /// The image; of several platforms the one that runs here, or the first.
    pub image: Digest,
    /// The manifest, or the index over several platforms, where there is one.
    pub digest: Option<Digest>,
    /// What an index would say of that manifest or index.
    pub descriptor: Option<serde_json::Value>,
    /// For each step that ran, why; when asked for.
    pub explanations: Vec<Explanation>,
    /// `linux/amd64`
    pub platform: String,
}

/// The state in which a command failed.
#[derive(Clone, Copy, Debug)]
pub struct FailedState {
    /// An image without a name. To be removed by who takes it.
    pub image: Digest,
    /// There is a `/bin/sh` in it.
    pub has_shell: bool,
}

/// A build about to run.
pub struct Build {
    settings: Settings,
    request: BuildRequest,
    board: Board,
    cancel: Cancel,
    failed: Mutex<Option<FailedState>>,
    report: Mutex<Option<Report>>,
}

/// A tenth of a file system is the cache's unless somebody says otherwise.
const SHARE: u64 = 10;

impl Build {
    /// With the engine's settings and somebody to tell.
    pub fn new(settings: Settings, request: BuildRequest, progress: Arc<dyn Progress>) -> Self {
        let (board, cancel) = (Board::new(progress), Cancel::default());
        let (failed, report) = (Mutex::default(), Mutex::default());
        Self { settings, request, board, cancel, failed, report }
    }

    /// The way to end it.
    pub fn cancel(&self) -> Cancel {
        self.cancel.clone()
    }

    /// Runs it.
    ///
    /// # Errors
    /// What is wrong with the Dockerfile, or the step that failed.
    pub fn run(&self) -> Result<Built, BuildError> {
        crate::execute::sweep(&self.settings.exec_root);
        let (file, path) = self.definition()?;
        export::check(&self.request)?;
        let wanted = self.platforms();
        let globals = wanted.iter().map(|platform| {
            GlobalScope::new(&file, &lower::inputs(&self.request, *platform))
                .map_err(|error| BuildError::Dockerfile(Box::new(error)))
        });
        let globals = globals.collect::<Result<Vec<_>, _>>()?;
        let store = Store::new(&self.settings.data_root);
        let (bytes, strict) = self.budget();
        prune::begin(&store, bytes)?;
        let lease = Lease::create(store.root()).map_err(tug_store::Error::from)?;
        let graph = StageGraph::new(&file, &globals[0])
            .map_err(|error| BuildError::Dockerfile(Box::new(error)))?;
        let plan = self.plan(&file, &globals, &lease);
        let rules = self.rules(path.as_deref());
        let checked = match &rules {
            Ok(rules) => self.checked(&file, &graph, rules),
            Err(_) => Ok(()),
        };
        let (plan, rules) = (plan?, rules?);
        checked?;
        let contexts = self.contexts(&plan, &rules)?;
        let imports = self.imports();
        let means = Means {
            graph: &plan.graph,
            info: &plan.info,
            request: &self.request,
            settings: &self.settings,
            board: &self.board,
            cancel: &self.cancel,
            contexts,
            budget: Budget::new(bytes, strict, lease.dir()),
            lease,
            slots: self.slots(path.as_deref()),
            imports: &imports,
            epoch: plan.epoch,
        };
        let worker = Worker::new(means);
        let solved = self.solve_all(&plan, &file.source, &worker);
        for context in worker.contexts.values() {
            // The next build reads more files, that is all.
            let _ = context.save();
        }
        let files = match solved {
            Ok(files) => files,
            Err(error) => {
                self.keep_failed(&store, &worker, &plan);
                // The failure is what counts.
                let _ = worker.end();
                let _ = Engine::new(self.settings.clone()).settle_later();
                return Err(error);
            }
        };
        let made = self.export(&store, &worker, &plan, &files)?;
        worker.finish()?;
        self.export_caches(&worker, &files)?;
        let explanations = worker.explanations();
        worker.end()?;
        Engine::new(self.settings.clone()).settle_later()?;
        Ok(Built {
            image: made.image,
            digest: made.digest,
            descriptor: made.descriptor,
            explanations,
            platform: made.platform,
        })
    }

    /// The platforms that are asked for; none is the machine's own, or the base images'.
    fn platforms(&self) -> Vec<Option<&Platform>> {
        match self.request.platforms.as_slice() {
            [] => vec![None],
            list => list.iter().map(Some).collect(),
        }
    }

    /// The state of a failed command as an image without a name. Best effort: the failure is what counts.
    fn keep_failed(&self, store: &Store, worker: &Worker<'_>, plan: &Plan) {
        let Ok(Some((step, layers))) = worker.failed_layers() else { return };
        let Some(target) = plan.targets.first() else { return };
        let mut image = target.image.clone();
        image.config.env = step.env;
        image.config.working_dir = step.working_dir;
        image.config.user = step.user;
        image.config.entrypoint.clear();
        image.history.clear();
        let platform = target.platform.to_string();
        let whole = Whole::new(image, &layers, platform, plan.epoch);
        let engine = Engine::new(self.settings.clone());
        if let Ok(image) = export::record(&engine, store, worker.lease(), &whole, &[], None, None) {
            let state = FailedState { image, has_shell: worker.has_program(&layers, "/bin/sh") };
            *self.failed.lock().unwrap_or_else(PoisonError::into_inner) = Some(state);
        }
    }

    /// The state in which a command failed, when that was to be kept.
    pub fn failed_state(&self) -> Option<FailedState> {
        self.failed.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// The stages that can be built.
    ///
    /// # Errors
    /// When there is no Dockerfile that can be read.
    pub fn targets(&self) -> Result<Targets, BuildError> {
        Ok(tug_dockerfile::targets(&self.definition()?.0))
    }

    /// What the target takes from outside.
    ///
    /// # Errors
    /// What is wrong with the Dockerfile.
    pub fn outline(&self) -> Result<Outline, BuildError> {
        let (file, _) = self.definition()?;
        let engine = Engine::new(self.settings.clone());
        let env = |name: &str| {
            let base = engine.base_image(name).ok().flatten();
            let image = base.and_then(|base| serde_json::from_slice(&base.config).ok());
            image.map_or_else(Vec::new, |image: ImageConfig| image.config.env)
        };
        let inputs = lower::inputs(&self.request, self.request.platforms.first());
        tug_dockerfile::outline(&file, &inputs, &env)
            .map_err(|error| BuildError::Dockerfile(Box::new(error)))
    }

    /// Solves until all layers of the result are here: what a cache elsewhere promised and does not have is done.
    fn solve_all(
        &self,
        plan: &Plan,
        source: &Arc<Source>,
        worker: &Worker<'_>,
    ) -> Result<Vec<Vec<Layer>>, BuildError> {
        loop {
            let solved = self.solve(plan, source, worker).and_then(|files| {
                files.iter().try_for_each(|layers| worker.ensure(layers))?;
                Ok(files)
            });
            match solved {
                // Each time there is one layer less that a cache is believed to have.
                Err(BuildError::Lost { .. }) if self.cancel.resume() => {}
                Err(BuildError::Lost { .. }) => return Err(BuildError::Cancelled),
                solved => return solved,
            }
        }
    }

    fn solve(
        &self,
        plan: &Plan,
        source: &Arc<Source>,
        worker: &Worker<'_>,
    ) -> Result<Vec<Vec<Layer>>, BuildError> {
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        let limits = Limits {
            heavy: self.request.parallel.unwrap_or((4 * processors).max(16)),
            light: processors.max(2),
        };
        match tug_solver::solve(&plan.graph, &plan.wanted(), worker, limits) {
            Ok(outputs) => {
                let mut outputs = outputs.iter();
                let of = |target: &lower::Target| match target.files {
                    Some(_) => layers(outputs.next()),
                    None => Vec::new(),
                };
                Ok(plan.targets.iter().map(of).collect())
            }
            Err(failure) => {
                let number = failure.vertex.index();
                let span = plan.info[number].span;
                Err(match (failure.error, span) {
                    (BuildError::Step { title, error, .. }, span) => {
                        let output = worker.tail(number);
                        let error = match span {
                            Some(span) => Box::new(error.at(source, span)),
                            None => error,
                        };
                        BuildError::Step { title, error, output }
                    }
                    (error, _) => error,
                })
            }
        }
    }

    /// Reads the Dockerfile. The path is where its ignore file would be beside it.
    fn definition(&self) -> Result<(Dockerfile, Option<PathBuf>), BuildError> {
        let context = self.request.context.as_deref();
        if let Some(context) = context
            && !context.is_dir()
        {
            return Err(BuildError::NoContext { path: context.to_owned() });
        }
        let path = match (&self.request.dockerfile, context) {
            (DockerfileSource::Bytes(_), _) => None,
            (DockerfileSource::Path(path), _) => Some(path.clone()),
            (DockerfileSource::Default, context) => {
                Some(default_file(context.unwrap_or(Path::new("."))))
            }
        };
        let name = match &path {
            Some(path) => path
                .file_name()
                .map_or("Dockerfile".to_owned(), |name| name.to_string_lossy().into_owned()),
            None => "Dockerfile".to_owned(),
        };
        let title = format!("[internal] load build definition from {name}");
        let bytes = self.board.during(title, |line| {
            let bytes = match (&self.request.dockerfile, &path) {
                (DockerfileSource::Bytes(bytes), _) => bytes.clone(),
                (_, Some(path)) => std::fs::read(path)
                    .map_err(|source| BuildError::ReadDockerfile { path: path.clone(), source })?,
                (_, None) => Vec::new(),
            };
            self.board.part(line, "transferring dockerfile:", Some(bytes.len() as u64));
            Ok::<_, BuildError>(bytes)
        })?;
        let file = tug_dockerfile::parse(&name, &bytes)
            .map_err(|error| BuildError::Dockerfile(Box::new(error)))?;
        Ok((file, path))
    }

    fn plan(
        &self,
        file: &Dockerfile,
        globals: &[GlobalScope],
        lease: &Lease,
    ) -> Result<Plan, BuildError> {
        let engine = Engine::new(self.settings.clone());
        let mut find = |name: &str, platform: Option<&Platform>| {
            let image = self.base(&engine, name, platform)?;
            for layer in &image.layers {
                lease.protect(&layer.diff_id).map_err(tug_store::Error::from)?;
            }
            Ok(image)
        };
        lower::lower(file, globals, &self.request, &mut find)
    }

    /// An image to build on: the one that is here, or the registry's.
    fn base(
        &self,
        engine: &Engine,
        name: &str,
        platform: Option<&Platform>,
    ) -> Result<BaseImage, BuildError> {
        let failed = |error: tug_engine::Error| BuildError::Image {
            name: name.to_owned(),
            source: Box::new(error),
            close: None,
        };
        let reference = ImageReference::parse(name)
            .map_err(|source| BuildError::ImageName { name: name.to_owned(), source })?;
        let shown = reference.to_string();
        let title = format!("[internal] load metadata for {shown}");
        self.board.during(title, |line| {
            // Without `--platform` whatever is here is taken, for a stage of its own platform too.
            let asked = platform.filter(|_| !self.request.platforms.is_empty());
            let mut known = match asked {
                Some(platform) => engine.base_image_on(name, &platform.to_string()),
                None => engine.base_image(name),
            }
            .map_err(failed)?;
            if known.is_none() || self.request.pull {
                let told = Arc::new(PullLines { progress: self.board.progress(), line });
                let foreign = platform.filter(|platform| !is_hosts(platform));
                let pulled = match foreign {
                    Some(platform) => engine.pull_beside(&reference, &platform.to_string(), told),
                    None => {
                        let platform = platform.map(ToString::to_string);
                        engine.pull(&reference, tug_engine::PullOptions { platform }, told)
                    }
                }
                .map_err(failed)?;
                known = engine.base_image(&pulled.id.to_string()).map_err(failed)?;
            }
            let Some(base) = known else {
                return Err(failed(tug_engine::Error::NoImage { name: name.to_owned() }));
            };
            let config: ImageConfig = serde_json::from_slice(&base.config)
                .map_err(|source| BuildError::ImageConfig { name: name.to_owned(), source })?;
            let layers = base
                .layers
                .into_iter()
                .map(|(diff_id, size)| Layer { diff_id, size, created: None })
                .collect();
            Ok(BaseImage { name: shown.clone(), config, layers })
        })
    }

    /// The contexts the graph takes files from.
    fn contexts(
        &self,
        plan: &Plan,
        rules: &Rules,
    ) -> Result<BTreeMap<String, Arc<Tree>>, BuildError> {
        let needed = plan.graph.needed(&plan.wanted());
        let mut contexts = BTreeMap::new();
        for id in plan.graph.ids().filter(|id| needed.get(id.index()) == Some(&true)) {
            let Op::Context { name } = &plan.graph.vertex(id).operation else { continue };
            let (dir, rules) = match name.as_str() {
                "" => (self.request.context.clone(), rules.clone()),
                name => match self.request.contexts.get(name) {
                    Some(NamedContext::Fetched(dir)) => (Some(dir.clone()), Rules::default()),
                    Some(NamedContext::Dir(dir)) => {
                        (Some(dir.clone()), read_rules(&dir.join(".dockerignore"))?.0)
                    }
                    _ => (None, Rules::default()),
                },
            };
            contexts.insert(name.clone(), Arc::new(self.tree(dir, rules)?));
        }
        Ok(contexts)
    }

    /// `<Dockerfile>.dockerignore`, else `.dockerignore` of the context.
    fn rules(&self, dockerfile: Option<&Path>) -> Result<Rules, BuildError> {
        self.board.during("[internal] load .dockerignore", |line| {
            let beside = dockerfile.map(|path| {
                let mut name = path.as_os_str().to_owned();
                name.push(".dockerignore");
                PathBuf::from(name)
            });
            let own = self.request.context.as_ref().map(|dir| dir.join(".dockerignore"));
            for path in [beside, own].into_iter().flatten() {
                let (rules, bytes) = read_rules(&path)?;
                if let Some(bytes) = bytes {
                    self.board.part(line, "transferring context:", Some(bytes));
                    return Ok(rules);
                }
            }
            self.board.part(line, "transferring context:", Some(2));
            Ok(Rules::default())
        })
    }

    fn tree(&self, dir: Option<PathBuf>, rules: Rules) -> Result<Tree, BuildError> {
        let Some(dir) = dir else {
            let empty = tempfile::tempdir().map_err(BuildError::files("create", "a directory"))?;
            let root = rooted::open_root(empty.path())
                .map_err(|errno| BuildError::files("open", empty.path())(errno.into()))?;
            return Ok(Tree::context(root, rules, Index::default()));
        };
        let open = |source: std::io::Error| BuildError::OpenContext { path: dir.clone(), source };
        let real = dir.canonicalize().map_err(open)?;
        let root = rooted::open_root(&real).map_err(|errno| open(errno.into()))?;
        let name = hex(&Sha256::digest(real.as_os_str().as_encoded_bytes())[..16]);
        let file = self.settings.data_root.join("build").join("contexts").join(name);
        Ok(Tree::context(root, rules, Index::load(&file)))
    }

    /// Names this Dockerfile of this context over builds.
    fn slots(&self, dockerfile: Option<&Path>) -> String {
        let path = |path: Option<&Path>| {
            let real = path.and_then(|path| path.canonicalize().ok());
            real.map(|path| path.display().to_string()).unwrap_or_default()
        };
        let text = format!("{}\0{}", path(self.request.context.as_deref()), path(dockerfile));
        hex(&Sha256::digest(text.as_bytes())[..16])
    }

    /// In bytes, and whether somebody chose it.
    fn budget(&self) -> (u64, bool) {
        let chosen = self.request.cache_budget;
        let bytes = chosen.unwrap_or_else(|| {
            let size = rustix::fs::statvfs(&self.settings.data_root)
                .map_or(u64::MAX, |fs| fs.f_frsize.saturating_mul(fs.f_blocks));
            (size / SHARE).max(1 << 30)
        });
        (bytes, chosen.is_some())
    }

    /// The caches to take results from. One that cannot be had costs time and nothing else.
    fn imports(&self) -> Vec<Import> {
        let engine = Engine::new(self.settings.clone());
        let open = |from: &CachePlace| {
            let title = format!("importing cache manifest from {}", shown(from));
            let opened = self.board.during(title, |line| {
                let opened = Import::open(&engine, from);
                if let Err(error) = &opened {
                    let text = tug_types::Explain::failure(error).message;
                    self.board.tell(Event::Warning { line, text });
                }
                Ok::<_, BuildError>(opened.ok())
            });
            opened.ok().flatten()
        };
        self.request.cache_from.iter().filter_map(open).collect()
    }

    /// Hands the results of steps on.
    fn export_caches(&self, worker: &Worker<'_>, files: &[Vec<Layer>]) -> Result<(), BuildError> {
        let targets = self.request.cache_to.iter().filter(|to| to.place != CachePlace::Inline);
        for to in targets {
            let title = format!("exporting cache to {}", shown(&to.place));
            let exported = self.board.during(title, |_| {
                let mut records = worker.records()?;
                let layers = match to.all {
                    true => {
                        records = worker.at_hand(records)?;
                        records.layers()
                    }
                    false => records.layers_within(&files.concat()),
                };
                share::export(&Engine::new(self.settings.clone()), &records, &layers, to)
            });
            match exported {
                Err(error) if !to.ignore_error => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }

    /// Hands the result on and records it.
    fn export(
        &self,
        store: &Store,
        worker: &Worker<'_>,
        plan: &Plan,
        files: &[Vec<Layer>],
    ) -> Result<Exported, BuildError> {
        let request = &self.request;
        let inline = request.cache_to.iter().any(|to| to.place == CachePlace::Inline);
        let records = if inline { Some(worker.records()?) } else { None };
        let wholes = plan.targets.iter().zip(files).map(|(target, layers)| {
            let mut image = target.image.clone();
            image.cache = records.as_ref().and_then(|records| serde_json::to_value(records).ok());
            Whole::new(image, layers, target.platform.to_string(), plan.epoch)
        });
        let mut release = Release::new(wholes.collect(), request);
        let engine = Engine::new(self.settings.clone());
        release.write_own(&engine, request)?;
        // What names the image in the archive written last.
        let mut archived = None;
        for output in &request.outputs {
            self.board.during("exporting to client", |_| match output {
                FilesTo::Archive(archive) => {
                    let dir = worker.lease().dir();
                    release
                        .archive(&engine, dir, archive, request)
                        .map(|made| archived = Some(made))
                }
                files => release.hand_out(worker, files),
            })?;
        }
        let named = archived.as_deref();
        if request.discard || !request.outputs.is_empty() && !request.keep {
            return Ok(release.exported(named));
        }
        self.board.during("exporting to image", |line| {
            self.board.part(line, "exporting layers", None);
            release.record(&engine, store, worker.lease(), &request.tags)?;
            let made = release.exported(None);
            self.board.part(line, format!("writing image {}", made.image), None);
            for tag in &request.tags {
                self.board.part(line, format!("naming to {tag}"), None);
            }
            Ok(made)
        })
    }

    /// What is said of something that has no line of its own.
    pub fn warn(&self, text: impl Into<String>) {
        let line = crate::progress::LineId(0);
        self.board.tell(Event::Warning { line, text: text.into() });
    }
}

/// A cache as progress names it.
fn shown(place: &CachePlace) -> String {
    match place {
        CachePlace::Inline => "the image".to_owned(),
        CachePlace::Registry(reference) => reference.to_string(),
        CachePlace::Local { dir, .. } => dir.display().to_string(),
    }
}

/// Whether it is this machine's, in whatever variant.
fn is_hosts(platform: &Platform) -> bool {
    let host = Platform::host();
    platform.os == host.os && platform.architecture == host.architecture
}

/// The Dockerfile of a context, by the names it may have.
fn default_file(context: &Path) -> PathBuf {
    let usual = context.join("Dockerfile");
    if usual.exists() {
        return usual;
    }
    let others = ["Containerfile", "dockerfile"].map(|name| context.join(name));
    others.into_iter().find(|path| path.exists()).unwrap_or(usual)
}

/// Unpacks an archive that is a context.
///
/// # Errors
/// When it is none.
pub fn unpack_context(input: impl std::io::Read, into: &Path) -> Result<(), BuildError> {
    let failed = |source| BuildError::Unpack { name: "the context".to_owned(), source };
    let decoder = tug_archive::decoder(input).map_err(failed)?;
    let options = tug_archive::UnpackOptions {
        whiteouts: tug_archive::Whiteouts::Keep,
        ..tug_archive::UnpackOptions::default()
    };
    let mut reader = std::io::BufReader::new(decoder);
    tug_archive::unpack(&mut reader, into, &options).map(drop).map_err(failed)
}

/// Whether a stream that begins so is compressed, and thus no Dockerfile.
pub fn is_compressed(head: &[u8]) -> bool {
    tug_archive::Compression::detect(head) != tug_archive::Compression::None
}

/// An ignore file; its size when there is one.
fn read_rules(path: &Path) -> Result<(Rules, Option<u64>), BuildError> {
    match std::fs::read(path) {
        Ok(bytes) => {
            let rules = Rules::parse(&bytes)
                .map_err(|source| BuildError::Ignore { path: path.to_owned(), source })?;
            Ok((rules, Some(bytes.len() as u64)))
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok((Rules::default(), None)),
        Err(source) => Err(BuildError::ReadIgnore { path: path.to_owned(), source }),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A base image's download as parts of its line.
struct PullLines {
    progress: Arc<dyn Progress>,
    line: LineId,
}

impl tug_engine::Progress for PullLines {
    fn event(&self, event: PullEvent) {
        let PullEvent::Layer { layer, state } = event else { return };
        let (bytes, done) = match state {
            LayerState::Downloading(bytes, _) => (Some(bytes), false),
            LayerState::Complete => (None, true),
            _ => return,
        };
        let name = format!("layer {layer}");
        self.progress.event(Event::Part { line: self.line, name, bytes, done });
    }
}
