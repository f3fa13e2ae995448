//! Everything that can be wrong with a Dockerfile, in BuildKit's words where it has some, and the
//! next step where there is one.

use crate::expand::ExpandError;
use crate::mount::MountError;
use crate::platform::PlatformError;
use crate::port::PortError;

/// What is wrong. The place is the [`crate::Diagnostic`]'s.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Problem {
    /// Nothing at all in the file.
    #[error("the Dockerfile cannot be empty")]
    EmptyFile,
    /// Only comments and blank lines.
    #[error("file with no instructions")]
    NoInstructions,
    /// Only `ARG`.
    #[error("dockerfile contains no stages to build")]
    NoStages,
    /// Bytes that are no text in an instruction.
    #[error("line {line} is not valid UTF-8")]
    NotUtf8 {
        /// The first such line.
        line: u32,
    },
    /// `# escape=` with something else than the two characters.
    #[error("invalid escape token '{token}' does not match ` or \\")]
    EscapeToken {
        /// What was given.
        token: String,
    },
    /// A directive given twice.
    #[error("only one {name} parser directive can be used")]
    DirectiveTwice {
        /// Its name.
        name: String,
    },
    /// `# check=` that cannot be read.
    #[error("failed to parse check options: {0}")]
    CheckOptions(#[from] crate::directive::CheckOptionError),
    /// No line ends the here-document.
    #[error("unterminated heredoc")]
    UnterminatedHeredoc {
        /// The word that should.
        name: String,
    },
    /// A here-document's word that is no word.
    #[error(transparent)]
    HeredocWord(ExpandError),
    /// No such instruction.
    #[error("unknown instruction: {name}{}", did_you_mean(.suggestion))]
    UnknownInstruction {
        /// As written.
        name: String,
        /// One that looks like it.
        suggestion: Option<String>,
    },
    /// An instruction before the first `FROM`.
    #[error("no build stage in current context")]
    BeforeFrom {
        /// As written.
        name: String,
    },
    /// Nothing behind the keyword.
    #[error("{instruction} requires at least one argument")]
    AtLeastOneArgument {
        /// In capitals.
        instruction: &'static str,
    },
    /// Nothing, or a form with several words.
    #[error("{instruction} requires exactly one argument")]
    ExactlyOneArgument {
        /// In capitals.
        instruction: &'static str,
    },
    /// `COPY` or `ADD` with fewer than two words.
    #[error(
        "{instruction} requires at least two arguments, but only one was provided. \
         Destination could not be determined"
    )]
    NoDestination {
        /// In capitals.
        instruction: &'static str,
    },
    /// A here-document where a path must be.
    #[error("{instruction} cannot accept a heredoc as a destination")]
    HeredocDestination {
        /// In capitals.
        instruction: &'static str,
    },
    /// `=value`
    #[error("{instruction} names can not be blank")]
    BlankName {
        /// In capitals.
        instruction: &'static str,
    },
    /// `ENV name`
    #[error("{instruction} must have two arguments")]
    TwoArguments {
        /// In capitals.
        instruction: &'static str,
    },
    /// A word without `=` among pairs.
    #[error("Syntax error - can't find = in {word:?}. Must be of the form: name=value")]
    NoEqualsSign {
        /// The word.
        word: String,
    },
    /// A JSON array with something else than strings.
    #[error("when using JSON array syntax, arrays must be comprised of strings only")]
    NotOnlyStrings,
    /// `SHELL` in shell form.
    #[error("{instruction} requires the arguments to be in JSON form")]
    JsonRequired {
        /// In capitals.
        instruction: &'static str,
    },
    /// A flag the instruction does not have.
    #[error("unknown flag: {flag}{}", did_you_mean(.suggestion))]
    UnknownFlag {
        /// With its dashes.
        flag: String,
        /// One that looks like it, without dashes.
        suggestion: Option<String>,
        /// In capitals.
        instruction: &'static str,
        /// All the instruction has, without dashes.
        known: &'static [&'static str],
    },
    /// A flag given twice.
    #[error("duplicate flag specified: {flag}")]
    FlagTwice {
        /// With its dashes.
        flag: String,
    },
    /// A flag without `=value`.
    #[error("missing a value on flag: {flag}")]
    FlagWithoutValue {
        /// With its dashes.
        flag: String,
    },
    /// Neither true nor false.
    #[error("expecting boolean value for flag {flag}, not: {value}")]
    FlagNotBoolean {
        /// With its dashes.
        flag: String,
        /// What was given.
        value: String,
    },
    /// `FROM` with two or more than three words, or three without `AS` between.
    #[error("FROM requires either one or three arguments")]
    FromArguments {
        /// The first word that should not be there.
        extra: Option<String>,
    },
    /// A stage name with other characters.
    #[error(
        "invalid name for build stage: {name:?}, name can't start with a number or contain symbols"
    )]
    StageName {
        /// As written.
        name: String,
    },
    /// `ONBUILD ONBUILD`
    #[error("Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed")]
    OnbuildChain,
    /// `ONBUILD FROM`, `ONBUILD MAINTAINER`
    #[error("{name} isn't allowed as an ONBUILD trigger")]
    OnbuildTrigger {
        /// In capitals.
        name: String,
    },
    /// A trigger kept in an image that is not one instruction.
    #[error("onbuild trigger should be a single expression")]
    TriggerCount,
    /// `HEALTHCHECK NONE x`
    #[error("HEALTHCHECK NONE takes no arguments")]
    HealthcheckNone,
    /// `HEALTHCHECK CMD`
    #[error("Missing command after HEALTHCHECK CMD")]
    HealthcheckCommand,
    /// `HEALTHCHECK` with another word.
    #[error("Unknown type {kind:?} in HEALTHCHECK (try CMD)")]
    HealthcheckType {
        /// In capitals.
        kind: String,
    },
    /// A duration that is none.
    #[error(transparent)]
    Duration(#[from] crate::duration::DurationError),
    /// A duration under a millisecond.
    #[error("Interval {flag:?} cannot be less than 1ms")]
    DurationTooShort {
        /// Without dashes.
        flag: &'static str,
    },
    /// `--retries` that is no number.
    #[error("invalid value for --retries: {value:?} is not a number")]
    Retries {
        /// What was given.
        value: String,
    },
    /// `--retries=-1`
    #[error("--retries cannot be negative ({value})")]
    NegativeRetries {
        /// What was given.
        value: i64,
    },
    /// An empty path.
    #[error("VOLUME specified can not be an empty string")]
    EmptyVolume,
    /// `RUN --network=`
    #[error("invalid network mode {value:?}")]
    NetworkMode {
        /// What was given.
        value: String,
    },
    /// `RUN --security=`
    #[error("security {value:?} is not valid")]
    Security {
        /// What was given.
        value: String,
    },
    /// `RUN --mount=` or `--device=`
    #[error(transparent)]
    Mount(#[from] MountError),
    /// A word that cannot be expanded.
    #[error(transparent)]
    Expand(#[from] ExpandError),
    /// `COPY --from=$x`
    #[error(
        "variable expansion is not supported for --from, define a new stage with FROM using ARG \
         from global scope as a workaround"
    )]
    FromVariable,
    /// `FROM $x` with nothing in `x`.
    #[error("base name ({written}) should not be blank")]
    BlankBase {
        /// As written.
        written: String,
    },
    /// `FROM --platform=$x` with nothing in `x`.
    #[error("empty platform value from expression {written}{}", did_you_mean(.suggestion))]
    BlankPlatform {
        /// As written.
        written: String,
        /// A variable that looks like the one meant.
        suggestion: Option<String>,
    },
    /// A platform that is none.
    #[error("failed to parse platform {written}: {error}{}", did_you_mean(.suggestion))]
    Platform {
        /// As written.
        written: String,
        /// What is wrong with it.
        error: PlatformError,
        /// A variable that looks like the one meant.
        suggestion: Option<String>,
    },
    /// `EXPOSE`
    #[error(transparent)]
    Port(#[from] PortError),
    /// Stages that need each other.
    #[error("circular dependency detected on stage: {stage}")]
    CircularDependency {
        /// One of them.
        stage: String,
    },
    /// A stage that comes later.
    #[error(
        "cannot copy from stage {from:?}, it needs to be defined before current stage {stage:?}"
    )]
    LaterStage {
        /// The one copied from.
        from: String,
        /// The one that copies.
        stage: String,
    },
    /// `COPY --from=9`
    #[error("invalid stage index {index}")]
    StageIndex {
        /// What was given.
        index: i64,
    },
    /// `--target` of no stage.
    #[error("target stage {name:?} could not be found{}", did_you_mean(.suggestion))]
    NoTarget {
        /// What was asked for.
        name: String,
        /// One that looks like it.
        suggestion: Option<String>,
    },
}

