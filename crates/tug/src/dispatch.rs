//! From the first words to a command.

use crate::commands::{self, COMMANDS, GROUPS, Group};
use crate::context::{self, Context};
use crate::flags::{self, Arguments, Command, Flag, Parsed};
use crate::quit::Quit;
use crate::suggest;
use std::fmt::Write;
use std::io::Write as _;
use std::path::PathBuf;
use tug_engine::Settings;

/// Flags before the command.
static GLOBAL: Command = Command {
    names: &[""],
    usage: "[OPTIONS] COMMAND",
    about: "A container engine without a daemon",
    flags: &[&[
        Flag::value("config", "string", "Folder of Docker's config.json (default \"~/.docker\")"),
        Flag::value("context", "string", "").short('c'),
        Flag::value(
            "data-root",
            "string",
            "Where images and containers are kept (default \"/var/lib/tug\")",
        ),
        Flag::switch("debug", "Accepted for compatibility").short('D'),
        Flag::value(
            "exec-root",
            "string",
            "Where running containers keep their state (default \"/run/tug\")",
        ),
        Flag::value("host", "list", "").short('H'),
        Flag::value("log-level", "string", "").short('l'),
        Flag::switch("version", "Print the version and quit").short('v'),
    ]],
    arguments: Arguments::AtLeast(0),
    verbatim: true,
    run: |_, _| Ok(0),
};

/// Commands of Docker's that are not here yet.
const MISSING: &[&str] = &[
    "checkpoint",
    "compose",
    "config",
    "context",
    "cp",
    "diff",
    "events",
    "manifest",
    "network",
    "node",
    "pause",
    "plugin",
    "secret",
    "service",
    "stack",
    "stats",
    "swarm",
    "trust",
    "unpause",
    "update",
];

/// Runs what the words say; answers with the exit code.
///
/// # Errors
/// Whatever ends the command otherwise than well.
pub(crate) fn run(words: Vec<String>) -> Result<u8, Quit> {
    let mut global = flags::parse(&GLOBAL, words)?;
    if global.on("version") {
        return print(&format!("{}\n", commands::version::LINE));
    }
    let words = std::mem::take(&mut global.arguments);
    if global.help || words.is_empty() {
        return print(&overview());
    }
    let settings = settings(&global)?;
    if words[0] == commands::completion::ASK {
        return print(&complete(&words[1..], settings));
    }
    match find(&words)? {
        Found::Command(command, used) => {
            let words = words.into_iter().skip(used).collect();
            execute(command, words, settings)
        }
        Found::Group(group) => print(&group_help(group)),
        Found::Overview => print(&overview()),
        Found::Help(command) => print(&flags::help(command)),
    }
}

fn execute(command: &'static Command, words: Vec<String>, settings: Settings) -> Result<u8, Quit> {
    let parsed = flags::parse(command, words)?;
    if parsed.help {
        return print(&flags::help(command));
    }
    let ctx = Context::new(settings);
    (command.run)(&ctx, &parsed).map_err(|quit| ctx.with_suggestion(quit))
}

fn settings(global: &Parsed<'_>) -> Result<Settings, Quit> {
    if global.given("host") {
        let quit = Quit::invalid("--host is not supported by tug: it works without a daemon");
        return Err(quit
            .with_hint("leave it out; --data-root chooses another store")
            .with_code(125));
    }
    if global.text("context").is_some_and(|name| name != "default") {
        let quit = Quit::invalid("--context is not supported by tug: it works without a daemon");
        return Err(quit.with_hint("leave it out").with_code(125));
    }
    let mut settings = context::default_settings();
    let path = |name| global.text(name).map(PathBuf::from);
    if let Some(root) = path("data-root") {
        settings.data_root = absolute(root)?;
    }
    if let Some(root) = path("exec-root") {
        settings.exec_root = absolute(root)?;
    }
    if let Some(folder) = path("config") {
        settings.docker_config_dir = Some(folder);
    }
    Ok(settings)
}

/// Monitors outlive the working directory of whoever started them.
fn absolute(path: PathBuf) -> Result<PathBuf, Quit> {
    std::path::absolute(&path)
        .map_err(|error| Quit::io(format_args!("find {}", path.display()), &error))
}

