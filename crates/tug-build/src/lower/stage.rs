//! One stage: where it starts, and its instructions one by one.

use super::{BaseImage, Lowering};
use crate::error::BuildError;
use crate::image::{Empty, Healthcheck, History, ImageConfig, listed, quoted};
use crate::ops::{Copy, CopySource, Info, Op};
use crate::request::NamedContext;
use std::sync::Arc;
use tug_dockerfile::{
    CommandLine, Evaluated, Healthcheck as HealthcheckInstruction, Instruction, Platform, Span,
    Stage, StageScope,
};
use tug_solver::VertexId;
use tug_types::ContainerPath;

/// What a Linux image without a shell of its own uses.
const SHELL: [&str; 2] = ["/bin/sh", "-c"];

/// A stage as far as it has been lowered.
#[derive(Clone)]
pub(crate) struct StageState<'a> {
    pub scope: StageScope<'a>,
    pub image: ImageConfig,
    /// Its files; none as long as there are none.
    pub files: Option<VertexId>,
    pub platform: Option<Platform>,
    /// Its number.
    pub index: usize,
    /// What titles call it; empty when it is alone.
    name: String,
    steps: usize,
    total: usize,
    ignore_cache: bool,
    cmd_set: bool,
}

impl StageState<'_> {
    /// `[build 2/4] RUN make`
    pub(crate) fn title(&mut self, text: &str) -> String {
        self.steps += 1;
        let name = if self.name.is_empty() { String::new() } else { format!("{} ", self.name) };
        let width = self.total.max(1).ilog10() as usize + 1;
        format!("[{name}{:width$}/{}] {text}", self.steps, self.total)
    }

    pub(crate) fn number(&self) -> usize {
        self.steps
    }

    pub(crate) fn ignore_cache(&self) -> bool {
        self.ignore_cache
    }

    /// A command line as words.
    pub(crate) fn words(&self, line: &CommandLine) -> Vec<String> {
        match line {
            CommandLine::Exec(words) => words.clone(),
            CommandLine::Shell(line) => self.in_shell(line),
        }
    }

    pub(crate) fn in_shell(&self, line: &str) -> Vec<String> {
        let shell = &self.image.config.shell;
        let mut words = match shell.is_empty() {
            true => SHELL.map(str::to_owned).to_vec(),
            false => shell.clone(),
        };
        words.push(line.to_owned());
        words
    }

    /// A path by the working directory; a slash at the end stays.
    pub(crate) fn absolute(&self, path: &str) -> String {
        let dir = match self.image.config.working_dir.as_str() {
            "" => "/",
            dir => dir,
        };
        let joined = match path {
            "" | "." => format!("{dir}/"),
            path if path.starts_with('/') => path.to_owned(),
            path => format!("{dir}/{path}"),
        };
        let directory = joined.ends_with('/') || joined.ends_with("/.");
        let clean = ContainerPath::parse(&joined).map_or(joined, |path| path.to_string());
        if directory && clean != "/" { format!("{clean}/") } else { clean }
    }
}

impl<'a> Lowering<'a> {
    /// Lowers a stage and what it needs, once.
    pub(crate) fn stage(&mut self, index: usize) -> Result<(), BuildError> {
        if self.states[index].is_some() {
            return Ok(());
        }
        let file = self.file;
        let stage = &file.stages[index];
        let (mut state, triggers) = self.begin(stage)?;
        for expression in triggers {
            let step = tug_dockerfile::parse_trigger(self.file.source.name(), &expression)
                .map_err(|error| self.diagnostic(error))?;
            let evaluated = state
                .scope
                .evaluate_trigger(&step, stage)
                .map_err(|error| self.diagnostic(error))?;
            self.step(&mut state, evaluated, stage.head.span, true)?;
        }
        for step in &stage.steps {
            let evaluated = state.scope.evaluate(step).map_err(|error| self.diagnostic(error))?;
            self.step(&mut state, evaluated, step.head.span, false)?;
        }
        self.states[index] = Some(state);
        Ok(())
    }

