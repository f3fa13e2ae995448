//! A shell for images that have none: `tug build --debug` shows the tug binary itself in the container of a
//! failed step, at [`PLACE`], and started under that name it is this. It looks around, and runs programs the
//! image has; it has no pipes, redirections, jobs or scripts, and says so.
//!
//! It must not need anything of the image, nor of the engine: it sees only what the container sees.

mod files;
mod words;

use std::io::{self, BufRead, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::ExitCode;
use std::rc::Rc;

/// Where the toolbox is in a container, and what it is called then.
pub(crate) const PLACE: &str = "/.tug-toolbox";

const HELP: &str = "\
cat FILE...            print files
cd [DIR]               go to a directory
echo [WORD...]         print words
env                    print the variables
exit [CODE]            leave
export NAME=VALUE...   set variables
find [DIR] [PATTERN]   names below a directory; * and ? in the pattern
head [-N] FILE         the first lines of a file
help                   this
id                     who one is
ls [-a] [-l] [PATH...] what is in directories
pwd                    the working directory
stat FILE...           what is known of files
[run] PROGRAM [ARG...] run a program of the image
Words: 'as it is', \"with $NAME\", \\x. There are no pipes, redirections or scripts.
";

/// What a line came to.
enum Flow {
    Next,
    Exit(u8),
}

/// What the lines change.
struct Shell<W> {
    out: W,
    variables: Vec<(String, String)>,
    last: u8,
}

/// Reads lines from the standard input until its end.
pub(crate) fn main() -> ExitCode {
    let interactive = rustix::termios::isatty(rustix::stdio::stdin());
    let variables = std::env::vars_os();
    let text = |os: std::ffi::OsString| os.to_string_lossy().into_owned();
    let variables = variables.map(|(name, value)| (text(name), text(value))).collect();
    let mut shell = Shell { out: io::stdout(), variables, last: 0 };
    let mut input = io::stdin().lock();
    if interactive {
        let _ = writeln!(
            shell.out,
            "tug's toolbox: the image has no shell. `help` lists what there is."
        );
    }
    loop {
        if interactive {
            let _ = write!(shell.out, "{} # ", files::here().display());
        }
        let _ = shell.out.flush();
        let mut line = Vec::new();
        match input.read_until(b'\n', &mut line) {
            Ok(0) | Err(_) => return ExitCode::from(shell.last),
            Ok(_) => {}
        }
        match shell.line(String::from_utf8_lossy(&line).trim()) {
            Flow::Next => {}
            Flow::Exit(code) => return ExitCode::from(code),
        }
    }
}

impl<W: Write> Shell<W> {
    /// Does what one line says. What goes wrong is printed, and is the code of the next `exit`.
    fn line(&mut self, line: &str) -> Flow {
        let variable = |name: &str| {
            let found = self.variables.iter().rev().find(|(known, _)| known == name);
            match name {
                "?" => self.last.to_string(),
                _ => found.map(|(_, value)| value.clone()).unwrap_or_default(),
            }
        };
        let words = match words::split(line, &variable) {
            Ok(words) => words,
            Err(what) => {
                self.complain(format_args!("{what}"));
                return Flow::Next;
            }
        };
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let Some((command, arguments)) = words.split_first() else { return Flow::Next };
        self.last = match (*command, arguments) {
            ("exit", []) => return Flow::Exit(self.last),
            ("exit", [code, ..]) => return Flow::Exit(code.parse().unwrap_or(2)),
            ("run", []) => 0,
            ("run", [program, arguments @ ..]) => self.run(program, arguments),
            (command, arguments) => match self.known(command, arguments) {
                Some(Ok(())) => 0,
                Some(Err(error)) => {
                    self.complain(format_args!("{command}: {error}"));
                    1
                }
                None => self.run(command, arguments),
            },
        };
        Flow::Next
    }

    fn complain(&mut self, what: std::fmt::Arguments<'_>) {
        // Nobody is left to tell when this fails.
        let _ = writeln!(self.out, "{what}");
    }

    fn known(&mut self, command: &str, arguments: &[&str]) -> Option<Result<(), files::Failure>> {
        let out = &mut self.out;
        Some(match command {
            "cat" => arguments.iter().try_for_each(|path| files::cat(out, path)),
            "cd" => files::go(arguments.first().copied().unwrap_or("/")),
            "echo" => files::say(out, &arguments.join(" ")),
            "env" => self
                .variables
                .iter()
                .try_for_each(|(name, value)| files::say(out, &format!("{name}={value}"))),
            "export" => {
                let pairs = arguments.iter().filter_map(|word| word.split_once('='));
                for (name, value) in pairs {
                    self.variables.retain(|(known, _)| known != name);
                    self.variables.push((name.to_owned(), value.to_owned()));
                }
                Ok(())
            }
            "find" => {
                let (dir, pattern) = match arguments {
                    [] => (".", None),
                    [dir] => (*dir, None),
                    [dir, "-name", pattern] | [dir, pattern, ..] => (*dir, Some(*pattern)),
                };
                files::find(out, &PathBuf::from(dir), pattern)
            }
            "head" => match arguments {
                [count, path] if count.starts_with('-') => {
                    files::head(out, path, count[1..].parse().unwrap_or(10))
                }
                paths => paths.iter().try_for_each(|path| files::head(out, path, 10)),
            },
            "help" => files::say(out, HELP.trim_end()),
            "id" => files::id(out),
            "ls" => files::ls(out, arguments),
            "pwd" => files::say(out, &files::here().display().to_string()),
            "stat" => arguments.iter().try_for_each(|path| files::stat(out, path)),
            _ => return None,
        })
    }

    /// Runs a program of the image to its end. Its code, as shells have it.
    #[expect(clippy::disallowed_methods, reason = "inside the container, what the user asks for")]
    fn run(&mut self, program: &str, arguments: &[&str]) -> u8 {
        let _ = self.out.flush();
        let mut command = std::process::Command::new(program);
        let variables: Rc<[_]> = self.variables.clone().into();
        command.args(arguments).env_clear().envs(variables.iter().cloned());
        match command.status() {
            Ok(status) => {
                let code = status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0));
                u8::try_from(code).unwrap_or(u8::MAX)
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.complain(format_args!(
                    "{program}: not found here; `help` lists what there is"
                ));
                127
            }
            Err(error) => {
                self.complain(format_args!("{program}: {error}"));
                126
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What lines print, and the code they leave.
    fn session(lines: &[&str]) -> (String, u8) {
        let variables = vec![("A".to_owned(), "b c".to_owned())];
        let mut shell = Shell { out: Vec::new(), variables, last: 0 };
        for line in lines {
            if let Flow::Exit(code) = shell.line(line) {
                return (String::from_utf8(shell.out).unwrap(), code);
            }
        }
        (String::from_utf8(shell.out).unwrap(), shell.last)
    }

    #[test]
    fn files_are_shown() {
        let temp = tempfile::tempdir().unwrap();
        let top = temp.path().display();
        std::fs::create_dir(temp.path().join("d")).unwrap();
        std::fs::write(temp.path().join("d/f.txt"), "one\ntwo\n").unwrap();
        std::fs::write(temp.path().join(".hidden"), "").unwrap();
        std::os::unix::fs::symlink("d/f.txt", temp.path().join("l")).unwrap();
        assert_eq!(session(&[&format!("cat {top}/d/f.txt")]).0, "one\ntwo\n");
        assert_eq!(session(&[&format!("head -1 {top}/l")]).0, "one\n");
        assert_eq!(session(&[&format!("ls {top}")]).0, "d/\nl\n");
        assert_eq!(session(&[&format!("ls -a {top}")]).0, ".hidden\nd/\nl\n");
        let long = session(&[&format!("ls -l {top}/d {top}/l")]).0;
        assert!(
            long.contains("-rw-r--r--") && long.contains(" 8 ") && long.contains("f.txt"),
            "{long}"
        );
        assert!(long.contains("-> d/f.txt"), "{long}");
        assert_eq!(session(&[&format!("find {top} *.txt")]).0, format!("{top}/d/f.txt\n"));
        let stat = session(&[&format!("stat {top}/l")]).0;
        assert!(stat.contains("symbolic link") && stat.contains("-> d/f.txt"), "{stat}");
        let (said, code) = session(&["cat /nonexistent"]);
        assert!(said.contains("/nonexistent") && code == 1, "{said}");
    }

    #[test]
    fn words_variables_and_codes() {
        assert_eq!(session(&["echo $A \"${A}x\" '$A' \\$A $NONE."]).0, "b c b cx $A $A .\n");
        assert_eq!(session(&["export B=\"x y\"", "echo $B"]).0, "x y\n");
        assert_eq!(session(&["cat /nonexistent", "exit"]).1, 1);
        assert_eq!(session(&["exit 7", "echo never"]), (String::new(), 7));
        for line in ["ls | cat", "echo x > f", "a && b", "echo `x`", "echo 'open"] {
            let (said, _) = session(&[line, ""]);
            assert!(said.contains("toolbox") || said.contains("quote"), "{line}: {said}");
        }
        let (said, code) = session(&["nonesuch"]);
        assert!(said.contains("nonesuch: not found") && code == 127);
        assert_eq!(session(&["run /bin/sh -c 'exit 5'", "exit"]).1, 5);
    }
}
