//! What one container's life costs below the engine: `cargo run --release -p tug-runtime --example rounds
//! -- ROOTFS ROUNDS [SCRATCH]` as root. The mean milliseconds of each phase, to be read beside
//! `./floor none ROOTFS ROUNDS` of the project's bench: the same kernel work with nothing around it.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use tug_runtime::{ContainerSpec, Rootfs, Stdio, cgroup};
use tug_types::ContainerId;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

const PHASES: [&str; 5] = ["prepare", "spawn", "start", "wait", "remove"];
const PARENT: &str = "tug-rounds";

fn main() -> Result<()> {
    let mut args = std::env::args().skip(1);
    let (Some(rootfs), Some(rounds)) = (args.next(), args.next()) else {
        return Err("usage: rounds ROOTFS ROUNDS [SCRATCH]".into());
    };
    let rounds: u32 = rounds.parse()?;
    let scratch = PathBuf::from(args.next().unwrap_or_else(|| "rounds-scratch".to_owned()));
    std::fs::create_dir_all(&scratch)?;
    let scratch = scratch.canonicalize()?;
    let rootfs = Path::new(&rootfs).canonicalize()?;
    round(&rootfs, &scratch)?;
    let mut sums = [Duration::ZERO; PHASES.len()];
    for _ in 0..rounds {
        for (sum, phase) in sums.iter_mut().zip(round(&rootfs, &scratch)?) {
            *sum += phase;
        }
    }
    cgroup::remove_parent(PARENT)?;
    std::fs::remove_dir_all(scratch)?;
    let milliseconds = |sum: Duration| sum.as_secs_f64() * 1e3 / f64::from(rounds);
    let mut line = String::from("runtime:");
    for (name, sum) in PHASES.iter().zip(sums) {
        line += &format!(" {name} {:.2} ", milliseconds(sum));
    }
    line += &format!(" total {:.2} ms\n", milliseconds(sums.iter().sum()));
    std::io::stdout().write_all(line.as_bytes())?;
    Ok(())
}

fn round(rootfs: &Path, scratch: &Path) -> Result<[Duration; PHASES.len()]> {
    let begin = Instant::now();
    for name in ["upper", "work", "rootfs"] {
        std::fs::create_dir(scratch.join(name))?;
    }
    let spec = spec(rootfs, scratch)?;
    let prepared = Instant::now();
    let null = || File::options().read(true).write(true).open("/dev/null").map(Into::into);
    let stdio = Stdio::Pipes { stdin: null()?, stdout: null()?, stderr: null()? };
    let created = tug_runtime::spawn(&spec, stdio)?;
    let spawned = Instant::now();
    let running = created.start()?;
    let started = Instant::now();
    let code = running.wait()?;
    let ended = Instant::now();
    cgroup::remove(&spec.id, PARENT)?;
    for name in ["upper", "work/work", "work", "rootfs"] {
        match std::fs::remove_dir(scratch.join(name)) {
            Err(error) if error.kind() == std::io::ErrorKind::DirectoryNotEmpty => {
                std::fs::remove_dir_all(scratch.join(name))?;
            }
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error.into()),
            _ => {}
        }
    }
    if code != 0 {
        return Err(format!("/bin/true ended with {code}").into());
    }
    let removed = Instant::now();
    Ok([prepared - begin, spawned - prepared, started - spawned, ended - started, removed - ended])
}

fn spec(rootfs: &Path, scratch: &Path) -> Result<ContainerSpec> {
    let rootfs = Rootfs::Overlay {
        lowers: vec![rootfs.to_owned()],
        upper: scratch.join("upper"),
        work: scratch.join("work"),
        mount_point: scratch.join("rootfs"),
        volatile: true,
    };
    Ok(ContainerSpec::plain(ContainerId::random()?, rootfs, &["/bin/true"], PARENT))
}