    /// `FROM`: the state to start with, and the triggers of the base.
    fn begin(&mut self, stage: &Stage) -> Result<(StageState<'a>, Vec<String>), BuildError> {
        let header = self.global.header(stage).map_err(|error| self.diagnostic(error))?;
        let written = stage.name.as_ref().map(|name| name.value.clone());
        let name = match (self.several, &written) {
            (false, _) => String::new(),
            (true, Some(name)) => name.clone(),
            (true, None) => format!("stage-{}", stage.index),
        };
        let name = format!("{} {name}", self.prefix).trim().to_owned();
        let ignored = self.stages_not_cached();
        let ignore_cache =
            self.request.no_cache || written.as_deref().is_some_and(|name| ignored.contains(name));
        // A context of the stage's name takes its place altogether, one of its base's name that of the base.
        let replaced = written
            .as_deref()
            .and_then(|name| self.request.contexts.get(name))
            .or_else(|| self.request.contexts.get(&header.base));
        let on_stage = self.file.stages[..stage.index]
            .iter()
            .rposition(|other| other.name.as_ref().is_some_and(|name| name.value == header.base))
            .filter(|_| replaced.is_none());
        let own = stage.steps.iter().filter(|step| step.instruction.is_progress_step()).count();
        if let Some(base) = on_stage {
            self.stage(base)?;
            let base = self.states[base].clone().ok_or(BuildError::NoStage)?;
            let triggers = triggers_of(self.file.stages.get(base.index));
            let mut image = base.image.clone();
            image.config.on_build.clear();
            let total = own + counted(&triggers);
            let platform = header.platform.or(base.platform);
            let state = StageState {
                scope: base.scope.on_stage(),
                image,
                files: base.files,
                platform,
                index: stage.index,
                name,
                steps: 0,
                total,
                ignore_cache,
                cmd_set: false,
            };
            return Ok((state, triggers));
        }
        let platform = header.platform.clone().unwrap_or_else(|| self.target_platform.clone());
        let span = stage.head.span;
        let base = match replaced {
            Some(NamedContext::Dir(_) | NamedContext::Fetched(_)) => None,
            Some(NamedContext::Image(image)) => {
                Some(image.clone()).filter(|image| image != "scratch")
            }
            None if header.base == "scratch" => None,
            None => Some(header.base.clone()),
        };
        let mut state = StageState {
            scope: StageScope::on_image(self.global, Vec::<String>::new()),
            image: empty_image(&platform),
            files: None,
            platform: header.platform,
            index: stage.index,
            name,
            steps: 0,
            total: own,
            ignore_cache,
            cmd_set: false,
        };
        let Some(base) = base else {
            if let Some(NamedContext::Dir(_) | NamedContext::Fetched(_)) = replaced {
                let name = match &written {
                    Some(name) if self.request.contexts.contains_key(name) => name.clone(),
                    _ => header.base.clone(),
                };
                state.files = Some(self.files_of_context(&name, span));
                // Every layer has its line in the history, this one too.
                state.image.history.push(History {
                    created_by: format!("FROM {name}"),
                    comment: "buildkit.exporter.image.v0".to_owned(),
                    ..History::default()
                });
            }
            return Ok((state, Vec::new()));
        };
        let base = self.image(&base, Some(&platform)).map_err(|error| self.fail(error, span))?;
        let triggers = self.start_from(&mut state, &base);
        state.total += 1 + counted(&triggers);
        let title = state.title(&format!("FROM {}", base.name));
        state.files = self.image_files(&base, title, span);
        Ok((state, triggers))
    }

    /// A context in the place of an image: its files, and no configuration.
    fn files_of_context(&mut self, name: &str, span: Span) -> VertexId {
        let context = self.context(name);
        let copy = Copy {
            sources: vec![CopySource::Files { from: 0, pattern: ".".to_owned(), unpack: false }],
            destination: "/".to_owned(),
            chown: None,
            chmod: None,
            parents: false,
            link: true,
            excludes: Vec::new(),
            epoch: self.epoch,
        };
        let title = format!("[context {name}] FROM");
        let slot = format!("context {name}");
        let info = Info { title, span: Some(span), ignore_cache: false, slot };
        self.add(Op::Copy(copy), vec![context], info)
    }

