//! Debian's `sshd` and `ssh-agent`: a server with its own configuration, host key and users, and keys.

use std::io;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// Where `./dev install` unpacks a program, or where Debian's package puts it.
pub(crate) fn tool(path: &str) -> Option<PathBuf> {
    let places = [crate::sandbox::cache().join("tools"), PathBuf::from("/")];
    places.iter().map(|place| place.join(path)).find(|path| path.exists())
}

/// What was unpacked finds its libraries there.
pub(crate) fn libraries() -> PathBuf {
    let triplet = format!("usr/lib/{}-linux-gnu", std::env::consts::ARCH);
    crate::sandbox::cache().join("tools").join(triplet)
}

/// A running server, at port 22 and at another one of 127.0.0.1. Dropping it ends it.
pub struct Sshd {
    /// The other one.
    pub port: u16,
    dir: PathBuf,
    process: Child,
}

impl Sshd {
    /// Starts one whose files are in a new directory, where `git`, a user who is root, gets in with what is in
    /// [`Sshd::allow`]. In a network namespace of the test's own: it takes port 22. `options` are lines of its
    /// configuration. `None`, said on stderr, where it is not installed.
    ///
    /// # Errors
    /// It does not come up.
    pub fn start(dir: &Path, options: &str) -> io::Result<Option<Self>> {
        let Some(program) = tool("usr/sbin/sshd") else {
            crate::skip::skip("sshd is missing (./dev install)");
            return Ok(None);
        };
        std::fs::create_dir(dir)?;
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let at = dir.display();
        key(&dir.join("host"), "ed25519", "")?;
        std::fs::write(dir.join("authorized"), "")?;
        let home = dir.parent().unwrap_or(dir).display();
        std::fs::write(
            dir.join("passwd"),
            format!(
                "root:*:0:0::{home}:/bin/sh\nsshd:*:65533:65533::/:/bin/false\ngit:*:0:0::{home}:/bin/sh\n"
            ),
        )?;
        let text = format!(
            "ListenAddress 127.0.0.1\nPort 22\nPort {port}\nHostKey {at}/host\nPidFile none\nUsePAM no\n\
             StrictModes no\nAuthorizedKeysFile {at}/authorized\nKbdInteractiveAuthentication no\n{options}\n"
        );
        std::fs::write(dir.join("config"), text)?;
        // It insists on a user and on a directory of its own, which this machine need not have.
        let script = "mount --bind $0/passwd /etc/passwd && mount -t tmpfs none /run && mkdir /run/sshd && \
                      exec $1 -D -E $0/log -f $0/config";
        let process = Command::new("unshare")
            .args(["-m", "sh", "-c", script])
            .arg(dir)
            .arg(program)
            .env("LD_LIBRARY_PATH", libraries())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::inherit())
            .spawn()?;
        let server = Self { port, dir: dir.to_owned(), process };
        for _ in 0..200 {
            if TcpStream::connect(("127.0.0.1", port)).is_ok() {
                return Ok(Some(server));
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        let log = std::fs::read_to_string(dir.join("log")).unwrap_or_default();
        Err(io::Error::other(format!("sshd does not come up: {log}")))
    }

    /// Lets the owner of a key in, and nobody else.
    pub fn allow(&self, key: &Path) {
        let public = std::fs::read_to_string(key.with_extension("pub"));
        let written = public.and_then(|text| std::fs::write(self.dir.join("authorized"), text));
        assert!(written.is_ok(), "authorized keys: {written:?}");
    }

    /// Its line in `known_hosts`, for the port that is not 22.
    pub fn line(&self) -> String {
        let key = std::fs::read_to_string(self.dir.join("host.pub")).unwrap_or_default();
        format!("[127.0.0.1]:{} {key}", self.port)
    }

    /// `SHA256:…` of its key, as `ssh-keygen` has it.
    pub fn fingerprint(&self) -> String {
        let key = self.dir.join("host.pub").display().to_string();
        let said = crate::process::run("ssh-keygen", &["-l", "-f", &key]);
        said.ok().split(' ').nth(1).unwrap_or_default().to_owned()
    }
}

impl Drop for Sshd {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Makes a key, and `.pub` beside it.
///
/// # Errors
/// `ssh-keygen` fails.
pub fn key(path: &Path, kind: &str, passphrase: &str) -> io::Result<()> {
    let made = Command::new("ssh-keygen")
        .args(["-q", "-t", kind, "-C", "test", "-N", passphrase, "-f"])
        .arg(path)
        .output()?;
    match made.status.success() {
        true => Ok(()),
        false => Err(io::Error::other(String::from_utf8_lossy(&made.stderr).into_owned())),
    }
}

/// A running `ssh-agent`. Dropping it ends it.
pub struct SshAgent {
    /// `SSH_AUTH_SOCK`
    pub socket: PathBuf,
    process: Child,
}

impl SshAgent {
    /// One that holds nothing.
    ///
    /// # Errors
    /// It does not come up.
    pub fn start(socket: &Path) -> io::Result<Self> {
        let process = Command::new("ssh-agent")
            .args(["-D", "-a"])
            .arg(socket)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        let agent = Self { socket: socket.to_owned(), process };
        for _ in 0..200 {
            if socket.exists() {
                return Ok(agent);
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Err(io::Error::other("ssh-agent does not come up"))
    }

    /// Gives it a key.
    pub fn add(&self, key: &Path) {
        let added =
            Command::new("ssh-add").arg("-q").arg(key).env("SSH_AUTH_SOCK", &self.socket).status();
        assert!(added.as_ref().is_ok_and(|status| status.success()), "ssh-add: {added:?}");
    }
}

impl Drop for SshAgent {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
