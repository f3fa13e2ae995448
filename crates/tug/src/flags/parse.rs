//! From words to flags and arguments.

use super::{Command, Flag, Takes};
use crate::quit::Quit;
use crate::suggest;
use std::fmt::Display;

/// Flags and arguments as written, in their order.
#[derive(Debug)]
pub(crate) struct Parsed<'a> {
    command: &'a Command,
    flags: Vec<(&'static Flag, String)>,
    /// Everything that is no flag.
    pub arguments: Vec<String>,
    /// `--help` was asked for: nothing else counts.
    pub help: bool,
}

/// Reads the words after a command's name.
///
/// # Errors
/// [`Quit::usage`] in the words Docker uses.
pub(crate) fn parse<'a>(command: &'a Command, words: Vec<String>) -> Result<Parsed<'a>, Quit> {
    let mut parsed = Parsed { command, flags: Vec::new(), arguments: Vec::new(), help: false };
    let mut words = words.into_iter();
    while let Some(word) = words.next() {
        if word == "--" {
            parsed.arguments.extend(words);
            break;
        }
        let taken = match word.strip_prefix("--") {
            Some(long) => parsed.long(long, &mut words),
            None if word.len() > 1 && word.starts_with('-') => parsed.letters(&word, &mut words),
            None => {
                parsed.arguments.push(word);
                if command.verbatim {
                    parsed.arguments.extend(words);
                    break;
                }
                Ok(())
            }
        };
        taken?;
        if parsed.help {
            return Ok(parsed);
        }
    }
    match command.arguments.wrong(parsed.arguments.len()) {
        Some(wrong) => Err(Quit::arguments(command, &wrong)),
        None => Ok(parsed),
    }
}

