//! `top`: the processes of a container as ps(1) shows them, read from /proc by tug itself.

use crate::record::Record;
use crate::view::Top;
use crate::{Engine, Error, spec};
use std::collections::HashMap;
use tug_types::Explain;

/// Columns that can be asked for with `-o`, and what `-ef`, the default, shows.
const DEFAULT_COLUMNS: [&str; 8] = ["UID", "PID", "PPID", "C", "STIME", "TTY", "TIME", "CMD"];
const AUX_COLUMNS: [&str; 8] = ["USER", "PID", "VSZ", "RSS", "TTY", "STAT", "TIME", "COMMAND"];

/// Clock ticks of /proc times, 100 on every architecture Linux has user space for.
const TICKS: u64 = 100;

impl Engine {
    /// The processes of a running container. `options` are ps(1)'s: nothing, `-ef`, `aux` or
    /// `-o COLUMN,...`.
    ///
    /// # Errors
    /// When the container does not run, or an option is not known.
    pub fn top(&self, name: &str, options: &[String]) -> Result<Top, Error> {
        let columns = columns(options)?;
        let row = self.container(name)?;
        let record = Record::read(&row)?;
        self.run_state(&row)?.ok_or_else(|| Error::NotRunning { name: row.name.clone() })?;
        let parent = spec::cgroup_parent(&record);
        let pids = tug_runtime::cgroup::pids(&row.id, &parent)
            .map_err(|error| Error::Failed(error.failure()))?;
        let users = users();
        let boot = boot_time();
        let processes = pids
            .into_iter()
            .filter_map(|pid| Process::read(pid, boot))
            .map(|process| columns.iter().map(|column| process.column(column, &users)).collect());
        Ok(Top { processes: processes.collect(), titles: columns })
    }
}

fn columns(options: &[String]) -> Result<Vec<String>, Error> {
    let own = |columns: &[&str]| Ok(columns.iter().map(|column| (*column).to_owned()).collect());
    let words: Vec<&str> = options.iter().map(String::as_str).collect();
    let list = match words.as_slice() {
        [] | ["-ef" | "ef" | "-e" | "-f"] => return own(&DEFAULT_COLUMNS),
        ["aux" | "-aux" | "u"] => return own(&AUX_COLUMNS),
        ["-o" | "o" | "-eo" | "-o=", list] => list,
        [one] if one.starts_with("-o") => &one[2..],
        _ => {
            return Err(Error::BadValue {
                what: "ps options",
                value: words.join(" "),
                why: "tug knows -ef, aux and -o COLUMN,...".to_owned(),
            });
        }
    };
    list.split(',')
        .map(|column| {
            let upper = column.trim().to_ascii_uppercase();
            let known = DEFAULT_COLUMNS.contains(&&*upper) || AUX_COLUMNS.contains(&&*upper);
            if known || matches!(&*upper, "COMM" | "ARGS" | "RUSER") {
                Ok(upper)
            } else {
                Err(Error::BadValue {
                    what: "ps column",
                    value: column.to_owned(),
                    why: format!(
                        "tug knows {}, {}",
                        DEFAULT_COLUMNS.join(", "),
                        AUX_COLUMNS.join(", ")
                    ),
                })
            }
        })
        .collect()
}

/// One process, read from `/proc/PID/{stat,status,cmdline}` (proc_pid_stat(5)).
struct Process {
    pid: i32,
    uid: u32,
    comm: String,
    command: String,
    stat: Vec<String>,
    boot: i64,
}

impl Process {
    /// `None` when it ended meanwhile.
    fn read(pid: i32, boot: i64) -> Option<Self> {
        use std::os::unix::fs::MetadataExt;
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let (before, after) = stat.rsplit_once(')')?;
        let comm = before.split_once('(')?.1.to_owned();
        let words = std::fs::read(format!("/proc/{pid}/cmdline")).ok()?;
        let command = String::from_utf8_lossy(&words).trim_end_matches('\0').replace('\0', " ");
        let command = if command.is_empty() { format!("[{comm}]") } else { command };
        let uid = std::fs::metadata(format!("/proc/{pid}")).ok()?.uid();
        let stat = after.split_whitespace().map(str::to_owned).collect();
        Some(Self { pid, uid, comm, command, stat, boot })
    }