    fn start_from(&self, state: &mut StageState<'a>, base: &Arc<BaseImage>) -> Vec<String> {
        state.image = base.config.clone();
        state.image.created = None;
        state.image.cache = None;
        state.image.rootfs = Default::default();
        state.scope = StageScope::on_image(self.global, &base.config.config.env);
        state.image.config.env = state.scope.image_env().to_words();
        std::mem::take(&mut state.image.config.on_build)
    }

    fn step(
        &mut self,
        state: &mut StageState<'a>,
        evaluated: Evaluated,
        span: Span,
        trigger: bool,
    ) -> Result<(), BuildError> {
        let title = match trigger {
            true => format!("ONBUILD {}", evaluated.title),
            false => evaluated.title.clone(),
        };
        let Evaluated { instruction, mounts, ports, .. } = evaluated;
        let image = &mut state.image;
        match instruction {
            Instruction::Env(pairs) => {
                image.config.env = state.scope.image_env().to_words();
                let words: Vec<String> =
                    pairs.iter().map(|pair| format!("{}={}", pair.key, pair.value)).collect();
                image.commit(format!("ENV {}", words.join(" ")), false, false);
            }
            Instruction::Arg(args) => {
                let words: Vec<String> = args
                    .iter()
                    .map(|arg| match &arg.value {
                        Some(value) => format!("{}={value}", arg.key),
                        None => arg.key.clone(),
                    })
                    .collect();
                image.commit(format!("ARG {}", words.join(" ")), false, false);
            }
            Instruction::Label(pairs) => {
                let words: Vec<String> =
                    pairs.iter().map(|pair| format!("{}={}", pair.key, pair.value)).collect();
                for pair in pairs {
                    image.config.labels.insert(pair.key, pair.value);
                }
                image.commit(format!("LABEL {}", words.join(" ")), false, false);
            }
            Instruction::Cmd(line) => {
                let words = state.words(&line);
                let text = format!("CMD {}", quoted(&words));
                let image = &mut state.image;
                image.config.cmd = words;
                image.config.args_escaped = true;
                image.commit(text, false, false);
                state.cmd_set = true;
            }
            Instruction::Entrypoint(line) => {
                let words = state.words(&line);
                let text = format!("ENTRYPOINT {}", quoted(&words));
                let image = &mut state.image;
                image.config.entrypoint = words;
                if !state.cmd_set {
                    image.config.cmd.clear();
                }
                image.commit(text, false, false);
            }
            Instruction::Expose(_) => {
                let ports: Vec<String> = ports.into_iter().flat_map(|read| read.ports).collect();
                image.commit(format!("EXPOSE {}", listed(&ports)), false, false);
                for port in ports {
                    image.config.exposed_ports.insert(port, Empty {});
                }
            }
            Instruction::Healthcheck(check) => {
                let check = healthcheck(check);
                let text = format!("HEALTHCHECK {}", check.shown());
                state.image.config.healthcheck = Some(check);
                state.image.commit(text, false, false);
            }
            Instruction::Maintainer(name) => {
                image.commit(format!("MAINTAINER {name}"), false, false);
                image.author = name;
            }
            Instruction::Onbuild(trigger) => image.config.on_build.push(trigger.expression),
            Instruction::Shell(words) => {
                image.commit(format!("SHELL {}", listed(&words)), false, false);
                image.config.shell = words;
            }
            Instruction::StopSignal(signal) => {
                if !crate::signal::is_signal(&signal.value) {
                    let problem = BuildError::Signal { value: signal.value };
                    return Err(self.fail(problem, span));
                }
                image.commit(format!("STOPSIGNAL {}", signal.value), false, false);
                image.config.stop_signal = signal.value;
            }
            Instruction::User(user) => {
                image.commit(format!("USER {}", user.value), false, false);
                image.config.user = user.value;
            }
            Instruction::Volume(volumes) => {
                let words: Vec<String> = volumes.into_iter().map(|volume| volume.value).collect();
                if words.iter().any(String::is_empty) {
                    return Err(self.fail(BuildError::EmptyVolume, span));
                }
                image.commit(format!("VOLUME {}", listed(&words)), false, false);
                for word in words {
                    image.config.volumes.insert(word, Empty {});
                }
            }
            Instruction::Workdir(path) => self.workdir(state, &path.value, &title, span),
            Instruction::Copy(copy) => self.copy(state, copy, &title, span)?,
            Instruction::Add(add) => self.add_files(state, add, &title, span)?,
            Instruction::Run(run) => self.run(state, run, mounts, &title, span)?,
        }
        Ok(())
    }