impl Parsed<'_> {
    fn long(&mut self, text: &str, words: &mut impl Iterator<Item = String>) -> Result<(), Quit> {
        let (name, attached) = match text.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (text, None),
        };
        let Some(flag) = self.command.all_flags().find(|flag| flag.name == name) else {
            if name == "help" {
                self.help = true;
                return Ok(());
            }
            let known = self.command.all_flags().filter(|flag| !flag.help.is_empty());
            let close = suggest::closest(name, known.map(|flag| flag.name));
            return Err(Quit::usage(self.command, format!("unknown flag: --{name}"))
                .did_you_mean(close.map(|close| format!("--{close}"))));
        };
        let value = match (flag.takes, attached) {
            (Takes::Switch, None) => "true".to_owned(),
            (_, Some(value)) => value,
            (Takes::Value(_), None) => words.next().ok_or_else(|| {
                Quit::usage(self.command, format!("flag needs an argument: --{name}"))
            })?,
        };
        self.put(flag, value)
    }

    /// `-it`, `-eA=b`, `-p 80`, `-t=false`
    fn letters(
        &mut self,
        word: &str,
        words: &mut impl Iterator<Item = String>,
    ) -> Result<(), Quit> {
        let mut rest = &word[1..];
        while let Some(letter) = rest.chars().next() {
            rest = &rest[letter.len_utf8()..];
            let Some(flag) = self.command.all_flags().find(|flag| flag.short == letter) else {
                if letter == 'h' {
                    self.help = true;
                    return Ok(());
                }
                return Err(Quit::usage(
                    self.command,
                    format!("unknown shorthand flag: '{letter}' in -{letter}{rest}"),
                ));
            };
            let value = match (flag.takes, rest.strip_prefix('=')) {
                (_, Some(value)) => value.to_owned(),
                (Takes::Switch, None) => {
                    self.put(flag, "true".to_owned())?;
                    continue;
                }
                (Takes::Value(_), None) if !rest.is_empty() => rest.to_owned(),
                (Takes::Value(_), None) => words.next().ok_or_else(|| {
                    Quit::usage(
                        self.command,
                        format!("flag needs an argument: '{letter}' in -{letter}"),
                    )
                })?,
            };
            return self.put(flag, value);
        }
        Ok(())
    }

    fn put(&mut self, flag: &'static Flag, value: String) -> Result<(), Quit> {
        let flag = match flag.means {
            Some(name) => self.command.all_flags().find(|flag| flag.name == name).unwrap_or(flag),
            None => flag,
        };
        if flag.takes == Takes::Switch && truth(&value).is_none() {
            return Err(self.bad(flag, &value, "expected true or false"));
        }
        self.flags.push((flag, value));
        Ok(())
    }

    fn bad(&self, flag: &Flag, value: &str, why: impl Display) -> Quit {
        let shown = flag.shown();
        Quit::usage(self.command, format!("invalid argument {value:?} for \"{shown}\" flag: {why}"))
    }

    /// The first argument.
    pub(crate) fn first(&self) -> &str {
        self.arguments.first().map_or("", String::as_str)
    }

    /// Every value of a flag, in order.
    pub(crate) fn all(&self, name: &str) -> impl Iterator<Item = &str> {
        debug_assert!(
            self.command.all_flags().any(|flag| flag.name == name),
            "{} has no flag {name}",
            self.command.names[0]
        );
        self.flags.iter().filter(move |(flag, _)| flag.name == name).map(|(_, text)| text.as_str())
    }

    /// The same, owned.
    pub(crate) fn list(&self, name: &str) -> Vec<String> {
        self.all(name).map(str::to_owned).collect()
    }

    /// A flag's last value.
    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        self.all(name).last()
    }

    /// A flag's last value, empty when it was not given.
    pub(crate) fn text_or_empty(&self, name: &str) -> String {
        self.text(name).unwrap_or_default().to_owned()
    }

    /// Whether it was given at all.
    pub(crate) fn given(&self, name: &str) -> bool {
        self.text(name).is_some()
    }

    /// A switch, if it was given.
    pub(crate) fn switch(&self, name: &str) -> Option<bool> {
        self.text(name).and_then(truth)
    }

    /// A switch that is off unless given.
    pub(crate) fn on(&self, name: &str) -> bool {
        self.switch(name).unwrap_or(false)
    }

    /// A flag's last value, read by `read`.
    ///
    /// # Errors
    /// `invalid argument … for … flag: …` with what `read` says.
    pub(crate) fn read<T, E: Display>(
        &self,
        name: &str,
        read: impl Fn(&str) -> Result<T, E>,
    ) -> Result<Option<T>, Quit> {
        Ok(self.read_all(name, read)?.pop())
    }

    /// All values of a flag, each read by `read`.
    ///
    /// # Errors
    /// As for [`Parsed::read`].
    pub(crate) fn read_all<T, E: Display>(
        &self,
        name: &str,
        read: impl Fn(&str) -> Result<T, E>,
    ) -> Result<Vec<T>, Quit> {
        let values = self.flags.iter().filter(|(flag, _)| flag.name == name);
        values.map(|(flag, text)| read(text).map_err(|why| self.bad(flag, text, why))).collect()
    }

    /// A flag's last value as a whole number.
    ///
    /// # Errors
    /// When it is none.
    pub(crate) fn number<T: std::str::FromStr>(&self, name: &str) -> Result<Option<T>, Quit> {
        self.read(name, |text| text.parse().map_err(|_| "expected a whole number"))
    }

    /// A wrong use found after parsing: Docker's exit code 125.
    pub(crate) fn wrong(&self, message: impl Into<String>) -> Quit {
        Quit::usage(self.command, message.into())
    }
}

