//! Finding the program to execute, and saying why it could not be: the kernel's one errno stands for
//! many causes, and the image itself is at hand to tell them apart.

use crate::Error;
use rustix::fs::{Mode, OFlags};
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use tug_types::Kind;

/// The program's path: as written when it has a slash, else the first executable file in PATH.
pub(crate) fn find(args: &[String], environment: &[String]) -> Result<String, Error> {
    let name = args.first().map(String::as_str).unwrap_or_default();
    if name.contains('/') {
        return Ok(name.to_owned());
    }
    let path = environment.iter().rev().find_map(|variable| variable.strip_prefix("PATH="));
    let mut seen_unusable = None;
    for directory in path.unwrap_or_default().split(':').filter(|_| !name.is_empty()) {
        let directory = if directory.is_empty() { "." } else { directory };
        let candidate = format!("{}/{name}", directory.trim_end_matches('/'));
        let Ok(metadata) = std::fs::metadata(&candidate) else { continue };
        if metadata.is_file() && metadata.mode() & 0o111 != 0 {
            return Ok(candidate);
        }
        seen_unusable.get_or_insert(candidate);
    }
    match seen_unusable {
        Some(candidate) => Err(not_executable(
            format!("exec: {candidate:?}: permission denied: the file is not executable"),
            Some(format!("make it executable in the image: `RUN chmod +x {candidate}`")),
        )),
        None => Err(not_found(
            format!("exec: {name:?}: executable file not found in $PATH"),
            Some("check the command's name, or give its full path inside the image".to_owned()),
        )),
    }
}

/// Refuses to execute tug's own file, which a link of /proc shows inside: a program of the container must
/// not become a way to the host's file. (That it cannot be written through the link is the doing of
/// `tug_sys::sealed`; this says so in words.)
pub(crate) fn refuse_own(program: &str) -> Result<(), Error> {
    let identity = |path: &str| std::fs::metadata(path).ok().map(|m| (m.dev(), m.ino()));
    let Some(own) = identity("/proc/self/exe") else { return Ok(()) };
    let interpreter = || {
        let head = head(program);
        shebang(&head).and_then(|line| line.split([' ', '\t']).next()).map(str::to_owned)
    };
    let is_own = identity(program) == Some(own)
        || interpreter().is_some_and(|interpreter| identity(&interpreter) == Some(own));
    match is_own {
        true => Err(not_executable(
            format!("exec: {program:?}: it leads to tug's own file through /proc/self/exe"),
            Some("give the path of a program of the image".to_owned()),
        )),
        false => Ok(()),
    }
}

/// Why execve(2) of this path failed.
pub(crate) fn failed(program: &str, error: &std::io::Error) -> Error {
    let metadata = std::fs::metadata(program);
    match (error.raw_os_error(), metadata) {
        (Some(libc::ENOENT), Err(_)) => not_found(
            format!("exec: {program:?}: stat {program}: no such file or directory"),
            Some("check the path; it is looked up inside the container".to_owned()),
        ),
        (Some(libc::ENOENT), Ok(_)) => missing_interpreter(program),
        (Some(libc::EACCES), Ok(metadata)) if metadata.is_dir() => {
            not_executable(format!("exec: {program:?}: is a directory"), None)
        }
        (Some(libc::EACCES), Ok(metadata)) if metadata.mode() & 0o111 == 0 => not_executable(
            format!("exec: {program:?}: permission denied: the file is not executable"),
            Some(format!("make it executable in the image: `RUN chmod +x {program}`")),
        ),
        (Some(libc::EACCES), _) if mounted_noexec(program) => not_executable(
            format!("exec: {program:?}: permission denied: it is on a filesystem mounted noexec"),
            Some("mount it with the exec option".to_owned()),
        ),
        (Some(libc::EACCES), _) => interpreter_denied(program),
        (Some(libc::ENOEXEC), _) => bad_format(program),
        (Some(libc::ENOTDIR), _) => {
            not_executable(format!("exec: {program:?}: not a directory"), None)
        }
        _ => not_executable(format!("exec: {program:?}: {}", errno_text(error)), None),
    }
}

fn not_found(message: String, hint: Option<String>) -> Error {
    Error::Exec { message, kind: Kind::CommandNotFound, hint }
}