    fn workdir(&mut self, state: &mut StageState<'a>, path: &str, title: &str, span: Span) {
        // As it is written when it is absolute, as BuildKit has it.
        let path = match path.starts_with('/') {
            true => path.to_owned(),
            false => {
                let path = state.absolute(path);
                let end = path.trim_end_matches('/').len().max(1);
                path[..end].to_owned()
            }
        };
        state.image.config.working_dir.clone_from(&path);
        let title = state.title(title);
        let layer = path != "/";
        if layer {
            let user = state.image.config.user.clone();
            let op = Op::Mkdir { path: path.clone(), user, epoch: self.epoch };
            let info = self.info(state, title, span);
            let inputs = state.files.into_iter().collect();
            state.files = Some(self.add(op, inputs, info));
        }
        state.image.commit(format!("WORKDIR {path}"), layer, false);
    }

    pub(crate) fn info(&self, state: &StageState<'a>, title: String, span: Span) -> Info {
        Info {
            title,
            span: Some(span),
            ignore_cache: state.ignore_cache(),
            slot: self.slot(state.index, state.number()),
        }
    }
}

fn healthcheck(check: HealthcheckInstruction) -> Healthcheck {
    let nanoseconds =
        |time: std::time::Duration| i64::try_from(time.as_nanos()).unwrap_or(i64::MAX);
    match check {
        HealthcheckInstruction::None => {
            Healthcheck { test: vec!["NONE".to_owned()], ..Healthcheck::default() }
        }
        HealthcheckInstruction::Command(check) => {
            let mut test = Vec::new();
            match check.command {
                CommandLine::Shell(line) => test.extend(["CMD-SHELL".to_owned(), line]),
                CommandLine::Exec(words) => {
                    test.push("CMD".to_owned());
                    test.extend(words);
                }
            }
            Healthcheck {
                test,
                interval: nanoseconds(check.interval),
                timeout: nanoseconds(check.timeout),
                start_period: nanoseconds(check.start_period),
                start_interval: nanoseconds(check.start_interval),
                retries: i64::from(check.retries),
            }
        }
    }
}

/// The `ONBUILD`s a stage leaves for those that start from it.
fn triggers_of(stage: Option<&Stage>) -> Vec<String> {
    let steps = stage.into_iter().flat_map(|stage| &stage.steps);
    steps
        .filter_map(|step| match &step.instruction {
            Instruction::Onbuild(trigger) => Some(trigger.expression.clone()),
            _ => None,
        })
        .collect()
}

/// How many of them are steps of the progress view.
fn counted(triggers: &[String]) -> usize {
    let is_step = |trigger: &&String| {
        let word = trigger.split_whitespace().next().unwrap_or_default().to_ascii_uppercase();
        matches!(word.as_str(), "ADD" | "COPY" | "RUN" | "WORKDIR")
    };
    triggers.iter().filter(is_step).count()
}

/// What `scratch` is.
fn empty_image(platform: &Platform) -> ImageConfig {
    let mut image = ImageConfig {
        architecture: platform.architecture.clone(),
        os: platform.os.clone(),
        variant: platform.variant.clone(),
        os_version: platform.os_version.clone(),
        ..ImageConfig::default()
    };
    image.config.working_dir = "/".to_owned();
    image.config.env = vec![format!("PATH={}", tug_dockerfile::DEFAULT_PATH)];
    image
}