    /// A number of the stat file; fields are counted from 3 (the state) as in the manual page.
    fn field(&self, number: usize) -> u64 {
        self.stat.get(number - 3).and_then(|text| text.parse().ok()).unwrap_or(0)
    }

    fn column(&self, column: &str, users: &HashMap<u32, String>) -> String {
        match column {
            "UID" | "USER" | "RUSER" => {
                users.get(&self.uid).cloned().unwrap_or_else(|| self.uid.to_string())
            }
            "PID" => self.pid.to_string(),
            "PPID" => self.field(4).to_string(),
            "C" => self.cpu_share().to_string(),
            "STIME" => self.start_time(),
            "TTY" => tty_name(self.field(7)),
            "TIME" => clock((self.field(14) + self.field(15)) / TICKS),
            "VSZ" => (self.field(23) / 1024).to_string(),
            "RSS" => (self.field(24) * rustix::param::page_size() as u64 / 1024).to_string(),
            "STAT" => self.stat.first().cloned().unwrap_or_default(),
            "COMM" => self.comm.clone(),
            _ => self.command.clone(),
        }
    }

    fn cpu_share(&self) -> u64 {
        let alive = (crate::time::now() / 1_000_000_000 - self.started()).max(1);
        let used = (self.field(14) + self.field(15)) / TICKS;
        (used * 100 / u64::try_from(alive).unwrap_or(1)).min(99)
    }

    fn started(&self) -> i64 {
        self.boot + i64::try_from(self.field(22) / TICKS).unwrap_or(0)
    }

    fn start_time(&self) -> String {
        let zone = jiff::tz::TimeZone::system();
        jiff::Timestamp::from_second(self.started())
            .map(|time| time.to_zoned(zone).strftime("%H:%M").to_string())
            .unwrap_or_default()
    }
}

fn clock(seconds: u64) -> String {
    format!("{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60)
}

/// Device numbers of terminals: major 136 and up are pseudo terminals.
fn tty_name(device: u64) -> String {
    match (device >> 8 & 0xfff, device & 0xff | device >> 12 & 0xfff00) {
        (0, 0) => "?".to_owned(),
        (136..=143, minor) => format!("pts/{minor}"),
        (4, minor) => format!("tty{minor}"),
        (_, _) => "?".to_owned(),
    }
}

/// Names of the host's users, as Docker's `top` shows them.
fn users() -> HashMap<u32, String> {
    let text = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    text.lines()
        .filter_map(|line| {
            let mut parts = line.split(':');
            let name = parts.next()?.to_owned();
            Some((parts.nth(1)?.parse().ok()?, name))
        })
        .collect()
}

fn boot_time() -> i64 {
    let text = std::fs::read_to_string("/proc/stat").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("btime "));
    line.and_then(|seconds| seconds.trim().parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_come_from_pss_own_options() {
        let words = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(columns(&words("")).unwrap(), DEFAULT_COLUMNS);
        assert_eq!(columns(&words("-o pid,cmd")).unwrap(), ["PID", "CMD"]);
        assert!(columns(&words("-o colour")).is_err() && columns(&words("--forest")).is_err());
    }

    #[test]
    fn our_own_process_can_be_read() {
        let pid = i32::try_from(std::process::id()).unwrap();
        let process = Process::read(pid, boot_time()).unwrap();
        assert_eq!(process.column("PID", &users()), pid.to_string());
        assert_eq!(
            process.column("PPID", &users()),
            std::os::unix::process::parent_id().to_string()
        );
        assert!(process.column("CMD", &users()).contains("tug_engine"));
        let age = crate::time::now() / 1_000_000_000 - process.started();
        assert!((-2..600).contains(&age), "{age}");
    }
}
