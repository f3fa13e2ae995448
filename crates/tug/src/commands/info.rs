//! `info`: what there is and what it runs on.

use super::version::{self, FORMAT, print_object};
use crate::context::Context;
use crate::flags::{Arguments, Command, Parsed};
use crate::quit::Quit;
use serde::Serialize;
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

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Info {
    containers: usize,
    containers_running: usize,
    containers_paused: usize,
    containers_stopped: usize,
    images: usize,
    driver: &'static str,
    cgroup_version: &'static str,
    kernel_version: String,
    #[serde(rename = "OSType")]
    os_type: &'static str,
    architecture: &'static str,
    #[serde(rename = "NCPU")]
    cpus: usize,
    mem_total: u64,
    docker_root_dir: String,
    name: String,
    server_version: &'static str,
}

fn run(ctx: &Context, parsed: &Parsed<'_>) -> Result<u8, Quit> {
    let info = gather(ctx)?;
    if let Some(format) = parsed.text("format").filter(|format| !format.is_empty()) {
        return print_object(ctx, format, "system.dockerInfo", &info);
    }
    ctx.print(format!(
        "Containers: {}\n Running: {}\n Paused: {}\n Stopped: {}\nImages: {}\nVersion: {}\n\
         Storage Driver: {}\nCgroup Version: {}\nKernel Version: {}\nOSType: {}\nArchitecture: {}\n\
         CPUs: {}\nTotal Memory: {} bytes\nName: {}\nData Root: {}\nExec Root: {}\n",
        info.containers,
        info.containers_running,
        info.containers_paused,
        info.containers_stopped,
        info.images,
        info.server_version,
        info.driver,
        info.cgroup_version,
        info.kernel_version,
        info.os_type,
        info.architecture,
        info.cpus,
        info.mem_total,
        info.name,
        info.docker_root_dir,
        ctx.engine.settings().exec_root.display(),
    ))
    .map(|()| 0)
}

fn gather(ctx: &Context) -> Result<Info, Quit> {
    let containers = ctx.engine.containers(false)?;
    let images = ctx.engine.image_count()?;
    let count = |status: Status| containers.iter().filter(|row| row.status == status).count();
    let (running, paused) = (count(Status::Running), count(Status::Paused));
    Ok(Info {
        containers: containers.len(),
        containers_running: running,
        containers_paused: paused,
        containers_stopped: containers.len() - running - paused,
        images,
        driver: "overlay2",
        cgroup_version: cgroup_version(),
        kernel_version: version::kernel(),
        os_type: "linux",
        architecture: std::env::consts::ARCH,
        cpus: std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
        mem_total: memory(),
        docker_root_dir: ctx.engine.settings().data_root.display().to_string(),
        name: rustix::system::uname().nodename().to_string_lossy().into_owned(),
        server_version: env!("CARGO_PKG_VERSION"),
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
