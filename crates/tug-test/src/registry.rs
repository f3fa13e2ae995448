//! Debian's `docker-registry` on a free loopback port with a storage of its own.

use std::io;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// The user and password a registry with authentication knows.
pub const LOGIN: (&str, &str) = ("tug", "secret");

/// The same in htpasswd's bcrypt form.
const HTPASSWD: &str = "tug:$2y$05$EvvQOXkY1sOii1wXGdgc3.GtoLRkkOtwHJwkfK3opXg3ShP5guj7a\n";

/// Where `./dev install` unpacks it, or where Debian's package puts it.
fn program() -> Option<PathBuf> {
    let places = [crate::sandbox::cache().join("tools"), PathBuf::from("/")];
    places.iter().map(|place| place.join("usr/bin/docker-registry")).find(|path| path.exists())
}

/// A running registry. Dropping it ends it and removes its storage.
pub struct Registry {
    address: String,
    process: Child,
    dir: TempDir,
}

impl Registry {
    /// Starts one that lets anybody in. `None`, said on stderr, where Debian's package is not
    /// installed: the caller's test is then skipped.
    ///
    /// # Errors
    /// It does not come up within ten seconds.
    pub fn start() -> io::Result<Option<Self>> {
        if program().is_none() {
            crate::skip::skip("docker-registry is missing (./dev install)");
            return Ok(None);
        }
        let dir = tempfile::tempdir()?;
        let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?.to_string();
        let process = spawn(dir.path(), &configuration(dir.path(), &address, false))?;
        let registry = Self { address, process, dir };
        registry.wait(200)?;
        Ok(Some(registry))
    }

    /// From now on it wants [`LOGIN`], for what was pushed before too.
    ///
    /// # Errors
    /// It does not come up again within ten seconds.
    pub fn require_login(&mut self) -> io::Result<()> {
        self.process.kill()?;
        self.process.wait()?;
        let text = configuration(self.dir.path(), &self.address, true);
        self.process = spawn(self.dir.path(), &text)?;
        self.wait(401)
    }

    /// From now on it speaks HTTPS only, to any address of this machine, with a certificate of its
    /// own making for `host`, an IP address. Returns the certificate's file and its new address.
    ///
    /// # Errors
    /// openssl fails, or it does not come up again within ten seconds.
    pub fn require_tls(&mut self, host: &str) -> io::Result<(PathBuf, String)> {
        let (key, certificate) = (self.dir.path().join("key"), self.dir.path().join("certificate"));
        let made = Command::new("openssl")
            .args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj"])
            .args([&format!("/CN={host}"), "-addext", &format!("subjectAltName=IP:{host}")])
            .args(["-addext", "basicConstraints=critical,CA:FALSE"])
            .arg("-keyout")
            .arg(&key)
            .arg("-out")
            .arg(&certificate)
            .output()?;
        if !made.status.success() {
            return Err(io::Error::other(String::from_utf8_lossy(&made.stderr).into_owned()));
        }
        self.process.kill()?;
        self.process.wait()?;
        let port = self.address.rsplit_once(':').map_or("", |(_, port)| port).to_owned();
        let mut text = configuration(self.dir.path(), &format!("0.0.0.0:{port}"), false);
        text += &format!(
            "  tls:\n    certificate: {}\n    key: {}\n",
            certificate.display(),
            key.display()
        );
        self.process = spawn(self.dir.path(), &text)?;
        // A plain request is answered with this over plain HTTP.
        self.wait(400)?;
        Ok((certificate, format!("{host}:{port}")))
    }

    /// From now on it speaks only to those who show this certificate, or one signed by it. After
    /// [`require_tls`](Self::require_tls).
    ///
    /// # Errors
    /// It does not come up again within ten seconds.
    pub fn require_client(&mut self, certificate: &Path) -> io::Result<()> {
        self.process.kill()?;
        self.process.wait()?;
        let text = std::fs::read_to_string(self.dir.path().join("config.yml"))?;
        let text = format!("{text}    clientcas:\n      - {}\n", certificate.display());
        self.process = spawn(self.dir.path(), &text)?;
        self.wait(400)
    }

    fn wait(&self, wanted: u16) -> io::Result<()> {
        let until = Instant::now() + Duration::from_secs(10);
        loop {
            let answer = crate::push::request(&self.address, "GET", "/v2/", &[], io::empty(), 0);
            match answer {
                Ok(answer) if answer.status == wanted => return Ok(()),
                _ if Instant::now() < until => std::thread::sleep(Duration::from_millis(10)),
                Ok(answer) => return Err(io::Error::other(format!("status {}", answer.status))),
                Err(error) => return Err(error),
            }
        }
    }

    /// `127.0.0.1:PORT`.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Where it keeps what it has.
    pub fn storage(&self) -> PathBuf {
        self.dir.path().join("data")
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

fn spawn(dir: &Path, configuration: &str) -> io::Result<Child> {
    let config = dir.join("config.yml");
    std::fs::write(&config, configuration)?;
    std::fs::write(dir.join("htpasswd"), HTPASSWD)?;
    let log = std::fs::File::create(dir.join("log"))?;
    let mut command = Command::new(program().ok_or(io::ErrorKind::NotFound)?);
    command.arg("serve").arg(&config);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn()
}

fn configuration(dir: &Path, address: &str, login: bool) -> String {
    let dir = dir.display();
    let mut text = format!(
        "version: 0.1\nlog:\n  level: warn\nstorage:\n  filesystem:\n    rootdirectory: {dir}/data\n  \
         delete:\n    enabled: true\nhttp:\n  addr: {address}\n"
    );
    if login {
        text += &format!("auth:\n  htpasswd:\n    realm: tests\n    path: {dir}/htpasswd\n");
    }
    text
}
