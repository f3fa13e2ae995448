//! `RUN`: a command in a container of its own, and what it wrote.

use super::budget::{self, Claim, Written};
use super::{Worker, chain, locked, mounts};
use crate::emulator;
use crate::error::BuildError;
use crate::ops::{Exec, ExecMountKind, Layer, Output, layers};
use crate::progress::Event;
use crate::prune;
use std::path::PathBuf;
use std::sync::OnceLock;
use tug_engine::{Engine, StepRequest};
use tug_solver::{Inputs, VertexId};
use tug_types::{Explain, Kind};

/// What commands see as their host's name.
const HOSTNAME: &str = "buildkitsandbox";

/// So much of a failed command's output is repeated with its failure.
const TAIL: usize = 8 << 10;

/// The state a failed command left.
#[derive(Clone, Debug)]
pub(crate) struct FailedStep {
    /// What it ran on.
    pub layers: Vec<Layer>,
    /// What it had written, in the build's lease.
    pub upper: PathBuf,
    pub env: Vec<String>,
    pub working_dir: String,
    pub user: String,
}

impl Worker<'_> {
    /// Everything a command depends on; of secrets only which they are.
    pub(super) fn exec_inputs(
        &self,
        exec: &Exec,
        results: &[Output],
        inputs: &mut Inputs,
    ) -> Result<(), BuildError> {
        inputs.add("operation", "exec");
        inputs.add("command", exec.args.join(" "));
        inputs.add("words of the command", format!("{:?}", exec.args));
        for (name, value) in &exec.env {
            inputs.add(format!("variable {name}"), value);
        }
        inputs.add("working directory", &exec.working_dir);
        inputs.add("user", &exec.user);
        inputs.add("network", &exec.network);
        inputs.add("privileged", exec.privileged.to_string());
        inputs.add("hosts", exec.hosts.join("\n"));
        inputs.add("script", exec.script.as_ref().map_or("", |(_, content)| content));
        inputs.add("time", format!("{:?}", exec.epoch));
        for mount in &exec.mounts {
            let mut shown = mount.clone();
            // Numbers of inputs say nothing; what is there is named below.
            if let ExecMountKind::Bind { from, .. } = &mut shown.kind {
                *from = 0;
            }
            inputs.add(format!("mount {}", mount.target), format!("{shown:?}"));
            if let ExecMountKind::Bind { from, source } = &mount.kind {
                self.bind_inputs(results.get(*from), source, inputs)?;
            }
        }
        let base = if exec.base { layers(results.first()) } else { Vec::new() };
        inputs.add("files of the step before", chain(&base));
        Ok(())
    }

    pub(super) fn exec(
        &self,
        vertex: VertexId,
        exec: &Exec,
        results: &[Output],
        inputs: Option<&Inputs>,
    ) -> Result<(Output, bool), BuildError> {
        let base = if exec.base { layers(results.first()) } else { Vec::new() };
        if !emulator::can_run(&exec.platform, self.lease.dir()) {
            return Err(BuildError::NoEmulator { platform: exec.platform.to_string() });
        }
        self.ensure(&base)?;
        let prepared = mounts::prepare(self, exec, results, inputs)?;
        let sure = prepared.sure;
        let mut env: Vec<String> =
            exec.env.iter().map(|(name, value)| format!("{name}={value}")).collect();
        for (name, value) in exec.proxies.iter().chain(&prepared.env) {
            if !exec.env.iter().any(|(known, _)| known == name) {
                env.push(format!("{name}={value}"));
            }
        }
        let mut host = self.request.host.clone();
        host.network_mode.clone_from(&exec.network);
        host.privileged = exec.privileged;
        let request = StepRequest {
            layers: base.iter().map(|layer| layer.diff_id).collect(),
            args: exec.args.clone(),
            env,
            working_dir: match exec.working_dir.as_str() {
                "" => "/".to_owned(),
                dir => dir.to_owned(),
            },
            user: exec.user.clone(),
            host,
            mounts: prepared.mounts.clone(),
            hostname: HOSTNAME.to_owned(),
        };
        let upper = self.lease.fresh_path("upper");
        let claim = self.claim();
        claim.check(|| 0)?;
        let outcome = self.run(vertex, &request, &upper, &claim, &prepared.caches);
        let written = Written { container: &upper, caches: &prepared.caches };
        let outcome = outcome.and_then(|code| {
            // With what the last look did not see.
            claim.check(|| written.bytes()).map(|()| code)
        });
        if let Err(BuildError::Budget { .. }) = &outcome {
            tug_archive::remove_tree(&upper).map_err(BuildError::files("remove", &upper))?;
        }
        claim.now(|| prune::tree_size(&upper));
        for id in prepared.release(self)? {
            let text = format!(
                "the cache mount {id} is not kept: it does not fit into the build cache's budget"
            );
            self.board.tell(Event::Warning { line: self.line(vertex), text });
        }
        match outcome {
            Ok(0) => Ok((self.adopt(&upper, base)?, sure)),
            Ok(code) => {
                self.cancel.check()?;
                self.keep_failed(exec, base, upper);
                Err(BuildError::Command { command: request.args.join(" "), code })
            }
            // It never began: the state is what it was to run on.
            Err(error @ BuildError::Command { .. }) => {
                let upper = self.fresh_dir("upper")?;
                self.keep_failed(exec, base, upper);
                Err(error)
            }
            Err(error) => Err(error),
        }
    }

    /// Runs it to its end; what it wrote is at `upper` then.
    fn run(
        &self,
        vertex: VertexId,
        request: &StepRequest,
        upper: &std::path::Path,
        claim: &Claim<'_>,
        caches: &[(PathBuf, u64)],
    ) -> Result<i32, BuildError> {
        let engine = Engine::new(self.settings.clone());
        let mut step = match engine.start_step(request) {
            Ok(step) => step,
            Err(error) => return Err(self.not_started(vertex, request, error)),
        };
        let line = self.line(vertex);
        for text in std::mem::take(&mut step.warnings) {
            self.board.tell(Event::Warning { line, text });
        }
        let guard = self.cancel.watch(step.killer());
        let (mut tail, mut cut) = (Vec::new(), false);
        let (container, killer, over) = (step.container(), step.killer(), OnceLock::new());
        let written = Written { container: &container, caches };
        let (end, ended) = std::sync::mpsc::channel();
        let followed = std::thread::scope(|scope| {
            let (written, killer, over) = (&written, &killer, &over);
            if self.budget.is_strict() {
                scope.spawn(move || budget::watch(claim, written, killer, &ended, over));
            }
            let followed = step.follow(|stderr, bytes| {
                tail.extend_from_slice(bytes);
                if tail.len() > 2 * TAIL {
                    tail.drain(..tail.len() - TAIL);
                    cut = true;
                }
                self.board.tell(Event::Output { line, stderr, bytes: bytes.to_vec() });
            });
            drop(end);
            followed
        });
        drop(guard);
        let finished = engine.finish_step(step, upper);
        if let Some(error) = over.into_inner() {
            return Err(error);
        }
        let record = followed?;
        finished?;
        if record.exit_code != 0 {
            locked(&self.tails).insert(vertex.index(), whole_lines(tail, cut));
        }
        if let Some(failure) = record.error.filter(|_| record.exit_code == 0) {
            self.board.tell(Event::Warning { line, text: failure.message });
        }
        Ok(record.exit_code)
    }

    /// A command that could not be executed fails as a shell would have it; why is all it printed.
    fn not_started(
        &self,
        vertex: VertexId,
        request: &StepRequest,
        error: tug_engine::Error,
    ) -> BuildError {
        let code = match error.kind() {
            Kind::CommandNotFound => 127,
            Kind::NotExecutable => 126,
            _ => return BuildError::Engine(error),
        };
        let said = format!("{}\n", error.failure().message).into_bytes();
        let line = self.line(vertex);
        self.board.tell(Event::Output { line, stderr: true, bytes: said.clone() });
        locked(&self.tails).insert(vertex.index(), said);
        BuildError::Command { command: request.args.join(" "), code }
    }

    /// Without secrets.
    fn keep_failed(&self, exec: &Exec, layers: Vec<Layer>, upper: PathBuf) {
        if !self.request.debug {
            return;
        }
        let failed = FailedStep {
            layers,
            upper,
            env: exec.env.iter().map(|(name, value)| format!("{name}={value}")).collect(),
            working_dir: exec.working_dir.clone(),
            user: exec.user.clone(),
        };
        locked(&self.failed).get_or_insert(failed);
    }
}

/// Without the rest of a line whose beginning is gone.
fn whole_lines(mut tail: Vec<u8>, cut: bool) -> Vec<u8> {
    if cut && let Some(end) = tail.iter().position(|byte| *byte == b'\n') {
        tail.drain(..=end);
    }
    tail
}
