//! The syntax tree: what a Dockerfile says, before any variable is replaced.
//!
//! Values are as BuildKit's frontend keeps them at this point: continuation lines joined, flags taken
//! off, words split, but quotes, escapes and `$variables` still in place. [`crate::StageScope`] does the
//! rest, instruction by instruction. Spans point into [`Dockerfile::source`].

use std::sync::Arc;
use std::time::Duration;

use crate::source::Source;
use crate::span::{Span, Spanned};

/// A parsed Dockerfile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dockerfile {
    /// The text it was parsed from.
    pub source: Arc<Source>,
    /// `# syntax=`, `# escape=`, `# check=`.
    pub directives: Directives,
    /// The escape and continuation character: `\` or a backtick.
    pub escape: char,
    /// `ARG` before the first `FROM`, in order.
    pub global_args: Vec<GlobalArg>,
    /// At least one, in order.
    pub stages: Vec<Stage>,
    /// Last lines of the instructions that have an empty continuation line.
    pub empty_continuations: Vec<Span>,
}

/// The parser directives at the top of the file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Directives {
    /// `# syntax=`: the frontend image asked for, also in its `//` and JSON forms.
    pub syntax: Option<Spanned<String>>,
    /// `# escape=`.
    pub escape: Option<Spanned<String>>,
    /// `# check=`: `skip=…;error=…;experimental=…`.
    pub check: Option<Spanned<String>>,
}

/// What every instruction has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Head {
    /// The instruction's name as it is written: `RUN`, `run`, `Run`.
    pub keyword: String,
    /// The whole instruction as one trimmed line: continuations joined, comment lines left out,
    /// here-documents not included. This is what progress lines show.
    pub code: String,
    /// From the keyword to the end of the last here-document.
    pub span: Span,
    /// The comment lines right above, without `#` and trimmed.
    pub comments: Vec<String>,
}

/// One `ARG` instruction before the first `FROM`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GlobalArg {
    /// Name, code, place.
    pub head: Head,
    /// At least one.
    pub args: Vec<Arg>,
}

/// `FROM` and what follows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stage {
    /// The `FROM` instruction's name, code, place.
    pub head: Head,
    /// Its number, from 0.
    pub index: usize,
    /// The name after `AS`, in lower case.
    pub name: Option<Spanned<String>>,
    /// The name after `AS` as written.
    pub written_name: Option<String>,
    /// The word `AS` as written.
    pub as_keyword: Option<String>,
    /// Image, earlier stage or `scratch`; variables not replaced.
    pub base: Spanned<String>,
    /// `--platform`; variables not replaced.
    pub platform: Option<Spanned<String>>,
    /// The description in a comment `# <name> <description>` above it.
    pub doc: Option<String>,
    /// The instructions, in order.
    pub steps: Vec<Step>,
}

/// One instruction of a stage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// Name, code, place.
    pub head: Head,
    /// What it says.
    pub instruction: Instruction,
}

/// Every instruction but `FROM`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Instruction {
    /// `ADD`
    Add(Add),
    /// `ARG`: at least one.
    Arg(Vec<Arg>),
    /// `CMD`
    Cmd(CommandLine),
    /// `COPY`
    Copy(Copy),
    /// `ENTRYPOINT`
    Entrypoint(CommandLine),
    /// `ENV`: at least one.
    Env(Vec<KeyValue>),
    /// `EXPOSE`: the words, sorted; see [`crate::parse_ports`].
    Expose(Vec<Spanned<String>>),
    /// `HEALTHCHECK`
    Healthcheck(Healthcheck),
    /// `LABEL`: at least one.
    Label(Vec<KeyValue>),
    /// `MAINTAINER`
    Maintainer(String),
    /// `ONBUILD`
    Onbuild(Onbuild),
    /// `RUN`
    Run(Run),
    /// `SHELL`: at least one word.
    Shell(Vec<String>),
    /// `STOPSIGNAL`
    StopSignal(Spanned<String>),
    /// `USER`
    User(Spanned<String>),
    /// `VOLUME`: at least one.
    Volume(Vec<Spanned<String>>),
    /// `WORKDIR`
    Workdir(Spanned<String>),
}

impl Instruction {
    /// The instruction's name in capitals.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Add(_) => "ADD",
            Self::Arg(_) => "ARG",
            Self::Cmd(_) => "CMD",
            Self::Copy(_) => "COPY",
            Self::Entrypoint(_) => "ENTRYPOINT",
            Self::Env(_) => "ENV",
            Self::Expose(_) => "EXPOSE",
            Self::Healthcheck(_) => "HEALTHCHECK",
            Self::Label(_) => "LABEL",
            Self::Maintainer(_) => "MAINTAINER",
            Self::Onbuild(_) => "ONBUILD",
            Self::Run(_) => "RUN",
            Self::Shell(_) => "SHELL",
            Self::StopSignal(_) => "STOPSIGNAL",
            Self::User(_) => "USER",
            Self::Volume(_) => "VOLUME",
            Self::Workdir(_) => "WORKDIR",
        }
    }

    /// Whether it is a numbered step of the progress view (`[2/4] WORKDIR /app`); a base image adds one.
    pub fn is_progress_step(&self) -> bool {
        matches!(self, Self::Add(_) | Self::Copy(_) | Self::Run(_) | Self::Workdir(_))
    }
}

