//! `RUN` and its mounts.

use super::{Lowering, Place, StageState};
use crate::error::BuildError;
use crate::ops::{CacheSharing, Exec, ExecMount, ExecMountKind, Op};
use tug_dockerfile::{Mount, MountKind, Run, RunNetwork, RunSecurity, Script, Sharing, Span};
use tug_solver::VertexId;

/// Build arguments that every command sees, and that are no part of what defines it.
const PROXIES: [&str; 5] = ["http_proxy", "https_proxy", "ftp_proxy", "no_proxy", "all_proxy"];

impl<'a> Lowering<'a> {
    pub(crate) fn run(
        &mut self,
        state: &mut StageState<'a>,
        run: Run,
        mounts: Vec<Mount>,
        title: &str,
        span: Span,
    ) -> Result<(), BuildError> {
        if let Some(device) = run.devices.iter().find(|device| device.required) {
            let problem = BuildError::Device { name: device.name.clone() };
            return Err(self.fail(problem, span));
        }
        let title = state.title(title);
        let (args, script) = match run.script() {
            Script::Shell(line) => (state.in_shell(&line), None),
            Script::Exec(words) => (words, None),
            Script::File { name, content } => {
                (state.in_shell(&format!("/dev/pipes/{name}")), Some((name, content)))
            }
        };
        let mut inputs: Vec<VertexId> = state.files.into_iter().collect();
        let base = !inputs.is_empty();
        let mut binds = Vec::new();
        for mount in &mounts {
            binds.push(self.mount(state, mount, &mut inputs, span)?);
        }
        let (network, privileged) = self.freedom(&run, span)?;
        let env = state.scope.env().iter();
        let exec = Exec {
            base,
            env: env.map(|(name, value)| (name.to_owned(), value.to_owned())).collect(),
            working_dir: state.absolute("").trim_end_matches('/').to_owned(),
            user: state.image.config.user.clone(),
            network,
            privileged,
            hosts: self.request.host.extra_hosts.clone().unwrap_or_default(),
            mounts: binds,
            script,
            epoch: self.epoch,
            proxies: self.proxies(),
            platform: Box::new(
                state.platform.clone().unwrap_or_else(|| self.target_platform.clone()),
            ),
            args,
        };
        let history = format!("RUN {}", command_text(state, &exec.args));
        let info = self.info(state, title, span);
        state.files = Some(self.add(Op::Exec(exec), inputs, info));
        state.image.commit(history, true, true);
        Ok(())
    }

