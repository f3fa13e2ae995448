//! The Dockerfile language, as BuildKit's Dockerfile 1.x frontend reads it. Pure: bytes in, values out.
//!
//! - [`parse`] makes a [`Dockerfile`], the syntax tree, with spans into its [`Source`].
//! - [`Expander`] replaces variables in a word; [`Env`] and [`platform_args`] are what it looks in.
//! - [`GlobalScope`] and [`StageScope`] evaluate `FROM` lines and instructions, [`Evaluated`].
//! - [`StageGraph`] says which stage needs which; [`check`] runs the build checks and gives a [`Report`].
//! - [`Ignore`] reads ignore files; [`Pattern`] is one path pattern.
//! - [`Diagnostic`] is one error with its place.
//!
//! It refuses to know what an instruction does: no files, no images, no graph.

mod ast;
mod check;
mod csv;
mod diagnostic;
mod directive;
mod duration;
mod env;
mod expand;
mod expand_error;
mod fault;
mod flags;
pub mod fuzz;
mod glob;
mod heredoc;
mod ignore;
mod instruction;
mod lines;
mod mount;
mod outline;
mod parse;
mod platform;
mod port;
mod problem;
mod scope;
mod script;
mod shape;
mod shell_pattern;
mod source;
mod span;
mod stage_scope;
mod stages;
mod substitute;
mod suggest;
mod words;

pub use ast::{
    Add, Arg, CommandLine, Copy, Device, Directives, Dockerfile, GlobalArg, Head, Healthcheck,
    HealthcheckCommand, Heredoc, InlineFile, Instruction, KeyValue, MountFlag, Onbuild, Paths, Run,
    RunNetwork, RunSecurity, Stage, Step,
};
pub use check::{BaseImage, CheckContext, Report, Rule, Warning, check};
pub use csv::{CsvError, fields as csv_fields};
pub use diagnostic::Diagnostic;
pub use directive::{CheckOptionError, CheckOptions};
pub use duration::DurationError;
pub use env::Env;
pub use expand::{ExpandError, ExpandProblem, Expanded, Expander, NoVariables, Variables};
pub use glob::{GlobError, Pattern};
pub use ignore::{Ignore, IgnoreError, IgnoreReason, Verdict, clean};
pub use mount::{Mount, MountError, MountKind, Sharing};
pub use outline::{BaseEnv, Outline, Targets, outline, targets};
pub use parse::{detect_syntax, parse, parse_trigger};
pub use platform::{Platform, PlatformError, platform_args};
pub use port::{ExposedPorts, PortError, parse_ports};
pub use problem::Problem;
pub use scope::{GlobalScope, Header, Inputs};
pub use script::Script;
pub use shell_pattern::PatternError;
pub use source::Source;
pub use span::{Position, Span, Spanned};
pub use stage_scope::{DEFAULT_PATH, Evaluated, StageScope, proxy_variables};
pub use stages::{Origin, StageGraph};