/// ` (did you mean x?)`, or nothing.
pub(crate) fn did_you_mean(suggestion: &Option<String>) -> String {
    suggestion.as_ref().map(|word| format!(" (did you mean {word}?)")).unwrap_or_default()
}

impl Problem {
    /// The next step, where one is known.
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::FromArguments { extra: Some(extra) } if extra.starts_with("//") => {
                "`//` does not start a comment: put it on a line of its own that starts with `#`"
                    .into()
            }
            Self::FromArguments { extra: Some(extra) } if extra.starts_with('#') => {
                "a comment needs a line of its own: `#` behind an instruction does not start one"
                    .into()
            }
            Self::FromArguments { .. } => "the form is FROM [--platform=P] IMAGE [AS NAME]".into(),
            Self::UnknownInstruction { name, suggestion: None } if name.starts_with("//") => {
                "`//` does not start a comment: comments start with `#`".into()
            }
            Self::BeforeFrom { name } => {
                format!(
                    "a Dockerfile starts with FROM (only ARG may come before it); move {name} below"
                )
            }
            Self::NoInstructions | Self::EmptyFile | Self::NoStages => {
                "add a line such as FROM debian".into()
            }
            Self::UnterminatedHeredoc { name } => {
                format!(
                    "end it with a line that holds {name} and nothing else, no blanks before it"
                )
            }
            Self::NoEqualsSign { .. } => "quote a value that holds blanks: NAME=\"a b\"".into(),
            Self::TwoArguments { instruction } => format!("write {instruction} NAME=VALUE"),
            Self::JsonRequired { instruction } => {
                format!("write {instruction} [\"/bin/sh\", \"-c\"]")
            }
            Self::NotOnlyStrings => "put every element in double quotes".into(),
            Self::NoDestination { instruction } => {
                format!("the form is {instruction} SOURCE... DESTINATION")
            }
            Self::UnknownFlag { suggestion: None, instruction, known, .. } => {
                flags_hint(instruction, known)
            }
            Self::StageName { .. } => {
                "a name starts with a letter and holds letters, digits, `-`, `_` and `.`".into()
            }
            Self::HealthcheckType { .. } => {
                "the forms are HEALTHCHECK [OPTIONS] CMD command and HEALTHCHECK NONE".into()
            }
            Self::Duration(_) | Self::DurationTooShort { .. } => {
                "write a number and a unit: 30s, 1m30s, 500ms".into()
            }
            Self::NetworkMode { .. } => "use default, none or host".into(),
            Self::Security { .. } => "use sandbox or insecure".into(),
            Self::BlankBase { .. } => {
                "give the ARG before FROM a default, or pass it with --build-arg".into()
            }
            Self::NotUtf8 { .. } => "save the file as UTF-8".into(),
            Self::EscapeToken { .. } => "use `# escape=\\` or `# escape=``".into(),
            _ => return None,
        })
    }
}

fn flags_hint(instruction: &str, known: &[&str]) -> String {
    if known.is_empty() {
        return format!("{instruction} takes no flags");
    }
    let list: Vec<String> = known.iter().map(|flag| format!("--{flag}")).collect();
    format!("{instruction} takes {}", list.join(", "))
}
