//! The smart protocol over HTTP. Answers come into a file: they are as large as the repository.

use crate::build::Cancel;
use crate::execute::waiting::Waiting;
use crate::execute::web;
use std::fs::File;
use std::io::{BufReader, Error, Read, Result, Seek, Write};
use tug_git::Transport;

const QUESTION: &str = "/info/refs?service=git-upload-pack";

pub(super) struct Http {
    /// Where it is after redirects.
    base: String,
    client: reqwest::Client,
    waiting: Waiting,
    /// `Authorization`
    header: Option<String>,
}

struct Answer {
    file: File,
    url: reqwest::Url,
    kind: String,
}

impl Http {
    pub(super) fn new(whole: &str, header: Option<String>, cancel: &Cancel) -> Result<Self> {
        let client = web::client().map_err(Error::other)?;
        let (url, own) = tug_git::login(whole).unzip();
        let url = url.unwrap_or_else(|| whole.to_owned());
        let header = header.or_else(|| own.map(|(name, password)| basic(&name, &password)));
        let base = url.trim_end_matches('/').to_owned();
        Ok(Self { base, client, waiting: Waiting::new(cancel)?, header })
    }

    fn send(&self, request: reqwest::RequestBuilder) -> Result<Answer> {
        let mut request = request.header("Git-Protocol", "version=2");
        if let Some(header) = &self.header {
            request = request.header("Authorization", header);
        }
        let answer = async { request.send().await.map_err(Error::other) };
        let mut response = self.waiting.wait(answer)?.error_for_status().map_err(Error::other)?;
        let kind = response.headers().get("content-type").and_then(|value| value.to_str().ok());
        let (kind, url) = (kind.unwrap_or_default().to_owned(), response.url().clone());
        let mut file = tempfile::tempfile()?;
        loop {
            let next = async { response.chunk().await.map_err(Error::other) };
            let Some(bytes) = self.waiting.wait(next)? else { break };
            file.write_all(&bytes)?;
        }
        file.rewind()?;
        Ok(Answer { file, url, kind })
    }
}

impl Transport for Http {
    fn greet(&mut self) -> Result<Box<dyn Read + '_>> {
        let answer = self.send(self.client.get(format!("{}{QUESTION}", self.base)))?;
        if answer.kind != "application/x-git-upload-pack-advertisement" {
            // A page, or the list of refs that files alone can be: nothing of the protocol.
            return Ok(Box::new(&b"none"[..]));
        }
        if let Some(base) = answer.url.as_str().strip_suffix(QUESTION) {
            base.clone_into(&mut self.base);
        }
        Ok(Box::new(BufReader::new(answer.file)))
    }

    fn ask(&mut self, request: Vec<u8>) -> Result<Box<dyn Read + '_>> {
        let post = self
            .client
            .post(format!("{}/git-upload-pack", self.base))
            .header("Content-Type", "application/x-git-upload-pack-request")
            .header("Accept", "application/x-git-upload-pack-result")
            .body(request);
        Ok(Box::new(BufReader::new(self.send(post)?.file)))
    }
}

/// An answer that is a refusal, as what it is.
pub(super) fn status(error: tug_git::Error) -> tug_git::Error {
    let tug_git::Error::Talk { source } = &error else { return error };
    let inner = source.get_ref().and_then(|inner| inner.downcast_ref::<reqwest::Error>());
    match inner.and_then(reqwest::Error::status) {
        Some(status) => tug_git::Error::Status {
            code: status.as_u16(),
            reason: status.canonical_reason().unwrap_or_default(),
        },
        None => error,
    }
}

/// `Authorization` with a name and a password.
pub(super) fn basic(name: &str, password: &str) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::from("Basic ");
    for part in format!("{name}:{password}").as_bytes().chunks(3) {
        let bits = part.iter().chain([&0, &0]).take(3).fold(0, |sum, b| sum << 8 | usize::from(*b));
        for at in 0..4 {
            let digit = ALPHABET[bits >> (18 - 6 * at) & 63];
            out.push(if at > part.len() { '=' } else { char::from(digit) });
        }
    }
    out
}
