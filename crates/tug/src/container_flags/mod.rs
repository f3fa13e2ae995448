//! What `run` and `create` share: their flags, and what the flags mean.
//!
//! [`request`] is the way from words to what the engine takes; it reads files and asks for variables
//! through [`Surroundings`] only. The expected results in the tests were made by Docker's own client.

mod env;
pub(crate) mod host;
mod mount;
mod ports;
mod request;
mod unsupported;

pub(crate) use env::{label, variables};
pub(crate) use request::request;

use crate::flags::{Flag, Parsed};
use crate::quit::Quit;

/// Flags of both commands, as `docker run --help` lists them.
pub(crate) const FLAGS: &[Flag] = &[
    Flag::value("add-host", "list", "Add a line to the container's /etc/hosts (host:ip)"),
    Flag::value("annotation", "map", "Add an annotation to the container (not supported yet)"),
    Flag::value("attach", "list", "Attach to STDIN, STDOUT or STDERR").short('a'),
    Flag::value("blkio-weight", "uint16", "Block IO weight, 10 to 1000, or 0 for none (default 0)"),
    Flag::value("blkio-weight-device", "list", "Block IO weight of a device (not supported yet)"),
    Flag::value("cap-add", "list", "Add Linux capabilities"),
    Flag::value("cap-drop", "list", "Drop Linux capabilities"),
    Flag::value("cgroup-parent", "string", "Parent cgroup of the container"),
    Flag::value("cgroupns", "string", "Cgroup namespace to use: host or private"),
    Flag::value("cidfile", "string", "Write the container's ID to a file"),
    Flag::value("cpu-count", "int", ""),
    Flag::value("cpu-percent", "int", ""),
    Flag::value("cpu-period", "int", "Length of a CFS scheduler period, in microseconds"),
    Flag::value("cpu-quota", "int", "CPU time in each CFS scheduler period, in microseconds"),
    Flag::value(
        "cpu-rt-period",
        "int",
        "Length of a real-time scheduler period, in microseconds (not supported yet)",
    ),
    Flag::value(
        "cpu-rt-runtime",
        "int",
        "CPU time in each real-time period, in microseconds (not supported yet)",
    ),
    Flag::value("cpu-shares", "int", "CPU weight against other containers").short('c'),
    Flag::value("cpus", "decimal", "Number of CPUs"),
    Flag::value("cpuset-cpus", "string", "CPUs to run on (0-3, 0,1)"),
    Flag::value("cpuset-mems", "string", "Memory nodes to use (0-3, 0,1)"),
    Flag::value("device", "list", "Add a device of the host (HOST[:CONTAINER[:rwm]])"),
    Flag::value("device-cgroup-rule", "list", "Add a rule to the container's allowed devices"),
    Flag::value(
        "device-read-bps",
        "list",
        "Limit the bytes read from a device per second (not supported yet)",
    ),
    Flag::value(
        "device-read-iops",
        "list",
        "Limit the reads from a device per second (not supported yet)",
    ),
    Flag::value(
        "device-write-bps",
        "list",
        "Limit the bytes written to a device per second (not supported yet)",
    ),
    Flag::value(
        "device-write-iops",
        "list",
        "Limit the writes to a device per second (not supported yet)",
    ),
    Flag::switch("disable-content-trust", "Skip image verification (default true)"),
    Flag::value("dns", "list", "Use these DNS servers"),
    Flag::alias("dns-opt", "dns-option"),
    Flag::value("dns-option", "list", "Set DNS resolver options"),
    Flag::value("dns-search", "list", "Set DNS search domains"),
    Flag::value("domainname", "string", "NIS domain name of the container"),
    Flag::value("entrypoint", "string", "Replace the image's ENTRYPOINT"),
    Flag::value("env", "list", "Set environment variables").short('e'),
    Flag::value("env-file", "list", "Read environment variables from a file"),
    Flag::value("expose", "list", "Expose a port or a range of ports"),
    Flag::value(
        "gpus",
        "gpu-request",
        "GPUs to add to the container ('all' for all of them) (not supported yet)",
    ),
    Flag::value("group-add", "list", "Join additional groups"),
    Flag::value(
        "health-cmd",
        "string",
        "Command that checks the container's health (not supported yet)",
    ),
    Flag::value(
        "health-interval",
        "duration",
        "Time between two checks (ms|s|m|h) (default 0s) (not supported yet)",
    ),
    Flag::value(
        "health-retries",
        "int",
        "Failures in a row that make it unhealthy (not supported yet)",
    ),
    Flag::value(
        "health-start-interval",
        "duration",
        "Time between two checks while it starts (not supported yet)",
    ),
    Flag::value(
        "health-start-period",
        "duration",
        "Time it may take to start (default 0s) (not supported yet)",
    ),
    Flag::value(
        "health-timeout",
        "duration",
        "Longest time a check may take (default 0s) (not supported yet)",
    ),
    Flag::value("hostname", "string", "Host name of the container").short('h'),
    Flag::switch("init", "Run an init inside that forwards signals and reaps processes"),
    Flag::switch("interactive", "Keep STDIN open even if not attached").short('i'),
    Flag::value("io-maxbandwidth", "bytes", ""),
    Flag::value("io-maxiops", "uint", ""),
    Flag::value("ip", "string", "IPv4 address (e.g., 172.30.100.104) (not supported yet)"),
    Flag::value("ip6", "string", "IPv6 address (e.g., 2001:db8::33) (not supported yet)"),
    Flag::value("ipc", "string", "IPC namespace to use"),
    Flag::value("isolation", "string", "Isolation technology of the container"),
    Flag::value("kernel-memory", "bytes", "Kernel memory limit (not supported yet)"),
    Flag::value("label", "list", "Set metadata on the container").short('l'),
    Flag::value("label-file", "list", "Read labels from a file, one a line"),
    Flag::value("link", "list", "Add a link to another container (not supported yet)"),
    Flag::value(
        "link-local-ip",
        "list",
        "Link-local addresses of the container (not supported yet)",
    ),
    Flag::value("log-driver", "string", "Log driver of the container"),
    Flag::value("log-opt", "list", "Options of the log driver (max-size, max-file)"),
    Flag::value(
        "mac-address",
        "string",
        "MAC address (e.g., 92:d0:c6:0a:29:33) (not supported yet)",
    ),
    Flag::value("memory", "bytes", "Memory limit").short('m'),
    Flag::value("memory-reservation", "bytes", "Memory soft limit"),
    Flag::value("memory-swap", "bytes", "Limit of memory and swap together: '-1' for no limit"),
    Flag::value(
        "memory-swappiness",
        "int",
        "How readily memory is swapped (0 to 100) (default -1)",
    ),
    Flag::value("mount", "mount", "Mount a directory, a volume or a tmpfs"),
    Flag::value("name", "string", "Name of the container"),
    Flag::alias("net", "network"),
    Flag::alias("net-alias", "network-alias"),
    Flag::value(
        "network",
        "network",
        "Network of the container: bridge, host, none, container:NAME",
    ),
    Flag::value(
        "network-alias",
        "list",
        "Add a name for the container in its network (not supported yet)",
    ),
    Flag::switch("no-healthcheck", "Disable the image's HEALTHCHECK"),
    Flag::switch(
        "oom-kill-disable",
        "Do not kill processes when memory runs out (not supported yet)",
    ),
    Flag::value(
        "oom-score-adj",
        "int",
        "How likely the container is killed for memory (-1000 to 1000)",
    ),
    Flag::value("pid", "string", "PID namespace to use"),
    Flag::value("pids-limit", "int", "Limit of processes and threads (-1 for none)"),
    Flag::value("platform", "string", "Platform of the image, where it has several"),
    Flag::switch("privileged", "Give the container all the powers of the host's root"),
    Flag::value("publish", "list", "Publish a container's port(s) to the host").short('p'),
    Flag::switch("publish-all", "Publish all exposed ports to random ports").short('P'),
    Flag::value(
        "pull",
        "string",
        "Pull the image first: always, missing, never (default \"missing\")",
    ),
    Flag::switch("quiet", "Do not show the pull").short('q'),
    Flag::switch("read-only", "Mount the container's root filesystem read-only"),
    Flag::value(
        "restart",
        "string",
        "What happens after an exit (default \"no\"; others not supported yet)",
    ),
    Flag::switch("rm", "Remove the container and its anonymous volumes when it exits"),
    Flag::value("runtime", "string", "Runtime to use"),
    Flag::value("security-opt", "list", "Security options (no-new-privileges, seccomp=...)"),
    Flag::value("shm-size", "bytes", "Size of /dev/shm"),
    Flag::value("stop-signal", "string", "Signal that stops the container"),
    Flag::value("stop-timeout", "int", "Seconds to wait before killing the container"),
    Flag::value("storage-opt", "list", "Options of the storage driver (not supported yet)"),
    Flag::value("sysctl", "map", "Kernel settings inside (default map[])"),
    Flag::value("tmpfs", "list", "Mount a tmpfs (PATH[:OPTIONS])"),
    Flag::switch("tty", "Allocate a pseudo-TTY").short('t'),
    Flag::value("ulimit", "ulimit", "Resource limits (default [])"),
    Flag::switch("use-api-socket", "Give the container the API socket (not supported yet)"),
    Flag::value("user", "string", "Username or UID (format: <name|uid>[:<group|gid>])").short('u'),
    Flag::value("userns", "string", "User namespace to use"),
    Flag::value("uts", "string", "UTS namespace to use"),
    Flag::value("volume", "list", "Mount a directory of the host or a volume").short('v'),
    Flag::value("volume-driver", "string", "Driver of the container's volumes"),
    Flag::value("volumes-from", "list", "Mount the volumes of other containers"),
    Flag::value("workdir", "string", "Working directory inside the container").short('w'),
];

/// What the conversion needs to know of the world.
pub(crate) struct Surroundings<'a> {
    /// The caller's environment, for `-e NAME`.
    pub variable: &'a dyn Fn(&str) -> Option<String>,
    /// Reads a file, for `--env-file` and its like.
    pub read: &'a dyn Fn(&str) -> std::io::Result<Vec<u8>>,
    /// The working directory, for `-v ./here:/there`.
    pub directory: &'a dyn Fn() -> std::io::Result<std::path::PathBuf>,
}

impl Surroundings<'_> {
    /// A file as text, a failure in Docker's words.
    fn read_text(&self, parsed: &Parsed<'_>, path: &str) -> Result<String, Quit> {
        let bytes = (self.read)(path).map_err(|error| {
            parsed.wrong(format!("open {path}: {}", crate::quit::plain(&error)))
        })?;
        String::from_utf8(bytes).map_err(|_| parsed.wrong(format!("{path} is not UTF-8 text")))
    }
}
