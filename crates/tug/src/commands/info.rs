//! `info`: what there is and what it runs on.

use super::version::{self, FORMAT, print_object};
use crate::context::Context;
use crate::flags::{Arguments, Command, Parsed};
use crate::quit::Quit;
use crate::text::human;
use serde::Serialize;
use std::fmt::Write;
use std::path::Path;
use tug_engine::Status;

pub(crate) static COMMAND: Command = Command {
    names: &["info", "system info"],
    usage: "[OPTIONS]",
    about: "Display system-wide information",
    flags: &[&[FORMAT]],
    arguments: Arguments::Exactly(0),
    verbatim: false,
    run,
};

/// What Docker's API says of a system, as far as it means something here.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Info {
    #[serde(rename = "ID")]
    id: String,
    containers: usize,
    containers_running: usize,
    containers_paused: usize,
    containers_stopped: usize,
    images: usize,
    driver: &'static str,
    logging_driver: &'static str,
    cgroup_driver: &'static str,
    cgroup_version: &'static str,
    kernel_version: String,
    operating_system: String,
    #[serde(rename = "OSVersion")]
    os_version: String,
    #[serde(rename = "OSType")]
    os_type: &'static str,
    architecture: &'static str,
    index_server_address: &'static str,
    #[serde(rename = "NCPU")]
    cpus: usize,
    mem_total: u64,
    docker_root_dir: String,
    name: String,
    labels: Vec<String>,
    experimental_build: bool,
    server_version: &'static str,
    default_runtime: &'static str,
    swarm: Swarm,
    live_restore_enabled: bool,
    init_binary: &'static str,
    security_options: Vec<&'static str>,
    warnings: Option<Vec<String>>,
    server_errors: Option<Vec<String>>,
    client_info: ClientInfo,
}

/// There is none; scripts ask.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Swarm {
    local_node_state: &'static str,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct ClientInfo {
    debug: bool,
    version: &'static str,
    os: &'static str,
    arch: &'static str,
    context: &'static str,
}

fn run(ctx: &Context, parsed: &Parsed<'_>) -> Result<u8, Quit> {
    let info = gather(ctx)?;
    if let Some(format) = parsed.text("format").filter(|format| !format.is_empty()) {
        return print_object(ctx, format, "system.dockerInfo", &info);
    }
    let exec_root = ctx.engine.settings().exec_root.display().to_string();
    ctx.print(text(&info, &exec_root)).map(|()| 0)
}

fn text(info: &Info, exec_root: &str) -> String {
    let mut text = format!("Client:\n Version:    {}\n\nServer:\n", info.server_version);
    let memory = human::binary_size(info.mem_total);
    let lines: [(&str, &dyn std::fmt::Display); 20] = [
        ("Containers", &info.containers),
        (" Running", &info.containers_running),
        (" Paused", &info.containers_paused),
        (" Stopped", &info.containers_stopped),
        ("Images", &info.images),
        ("Server Version", &info.server_version),
        ("Storage Driver", &info.driver),
        ("Logging Driver", &info.logging_driver),
        ("Cgroup Driver", &info.cgroup_driver),
        ("Cgroup Version", &info.cgroup_version),
        ("Security Options", &info.security_options.join(" ")),
        ("Kernel Version", &info.kernel_version),
        ("Operating System", &info.operating_system),
        ("OSType", &info.os_type),
        ("Architecture", &info.architecture),
        ("CPUs", &info.cpus),
        ("Total Memory", &memory),
        ("Name", &info.name),
        ("Docker Root Dir", &info.docker_root_dir),
        ("Exec Root Dir", &exec_root),
    ];
    for (name, value) in lines {
        // Writing into a text does not fail.
        let _ = writeln!(text, " {name}: {value}");
    }
    text
}

fn gather(ctx: &Context) -> Result<Info, Quit> {
    let containers = ctx.engine.containers(false)?;
    let images = ctx.engine.image_count()?;
    let count = |status: Status| containers.iter().filter(|row| row.status == status).count();
    let (running, paused) = (count(Status::Running), count(Status::Paused));
    let (operating_system, os_version) = system();
    let version = env!("CARGO_PKG_VERSION");
    Ok(Info {
        id: machine_id(),
        containers: containers.len(),
        containers_running: running,
        containers_paused: paused,
        containers_stopped: containers.len() - running - paused,
        images,
        driver: "overlay2",
        logging_driver: "local",
        cgroup_driver: "cgroupfs",
        cgroup_version: cgroup_version(),
        kernel_version: version::kernel(),
        operating_system,
        os_version,
        os_type: "linux",
        architecture: std::env::consts::ARCH,
        index_server_address: "https://index.docker.io/v1/",
        cpus: std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
        mem_total: memory(),
        docker_root_dir: ctx.engine.settings().data_root.display().to_string(),
        name: rustix::system::uname().nodename().to_string_lossy().into_owned(),
        labels: Vec::new(),
        experimental_build: false,
        server_version: version,
        default_runtime: "tug",
        swarm: Swarm { local_node_state: "inactive" },
        live_restore_enabled: true,
        init_binary: "tug",
        security_options: vec!["name=seccomp,profile=builtin"],
        warnings: None,
        server_errors: None,
        client_info: ClientInfo {
            debug: false,
            version,
            os: "linux",
            arch: version::architecture(),
            context: "default",
        },
    })
}

fn cgroup_version() -> &'static str {
    if Path::new("/sys/fs/cgroup/cgroup.controllers").exists() { "2" } else { "1" }
}

/// Bytes of memory this machine has.
fn memory() -> u64 {
    let info = rustix::system::sysinfo();
    u64::from(info.mem_unit) * info.totalram as u64
}

/// Name and version of the distribution.
fn system() -> (String, String) {
    let text = std::fs::read_to_string("/etc/os-release").unwrap_or_default();
    let value = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
        line.unwrap_or_default().trim_matches('"').to_owned()
    };
    (value("PRETTY_NAME"), value("VERSION_ID"))
}

/// What tells this machine from others; nothing where nobody wrote it down.
fn machine_id() -> String {
    let text = std::fs::read_to_string("/etc/machine-id").unwrap_or_default();
    text.trim().to_owned()
}
