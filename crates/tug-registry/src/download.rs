//! Any file of the web as a blocking reader, for `import URL`: no registry, no digest, no resuming.

use bytes::{Buf, Bytes};
use std::io::{self, Read};
use std::time::Duration;
use tug_types::{Explain, Kind};

/// How long a server may take to answer at all, and be silent in between.
const PATIENCE: Duration = Duration::from_secs(30);

/// Why nothing could be fetched.
#[derive(Debug, thiserror::Error)]
pub enum DownloadError {
    /// Not `http://` or `https://` and a host.
    #[error("{url:?} is not the address of a file")]
    Address {
        /// As it was given.
        url: String,
    },
    /// No answer.
    #[error("fetch {url}: {why}")]
    Unreachable {
        /// What was asked for.
        url: String,
        /// The innermost cause.
        why: String,
    },
    /// An answer, but not the file.
    #[error("fetch {url}: the server answered {status}")]
    Refused {
        /// What was asked for.
        url: String,
        /// Number and name.
        status: String,
    },
    /// No runtime for the sockets.
    #[error("start fetching {url}")]
    Runtime {
        /// What was asked for.
        url: String,
        /// Why.
        source: io::Error,
    },
}

impl Explain for DownloadError {
    fn kind(&self) -> Kind {
        match self {
            Self::Address { .. } => Kind::Invalid,
            Self::Unreachable { .. } => Kind::Unavailable,
            Self::Refused { .. } => Kind::NotFound,
            Self::Runtime { .. } => Kind::Internal,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Address { .. } => Some("write http://HOST/PATH or https://HOST/PATH".to_owned()),
            _ => None,
        }
    }
}

/// A file on its way. A connection that ends before the announced length is an error of the read.
pub struct Download {
    // Dropped before the runtime that drives it.
    response: reqwest::Response,
    runtime: tokio::runtime::Runtime,
    current: Bytes,
}

impl Download {
    /// Asks for a file and waits for the answer's head. Proxies are taken from the environment, as
    /// everywhere.
    ///
    /// # Errors
    /// When there is no answer, or another one than the file.
    pub fn start(url: &str) -> Result<Self, DownloadError> {
        let parsed = reqwest::Url::parse(url).ok().filter(|parsed| {
            matches!(parsed.scheme(), "http" | "https") && parsed.host_str().is_some()
        });
        let parsed = parsed.ok_or_else(|| DownloadError::Address { url: url.to_owned() })?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|source| DownloadError::Runtime { url: url.to_owned(), source })?;
        // Timers and sockets belong to the runtime of the thread that makes them.
        let inside = runtime.enter();
        let unreachable = |error: &reqwest::Error| DownloadError::Unreachable {
            url: url.to_owned(),
            why: innermost(error),
        };
        let client = reqwest::Client::builder()
            .connect_timeout(PATIENCE)
            .read_timeout(PATIENCE)
            .user_agent("tug")
            .build()
            .map_err(|error| unreachable(&error))?;
        let answer = runtime.block_on(client.get(parsed).send());
        let response = answer.map_err(|error| unreachable(&error))?;
        if !response.status().is_success() {
            let status = response.status().to_string();
            return Err(DownloadError::Refused { url: url.to_owned(), status });
        }
        drop(inside);
        Ok(Self { response, runtime, current: Bytes::new() })
    }

    /// Bytes the server announced.
    pub fn size(&self) -> Option<u64> {
        self.response.content_length()
    }
}

impl Read for Download {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.current.is_empty() {
            match self.runtime.block_on(self.response.chunk()) {
                Ok(Some(piece)) => self.current = piece,
                Ok(None) => return Ok(0),
                Err(error) => return Err(io::Error::other(innermost(&error))),
            }
        }
        let count = buffer.len().min(self.current.len());
        self.current.copy_to_slice(&mut buffer[..count]);
        Ok(count)
    }
}

/// The cause that people understand: wrappers only say that there was one.
fn innermost(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::net::TcpListener;

    fn answering(answer: &'static str) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            let (mut client, _) = listener.accept().unwrap();
            let mut asked = [0; 1024];
            let _ = client.read(&mut asked).unwrap();
            client.write_all(answer.as_bytes()).unwrap();
        });
        format!("http://{address}/rootfs.tar")
    }

    #[test]
    fn a_file_is_read_to_its_end() {
        let url = answering("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello");
        let mut text = String::new();
        let mut download = Download::start(&url).unwrap();
        assert_eq!(download.size(), Some(5));
        download.read_to_string(&mut text).unwrap();
        assert_eq!(text, "hello");
    }

    #[test]
    fn what_is_cut_short_is_no_file() {
        let url = answering("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhello");
        let mut bytes = Vec::new();
        assert!(Download::start(&url).unwrap().read_to_end(&mut bytes).is_err());
    }

    #[test]
    fn refusals_name_address_and_answer() {
        let url = answering("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n");
        let error = Download::start(&url).err().unwrap();
        assert_eq!(error.to_string(), format!("fetch {url}: the server answered 404 Not Found"));
        assert_eq!(error.kind(), Kind::NotFound);
        for wrong in ["http://", "file:///etc/passwd", "nonsense"] {
            let error = Download::start(wrong).err().unwrap();
            assert!(matches!(error, DownloadError::Address { .. }), "{wrong}: {error}");
        }
        let error = Download::start("http://127.0.0.1:1/x").err().unwrap();
        assert!(matches!(error, DownloadError::Unreachable { .. }), "{error}");
    }
}
