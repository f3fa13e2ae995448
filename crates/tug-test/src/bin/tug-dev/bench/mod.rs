//! Times of whole commands, beside the floor and beside other engines.
//!
//! Rivals and floor are measured in turns within one run: this machine's mood changes by the minute.

mod clock;
mod engine;
mod lists;
mod logs;
mod memory;
mod table;

use clock::{Times, time};
use engine::Engine;
pub(crate) use logs::produce;
use std::io;
use std::path::Path;
use std::process::Command;
use table::{Limit, Table};

/// What the shell script prepared.
pub(crate) struct Site<'a> {
    /// The kernel's work alone.
    floor: &'a str,
    /// A fresh file system; holds `rootfs`, room for everything else.
    disk: &'a Path,
}

/// Names a run can be narrowed to.
const PARTS: [&str; 7] = ["run", "exec", "ps", "pss", "lists", "once", "logs"];

/// Measures everything, or the parts named.
pub(crate) fn all(
    product: &str,
    floor: &str,
    disk: &str,
    image: &str,
    parts: &[&str],
) -> io::Result<()> {
    if let Some(unknown) = parts.iter().find(|part| !PARTS.contains(part)) {
        return Err(io::Error::other(format!("no part {unknown}: {}", PARTS.join(" "))));
    }
    let wanted = |part: &str| parts.is_empty() || parts.contains(&part);
    let site = Site { floor, disk: Path::new(disk) };
    let engines = Engine::answering(product, image)?;
    let mut table = Table::new(&engines);
    if wanted("run") {
        runs(&site, &engines, &mut table)?;
    }
    if wanted("exec") {
        exec(&engines, &mut table)?;
    }
    if wanted("once") {
        at_once(&engines, &mut table)?;
    }
    if wanted("ps") || wanted("pss") {
        crowd(&engines, &mut table)?;
    }
    if wanted("lists") {
        lists::measure(&site, &engines, &mut table)?;
    }
    if wanted("logs") {
        logs::measure(&site, &engines, &mut table)?;
    }
    table.print();
    Ok(())
}

/// Prints the most memory a program held, in MB, after running it to a good end.
pub(crate) fn peak(program: &str, arguments: &[&str]) -> io::Result<()> {
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(std::process::Stdio::null())
        .stdout(std::process::Stdio::null())
        .spawn()?;
    let status = format!("/proc/{}/status", child.id());
    let mut peak = 0.0f64;
    // The kernel keeps the mark itself; only its last reading before the end may be missed.
    let ended = loop {
        let text = std::fs::read_to_string(&status).unwrap_or_default();
        let mark = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kib = mark.and_then(|text| text.trim().trim_end_matches(" kB").parse::<f64>().ok());
        peak = peak.max(kib.unwrap_or(0.0) / 1024.0);
        if let Some(ended) = child.try_wait()? {
            break ended;
        }
        std::thread::sleep(std::time::Duration::from_millis(2));
    };
    if !ended.success() {
        return Err(io::Error::other(format!("{program} {arguments:?}: {ended}")));
    }
    println!("{peak:.0}");
    Ok(())
}

const BATCHES: usize = 5;
const BATCH: usize = 10;

fn runs(site: &Site<'_>, engines: &[Engine], table: &mut Table) -> io::Result<()> {
    for (name, floor, flags, limit) in [
        ("run --rm", "bridge", &[][..], 2.5),
        ("run --rm -p 18080:80", "bridge", &["-p", "18080:80"], 3.0),
        ("run --rm --network none", "none", &["--network", "none"], 2.5),
    ] {
        let run = [&["run", "--rm"], flags, &["busybox", "true"]].concat();
        let mut times = vec![Times::default(); engines.len()];
        let mut floors = Times::default();
        for engine in engines {
            engine.ok(&run)?;
        }
        for _ in 0..BATCHES {
            floors.push(floor_mean(site, floor)?);
            for (engine, times) in engines.iter().zip(&mut times) {
                for _ in 0..BATCH {
                    times.push(time(&mut engine.command(&run))?);
                }
            }
        }
        table.row(name, "ms", &times, Some(("floor", floors.mean())), Limit::Ratio(limit));
    }
    Ok(())
}

