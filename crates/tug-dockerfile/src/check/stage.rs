//! The checks that need the variables in force: one stage after the other, as they would be built.

use crate::ast::{CommandLine, Dockerfile, Instruction, Paths, Stage, Step};
use crate::check::{Checker, Rule};
use crate::diagnostic::Diagnostic;
use crate::ignore::clean;
use crate::parse::parse_trigger;
use crate::problem::did_you_mean;
use crate::scope::GlobalScope;
use crate::span::Span;
use crate::stage_scope::{Evaluated, StageScope};
use crate::stages::{Origin, StageGraph};
use crate::suggest::nearest;

/// What a stage leaves for the ones that stand on it.
#[derive(Clone)]
struct State<'a> {
    scope: StageScope<'a>,
    /// Whether all the variables of its base are known.
    env_known: bool,
    /// A shell was set, here or in the base.
    has_shell: bool,
    /// A working directory was set in this file.
    has_workdir: bool,
    /// The last of each, in this stage.
    cmd: Option<Span>,
    entrypoint: Option<Span>,
    healthcheck: Option<Span>,
    /// What `ONBUILD` leaves for the next stage to begin with.
    triggers: Vec<String>,
}

/// Goes through the stages in order.
pub(super) fn check_stages<'a>(
    checker: &mut Checker<'_>,
    graph: &StageGraph,
    global: &'a GlobalScope,
) -> Result<(), Diagnostic> {
    let file = checker.file;
    let mut states: Vec<Option<State<'a>>> = Vec::with_capacity(file.stages.len());
    for stage in &file.stages {
        if checker.context.stages.is_some_and(|wanted| !wanted.contains(&stage.index)) {
            states.push(None);
            continue;
        }
        graph.needed(file, stage.index)?;
        let parent = match graph.base(stage.index) {
            Origin::Stage(index) => states.get(*index).cloned().flatten(),
            _ => None,
        };
        let mut state = match parent {
            Some(parent) => State {
                scope: parent.scope.on_stage(),
                cmd: None,
                entrypoint: None,
                healthcheck: None,
                ..parent
            },
            None => from_image(checker, stage, graph, global),
        };
        for expression in std::mem::take(&mut state.triggers) {
            let step = trigger(checker.file, stage, &expression)?;
            let evaluated = state.scope.evaluate_trigger(&step, stage)?;
            checker.step(&step, &evaluated, &mut state);
        }
        for step in &stage.steps {
            let evaluated = state.scope.evaluate(step)?;
            checker.step(step, &evaluated, &mut state);
        }
        states.push(Some(state));
    }
    Ok(())
}

fn from_image<'a>(
    checker: &mut Checker<'_>,
    stage: &Stage,
    graph: &StageGraph,
    global: &'a GlobalScope,
) -> State<'a> {
    let image = checker.base_image(stage, graph);
    let env_known = image.is_some();
    let image = image.unwrap_or_default();
    State {
        scope: StageScope::on_image(global, &image.env),
        env_known,
        has_shell: !image.shell.is_empty(),
        has_workdir: false,
        cmd: None,
        entrypoint: None,
        healthcheck: None,
        triggers: image.on_build,
    }
}

/// A trigger as a step of the stage it runs in: it stands where the stage's `FROM` does.
fn trigger(file: &Dockerfile, stage: &Stage, expression: &str) -> Result<Step, Diagnostic> {
    let mut step = parse_trigger("ONBUILD", expression).map_err(|error| {
        Diagnostic::evaluate(error.problem().clone(), &file.source, stage.head.span)
    })?;
    step.head.span = stage.head.span;
    Ok(step)
}