    /// Network and privileges. Those that reach beyond the default need the user's leave.
    fn freedom(&self, run: &Run, span: Span) -> Result<(String, bool), BuildError> {
        let granted = |right: &'static str| match self.request.allow.contains(right) {
            true => Ok(()),
            false => Err(self.fail(BuildError::NotAllowed { right }, span)),
        };
        let network = match run.network {
            RunNetwork::Default => self.request.host.network_mode.clone(),
            RunNetwork::None => "none".to_owned(),
            RunNetwork::Host => {
                granted("network.host")?;
                "host".to_owned()
            }
        };
        let privileged = match run.security {
            RunSecurity::Sandbox => false,
            RunSecurity::Insecure => {
                granted("security.insecure")?;
                true
            }
        };
        Ok((network, privileged))
    }

    fn proxies(&self) -> Vec<(String, String)> {
        let is_proxy = |name: &String| PROXIES.contains(&name.to_ascii_lowercase().as_str());
        let given = self.request.build_args.iter().filter(|(name, _)| is_proxy(name));
        given.map(|(name, value)| (name.clone(), value.clone())).collect()
    }

    fn mount(
        &mut self,
        state: &StageState<'a>,
        mount: &Mount,
        inputs: &mut Vec<VertexId>,
        span: Span,
    ) -> Result<ExecMount, BuildError> {
        let target = state.absolute(&mount.target).trim_end_matches('/').to_owned();
        let id = || mount.id.clone().unwrap_or_default();
        let kind = match mount.kind {
            MountKind::Bind => {
                let from = match &mount.from {
                    Some(name) => self.place(name, state.index, span)?,
                    None => Place::Context(self.context("")),
                };
                match input(&from, inputs) {
                    Some(from) => ExecMountKind::Bind { from, source: mount.source.clone() },
                    None => ExecMountKind::Tmpfs { size: None },
                }
            }
            MountKind::Cache => {
                let from = match &mount.from {
                    Some(name) => {
                        let place = self.place(name, state.index, span)?;
                        input(&place, inputs).map(|from| (from, mount.source.clone()))
                    }
                    None => None,
                };
                let id = match mount.id.as_deref() {
                    Some(id) if !id.is_empty() => id.to_owned(),
                    _ => target.clone(),
                };
                ExecMountKind::Cache {
                    id,
                    sharing: match mount.sharing.unwrap_or_default() {
                        Sharing::Shared => CacheSharing::Shared,
                        Sharing::Private => CacheSharing::Private,
                        Sharing::Locked => CacheSharing::Locked,
                    },
                    from,
                    uid: mount.uid.unwrap_or(0),
                    gid: mount.gid.unwrap_or(0),
                    mode: mount.mode.unwrap_or(0o755),
                }
            }
            MountKind::Tmpfs => ExecMountKind::Tmpfs { size: mount.size },
            MountKind::Secret => {
                let id = match id() {
                    id if id.is_empty() => mount.source.clone(),
                    id => id,
                };
                let id = match id.is_empty() {
                    true => mount.target.rsplit('/').next().unwrap_or_default().to_owned(),
                    false => id,
                };
                return Ok(secret(mount, id, state));
            }
            MountKind::Ssh => {
                let id = match id() {
                    id if id.is_empty() => "default".to_owned(),
                    id => id,
                };
                if mount.uid.is_some() || mount.gid.is_some() || mount.mode.is_some() {
                    return Err(self.fail(BuildError::SshOwner, span));
                }
                let target = match mount.target.as_str() {
                    "" => "/run/buildkit/ssh_agent.0".to_owned(),
                    _ => target,
                };
                let kind = ExecMountKind::Ssh { id, required: mount.required };
                return Ok(ExecMount { target, readonly: false, kind });
            }
        };
        if target.is_empty() {
            let problem = BuildError::MountTarget { target: mount.target.clone() };
            return Err(self.fail(problem, span));
        }
        Ok(ExecMount { target, readonly: mount.read_only, kind })
    }
}

fn secret(mount: &Mount, id: String, state: &StageState<'_>) -> ExecMount {
    let env = mount.env.clone().map(|name| if name.is_empty() { id.clone() } else { name });
    let target = match (mount.target.as_str(), &env) {
        ("", Some(_)) => String::new(),
        ("", None) => format!("/run/secrets/{}", id.rsplit('/').next().unwrap_or(&id)),
        (target, _) => state.absolute(target),
    };
    let kind = ExecMountKind::Secret {
        id,
        env,
        required: mount.required,
        uid: mount.uid.unwrap_or(0),
        gid: mount.gid.unwrap_or(0),
        mode: mount.mode.unwrap_or(0o400),
    };
    ExecMount { target, readonly: true, kind }
}

/// The number of the input that files come from; none for a stage without files.
fn input(from: &Place, inputs: &mut Vec<VertexId>) -> Option<usize> {
    let vertex = match from {
        Place::Files(files) => (*files)?,
        Place::Context(context) => *context,
    };
    inputs.push(vertex);
    Some(inputs.len() - 1)
}

/// `|1 A=b /bin/sh -c make`: the words with the build arguments in front.
fn command_text(state: &StageState<'_>, args: &[String]) -> String {
    let mut words: Vec<(String, String)> = Vec::new();
    for (name, value) in state.scope.args() {
        let value = state.scope.env().value(name).map(str::to_owned).or_else(|| value.clone());
        let value = value.unwrap_or_default();
        match words.iter_mut().find(|(known, _)| known == name) {
            Some(known) => known.1 = value,
            None => words.push((name.clone(), value)),
        }
    }
    let mut text = Vec::new();
    if !words.is_empty() {
        text.push(format!("|{}", words.len()));
        text.extend(words.into_iter().map(|(name, value)| format!("{name}={value}")));
    }
    text.extend(args.iter().cloned());
    text.join(" ")
}