#[derive(Debug)]
enum Found {
    /// A command, and how many words name it.
    Command(&'static Command, usize),
    Group(&'static Group),
    Help(&'static Command),
    Overview,
}

fn find(words: &[String]) -> Result<Found, Quit> {
    let first = words.first().map_or("", String::as_str);
    let second = words.get(1).map(String::as_str);
    if first == "help" {
        return match words.get(1..) {
            None | Some([]) => Ok(Found::Overview),
            Some(rest) => Ok(match find(rest)? {
                Found::Command(command, _) => Found::Help(command),
                other => other,
            }),
        };
    }
    if let Some(group) = GROUPS.iter().find(|group| group.name == first) {
        return match second {
            None | Some("--help" | "-h") => Ok(Found::Group(group)),
            Some(second) => command(&format!("{first} {second}"))
                .map(|command| Found::Command(command, 2))
                .ok_or_else(|| unknown_in(group, second)),
        };
    }
    command(first).map(|command| Found::Command(command, 1)).ok_or_else(|| unknown(first))
}

fn command(name: &str) -> Option<&'static Command> {
    COMMANDS.iter().copied().find(|command| command.names.contains(&name))
}

fn unknown(name: &str) -> Quit {
    if MISSING.contains(&name) {
        return Quit::invalid(format!("'{name}' is not supported by tug yet"))
            .with_hint("`tug --help` lists what is");
    }
    let names = COMMANDS.iter().flat_map(|command| command.names).copied();
    let names =
        names.filter(|name| !name.contains(' ')).chain(GROUPS.iter().map(|group| group.name));
    let close = suggest::closest(name, names).map(|close| format!("`tug {close}`"));
    Quit::invalid(format!("'{name}' is not a tug command"))
        .with_hint("`tug --help` lists the commands")
        .did_you_mean(close)
}

fn unknown_in(group: &Group, name: &str) -> Quit {
    // Their short spellings are in the list: `commit` for `container commit`.
    if MISSING.contains(&name) {
        return Quit::invalid(format!("'{} {name}' is not supported by tug yet", group.name))
            .with_hint(format!("`tug {} --help` lists what is", group.name));
    }
    let close = suggest::closest(name, members(group).map(|(name, _)| name));
    let close = close.map(|close| format!("`tug {} {close}`", group.name));
    Quit::invalid(format!("'{} {name}' is not a tug command", group.name))
        .with_hint(format!("`tug {} --help` lists the commands", group.name))
        .did_you_mean(close)
}

/// The commands of a group, by their first spelling in it.
fn members(group: &Group) -> impl Iterator<Item = (&'static str, &'static Command)> {
    let prefix = format!("{} ", group.name);
    COMMANDS.iter().copied().filter_map(move |command| {
        command.names.iter().find_map(|name| name.strip_prefix(&prefix)).map(|name| (name, command))
    })
}

fn overview() -> String {
    let mut text = format!("Usage:  tug {}\n\n{}\n", GLOBAL.usage, GLOBAL.about);
    let short = |command: &&&Command| !command.names[0].contains(' ');
    let common = |command: &&&Command| commands::COMMON.contains(&command.names[0]);
    let rows = |list: Vec<&&'static Command>| {
        list.into_iter().map(|command| (command.names[0], command.about)).collect::<Vec<_>>()
    };
    let mut first = rows(COMMANDS.iter().filter(short).filter(common).collect());
    first.sort_by_key(|(name, _)| commands::COMMON.iter().position(|known| known == name));
    let mut others =
        rows(COMMANDS.iter().filter(short).filter(|command| !common(command)).collect());
    others.sort_unstable();
    let groups = GROUPS.iter().map(|group| (group.name, group.about)).collect();
    for (title, list) in
        [("Common Commands", first), ("Management Commands", groups), ("Commands", others)]
    {
        let _ = write!(text, "\n{title}:\n{}", lines(&list));
    }
    text.push_str("\nGlobal Options:\n");
    text.push_str(&flags::options(&GLOBAL));
    text.push_str("\nRun 'tug COMMAND --help' for more information on a command.\n");
    text
}

fn group_help(group: &Group) -> String {
    let mut list: Vec<_> = members(group).map(|(name, command)| (name, command.about)).collect();
    list.sort_unstable();
    format!(
        "Usage:  tug {0} COMMAND\n\n{1}\n\nCommands:\n{2}\n\
         Run 'tug {0} COMMAND --help' for more information on a command.\n",
        group.name,
        group.about,
        lines(&list)
    )
}

fn lines(list: &[(&str, &str)]) -> String {
    list.iter().fold(String::new(), |mut text, (name, about)| {
        let _ = writeln!(text, "  {name:11} {about}");
        text
    })
}

/// What may stand at the place of the last word, a line each: the word, a tab, what it is. A shell asks.
fn complete(words: &[String], settings: Settings) -> String {
    let (last, before) = words.split_last().map_or(("", &[][..]), |(last, words)| (last, words));
    let group = GROUPS.iter().find(|group| before.len() == 1 && group.name == before[0]);
    let candidates: Vec<(String, &str)> = match (find(before), group) {
        _ if before.is_empty() => {
            let commands = COMMANDS.iter().filter(|command| !command.names[0].contains(' '));
            let commands = commands.map(|command| (command.names[0].to_owned(), command.about));
            let groups = GROUPS.iter().map(|group| (group.name.to_owned(), group.about));
            groups.chain(commands).collect()
        }
        (_, Some(group)) => {
            members(group).map(|(name, command)| (name.to_owned(), command.about)).collect()
        }
        (Ok(Found::Command(command, _)), _) if last.starts_with('-') => command
            .all_flags()
            .filter(|flag| !flag.help.is_empty())
            .map(|flag| (format!("--{}", flag.name), flag.help))
            .collect(),
        (Ok(Found::Command(command, _)), _) => {
            commands::completion::objects(&Context::new(settings), command)
        }
        _ => Vec::new(),
    };
    let fitting = candidates.into_iter().filter(|(word, _)| word.starts_with(last));
    fitting.map(|(word, what)| format!("{word}\t{what}\n")).collect()
}

fn print(text: &str) -> Result<u8, Quit> {
    std::io::stdout()
        .write_all(text.as_bytes())
        .map(|()| 0)
        .map_err(|error| Quit::io("write to the standard output", &error))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<String> {
        line.split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn short_and_management_spellings_are_the_same_command() {
        for (short, long) in [
            ("run", "container run"),
            ("ps", "container ls"),
            ("ps", "container list"),
            ("ps", "container ps"),
            ("images", "image ls"),
            ("images", "image list"),
            ("rmi", "image rm"),
            ("rmi", "image remove"),
            ("rm", "container remove"),
            ("pull", "image pull"),
            ("push", "image push"),
            ("load", "image load"),
            ("volume ls", "volume list"),
            ("info", "system info"),
        ] {
            let name = |line: &str| match find(&words(line)) {
                Ok(Found::Command(command, count)) => {
                    assert_eq!(count, words(line).len());
                    command.names[0]
                }
                other => panic!("{line}: {other:?}"),
            };
            assert_eq!(name(short), name(long));
        }
    }

    #[test]
    fn unknown_commands_get_a_suggestion() {
        for (line, message, hint) in [
            ("foo", "'foo' is not a tug command", "`tug --help` lists the commands"),
            ("imags", "'imags' is not a tug command", "did you mean `tug images`?"),
            ("volume lst", "'volume lst' is not a tug command", "did you mean `tug volume ls`?"),
            ("compose", "'compose' is not supported by tug yet", "`tug --help` lists what is"),
        ] {
            let quit = find(&words(line)).unwrap_err();
            assert_eq!(quit.report(), format!("tug: {message}\nhint: {hint}\n"));
            assert_eq!(quit.exit_code(), 1);
        }
    }

    #[test]
    fn every_command_has_a_help_and_no_two_share_a_name_or_a_flag() {
        let mut names = std::collections::BTreeSet::new();
        for command in COMMANDS {
            for name in command.names {
                assert!(names.insert(name), "{name} twice");
            }
            assert!(!command.about.is_empty(), "{}", command.names[0]);
            let mut flags = std::collections::BTreeSet::new();
            let mut letters = std::collections::BTreeSet::new();
            for flag in command.all_flags() {
                assert!(flags.insert(flag.name), "{} --{}", command.names[0], flag.name);
                assert!(
                    flag.short == '\0' || letters.insert(flag.short),
                    "{} -{}",
                    command.names[0],
                    flag.short
                );
                if let Some(meant) = flag.means {
                    assert!(command.all_flags().any(|flag| flag.name == meant), "{meant}");
                }
            }
        }
    }

    #[test]
    fn global_flags_stand_before_the_command_only() {
        let global = flags::parse(&GLOBAL, words("--data-root /d -D run -D x")).unwrap();
        assert_eq!(global.arguments, words("run -D x"));
        assert_eq!(settings(&global).unwrap().data_root, PathBuf::from("/d"));
        let global = flags::parse(&GLOBAL, words("-H tcp://x ps")).unwrap();
        assert_eq!(settings(&global).unwrap_err().exit_code(), 125);
    }

    #[test]
    fn the_overview_shows_every_command() {
        let text = overview();
        for command in COMMANDS.iter().filter(|command| !command.names[0].contains(' ')) {
            assert!(
                text.contains(&format!("\n  {:11} {}", command.names[0], command.about)),
                "{}",
                command.names[0]
            );
        }
        let group = GROUPS.iter().find(|group| group.name == "container").unwrap();
        assert!(group_help(group).contains("\n  ls          List containers\n"));
    }

    #[test]
    fn shells_are_told_commands_and_flags() {
        let ask = |line: &str| {
            let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
            let text = complete(&words, context::default_settings());
            let first = |line: &str| line.split('\t').next().unwrap_or_default().to_owned();
            text.lines().map(first).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(ask("ima"), "image images");
        assert_eq!(ask("image pr"), "prune");
        assert_eq!(ask("image prune --f"), "--filter --force");
        assert_eq!(ask("rmi --no"), "--no-prune");
        assert_eq!(ask("nothing --no"), "");
    }

    /// Every command of Docker's and its flags, as its own client lists them.
    fn dockers() -> Vec<(Vec<&'static str>, Vec<[&'static str; 3]>)> {
        let mut commands: Vec<(Vec<&str>, Vec<[&str; 3]>)> = Vec::new();
        for line in include_str!("dispatch/docker-28.txt").lines() {
            match (line.strip_prefix("  "), commands.last_mut()) {
                (Some(flag), Some((_, flags))) => {
                    let words: Vec<&str> = flag.split(' ').collect();
                    flags.push(words.try_into().unwrap());
                }
                (None, _) if !line.starts_with('#') => {
                    commands.push((line.split(", ").collect(), Vec::new()));
                }
                _ => {}
            }
        }
        commands
    }

    #[test]
    fn dockers_commands_are_here_under_all_their_names_or_refused_by_name() {
        let mut wrong = Vec::new();
        for (names, _) in dockers() {
            let here: Vec<_> = names.iter().filter(|name| command(name).is_some()).collect();
            if !here.is_empty() && here.len() < names.len() {
                wrong.push(format!("{names:?}: only {here:?}"));
            }
            for name in names.iter().filter(|_| here.is_empty()) {
                let report = find(&words(name)).map(|_| ()).unwrap_err().report();
                if !report.contains("is not supported by tug") {
                    wrong.push(format!("{name}: {report}"));
                }
            }
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    }

    #[test]
    fn dockers_flags_are_all_known() {
        let mut wrong = Vec::new();
        let mut count = 0;
        for (names, flags) in dockers() {
            let Some(command) = command(names[0]) else { continue };
            for [name, letter, kind] in flags.into_iter().filter(|[name, ..]| *name != "help") {
                count += 1;
                let Some(flag) = command.all_flags().find(|flag| flag.name == name) else {
                    wrong.push(format!("{} --{name} ({letter} {kind})", names[0]));
                    continue;
                };
                let short = letter.chars().next().filter(|c| *c != '-').unwrap_or('\0');
                let switch = flag.takes == flags::Takes::Switch;
                if flag.short != short || switch != (kind == "switch") {
                    wrong.push(format!("{} --{name}: letter {letter}, {kind}", names[0]));
                }
            }
        }
        assert!(count > 250, "{count}");
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    }
}