/// Go's `strconv.ParseBool`.
fn truth(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flags::Arguments;

    const FLAGS: &[Flag] = &[
        Flag::switch("interactive", "x").short('i'),
        Flag::switch("tty", "x").short('t'),
        Flag::switch("init", "x"),
        Flag::value("env", "list", "x").short('e'),
        Flag::value("hostname", "string", "x").short('h'),
        Flag::value("network", "network", "x"),
        Flag::alias("net", "network"),
    ];
    const RUN: Command = Command {
        names: &["run"],
        usage: "IMAGE",
        about: "",
        flags: &[FLAGS],
        arguments: Arguments::AtLeast(1),
        verbatim: true,
        run: |_, _| Ok(0),
    };
    const RM: Command = Command {
        names: &["rm"],
        flags: &[&[Flag::switch("force", "x").short('f')]],
        verbatim: false,
        ..RUN
    };

    fn words(line: &str) -> Vec<String> {
        line.split_whitespace().map(str::to_owned).collect()
    }

    fn shown(line: &str) -> (Vec<String>, Vec<String>) {
        let parsed = parse(&RUN, words(line)).unwrap();
        let flags = parsed.flags.iter().map(|(flag, value)| format!("{}={value}", flag.name));
        (flags.collect(), parsed.arguments)
    }

    fn error(command: &Command, line: &str) -> String {
        parse(command, words(line)).unwrap_err().to_string()
    }

    #[test]
    fn values_attach_as_in_docker() {
        for (line, flags, arguments) in [
            ("-it b sh", "interactive=true tty=true", "b sh"),
            (
                "-eB=2 -e=C=3 -e D=4 --env E --env=F=5 b",
                "env=B=2 env=C=3 env=D=4 env=E env=F=5",
                "b",
            ),
            ("-iteX b", "interactive=true tty=true env=X", "b"),
            ("-it=false b", "interactive=true tty=false", "b"),
            ("--init=0 b", "init=0", "b"),
            ("-hname b", "hostname=name", "b"),
            ("-h name b", "hostname=name", "b"),
            ("--net host b", "network=host", "b"),
            ("-- b x", "", "b x"),
            ("b -- x", "", "b -- x"),
            ("b -it --rm", "", "b -it --rm"),
            ("-e -i b", "env=-i", "b"),
            ("- b", "", "- b"),
        ] {
            assert_eq!(shown(line), (words(flags), words(arguments)), "{line}");
        }
    }

    #[test]
    fn flags_may_follow_arguments_where_the_command_is_not_verbatim() {
        let parsed = parse(&RM, words("a -f b -- -c")).unwrap();
        assert!(parsed.on("force"));
        assert_eq!(parsed.arguments, ["a", "b", "-c"]);
    }

    #[test]
    fn wrong_flags_are_told_in_dockers_words() {
        for (line, message) in [
            ("--foo b", "unknown flag: --foo"),
            ("--foo=bar b", "unknown flag: --foo"),
            ("-itz b", "unknown shorthand flag: 'z' in -z"),
            ("--env", "flag needs an argument: --env"),
            ("-ie", "flag needs an argument: 'e' in -e"),
            ("-t=x b", "invalid argument \"x\" for \"-t, --tty\" flag: expected true or false"),
            ("--init=x b", "invalid argument \"x\" for \"--init\" flag: expected true or false"),
            ("-i", "'tug run' requires at least 1 argument"),
        ] {
            assert_eq!(error(&RUN, line), message, "{line}");
        }
    }

    #[test]
    fn help_wins_over_what_is_missing_and_a_letter_of_the_command_wins_over_help() {
        assert!(parse(&RUN, words("--help")).unwrap().help);
        assert!(parse(&RM, words("-h")).unwrap().help);
        assert!(!parse(&RUN, words("-h x b")).unwrap().help);
    }

    #[test]
    fn argument_counts_are_told_in_dockers_words() {
        for (arguments, count, wrong) in [
            (Arguments::Exactly(0), 1, Some("accepts no arguments")),
            (Arguments::Exactly(2), 1, Some("requires 2 arguments")),
            (Arguments::AtLeast(2), 1, Some("requires at least 2 arguments")),
            (Arguments::Between(1, 2), 3, Some("requires at least 1 and at most 2 arguments")),
            (Arguments::Between(0, 1), 2, Some("requires at most 1 argument")),
            (Arguments::Between(0, 1), 0, None),
        ] {
            assert_eq!(arguments.wrong(count).as_deref(), wrong);
        }
    }
}
