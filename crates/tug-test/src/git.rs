//! Git's own servers on loopback: `git daemon`, and `git http-backend` behind a few lines of HTTP.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// Where git keeps the programs of its servers; none where git is not installed.
fn programs() -> Option<PathBuf> {
    let places = ["/usr/lib/git-core", "/usr/libexec/git-core"].map(PathBuf::from);
    places.into_iter().find(|dir| dir.join("git-daemon").exists())
}

/// A running `git daemon`. Dropping it ends it.
pub struct Daemon {
    /// `127.0.0.1:PORT`
    pub address: String,
    process: Child,
}

impl Daemon {
    /// Serves every repository below a directory. `None`, said on stderr, without git.
    ///
    /// # Errors
    /// It does not come up.
    pub fn start(below: &Path) -> io::Result<Option<Self>> {
        let Some(programs) = programs() else {
            crate::skip::skip("git is missing");
            return Ok(None);
        };
        let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let process = Command::new(programs.join("git-daemon"))
            .args(["--export-all", "--reuseaddr", "--listen=127.0.0.1"])
            .arg(format!("--port={}", address.port()))
            .arg(format!("--base-path={}", below.display()))
            .env("GIT_CONFIG_COUNT", "1")
            .env("GIT_CONFIG_KEY_0", "safe.directory")
            .env("GIT_CONFIG_VALUE_0", "*")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        let daemon = Self { address: address.to_string(), process };
        for _ in 0..200 {
            if TcpStream::connect(&daemon.address).is_ok() {
                return Ok(Some(daemon));
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Err(io::Error::other("git daemon does not come up"))
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Serves the repositories below a directory over HTTP, and every file of it that is none as it is. With a
/// password, to `x-access-token` with that one. Runs as long as the test's process.
///
/// # Errors
/// No port is free.
pub fn http(below: &Path, password: Option<&str>) -> io::Result<Option<String>> {
    let Some(programs) = programs() else {
        crate::skip::skip("git is missing");
        return Ok(None);
    };
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?.to_string();
    let (below, backend) = (below.to_owned(), programs.join("git-http-backend"));
    let password = password.map(str::to_owned);
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let (below, backend, password) = (below.clone(), backend.clone(), password.clone());
            std::thread::spawn(move || {
                let _ = serve(stream, &below, &backend, password.as_deref());
            });
        }
    });
    Ok(Some(address))
}

fn serve(
    stream: TcpStream,
    below: &Path,
    backend: &Path,
    password: Option<&str>,
) -> io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut out = stream;
    let mut first = String::new();
    reader.read_line(&mut first)?;
    let mut words = first.split_whitespace();
    let (method, target) = (words.next().unwrap_or("GET"), words.next().unwrap_or("/"));
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let mut command = Command::new(backend);
    let (mut length, mut login) = (0, String::new());
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let Some((name, value)) = line.trim_end().split_once(": ") else { break };
        match name.to_ascii_lowercase().as_str() {
            "content-length" => length = value.parse().unwrap_or(0),
            "content-type" => drop(command.env("CONTENT_TYPE", value)),
            "git-protocol" => drop(command.env("GIT_PROTOCOL", value)),
            "authorization" => value.clone_into(&mut login),
            _ => {}
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    // base64 of x-access-token:PASSWORD is what curl says; the test compares its end only.
    if password.is_some_and(|password| !login.ends_with(password)) {
        return out.write_all(
            b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
        );
    }
    let file = below.join(path.trim_start_matches('/'));
    if file.is_file() && !path.contains(".git/") {
        out.write_all(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")?;
        return out.write_all(&std::fs::read(file)?);
    }
    let mut child = command
        .env("GIT_PROJECT_ROOT", below)
        .env("GIT_HTTP_EXPORT_ALL", "1")
        .env("GIT_CONFIG_COUNT", "1")
        .env("GIT_CONFIG_KEY_0", "safe.directory")
        .env("GIT_CONFIG_VALUE_0", "*")
        .env("REQUEST_METHOD", method)
        .env("QUERY_STRING", query)
        .env("PATH_INFO", path)
        .env("CONTENT_LENGTH", length.to_string())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(&body)?;
    }
    let answer = child.wait_with_output()?.stdout;
    let head = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n").unwrap_or(0);
    let headers = String::from_utf8_lossy(&answer[..head]).into_owned();
    let status = headers.lines().find_map(|line| line.strip_prefix("Status: ")).unwrap_or("200 OK");
    write!(out, "HTTP/1.1 {status}\r\nConnection: close\r\n{headers}\r\n\r\n")?;
    out.write_all(&answer[head + 4..])
}
