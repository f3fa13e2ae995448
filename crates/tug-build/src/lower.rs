//! A Dockerfile into a graph: stages in the order they are needed, each instruction an operation or a change
//! of the image's configuration.

mod copy;
mod run;
mod stage;

pub(crate) use stage::StageState;

use crate::error::BuildError;
use crate::image::ImageConfig;
use crate::ops::{Info, Layer, Op};
use crate::request::{BuildRequest, NamedContext};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use tug_dockerfile::{
    Diagnostic, Dockerfile, GlobalScope, Inputs, Instruction, Platform, Span, StageGraph,
};
use tug_solver::{Graph, VertexId};

/// An image to build on.
#[derive(Clone, Debug)]
pub(crate) struct BaseImage {
    /// `docker.io/library/node:latest`
    pub name: String,
    pub config: ImageConfig,
    pub layers: Vec<Layer>,
}

/// Finds images, here or in a registry.
pub(crate) type FindImage<'a> =
    &'a mut dyn FnMut(&str, Option<&Platform>) -> Result<BaseImage, BuildError>;

/// What a Dockerfile becomes.
pub(crate) struct Plan {
    pub graph: Graph<Op>,
    /// By vertex.
    pub info: Vec<Info>,
    /// One for each platform, at least one.
    pub targets: Vec<Target>,
    /// `SOURCE_DATE_EPOCH`
    pub epoch: Option<i64>,
}

/// One platform's result.
pub(crate) struct Target {
    /// None: the image has no files.
    pub files: Option<VertexId>,
    pub image: ImageConfig,
    /// The platform it is for.
    pub platform: Platform,
}

impl Plan {
    /// The vertices that are wanted.
    pub(crate) fn wanted(&self) -> Vec<VertexId> {
        self.targets.iter().filter_map(|target| target.files).collect()
    }
}

/// Everything stages share while they are lowered.
pub(crate) struct Lowering<'a> {
    file: &'a Dockerfile,
    global: &'a GlobalScope,
    request: &'a BuildRequest,
    find: FindImage<'a>,
    graph: Graph<Op>,
    info: Vec<Info>,
    states: Vec<Option<StageState<'a>>>,
    images: BTreeMap<(String, String), Arc<BaseImage>>,
    target_platform: Platform,
    epoch: Option<i64>,
    /// There is more than one place files come from, so that titles name the stage.
    several: bool,
    /// The platform's name, where there is more than one.
    prefix: String,
}

/// What the build is for, on one of its platforms.
pub(crate) fn inputs(request: &BuildRequest, platform: Option<&Platform>) -> Inputs {
    let mut inputs = Inputs::host();
    inputs.build_args.clone_from(&request.build_args);
    if let Some(platform) = platform {
        inputs.target_platform = platform.clone();
    }
    inputs.target_stage.clone_from(&request.target);
    inputs
}

/// Makes the graph of the wanted stage and of what it needs: on each platform with the variables it has
/// there, in one graph, so that what does not depend on the platform is one vertex.
pub(crate) fn lower(
    file: &Dockerfile,
    globals: &[GlobalScope],
    request: &BuildRequest,
    find: FindImage<'_>,
) -> Result<Plan, BuildError> {
    let mut plan = Plan { graph: Graph::new(), info: Vec::new(), targets: Vec::new(), epoch: None };
    for (at, global) in globals.iter().enumerate() {
        let platform = request.platforms.get(at);
        let target_platform = inputs(request, platform).target_platform;
        let prefix = match globals.len() {
            1 => String::new(),
            _ => target_platform.to_string(),
        };
        plan.epoch = epoch(request, global)?;
        let mut lowering = Lowering {
            file,
            global,
            request,
            find: &mut *find,
            graph: std::mem::take(&mut plan.graph),
            info: std::mem::take(&mut plan.info),
            states: (0..file.stages.len()).map(|_| None).collect(),
            images: BTreeMap::new(),
            target_platform,
            epoch: plan.epoch,
            several: file.stages.len() > 1 || has_foreign_sources(file),
            prefix,
        };
        let target = lowering.target(platform.is_some())?;
        let Lowering { graph, info, .. } = lowering;
        plan.graph = graph;
        plan.info = info;
        plan.targets.push(target);
    }
    Ok(plan)
}

