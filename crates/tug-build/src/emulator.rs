//! Whether the kernel runs programs of another architecture here.
//!
//! Asked for by executing one: the kernel's own answer counts every registered interpreter, also those
//! registered outside of this container, which the list of `binfmt_misc` may not show.

use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};
use tug_dockerfile::Platform;

/// What tells programs apart: class, byte order, and the machine's number in ELF.
const MACHINES: &[(&str, u8, u8, u16)] = &[
    ("386", 1, 1, 3),
    ("amd64", 2, 1, 62),
    ("arm", 1, 1, 40),
    ("arm64", 2, 1, 183),
    ("loong64", 2, 1, 258),
    ("mips64", 2, 2, 8),
    ("mips64le", 2, 1, 8),
    ("ppc64le", 2, 1, 21),
    ("riscv64", 2, 1, 243),
    ("s390x", 2, 2, 22),
];

#[expect(
    clippy::disallowed_methods,
    reason = "what is started is no program: the kernel is asked whether it would take one"
)]
/// `false` only when the kernel takes no program of that platform. `dir` is for the trial.
pub(crate) fn can_run(platform: &Platform, dir: &Path) -> bool {
    let host = Platform::host();
    if platform.os != host.os {
        return false;
    }
    if platform.architecture == host.architecture {
        return true;
    }
    let Some(header) = program(&platform.architecture) else { return true };
    let path = dir.join(format!("trial-{}", platform.architecture));
    let tried = write(&path, &header).and_then(|()| {
        let nothing = || Stdio::null();
        Command::new(&path).stdin(nothing()).stdout(nothing()).stderr(nothing()).spawn()
    });
    let _ = std::fs::remove_file(&path);
    match tried {
        // The interpreter has it, whatever it makes of it.
        Ok(mut child) => {
            let _ = child.wait();
            true
        }
        Err(error) => error.raw_os_error() != Some(rustix::io::Errno::NOEXEC.raw_os_error()),
    }
}

fn write(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let mut file = std::fs::File::create(path)?;
    file.write_all(bytes)?;
    file.set_permissions(std::fs::Permissions::from_mode(0o700))
}

/// The head of a program of that architecture. There is nothing in it to run.
fn program(architecture: &str) -> Option<Vec<u8>> {
    let (_, class, order, machine) =
        MACHINES.iter().find(|(name, ..)| *name == architecture).copied()?;
    let number = |value: u16| if order == 1 { value.to_le_bytes() } else { value.to_be_bytes() };
    let mut bytes = vec![0x7f, b'E', b'L', b'F', class, order, 1, 0];
    bytes.resize(16, 0);
    bytes.extend(number(2));
    bytes.extend(number(machine));
    bytes.resize(256, 0);
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_without_an_interpreter_is_known_before_it_runs() {
        let dir = tempfile::tempdir().unwrap();
        assert!(can_run(&Platform::host(), dir.path()));
        let registered = std::fs::read_dir("/proc/sys/fs/binfmt_misc")
            .is_ok_and(|mut entries| entries.next().is_some());
        if !registered {
            assert!(!can_run(&"linux/s390x".parse().unwrap(), dir.path()));
        }
        assert!(!can_run(&"windows/amd64".parse().unwrap(), dir.path()));
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0, "nothing stays");
    }
}