fn not_executable(message: String, hint: Option<String>) -> Error {
    Error::Exec { message, kind: Kind::NotExecutable, hint }
}

/// Rust adds "(os error 2)", which is noise for a person.
fn errno_text(error: &std::io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or(&text).to_lowercase()
}

/// The file is there, so what is missing is what it names to be run by.
fn missing_interpreter(program: &str) -> Error {
    let head = head(program);
    if let Some(line) = shebang(&head) {
        let interpreter = line.split([' ', '\t']).next().unwrap_or(line);
        if let Some(bare) = interpreter.strip_suffix('\r').or(line.strip_suffix('\r')) {
            return not_found(
                format!(
                    "exec: {program:?}: its first line asks for the interpreter {:?}: the file has Windows line ends (CRLF)",
                    format!("{}\r", bare.trim_end())
                ),
                Some(format!(
                    "convert it: `sed -i 's/\\r$//' {program}`, or set eol=lf in .gitattributes"
                )),
            );
        }
        return not_found(
            format!(
                "exec: {program:?}: its interpreter {interpreter:?} does not exist in the image"
            ),
            Some(format!("install {interpreter} in the image, or correct the script's first line")),
        );
    }
    match elf_loader(&head) {
        Some(loader) => not_found(
            format!("exec: {program:?}: its dynamic loader {loader:?} does not exist in the image"),
            Some(
                "build it statically, or use an image with the C library it was built for"
                    .to_owned(),
            ),
        ),
        None => not_found(format!("exec: {program:?}: no such file or directory"), None),
    }
}

fn interpreter_denied(program: &str) -> Error {
    let head = head(program);
    match shebang(&head) {
        Some(line) => {
            let interpreter = line.split([' ', '\t']).next().unwrap_or(line);
            not_executable(
                format!("exec: {program:?}: its interpreter {interpreter:?}: permission denied"),
                None,
            )
        }
        None => not_executable(format!("exec: {program:?}: permission denied"), None),
    }
}

fn bad_format(program: &str) -> Error {
    let head = head(program);
    let (why, hint) = if head.is_empty() {
        ("the file is empty".to_owned(), None)
    } else if let Some(machine) = elf_machine(&head) {
        let host = machine_name(HOST_MACHINE);
        (
            format!("it is built for {}, this machine is {host}", machine_name(machine)),
            Some(
                "use an image of this platform, or register an emulator with the kernel (Debian: apt-get \
                 install qemu-user-static)"
                    .to_owned(),
            ),
        )
    } else {
        (
            "it is neither a program nor a script with a #! line".to_owned(),
            Some("begin the script with a line such as #!/bin/sh".to_owned()),
        )
    };
    not_executable(format!("exec: {program:?}: exec format error: {why}"), hint)
}

fn head(program: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    // A named pipe would keep whoever opens it waiting.
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = rustix::fs::open(program, flags, Mode::empty()).map(std::fs::File::from);
    if let Ok(file) = file
        && file.metadata().is_ok_and(|metadata| metadata.is_file())
    {
        // What cannot be read explains nothing, which the callers cope with.
        let _ = file.take(4096).read_to_end(&mut bytes);
    }
    bytes
}

/// The first line after `#!`, blanks before the interpreter removed.
fn shebang(head: &[u8]) -> Option<&str> {
    let line = head.strip_prefix(b"#!")?.split(|byte| *byte == b'\n').next()?;
    std::str::from_utf8(line).ok().map(|line| line.trim_start_matches([' ', '\t']))
}

#[cfg(target_arch = "x86_64")]
const HOST_MACHINE: u16 = 62;
#[cfg(target_arch = "aarch64")]
const HOST_MACHINE: u16 = 183;
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
const HOST_MACHINE: u16 = 0;

/// `e_machine` (elf(5)).
fn machine_name(machine: u16) -> String {
    match machine {
        3 => "i386".to_owned(),
        8 => "mips".to_owned(),
        20 | 21 => "ppc64le".to_owned(),
        22 => "s390x".to_owned(),
        40 => "arm".to_owned(),
        62 => "amd64".to_owned(),
        183 => "arm64".to_owned(),
        243 => "riscv64".to_owned(),
        258 => "loong64".to_owned(),
        other => format!("ELF machine {other}"),
    }
}

