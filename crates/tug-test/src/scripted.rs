//! An HTTP server whose every answer a test writes: for what a real registry cannot be made to do.
//! One request a connection; a TLS handshake is hung up on, as a plain HTTP server would.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

/// What a client asked.
#[derive(Clone, Debug)]
pub struct Asked {
    /// `GET`, …
    pub method: String,
    /// Path and query.
    pub target: String,
    /// In the order they came, names in lower case.
    pub headers: Vec<(String, String)>,
    /// All of it.
    pub body: Vec<u8>,
    /// How many requests with this method and target came before.
    pub earlier: usize,
}

/// What it is answered.
#[derive(Clone, Debug)]
pub struct Reply {
    /// `200`, …; 0 hangs up without an answer.
    pub status: u16,
    /// Beside `Content-Length`.
    pub headers: Vec<(String, String)>,
    /// Sent as it is.
    pub body: Vec<u8>,
    /// What `Content-Length` says; the body's length when `None`.
    pub announced: Option<u64>,
    /// Chunked, without `Content-Length`.
    pub chunked: bool,
    /// Of the body, only so much is sent before the connection is closed.
    pub cut_after: Option<usize>,
}

type Script = dyn Fn(&Asked) -> Reply + Send + Sync;

/// A running server. Dropping it stops it.
pub struct Server {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<Asked>>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Asked {
    /// The first header of that name (lower case).
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// Where a `Range: bytes=N-` begins.
    pub fn range_start(&self) -> Option<usize> {
        self.header("range")?.strip_prefix("bytes=")?.strip_suffix('-')?.parse().ok()
    }
}

impl Reply {
    /// A status with a body.
    pub fn new(status: u16, body: impl Into<Vec<u8>>) -> Self {
        Self {
            status,
            headers: Vec::new(),
            body: body.into(),
            announced: None,
            chunked: false,
            cut_after: None,
        }
    }

    /// The same with one more header.
    #[must_use]
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// A refusal as the distribution specification writes it.
    pub fn refusal(status: u16, code: &str, message: &str) -> Self {
        let body =
            serde_json::json!({"errors": [{"code": code, "message": message, "detail": null}]});
        Self::new(status, body.to_string()).with("Content-Type", "application/json")
    }
}

impl Server {
    /// Starts one on a free loopback port.
    ///
    /// # Errors
    /// There is no port.
    pub fn start(script: impl Fn(&Asked) -> Reply + Send + Sync + 'static) -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        let asked = Arc::new(Mutex::new(Vec::new()));
        let stop = Arc::new(AtomicBool::new(false));
        let (script, log, stopped): (Arc<Script>, _, _) =
            (Arc::new(script), asked.clone(), stop.clone());
        let thread = std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if stopped.load(Ordering::SeqCst) {
                    break;
                }
                let (script, log) = (script.clone(), log.clone());
                // A client that hangs up early is part of many tests.
                std::thread::spawn(move || drop(serve(stream, &*script, &log)));
            }
        });
        Ok(Self { address, asked, stop, thread: Some(thread) })
    }

    /// `127.0.0.1:PORT`.
    pub fn address(&self) -> String {
        self.address.to_string()
    }

    /// Everything asked so far.
    pub fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// How many requests' targets contain `part`.
    pub fn count(&self, part: &str) -> usize {
        self.asked().iter().filter(|asked| asked.target.contains(part)).count()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        // Wakes the accepting thread, which then sees the flag.
        drop(TcpStream::connect(self.address));
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

fn serve(mut stream: TcpStream, script: &Script, log: &Mutex<Vec<Asked>>) -> io::Result<()> {
    let mut first = [0];
    if stream.peek(&mut first)? == 0 || first[0] == 0x16 {
        return Ok(());
    }
    let mut asked = read_request(&mut BufReader::new(&stream))?;
    let reply = {
        let mut log = log.lock().unwrap_or_else(PoisonError::into_inner);
        asked.earlier = log
            .iter()
            .filter(|old| old.method == asked.method && old.target == asked.target)
            .count();
        log.push(asked.clone());
        drop(log);
        script(&asked)
    };
    write_reply(&mut stream, &reply, asked.method == "HEAD")
}

fn read_request(reader: &mut impl BufRead) -> io::Result<Asked> {
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let mut words = line.split(' ').map(str::to_owned);
    let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let mut headers = Vec::new();
    loop {
        line.clear();
        reader.read_line(&mut line)?;
        let Some((name, value)) = line.trim_end().split_once(':') else { break };
        headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
    let mut asked = Asked { method, target, headers, body: Vec::new(), earlier: 0 };
    let length = asked.header("content-length").and_then(|text| text.parse().ok()).unwrap_or(0);
    reader.take(length).read_to_end(&mut asked.body)?;
    Ok(asked)
}

fn write_reply(stream: &mut TcpStream, reply: &Reply, bodiless: bool) -> io::Result<()> {
    if reply.status == 0 {
        return Ok(());
    }
    let mut head = format!("HTTP/1.1 {} Scripted\r\nConnection: close\r\n", reply.status);
    for (name, value) in &reply.headers {
        head += &format!("{name}: {value}\r\n");
    }
    if reply.chunked {
        head += "Transfer-Encoding: chunked\r\n\r\n";
    } else {
        let length = reply.announced.unwrap_or(reply.body.len() as u64);
        head += &format!("Content-Length: {length}\r\n\r\n");
    }
    stream.write_all(head.as_bytes())?;
    if bodiless {
        return Ok(());
    }
    let sent = &reply.body[..reply.cut_after.unwrap_or(reply.body.len()).min(reply.body.len())];
    if !reply.chunked {
        return stream.write_all(sent);
    }
    for piece in sent.chunks(16 << 10) {
        write!(stream, "{:x}\r\n", piece.len())?;
        stream.write_all(piece)?;
        stream.write_all(b"\r\n")?;
    }
    if reply.cut_after.is_none() {
        stream.write_all(b"0\r\n\r\n")?;
    }
    Ok(())
}