/// One name of an `ARG`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arg {
    /// The name.
    pub key: String,
    /// What follows `=`; variables and quotes in place.
    pub value: Option<String>,
    /// The description in a comment `# <name> <description>` above it.
    pub doc: Option<String>,
    /// The word.
    pub span: Span,
}

/// One pair of `ENV` or `LABEL`, quotes and variables in place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyValue {
    /// Left of `=`.
    pub key: String,
    /// Right of `=`.
    pub value: String,
    /// Written in the old form, `ENV key value`.
    pub legacy: bool,
    /// The pair.
    pub span: Span,
}

/// Shell form or exec form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CommandLine {
    /// To be given to the stage's shell as one word; may be empty.
    Shell(String),
    /// The JSON form: the words themselves; may be empty.
    Exec(Vec<String>),
}

/// `RUN`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    /// The command without its here-documents; [`Run::script`] joins them.
    pub command: CommandLine,
    /// In the order their marks stand in the command.
    pub heredocs: Vec<Heredoc>,
    /// `--mount`, in order; [`crate::Evaluated::mounts`] has them read.
    pub mounts: Vec<MountFlag>,
    /// `--network`
    pub network: RunNetwork,
    /// `--security`
    pub security: RunSecurity,
    /// `--device`
    pub devices: Vec<Device>,
}

/// `--mount` of a `RUN`, not yet expanded: its options may hold variables.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MountFlag {
    /// What follows `--mount=`.
    pub raw: String,
    /// The flag.
    pub span: Span,
    /// `from=`, which takes no variables, so that stages can be ordered before anything is expanded.
    pub from: Option<String>,
}

/// `--network` of a `RUN`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RunNetwork {
    /// The build's own.
    #[default]
    Default,
    /// None but loopback.
    None,
    /// The host's.
    Host,
}

/// `--security` of a `RUN`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RunSecurity {
    /// The default isolation.
    #[default]
    Sandbox,
    /// Privileged.
    Insecure,
}

/// `--device` of a `RUN`: a CDI device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Device {
    /// `vendor/class=name` or a class.
    pub name: String,
    /// Fail when it is missing.
    pub required: bool,
}

/// A here-document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heredoc {
    /// The word that ends it, unquoted.
    pub name: String,
    /// The number before `<<`, 0 when there is none.
    pub descriptor: u32,
    /// Variables in it are replaced: no part of the word is quoted.
    pub expand: bool,
    /// `<<-`: leading tabs go.
    pub chomp: bool,
    /// The lines as written, tabs in place.
    pub content: String,
}

/// A file that `COPY <<name` or `ADD <<name` writes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InlineFile {
    /// Its name.
    pub name: String,
    /// Its content, leading tabs taken off where `<<-` asks for that.
    pub data: String,
    /// Variables in it are replaced.
    pub expand: bool,
}

/// The paths of `COPY` and `ADD`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Paths {
    /// Paths, globs and, for `ADD`, addresses.
    pub sources: Vec<Spanned<String>>,
    /// Here-documents among the sources; they come after `sources`.
    pub inline: Vec<InlineFile>,
    /// The last word.
    pub destination: Spanned<String>,
}

/// `COPY`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Copy {
    /// What goes where.
    pub paths: Paths,
    /// `--from`: stage name, stage number, named context or image. Takes no variables.
    pub from: Option<Spanned<String>>,
    /// `--chown`
    pub chown: Option<Spanned<String>>,
    /// `--chmod`
    pub chmod: Option<Spanned<String>>,
    /// `--link`
    pub link: bool,
    /// `--parents`
    pub parents: bool,
    /// `--exclude`, each in the syntax of an ignore file.
    pub excludes: Vec<String>,
}

/// `ADD`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Add {
    /// What goes where.
    pub paths: Paths,
    /// `--chown`
    pub chown: Option<Spanned<String>>,
    /// `--chmod`
    pub chmod: Option<Spanned<String>>,
    /// `--link`
    pub link: bool,
    /// `--keep-git-dir`, when given.
    pub keep_git_dir: Option<bool>,
    /// `--checksum`
    pub checksum: Option<Spanned<String>>,
    /// `--unpack`, when given: else local archives are unpacked and downloads are not.
    pub unpack: Option<bool>,
    /// `--exclude`, each in the syntax of an ignore file.
    pub excludes: Vec<String>,
}

/// `HEALTHCHECK`
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Healthcheck {
    /// `NONE`: switches the base image's off.
    None,
    /// `CMD`
    Command(HealthcheckCommand),
}

/// `HEALTHCHECK CMD`; zero means not given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HealthcheckCommand {
    /// `CMD-SHELL` when in shell form, `CMD` when in exec form.
    pub command: CommandLine,
    /// `--interval`
    pub interval: Duration,
    /// `--timeout`
    pub timeout: Duration,
    /// `--start-period`
    pub start_period: Duration,
    /// `--start-interval`
    pub start_interval: Duration,
    /// `--retries`
    pub retries: u32,
}

/// `ONBUILD`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Onbuild {
    /// The trigger as the image config keeps it, here-documents included;
    /// [`crate::parse_trigger`] reads it back.
    pub expression: String,
}

impl Dockerfile {
    /// The stage called `name`, in any letter case; of several the last.
    pub fn stage(&self, name: &str) -> Option<&Stage> {
        self.stages.iter().rev().find(|stage| stage.is_called(name))
    }
}

impl Stage {
    /// Whether its name is `name`, in any letter case.
    pub fn is_called(&self, name: &str) -> bool {
        self.name.as_ref().is_some_and(|own| own.value == name.to_lowercase())
    }
}
