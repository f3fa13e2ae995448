//! Help, from the tables.

use super::{Command, Flag, Takes};
use std::fmt::Write;

/// Columns the help is folded to when the terminal's width is not known, as Docker's.
const WIDTH: usize = 80;

/// `tug ps [OPTIONS]`
pub(crate) fn usage_line(command: &Command) -> String {
    format!("{} {}", command.path(), command.usage).trim_end().to_owned()
}

/// What `tug COMMAND --help` prints.
pub(crate) fn help(command: &Command) -> String {
    let mut text = format!("Usage:  {}\n\n{}\n", usage_line(command), command.about);
    if command.names.len() > 1 {
        let names: Vec<String> = command
            .names
            .iter()
            .skip(1)
            .chain(command.names.first())
            .map(|name| format!("tug {name}"))
            .collect();
        let _ = write!(text, "\nAliases:\n  {}\n", names.join(", "));
    }
    let options = options(command);
    if !options.is_empty() {
        text.push_str("\nOptions:\n");
        text.push_str(&options);
    }
    text
}

/// The lines of a command's flags, their explanations in one column.
pub(crate) fn options(command: &Command) -> String {
    let mut flags: Vec<&Flag> = command.all_flags().filter(|flag| !flag.help.is_empty()).collect();
    flags.sort_by_key(|flag| flag.name);
    let lefts: Vec<String> = flags.iter().map(|flag| left(flag)).collect();
    let column = lefts.iter().map(String::len).max().unwrap_or(0) + 3;
    let mut text = String::new();
    for (flag, left) in flags.iter().zip(&lefts) {
        let _ = write!(text, "{left:column$}");
        let mut first = true;
        for line in fold(flag.help, WIDTH.saturating_sub(column)) {
            if !first {
                let _ = write!(text, "{:column$}", "");
            }
            text.push_str(&line);
            text.push('\n');
            first = false;
        }
    }
    text
}

fn left(flag: &Flag) -> String {
    let short = match flag.short {
        '\0' => "   ".to_owned(),
        letter => format!("-{letter},"),
    };
    let kind = match flag.takes {
        Takes::Switch => String::new(),
        Takes::Value(kind) => format!(" {kind}"),
    };
    format!("  {short} --{}{kind}", flag.name)
}

/// Breaks at spaces so that no line is longer than `width`, where words allow it.
fn fold(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        if let Some(line) = lines.last_mut()
            && (line.is_empty() || line.len() + 1 + word.len() <= width)
        {
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        } else {
            lines.push(word.to_owned());
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flags::Arguments;

    #[test]
    fn help_has_dockers_shape() {
        static COMMAND: Command = Command {
            names: &["stop", "container stop"],
            usage: "[OPTIONS] CONTAINER [CONTAINER...]",
            about: "Stop one or more running containers",
            flags: &[&[
                Flag::value("timeout", "int", "Seconds to wait before killing the container")
                    .short('t'),
                Flag::value("signal", "string", "Signal to send to the container").short('s'),
                Flag::switch(
                    "a-flag-without-letter",
                    "Explained at such a length that the line has to be folded",
                ),
                Flag::alias("hidden", "signal"),
            ]],
            arguments: Arguments::AtLeast(1),
            verbatim: false,
            run: |_, _| Ok(0),
        };
        assert_eq!(
            help(&COMMAND),
            "\
Usage:  tug stop [OPTIONS] CONTAINER [CONTAINER...]

Stop one or more running containers

Aliases:
  tug container stop, tug stop

Options:
      --a-flag-without-letter   Explained at such a length that the line has to
                                be folded
  -s, --signal string           Signal to send to the container
  -t, --timeout int             Seconds to wait before killing the container
"
        );
    }
}
