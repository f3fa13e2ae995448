//! `PATH | URL | -`: where the context is.

use crate::flags::Parsed;
use crate::quit::Quit;
use std::io::{IsTerminal, Read};
use std::path::PathBuf;

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
pub(super) fn open(parsed: &Parsed<'_>) -> Result<Opened, Quit> {
    let text = parsed.first();
    if text == "-" {
        return stdin(parsed);
    }
    let remote = ["http://", "https://", "git://", "git@", "ssh://", "github.com/"];
    if remote.iter().any(|start| text.starts_with(start)) && !std::path::Path::new(text).exists() {
        return Err(Quit::invalid(format!("the context {text} is not supported by tug yet"))
            .with_hint("fetch it and give the directory, or `curl -L URL | tug build -`"));
    }
    Ok(Opened { dir: Some(PathBuf::from(text)), dockerfile: None, _temporary: None })
}

/// An archive is a context, anything else a Dockerfile.
fn stdin(parsed: &Parsed<'_>) -> Result<Opened, Quit> {
    let failed =
        |error: std::io::Error| Quit::io("read the context from the standard input", &error);
    if parsed.text("file") == Some("-") {
        return Err(Quit::invalid(
            "invalid argument: can't use stdin for both build context and dockerfile",
        ));
    }
    let mut input = std::io::stdin();
    if input.is_terminal() {
        return Err(Quit::invalid(
            "the context is to come from the standard input, but nothing does",
        )
        .with_hint("`tug build - < Dockerfile`, or `tar c . | tug build -`"));
    }
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