impl Checker<'_> {
    fn step(&mut self, step: &Step, evaluated: &Evaluated, state: &mut State<'_>) {
        let head = &step.head;
        if state.env_known {
            self.undefined(step, evaluated, state);
        }
        match &evaluated.instruction {
            Instruction::Env(pairs) => {
                for pair in pairs {
                    if pair.legacy {
                        self.legacy(step);
                    }
                    self.secret(step, "ENV", &pair.key);
                }
            }
            Instruction::Label(pairs) => {
                pairs.iter().filter(|pair| pair.legacy).for_each(|_| self.legacy(step));
            }
            Instruction::Arg(args) => {
                args.iter().for_each(|arg| self.secret(step, "ARG", &arg.key))
            }
            Instruction::Workdir(path) => {
                if !state.has_workdir && !path.value.starts_with('/') {
                    let message = format!(
                        "Relative workdir {:?} can have unexpected results if the base image changes",
                        path.value
                    );
                    self.warn(Rule::WorkdirRelativePath, head.span, &head.comments, message);
                }
                state.has_workdir = true;
            }
            Instruction::Cmd(line) => {
                self.only_once(step, state.cmd.replace(head.span));
                self.json_form(step, line, state.has_shell);
            }
            Instruction::Entrypoint(line) => {
                self.only_once(step, state.entrypoint.replace(head.span));
                self.json_form(step, line, state.has_shell);
            }
            Instruction::Healthcheck(_) => {
                self.only_once(step, state.healthcheck.replace(head.span))
            }
            Instruction::Shell(_) => state.has_shell = true,
            Instruction::Onbuild(onbuild) => state.triggers.push(onbuild.expression.clone()),
            Instruction::Expose(_) => self.expose(step, evaluated),
            Instruction::Copy(copy) if copy.from.is_none() => {
                self.ignored(step, "Copy", &copy.paths)
            }
            Instruction::Add(add) => self.ignored(step, "Add", &add.paths),
            _ => {}
        }
    }

    fn undefined(&mut self, step: &Step, evaluated: &Evaluated, state: &State<'_>) {
        for variable in &evaluated.undefined {
            let suggestion = nearest(&variable.value, state.scope.env().names(), true);
            let suggestion = did_you_mean(&suggestion.map(|name| format!("${name}")));
            let message = format!("Usage of undefined variable '${}'{suggestion}", variable.value);
            self.warn(Rule::UndefinedVar, step.head.span, &step.head.comments, message);
        }
    }

    fn legacy(&mut self, step: &Step) {
        let name = &step.head.keyword;
        let message = format!(
            "\"{name} key=value\" should be used instead of legacy \"{name} key value\" format"
        );
        self.warn(Rule::LegacyKeyValueFormat, step.head.span, &step.head.comments, message);
    }

    fn secret(&mut self, step: &Step, instruction: &str, key: &str) {
        if !looks_secret(key) {
            return;
        }
        let message = format!(
            "Do not use ARG or ENV instructions for sensitive data ({instruction} {key:?})"
        );
        self.warn(Rule::SecretsUsedInArgOrEnv, step.head.span, &step.head.comments, message);
    }

    /// Points at the earlier one: that is the one without effect.
    fn only_once(&mut self, step: &Step, before: Option<Span>) {
        let Some(before) = before else { return };
        let message = format!(
            "Multiple {} instructions should not be used in the same stage because only the last one will \
             be used",
            step.head.keyword
        );
        self.warn(Rule::MultipleInstructionsDisallowed, before, &step.head.comments, message);
    }

    fn json_form(&mut self, step: &Step, line: &CommandLine, has_shell: bool) {
        if matches!(line, CommandLine::Exec(_)) || has_shell {
            return;
        }
        let message = format!(
            "JSON arguments recommended for {} to prevent unintended behavior related to OS signals",
            step.head.keyword
        );
        self.warn(Rule::JsonArgsRecommended, step.head.span, &step.head.comments, message);
    }

    fn expose(&mut self, step: &Step, evaluated: &Evaluated) {
        for port in &evaluated.ports {
            if port.protocol_casing {
                let message = format!(
                    "Defined protocol '{}' in EXPOSE instruction should be lowercase",
                    port.word
                );
                self.warn(Rule::ExposeProtoCasing, step.head.span, &step.head.comments, message);
            }
            if port.has_host_part {
                let message = format!(
                    "EXPOSE instruction should not define an IP address or host-port mapping, found '{}'",
                    port.word
                );
                self.warn(Rule::ExposeInvalidFormat, step.head.span, &step.head.comments, message);
            }
        }
    }

    /// Sources that the ignore file leaves out. With a `!` in it nothing can be said for sure.
    fn ignored(&mut self, step: &Step, instruction: &str, paths: &Paths) {
        let Some(ignore) = self.context.ignore.filter(|ignore| !ignore.has_exceptions()) else {
            return;
        };
        for source in &paths.sources {
            if is_remote(&source.value) {
                continue;
            }
            let path = clean(&source.value);
            let root = path == "." || path == "/";
            let left_out =
                if root { ignore.leaves_out_everything() } else { ignore.is_ignored(&path) };
            if left_out {
                let message = format!(
                    "Attempting to {instruction} file {path:?} that is excluded by .dockerignore"
                );
                self.warn(Rule::CopyIgnoredFile, step.head.span, &step.head.comments, message);
            }
        }
    }
}

/// An address rather than a path.
fn is_remote(source: &str) -> bool {
    ["http://", "https://", "git://", "ssh://", "git@"]
        .iter()
        .any(|scheme| source.starts_with(scheme))
}

/// Whether a variable's name says that its value is a secret: one of its words does, and none says that
/// it is something else.
fn looks_secret(name: &str) -> bool {
    const SECRET: [&str; 10] = [
        "apikey",
        "auth",
        "credential",
        "credentials",
        "key",
        "password",
        "pword",
        "passwd",
        "secret",
        "token",
    ];
    const HARMLESS: [&str; 3] = ["public", "file", "version"];
    let lower = name.to_lowercase();
    let has = |list: &[&str]| lower.split('_').any(|word| list.contains(&word));
    has(&SECRET) && !has(&HARMLESS)
}
