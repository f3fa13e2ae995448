//! The engines that are compared: tug, and those of the others that answer here.

use std::io;
use std::path::Path;
use std::process::{Command, Stdio};

/// A program with Docker's commands.
pub(crate) struct Engine {
    /// Column head.
    pub(crate) name: &'static str,
    program: String,
}

impl Engine {
    /// tug first, then whoever answers, each with the image `busybox`.
    pub(crate) fn answering(product: &str, image: &str) -> io::Result<Vec<Self>> {
        let tug = Self { name: "tug", program: product.to_owned() };
        let others = ["docker", "podman"].map(|name| Self { name, program: name.to_owned() });
        let mut engines = vec![tug];
        engines.extend(others.into_iter().filter(|engine| engine.ok(&["ps"]).is_ok()));
        for engine in &engines {
            engine.ok(&["load", "-i", image])?;
        }
        Ok(engines)
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null());
        command
    }

    /// Runs to a good end; standard output.
    pub(crate) fn ok(&self, arguments: &[&str]) -> io::Result<String> {
        let output = self.command(arguments).stdout(Stdio::piped()).output()?;
        if !output.status.success() {
            let error = String::from_utf8_lossy(&output.stderr).into_owned();
            return Err(io::Error::other(format!("{} {arguments:?}: {error}", self.name)));
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// A container's first process, in the host's numbering.
    pub(crate) fn pid(&self, name: &str) -> io::Result<String> {
        Ok(self.ok(&["inspect", "-f", "{{.State.Pid}}", name])?.trim().to_owned())
    }

    /// Whether a process is the engine's own, and not a container's.
    pub(crate) fn owns(&self, pid: u32) -> bool {
        let names: &[&str] = match self.name {
            "docker" => &["dockerd", "containerd", "containerd-shim", "docker-proxy"],
            "podman" => &["conmon", "podman", "aardvark-dns", "netavark"],
            _ => return tug_test::process::executes(pid, Path::new(&self.program)),
        };
        let exe = std::fs::read_link(format!("/proc/{pid}/exe")).unwrap_or_default();
        let name = exe.file_name().unwrap_or_default().to_string_lossy().into_owned();
        names.iter().any(|known| name.starts_with(known))
    }
}
