//! `completion`: scripts that make shells ask tug what may stand where the cursor is.

use crate::context::Context;
use crate::flags::{Arguments, Command, Parsed};
use crate::quit::Quit;
use tug_engine::Status;

pub(crate) static COMMAND: Command = Command {
    names: &["completion"],
    usage: "bash|zsh|fish",
    about: "Print a script that completes tug's commands in a shell",
    flags: &[],
    arguments: Arguments::Exactly(1),
    verbatim: false,
    run,
};

/// The word a shell puts before the words to be completed.
pub(crate) const ASK: &str = "__complete";

const BASH: &str = r#"# tug completion for bash: source <(tug completion bash)
_tug_complete() {
    local IFS=$'\n' line
    COMPREPLY=()
    while IFS= read -r line; do
        COMPREPLY+=("${line%%$'\t'*}")
    done < <("${COMP_WORDS[0]}" __complete "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null)
}
complete -o default -F _tug_complete tug
"#;

const ZSH: &str = r#"#compdef tug
# tug completion for zsh: source <(tug completion zsh)
_tug() {
    local -a found
    local line
    while IFS= read -r line; do
        found+=("${${line%%$'\t'*}//:/\\:}:${line#*$'\t'}")
    done < <("${words[1]}" __complete "${(@)words[2,CURRENT]}" 2>/dev/null)
    if (( ${#found} )); then _describe 'tug' found; else _files; fi
}
compdef _tug tug
"#;

const FISH: &str = r#"# tug completion for fish: tug completion fish | source
function __tug_complete
    set -l words (commandline -opc) (commandline -ct)
    $words[1] __complete $words[2..-1] 2>/dev/null
end
complete -c tug -a '(__tug_complete)'
"#;

fn run(ctx: &Context, parsed: &Parsed<'_>) -> Result<u8, Quit> {
    let script = match parsed.first() {
        "bash" => BASH,
        "zsh" => ZSH,
        "fish" => FISH,
        other => {
            return Err(Quit::invalid(format!("no completion for the shell {other:?}"))
                .with_hint("there is one for bash, zsh and fish"));
        }
    };
    ctx.print(script).map(|()| 0)
}

/// What a command's arguments may name. A store that cannot be read offers nothing.
pub(crate) fn objects(ctx: &Context, command: &Command) -> Vec<(String, &'static str)> {
    let mut found = Vec::new();
    if command.usage.contains("CONTAINER") || command.names.contains(&"inspect") {
        // Only those it can do something with.
        let fits = |status: Status| match command.names[0] {
            "stop" | "kill" | "exec" | "attach" | "top" | "pause" => status == Status::Running,
            "start" => status != Status::Running,
            _ => true,
        };
        let containers = ctx.engine.containers(false).unwrap_or_default().into_iter();
        let containers = containers.filter(|container| fits(container.status));
        found.extend(containers.map(|container| (container.name, container.status.as_str())));
    }
    if command.usage.contains("IMAGE") || command.names.contains(&"inspect") {
        for image in ctx.engine.images(false).unwrap_or_default() {
            match (image.repository, image.tag) {
                (Some(repository), Some(tag)) => {
                    found.push((format!("{repository}:{tag}"), "image"));
                }
                _ => found.push((image.id.short(), "image")),
            }
        }
    }
    if command.usage.contains("VOLUME") && command.names[0] != "volume create" {
        let volumes = ctx.engine.volumes().unwrap_or_default();
        found.extend(volumes.into_iter().map(|volume| (volume.name, "volume")));
    }
    found
}
