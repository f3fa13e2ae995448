//! Files from the web: the client, and contexts that are one file.

use super::waiting::Waiting;
use crate::build::Cancel;
use crate::error::BuildError;
use std::fs::File;
use std::io::{Error, Read, Seek, Write};
use std::time::Duration;

/// What stands behind an address.
pub struct Fetched {
    /// An archive, or a Dockerfile.
    pub file: File,
    /// The last part of the address' path.
    pub name: String,
}

/// The client of downloads.
pub(crate) fn client() -> reqwest::Result<reqwest::Client> {
    reqwest::Client::builder()
        .user_agent(concat!("tug/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(Duration::from_secs(30))
        .build()
}

/// A file that comes from the web.
pub(super) struct Download<'a> {
    url: &'a str,
    cancel: &'a Cancel,
    waiting: Waiting,
    response: reqwest::Response,
}

impl<'a> Download<'a> {
    /// Asks for it.
    pub(super) fn start(url: &'a str, cancel: &'a Cancel) -> Result<Self, BuildError> {
        let failed = |error| ended(url, cancel, error);
        let waiting = Waiting::new(cancel).map_err(failed)?;
        let client = client().map_err(Error::other).map_err(failed)?;
        let answer = async { client.get(url).send().await.map_err(Error::other) };
        let response = waiting.wait(answer).map_err(failed)?;
        let response = response.error_for_status().map_err(Error::other).map_err(failed)?;
        Ok(Self { url, cancel, waiting, response })
    }

    /// When the server says that it was changed, in seconds since the epoch.
    pub(super) fn modified(&self) -> Option<i64> {
        let value = self.response.headers().get("last-modified")?.to_str().ok()?;
        Some(jiff::fmt::rfc2822::parse(value).ok()?.timestamp().as_second())
    }

    /// More of it; none is the end.
    pub(super) fn next(&mut self) -> Result<Option<bytes::Bytes>, BuildError> {
        let Self { url, cancel, waiting, response } = self;
        let bytes = waiting.wait(async { response.chunk().await.map_err(Error::other) });
        bytes.map_err(|error| ended(url, cancel, error))
    }
}

/// What went wrong, unless it is only that the build was cancelled.
fn ended(url: &str, cancel: &Cancel, error: Error) -> BuildError {
    let url = tug_git::redacted(url);
    cancel.check().err().unwrap_or_else(|| BuildError::Download { url, why: chain(&error) })
}

/// Downloads a context.
///
/// # Errors
/// When it cannot be had.
pub fn fetch(url: &str, cancel: &Cancel) -> Result<Fetched, BuildError> {
    let mut download = Download::start(url, cancel)?;
    let mut file = tempfile::tempfile().map_err(BuildError::files("create", "a temporary file"))?;
    while let Some(bytes) = download.next()? {
        file.write_all(&bytes).map_err(BuildError::files("write", "a temporary file"))?;
    }
    file.rewind().map_err(BuildError::files("read", "a temporary file"))?;
    let path = url.split(['#', '?']).next().unwrap_or(url);
    Ok(Fetched { file, name: path.rsplit('/').next().unwrap_or_default().to_owned() })
}

impl Read for Fetched {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        self.file.read(buffer)
    }
}

/// An error with its causes.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
