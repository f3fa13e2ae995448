//! A failed build's report: the step, the last it printed, the lines of the Dockerfile, what to do.

use crate::build_view::Kind;
use crate::context::Context;
use crate::foreground::{self, Manner, Streams};
use crate::quit::Quit;
use crate::toolbox;
use rustix::stdio::{stdin, stdout};
use std::path::PathBuf;
use tug_build::{Build, BuildError, FailedState, Report};
use tug_engine::{Config, CreateRequest};
use tug_monitor::log::Begin;
use tug_types::Explain;

/// So many of the last lines a failed command printed are repeated with its failure where they were shown
/// before; else all that is kept.
const LINES: usize = 10;

/// `--debug`: a shell in the state the failed command left.
///
/// # Errors
/// When the shell's container cannot be made or removed.
pub(super) fn debug(ctx: &Context, build: &Build) -> Result<(), Quit> {
    let Some(FailedState { image, has_shell }) = build.failed_state() else { return Ok(()) };
    ctx.say("a shell in the state of the failed step; leave it with `exit`");
    let terminal = rustix::termios::isatty(stdin()) && rustix::termios::isatty(stdout());
    let config = Config {
        image: image.to_string(),
        cmd: Some(vec![if has_shell { "/bin/sh" } else { toolbox::PLACE }.to_owned()]),
        attach_stdin: true,
        attach_stdout: true,
        attach_stderr: true,
        open_stdin: true,
        stdin_once: true,
        tty: terminal,
        ..Config::default()
    };
    let mut request = CreateRequest { config, ..CreateRequest::default() };
    request.host.auto_remove = true;
    let toolbox = (!has_shell).then(|| Toolbox::new(ctx)).transpose()?;
    if let Some(Toolbox { file, .. }) = &toolbox {
        request.host.binds = Some(vec![format!("{}:{}:ro", file.display(), toolbox::PLACE)]);
    }
    let keys = Vec::new();
    let streams = Streams { stdin: true, stdout: true, stderr: !terminal };
    let ended = ctx.engine.run(&request).map_err(Quit::from).and_then(|started| {
        let begin = Begin::Offset(started.state.log_start);
        let manner = Manner { streams, detach_keys: keys, sig_proxy: true, begin, redraw: false };
        foreground::attend(ctx, started, manner)
    });
    ctx.engine.remove_image(&image.to_string(), true, None)?;
    ended.map(drop)
}

/// A copy of tug's binary: the one that runs is shown to no container.
struct Toolbox {
    file: PathBuf,
    _dir: tempfile::TempDir,
}

impl Toolbox {
    fn new(ctx: &Context) -> Result<Self, Quit> {
        let failed = |error: std::io::Error| Quit::io("copy tug's binary for the toolbox", &error);
        let parent = ctx.engine.settings().exec_root.join("builds");
        std::fs::create_dir_all(&parent).map_err(failed)?;
        let dir = tempfile::tempdir_in(parent).map_err(failed)?;
        let file = dir.path().join("toolbox");
        let own = &ctx.engine.settings().exe;
        std::fs::copy(own, &file).map_err(failed)?;
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(&file, mode).map_err(failed)?;
        Ok(Self { file, _dir: dir })
    }
}

/// Says what the checks found, in short.
pub(super) fn warnings(ctx: &Context, report: &Report) {
    if !report.warnings.is_empty() {
        ctx.say(format!("\n{}", report.summary("tug build --check").trim_end()));
    }
}

/// The end of what a command printed, `most` lines at most.
fn last_lines(output: &str, most: usize) -> String {
    let lines: Vec<&str> = output.trim_end().lines().collect();
    lines[lines.len().saturating_sub(most)..].join("\n")
}

/// Says it all but the last line, which ends the command.
pub(super) fn report(
    ctx: &Context,
    kind: Kind,
    error: &BuildError,
    checks: Option<&Report>,
) -> Quit {
    let failure = error.root().failure();
    if matches!(error.root(), BuildError::Cancelled) {
        return Quit::from(failure);
    }
    if kind != Kind::RawJson {
        if let Some((title, output)) = error.step()
            && (kind != Kind::Quiet || !output.is_empty())
        {
            ctx.say("------");
            ctx.say(format!(" > {title}:"));
            if !output.is_empty() {
                let most = if kind.keeps_output() { LINES } else { usize::MAX };
                ctx.say(last_lines(&String::from_utf8_lossy(output), most));
            }
            ctx.say("------");
        }
        if kind != Kind::Quiet
            && let Some(checks) = checks
        {
            warnings(ctx, checks);
        }
        if let Some(excerpt) = error.excerpt() {
            ctx.say(excerpt.trim_end());
        }
    }
    let mut failure = failure;
    failure.message = format!("failed to solve: {}", failure.message);
    Quit::from(failure)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_lines_are_shown() {
        assert_eq!(last_lines("one\r\ntwo\n\n", usize::MAX), "one\ntwo");
        assert_eq!(last_lines("one\ntwo\nthree\n", 2), "two\nthree");
        assert_eq!(last_lines("", 2), "");
    }
}
