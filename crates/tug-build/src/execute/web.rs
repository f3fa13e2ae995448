//! Files from the web: the client, and contexts that are one file.

use crate::build::Cancel;
use crate::error::BuildError;
use std::fs::File;
use std::io::{Read, Seek, Write};
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

/// Downloads a context.
///
/// # Errors
/// When it cannot be had.
pub fn fetch(url: &str, cancel: &Cancel) -> Result<Fetched, BuildError> {
    let failed = |why: String| BuildError::Download { url: url.to_owned(), why };
    let broken = |error: reqwest::Error| failed(chain(&error));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| failed(error.to_string()))?;
    let file = runtime.block_on(async {
        let response = client().map_err(broken)?.get(url).send().await.map_err(broken)?;
        let mut response = response.error_for_status().map_err(broken)?;
        let mut file = tempfile::tempfile().map_err(|error| failed(error.to_string()))?;
        while let Some(bytes) = response.chunk().await.map_err(broken)? {
            cancel.check()?;
            file.write_all(&bytes).map_err(|error| failed(error.to_string()))?;
        }
        file.rewind().map_err(|error| failed(error.to_string()))?;
        Ok::<_, BuildError>(file)
    })?;
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