/// The floor's own mean of one round in milliseconds.
fn floor_mean(site: &Site<'_>, kind: &str) -> io::Result<f64> {
    let rootfs = site.disk.join("rootfs");
    let scratch = site.disk.join("scratch");
    let rounds = BATCH.to_string();
    let output =
        Command::new(site.floor).arg(kind).arg(rootfs).arg(rounds).arg(scratch).output()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let total = text.split("total ").nth(1).and_then(|rest| rest.split(' ').next()?.parse().ok());
    total.ok_or_else(|| {
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        io::Error::other(format!("floor {kind}: {text}{error}"))
    })
}

fn exec(engines: &[Engine], table: &mut Table) -> io::Result<()> {
    let mut times = vec![Times::default(); engines.len()];
    let mut floor = Times::default();
    for engine in engines {
        engine.ok(&["run", "-d", "--name", "bench-exec", "busybox", "sleep", "3600"])?;
    }
    let pid = engines[0].pid("bench-exec")?;
    let nsenter = ["-t", &pid, "-m", "-u", "-i", "-n", "-p", "-C", "true"];
    for _ in 0..BATCHES {
        for _ in 0..BATCH {
            floor.push(time(Command::new("nsenter").args(nsenter))?);
        }
        for (engine, times) in engines.iter().zip(&mut times) {
            for _ in 0..BATCH {
                times.push(time(&mut engine.command(&["exec", "bench-exec", "true"]))?);
            }
        }
    }
    for engine in engines {
        engine.ok(&["rm", "-f", "bench-exec"])?;
    }
    let limit = Limit::ValueOrRatio(6.0, 3.0);
    table.row("exec", "ms", &times, Some(("nsenter", floor.mean())), limit);
    Ok(())
}

/// Twenty runs at the same time against twenty in a row on all cores.
fn at_once(engines: &[Engine], table: &mut Table) -> io::Result<()> {
    let cores = std::thread::available_parallelism()?.get();
    let run = ["run", "--rm", "busybox", "true"];
    let (mut together, mut row) = (Vec::new(), Times::default());
    for (number, engine) in engines.iter().enumerate() {
        let mut times = Times::default();
        for _ in 0..3 {
            let mut sum = 0.0;
            for _ in 0..20 {
                sum += time(&mut engine.command(&run))?;
            }
            if number == 0 {
                row.push(sum / cores as f64);
            }
            let start = std::time::Instant::now();
            let started: Vec<_> = (0..20).map(|_| engine.command(&run).spawn()).collect();
            for child in started {
                if !child?.wait()?.success() {
                    return Err(io::Error::other("one of twenty runs at once failed"));
                }
            }
            times.push(start.elapsed().as_secs_f64() * 1e3);
        }
        together.push(times);
    }
    let beside = Some(("in a row / cores", row.mean()));
    table.row("20 run --rm at once", "ms", &together, beside, Limit::Ratio(3.0));
    Ok(())
}

/// With a hundred containers alive: `ps`, and what each costs in memory.
fn crowd(engines: &[Engine], table: &mut Table) -> io::Result<()> {
    let (mut listing, mut memory) = (Vec::new(), Vec::new());
    for engine in engines {
        let before = memory::of(engine)?;
        for _ in 0..100 {
            engine.ok(&["run", "-d", "--label", "bench", "busybox", "sleep", "3600"])?;
        }
        let mut times = Times::default();
        for _ in 0..BATCHES * BATCH {
            times.push(time(&mut engine.command(&["ps"]))?);
        }
        listing.push(times);
        let mut each = Times::default();
        each.push((memory::of(engine)? - before) / 100.0 / 1024.0);
        memory.push(each);
        let ids = engine.ok(&["ps", "-q", "--filter", "label=bench"])?;
        let mut remove = vec!["rm", "-f"];
        remove.extend(ids.lines());
        engine.ok(&remove)?;
    }
    table.row("ps, 100 alive", "ms", &listing, None, Limit::Value(8.0));
    table.row("PSS of an idle container", "MiB", &memory, None, Limit::Value(1.0));
    Ok(())
}