fn target(file: &Dockerfile, request: &BuildRequest) -> Result<usize, BuildError> {
    let Some(name) = &request.target else { return Ok(file.stages.len() - 1) };
    let by_name = file.stages.iter().rposition(|stage| stage.is_called(name));
    let by_number = || name.parse().ok().filter(|number| *number < file.stages.len());
    by_name.or_else(by_number).ok_or_else(|| BuildError::NoTarget {
        name: name.clone(),
        names: file.stages.iter().filter_map(|s| Some(s.name.as_ref()?.value.clone())).collect(),
        close: file.stage_like(name),
    })
}

/// `SOURCE_DATE_EPOCH`, as a build argument.
fn epoch(request: &BuildRequest, global: &GlobalScope) -> Result<Option<i64>, BuildError> {
    let text = request.build_args.get("SOURCE_DATE_EPOCH").cloned();
    let text = text.or_else(|| global.env().value("SOURCE_DATE_EPOCH").map(str::to_owned));
    match text.as_deref() {
        None | Some("") => Ok(None),
        Some(text) => {
            let parsed = text.parse().map_err(|_| BuildError::Epoch { value: text.to_owned() })?;
            Ok(Some(parsed))
        }
    }
}

/// Whether there is a copy from somewhere or a mount of any kind: what those take counts as a stage.
fn has_foreign_sources(file: &Dockerfile) -> bool {
    let steps = file.stages.iter().flat_map(|stage| &stage.steps);
    steps.into_iter().any(|step| match &step.instruction {
        Instruction::Copy(copy) => copy.from.is_some(),
        Instruction::Run(run) => !run.mounts.is_empty(),
        _ => false,
    })
}

/// What a name in `--from` or `FROM` stands for.
pub(crate) enum Place {
    /// The files of a stage or an image; none for one without any.
    Files(Option<VertexId>),
    /// A context.
    Context(VertexId),
}

impl<'a> Lowering<'a> {
    /// The wanted stage. `asked`: the platform was given, and the image is said to be for it.
    fn target(&mut self, asked: bool) -> Result<Target, BuildError> {
        let target = target(self.file, self.request)?;
        // In the file's order none has to begin another first: a chain of hundreds would fill the stack.
        for stage in self.ahead(target)? {
            self.stage(stage)?;
        }
        self.stage(target)?;
        let state = self.states[target].take().ok_or(BuildError::NoStage)?;
        let mut image = state.image;
        for (label, value) in &self.request.labels {
            image.config.labels.insert(label.clone(), value.clone());
        }
        let platform = state.platform.unwrap_or_else(|| self.target_platform.clone());
        if asked {
            image.os.clone_from(&platform.os);
            image.architecture.clone_from(&platform.architecture);
            image.variant.clone_from(&platform.variant);
        }
        Ok(Target { files: state.files, image, platform })
    }

    /// The stages the target needs, those aside that a context stands for.
    fn ahead(&self, target: usize) -> Result<BTreeSet<usize>, BuildError> {
        let graph =
            StageGraph::new(self.file, self.global).map_err(|error| self.diagnostic(error))?;
        let replaced = |stage: usize| {
            let name = self.file.stages[stage].name.as_ref();
            name.is_some_and(|name| self.request.contexts.contains_key(&name.value))
        };
        let (mut found, mut waiting) = (BTreeSet::new(), vec![target]);
        while let Some(stage) = waiting.pop() {
            if !replaced(stage) && found.insert(stage) {
                waiting.extend(graph.taken(stage));
            }
        }
        Ok(found)
    }

    pub(crate) fn add(&mut self, op: Op, inputs: Vec<VertexId>, info: Info) -> VertexId {
        let id = self.graph.add(op, inputs);
        if id.index() == self.info.len() {
            self.info.push(info);
        } else {
            // The same work for two steps: when one may not be remembered, neither may the other.
            self.info[id.index()].ignore_cache |= info.ignore_cache;
        }
        id
    }

