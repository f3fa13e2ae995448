//! `PATH | URL | -`: where the context is.

use super::sources::{Named, named_context};
use crate::context::Context;
use crate::environment;
use crate::flags::Parsed;
use crate::interrupt;
use crate::quit::Quit;
use std::collections::BTreeMap;
use std::io::{IsTerminal, Read};
use std::path::PathBuf;
use tug_build::{Access, Agent, Cancel, NamedContext};

/// The context, and what of it has to be removed afterwards.
pub(super) struct Opened {
    /// None: there is none.
    pub dir: Option<PathBuf>,
    /// A Dockerfile that came instead of a context.
    pub dockerfile: Option<Vec<u8>>,
    /// Unpacked from the standard input.
    pub _temporary: Option<tempfile::TempDir>,
}

/// Opens it.
///
/// # Errors
/// When it is no directory, archive or Dockerfile.
pub(super) fn open(ctx: &Context, parsed: &Parsed<'_>) -> Result<Opened, Quit> {
    let text = parsed.first();
    if text == "-" {
        return stdin(parsed);
    }
    if !std::path::Path::new(text).exists() {
        if tug_build::is_git(text) {
            return repository(ctx, parsed, text);
        }
        if text.starts_with("http://") || text.starts_with("https://") {
            return archive_or_dockerfile(fetch(ctx, text)?);
        }
    }
    Ok(Opened { dir: Some(PathBuf::from(text)), dockerfile: None, _temporary: None })
}

/// What `--build-context` names.
#[derive(Default)]
pub(super) struct Contexts {
    pub named: BTreeMap<String, NamedContext>,
    /// What came from elsewhere, removed afterwards.
    _temporary: Vec<tempfile::TempDir>,
}

/// Fetches what is not here.
///
/// # Errors
/// What is not there, or of a kind that is not supported.
pub(super) fn named(ctx: &Context, parsed: &Parsed<'_>) -> Result<Contexts, Quit> {
    let mut all = Contexts::default();
    let list = parsed.read_all("build-context", named_context).map_err(super::request::refused)?;
    for (name, named) in list {
        let context = match named {
            Named::Here(context) => context,
            Named::Address(address) => {
                let opened = match tug_build::is_git(&address) {
                    true => repository(ctx, parsed, &address)?,
                    false => file(ctx, &address)?,
                };
                all._temporary.extend(opened._temporary);
                NamedContext::Fetched(opened.dir.unwrap_or_default())
            }
        };
        all.named.insert(name, context);
    }
    Ok(all)
}

/// A file alone in a directory, under the name it has in BuildKit.
fn file(ctx: &Context, address: &str) -> Result<Opened, Quit> {
    let failed = |error: std::io::Error| Quit::io("keep the context", &error);
    let temporary = tempfile::tempdir().map_err(failed)?;
    let mut fetched = fetch(ctx, address)?;
    let path = temporary.path().join("context");
    let mut file = std::fs::File::create_new(path).map_err(failed)?;
    std::io::copy(&mut fetched, &mut file).map_err(failed)?;
    let dir = Some(temporary.path().to_owned());
    Ok(Opened { dir, dockerfile: None, _temporary: Some(temporary) })
}

fn fetch(ctx: &Context, address: &str) -> Result<tug_build::Fetched, Quit> {
    let cancel = Cancel::default();
    interrupt::cancelling(
        ctx,
        || cancel.cancel(),
        || tug_build::fetch(address, &cancel).map_err(|error| Quit::failed(&error)),
    )
}

/// The files of a repository.
fn repository(ctx: &Context, parsed: &Parsed<'_>, address: &str) -> Result<Opened, Quit> {
    let failed = |error: std::io::Error| Quit::io("make a directory for the context", &error);
    let temporary = tempfile::tempdir().map_err(failed)?;
    let dir = temporary.path().join("context");
    std::fs::create_dir(&dir).map_err(failed)?;
    let secrets = parsed.read_all("secret", super::sources::secret)?.into_iter().collect();
    let args = super::sources::build_args(parsed.list("build-arg"));
    let keep = args.get("BUILDKIT_CONTEXT_KEEP_GIT_DIR");
    let keep = keep.is_some_and(|value| value == "1" || value == "true");
    let login = tug_build::Login::of(&secrets);
    let mut ssh = super::sources::ssh(parsed)?;
    // Who asks for a repository has said so; what a Dockerfile adds has to be given an agent with --ssh.
    if ssh.agents.is_empty()
        && let Some(socket) = environment::variable("SSH_AUTH_SOCK")
    {
        ssh.agents.insert("default".to_owned(), Agent::socket_at(socket.into()));
    }
    let cancel = Cancel::default();
    interrupt::cancelling(
        ctx,
        || cancel.cancel(),
        || {
            let access = Access { login: &login, ssh: &ssh, cancel: &cancel };
            tug_build::clone(address, &dir, keep, access).map_err(|error| Quit::failed(&error))
        },
    )?;
    Ok(Opened { dir: Some(dir), dockerfile: None, _temporary: Some(temporary) })
}

/// What comes from the standard input.
fn stdin(parsed: &Parsed<'_>) -> Result<Opened, Quit> {
    if parsed.text("file") == Some("-") {
        return Err(Quit::invalid(
            "invalid argument: can't use stdin for both build context and dockerfile",
        ));
    }
    let input = std::io::stdin();
    if input.is_terminal() {
        return Err(Quit::invalid(
            "the context is to come from the standard input, but nothing does",
        )
        .with_hint("`tug build - < Dockerfile`, or `tar c . | tug build -`"));
    }
    archive_or_dockerfile(input)
}

/// An archive is a context, anything else a Dockerfile.
fn archive_or_dockerfile(mut input: impl Read) -> Result<Opened, Quit> {
    let failed = |error: std::io::Error| Quit::io("read the context", &error);
    let mut head = vec![0; 512];
    let mut filled = 0;
    while filled < head.len() {
        match input.read(&mut head[filled..]).map_err(failed)? {
            0 => break,
            count => filled += count,
        }
    }
    head.truncate(filled);
    let compressed = tug_build::is_compressed(&head);
    let tar = head.get(257..262) == Some(b"ustar");
    let rest = std::io::Cursor::new(head).chain(input);
    if !compressed && !tar {
        let mut bytes = Vec::new();
        let mut rest = rest;
        rest.read_to_end(&mut bytes).map_err(failed)?;
        return Ok(Opened { dir: None, dockerfile: Some(bytes), _temporary: None });
    }
    let temporary = tempfile::tempdir().map_err(failed)?;
    super::sources::unpack(rest, temporary.path())?;
    Ok(Opened {
        dir: Some(temporary.path().to_owned()),
        dockerfile: None,
        _temporary: Some(temporary),
    })
}