fn elf_machine(head: &[u8]) -> Option<u16> {
    if !head.starts_with(b"\x7fELF") {
        return None;
    }
    let bytes = [*head.get(18)?, *head.get(19)?];
    let little = head.get(5) == Some(&1);
    Some(if little { u16::from_le_bytes(bytes) } else { u16::from_be_bytes(bytes) })
}

/// `PT_INTERP` of a 64-bit little-endian ELF file.
fn elf_loader(head: &[u8]) -> Option<String> {
    if !head.starts_with(b"\x7fELF\x02\x01") {
        return None;
    }
    let number = |at: usize, size: usize| {
        let bytes = head.get(at..at + size)?;
        Some(bytes.iter().rev().fold(0usize, |number, byte| number << 8 | usize::from(*byte)))
    };
    let (table, size, count) = (number(32, 8)?, number(54, 2)?, number(56, 2)?);
    for index in 0..count {
        let at = table.checked_add(index.checked_mul(size)?)?;
        if number(at, 4)? == 3 {
            let (start, length) = (number(at + 8, 8)?, number(at + 32, 8)?);
            let text = head.get(start..start.checked_add(length)?)?;
            return String::from_utf8(text.strip_suffix(b"\0").unwrap_or(text).to_vec()).ok();
        }
    }
    None
}

fn mounted_noexec(program: &str) -> bool {
    let noexec = rustix::fs::StatVfsMountFlags::NOEXEC;
    rustix::fs::statvfs(Path::new(program)).is_ok_and(|stat| stat.f_flag.contains(noexec))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    /// What executing a file of this content and mode would be answered.
    fn verdict(name: &str, content: &[u8], mode: u32) -> Error {
        let dir = std::env::temp_dir().join(format!("tug-explain-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let path = dir.join(name);
        std::fs::write(&path, content).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        let text = path.to_str().unwrap().to_owned();
        let c = CString::new(text.clone()).unwrap();
        let image = tug_sys::process::Image::new(std::slice::from_ref(&text), &[]).unwrap();
        let error = failed(&text, &image.execute(&c));
        std::fs::remove_file(path).unwrap();
        // Another test of this process may have a file in it.
        let _ = std::fs::remove_dir(dir);
        error
    }

    use std::ffi::CString;

    #[test]
    fn every_cause_has_its_own_words() {
        let loader = |machine: u8| {
            let mut elf = b"\x7fELF\x02\x01\x01".to_vec();
            elf.resize(18, 0);
            elf.extend([machine, 0]);
            elf.resize(64, 0);
            elf
        };
        for (name, content, mode, words, kind) in [
            ("crlf", &b"#!/bin/sh\r\necho\r\n"[..], 0o755, "CRLF", Kind::CommandNotFound),
            (
                "gone",
                b"#!/no/such/interpreter -x\n",
                0o755,
                "\"/no/such/interpreter\" does not exist",
                Kind::CommandNotFound,
            ),
            ("plain", b"#!/bin/sh\n", 0o644, "not executable", Kind::NotExecutable),
            ("empty", b"", 0o755, "empty", Kind::NotExecutable),
            ("text", b"echo hello\n", 0o755, "neither a program", Kind::NotExecutable),
            ("arm", &loader(183), 0o755, "built for arm64", Kind::NotExecutable),
        ] {
            let Error::Exec { message, kind: found, .. } = verdict(name, content, mode) else {
                panic!("{name}: another kind of error");
            };
            assert!(message.contains(words), "{name}: {message}");
            assert_eq!(found, kind, "{name}: {message}");
        }
    }

    #[test]
    fn path_is_searched_in_order_and_misses_are_said() {
        let environment = ["PATH=/nonexistent:/bin:/usr/bin".to_owned()];
        assert_eq!(find(&["sh".to_owned()], &environment).unwrap(), "/bin/sh");
        let error = find(&["no-such-program".to_owned()], &environment).unwrap_err();
        assert_eq!(
            error.to_string(),
            "exec: \"no-such-program\": executable file not found in $PATH"
        );
        assert!(find(&["sh".to_owned()], &[]).is_err());
        assert_eq!(find(&["./x".to_owned()], &[]).unwrap(), "./x");
    }
}