    pub(crate) fn fail(&self, problem: BuildError, span: Span) -> BuildError {
        problem.at(&self.file.source, span)
    }

    pub(crate) fn diagnostic(&self, diagnostic: Diagnostic) -> BuildError {
        BuildError::Dockerfile(Box::new(diagnostic))
    }

    /// The context of the build.
    pub(crate) fn context(&mut self, name: &str) -> VertexId {
        let title = match name {
            "" => "[internal] load build context".to_owned(),
            name => format!("[context {name}] load from client"),
        };
        let info = Info { title, span: None, ignore_cache: true, slot: String::new() };
        self.add(Op::Context { name: name.to_owned() }, Vec::new(), info)
    }

    /// An image, looked for once.
    pub(crate) fn image(
        &mut self,
        name: &str,
        platform: Option<&Platform>,
    ) -> Result<Arc<BaseImage>, BuildError> {
        let key = (name.to_owned(), platform.map(ToString::to_string).unwrap_or_default());
        if let Some(known) = self.images.get(&key) {
            return Ok(known.clone());
        }
        let base = (self.find)(name, platform)
            .map_err(|error| error.near(|| self.file.stage_like(name)))?;
        let base = Arc::new(base);
        self.images.insert(key, base.clone());
        Ok(base)
    }

    /// The vertex of an image's files; none when it has none.
    pub(crate) fn image_files(
        &mut self,
        base: &BaseImage,
        title: String,
        span: Span,
    ) -> Option<VertexId> {
        if base.layers.is_empty() {
            return None;
        }
        let layers = base.layers.iter().map(|layer| layer.diff_id).collect();
        let info = Info { title, span: Some(span), ignore_cache: false, slot: String::new() };
        Some(self.add(Op::Image { layers }, Vec::new(), info))
    }

    /// `--from=NAME` in the stage of this number.
    pub(crate) fn place(
        &mut self,
        name: &str,
        stage: usize,
        span: Span,
    ) -> Result<Place, BuildError> {
        if let Some(context) = self.request.contexts.get(name) {
            return match context {
                NamedContext::Dir(_) | NamedContext::Fetched(_) => {
                    Ok(Place::Context(self.context(name)))
                }
                NamedContext::Image(image) => {
                    let image = image.clone();
                    self.image_place(&image, span)
                }
            };
        }
        let by_name = self
            .file
            .stages
            .iter()
            .rposition(|other| other.is_called(name) && other.index != stage);
        let by_number = || name.parse::<usize>().ok();
        if let Some(other) = by_name.or_else(by_number) {
            if other >= stage {
                let problem = BuildError::LaterStage { name: name.to_owned() };
                return Err(self.fail(problem, span));
            }
            self.stage(other)?;
            let files = self.states[other].as_ref().and_then(|state| state.files);
            return Ok(Place::Files(files));
        }
        if name == "scratch" {
            return Ok(Place::Files(None));
        }
        self.image_place(name, span)
    }

    fn image_place(&mut self, name: &str, span: Span) -> Result<Place, BuildError> {
        let platform = self.target_platform.clone();
        let base = self.image(name, Some(&platform)).map_err(|error| self.fail(error, span))?;
        let title = format!("FROM {}", base.name);
        Ok(Place::Files(self.image_files(&base, title, span)))
    }

    /// Names the stage's step in later builds of the same Dockerfile.
    pub(crate) fn slot(&self, stage: usize, number: usize) -> String {
        let stage = &self.file.stages[stage];
        let name = stage.name.as_ref().map_or_else(|| stage.index.to_string(), |n| n.value.clone());
        format!("{} {name} {number}", self.prefix).trim_start().to_owned()
    }

    pub(crate) fn stages_not_cached(&self) -> BTreeSet<&str> {
        self.request.no_cache_stages.iter().map(String::as_str).collect()
    }
}
