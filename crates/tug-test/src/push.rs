//! The few requests of the OCI distribution protocol that put an image into a local registry, over
//! plain HTTP/1.1 on one connection each. A client of its own, so that tug is never tested against
//! its own idea of the protocol.

use crate::layout::{Layout, Manifest};
use serde_json::Value;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;

/// An HTTP answer: status, headers (names in lower case), body.
pub struct Answer {
    /// `200`, `404`, …
    pub status: u16,
    /// In the order they came.
    pub headers: Vec<(String, String)>,
    /// All of it.
    pub body: Vec<u8>,
}

impl Answer {
    /// The first header of that name (lower case).
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}

/// Sends one request to `address` (`127.0.0.1:5000`) and reads the whole answer.
///
/// # Errors
/// The connection failed or the answer is no HTTP.
pub fn request(
    address: &str,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    mut body: impl Read,
    length: u64,
) -> io::Result<Answer> {
    let mut stream = TcpStream::connect(address)?;
    let mut head = format!("{method} {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n");
    for (name, value) in headers {
        head += &format!("{name}: {value}\r\n");
    }
    head += &format!("Content-Length: {length}\r\n\r\n");
    stream.write_all(head.as_bytes())?;
    io::copy(&mut body, &mut stream)?;
    answer_from(&mut BufReader::new(stream), method == "HEAD")
}

fn answer_from(reader: &mut impl BufRead, bodiless: bool) -> io::Result<Answer> {
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let status = line.split(' ').nth(1).and_then(|code| code.parse().ok());
    let status = status.ok_or_else(|| io::Error::other(format!("no HTTP answer: {line:?}")))?;
    let mut headers = Vec::new();
    loop {
        line.clear();
        reader.read_line(&mut line)?;
        match line.trim_end().split_once(':') {
            Some((name, value)) => {
                headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
            }
            None => break,
        }
    }
    let mut answer = Answer { status, headers, body: Vec::new() };
    if !bodiless {
        if answer.header("transfer-encoding") == Some("chunked") {
            answer.body = unchunk(reader)?;
        } else {
            reader.read_to_end(&mut answer.body)?;
        }
    }
    Ok(answer)
}

fn unchunk(reader: &mut impl BufRead) -> io::Result<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let size = u64::from_str_radix(line.trim(), 16).map_err(io::Error::other)?;
        if size == 0 {
            return Ok(body);
        }
        reader.by_ref().take(size).read_to_end(&mut body)?;
        reader.read_line(&mut line)?;
    }
}

/// Puts `image` and all it refers to into `repository` (`library/busybox`) under `tag`.
///
/// # Errors
/// A request failed or was refused.
pub fn push(
    address: &str,
    layout: &Layout,
    image: &Manifest,
    repository: &str,
    tag: &str,
) -> io::Result<()> {
    let bytes = std::fs::read(layout.blob(&image.digest))?;
    let manifest: Value = serde_json::from_slice(&bytes)?;
    for child in manifest["manifests"].as_array().into_iter().flatten() {
        let child = Manifest {
            media_type: child["mediaType"].as_str().unwrap_or_default().to_owned(),
            digest: child["digest"].as_str().unwrap_or_default().to_owned(),
            size: child["size"].as_u64().unwrap_or_default(),
            config: String::new(),
        };
        push(address, layout, &child, repository, &child.digest)?;
    }
    let config = std::iter::once(&manifest["config"]);
    for blob in config.chain(manifest["layers"].as_array().into_iter().flatten()) {
        if let Some(digest) = blob["digest"].as_str() {
            push_blob(address, layout, repository, digest)?;
        }
    }
    let path = format!("/v2/{repository}/manifests/{tag}");
    let kind = [("Content-Type", image.media_type.as_str())];
    let answer = request(address, "PUT", &path, &kind, bytes.as_slice(), bytes.len() as u64)?;
    accepted(&answer, 201, &path)
}

fn push_blob(address: &str, layout: &Layout, repository: &str, digest: &str) -> io::Result<()> {
    let path = format!("/v2/{repository}/blobs/{digest}");
    if request(address, "HEAD", &path, &[], io::empty(), 0)?.status == 200 {
        return Ok(());
    }
    let start = format!("/v2/{repository}/blobs/uploads/");
    let answer = request(address, "POST", &start, &[], io::empty(), 0)?;
    accepted(&answer, 202, &start)?;
    let location = answer.header("location").unwrap_or_default();
    let location = location.find("/v2/").map_or(location, |at| &location[at..]);
    let joint = if location.contains('?') { '&' } else { '?' };
    let file = File::open(layout.blob(digest))?;
    let length = file.metadata()?.len();
    let kind = [("Content-Type", "application/octet-stream")];
    let target = format!("{location}{joint}digest={digest}");
    let answer = request(address, "PUT", &target, &kind, file, length)?;
    accepted(&answer, 201, &path)
}

fn accepted(answer: &Answer, wanted: u16, path: &str) -> io::Result<()> {
    if answer.status == wanted {
        return Ok(());
    }
    let body = String::from_utf8_lossy(&answer.body);
    Err(io::Error::other(format!("{path}: the registry answered {}: {body}", answer.status)))
}
