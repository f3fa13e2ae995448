//! Debian's `lighttpd` in front of `git http-backend`: HTTPS with an authority of its own, and a password.

use crate::sshd::{libraries, tool};
use std::io;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// A running server at 127.0.0.1. Dropping it ends it.
pub struct Lighttpd {
    /// `https://127.0.0.1:PORT`
    pub url: String,
    /// Who signed its certificate.
    pub authority: PathBuf,
    process: Child,
}

impl Lighttpd {
    /// Serves the repositories below a directory, its own files in a new one; to everybody, or to `NAME:PASSWORD`.
    /// `/git` speaks what it is asked to, `/old` only the oldest version of git's protocol.
    /// `None`, said on stderr, where it is not installed.
    ///
    /// # Errors
    /// It does not come up.
    pub fn start(dir: &Path, below: &Path, login: Option<&str>) -> io::Result<Option<Self>> {
        let (program, modules) = (tool("usr/sbin/lighttpd"), tool("usr/lib/lighttpd"));
        let (Some(program), Some(modules)) = (program, modules) else {
            crate::skip::skip("lighttpd is missing (./dev install)");
            return Ok(None);
        };
        let backend = ["/usr/lib/git-core", "/usr/libexec/git-core"]
            .map(|dir| Path::new(dir).join("git-http-backend"))
            .into_iter()
            .find(|path| path.exists());
        let Some(backend) = backend else {
            crate::skip::skip("git is missing");
            return Ok(None);
        };
        std::fs::create_dir(dir)?;
        certificate(dir)?;
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let (at, backend, below) = (dir.display(), backend.display(), below.display());
        let guard = match login {
            Some(login) => {
                std::fs::write(dir.join("users"), format!("{login}\n"))?;
                format!(
                    "auth.backend = \"plain\"\nauth.backend.plain.userfile = \"{at}/users\"\n\
                     auth.require = (\"/\" => (\"method\" => \"basic\", \"realm\" => \"git\", \"require\" => \"valid-user\"))\n"
                )
            }
            None => String::new(),
        };
        let text = format!(
            "server.document-root = \"{at}\"\nserver.bind = \"127.0.0.1\"\nserver.port = {port}\n\
             server.modules = (\"mod_setenv\", \"mod_auth\", \"mod_authn_file\", \"mod_alias\", \"mod_cgi\", \"mod_openssl\")\n\
             ssl.engine = \"enable\"\nssl.pemfile = \"{at}/server.pem\"\n\
             alias.url = (\"/git\" => \"{backend}\", \"/old\" => \"{backend}\")\n\
             $HTTP[\"url\"] =~ \"^/old\" {{ setenv.add-environment = (\"GIT_PROTOCOL\" => \"version=0\") }}\n\
             $HTTP[\"url\"] =~ \"^/(git|old)\" {{\n cgi.assign = (\"\" => \"\")\n\
             setenv.set-environment = (\"GIT_PROJECT_ROOT\" => \"{below}\", \"GIT_HTTP_EXPORT_ALL\" => \"1\",\n\
             \"GIT_CONFIG_COUNT\" => \"1\", \"GIT_CONFIG_KEY_0\" => \"safe.directory\", \"GIT_CONFIG_VALUE_0\" => \"*\")\n}}\n{guard}"
        );
        std::fs::write(dir.join("config"), text)?;
        let process = Command::new(program)
            .arg("-D")
            .arg("-m")
            .arg(modules)
            .arg("-f")
            .arg(dir.join("config"))
            .env("LD_LIBRARY_PATH", libraries())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(std::fs::File::create(dir.join("log"))?)
            .spawn()?;
        let url = format!("https://127.0.0.1:{port}");
        let server = Self { url, authority: dir.join("ca.pem"), process };
        for _ in 0..200 {
            if TcpStream::connect(("127.0.0.1", port)).is_ok() {
                return Ok(Some(server));
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        let log = std::fs::read_to_string(dir.join("log")).unwrap_or_default();
        Err(io::Error::other(format!("lighttpd does not come up: {log}")))
    }
}

impl Drop for Lighttpd {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// An authority, and a certificate for 127.0.0.1 signed by it.
fn certificate(dir: &Path) -> io::Result<()> {
    let script = "set -e; cd \"$0\"
        openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=authority -keyout ca.key -out ca.pem
        openssl req -newkey rsa:2048 -nodes -subj /CN=127.0.0.1 -keyout server.key -out server.csr
        printf 'subjectAltName=IP:127.0.0.1\\nbasicConstraints=CA:FALSE\\n' > extensions
        openssl x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile extensions -out server.crt
        cat server.crt server.key > server.pem";
    let made = Command::new("sh").args(["-c", script]).arg(dir).output()?;
    match made.status.success() {
        true => Ok(()),
        false => Err(io::Error::other(String::from_utf8_lossy(&made.stderr).into_owned())),
    }
}
