//! `git://host[:port]/path`: git's own server.

use crate::build::Cancel;
use crate::execute::waiting::Waiting;
use std::io::{BufReader, ErrorKind, Read, Result};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tug_git::Transport;

pub(super) struct Daemon {
    url: String,
    waiting: Waiting,
    stream: Option<TcpStream>,
}

impl Daemon {
    pub(super) fn new(url: &str, cancel: &Cancel) -> Result<Self> {
        Ok(Self { url: url.to_owned(), waiting: Waiting::new(cancel)?, stream: None })
    }

    fn send(&mut self, bytes: &[u8]) -> Result<Box<dyn Read + '_>> {
        let stream = self.stream.as_mut().ok_or(ErrorKind::NotConnected)?;
        self.waiting.wait(stream.write_all(bytes))?;
        Ok(Box::new(BufReader::new(self)))
    }
}

impl Transport for Daemon {
    fn greet(&mut self) -> Result<Box<dyn Read + '_>> {
        let rest = self.url.trim_start_matches("git://");
        let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
        let address = match host.rsplit_once(':') {
            Some((_, port)) if port.parse::<u16>().is_ok() => host.to_owned(),
            _ => format!("{host}:9418"),
        };
        let line = format!("git-upload-pack /{path}\0host={host}\0\0version=2\0");
        self.stream = Some(self.waiting.wait(TcpStream::connect(address))?);
        self.send(format!("{:04x}{line}", line.len() + 4).as_bytes())
    }

    fn ask(&mut self, request: Vec<u8>) -> Result<Box<dyn Read + '_>> {
        self.send(&request)
    }
}

impl Read for Daemon {
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize> {
        let stream = self.stream.as_mut().ok_or(ErrorKind::NotConnected)?;
        self.waiting.wait(stream.read(buffer))
    }
}
