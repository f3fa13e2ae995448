//! What every command works with: the engine, and the way to the user.

use crate::quit::{Missing, Quit};
use crate::suggest;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use tug_engine::{Engine, Settings};

/// The engine and the streams.
pub(crate) struct Context {
    /// The engine over the chosen roots.
    pub engine: Engine,
}

impl Context {
    /// Over the given settings.
    pub(crate) fn new(settings: Settings) -> Self {
        Self { engine: Engine::new(settings) }
    }

    /// Another engine over the same roots, for another thread.
    pub(crate) fn another_engine(&self) -> Engine {
        Engine::new(self.engine.settings().clone())
    }

    /// Writes data to stdout.
    ///
    /// # Errors
    /// A closed pipe ends the command quietly.
    pub(crate) fn print(&self, text: impl AsRef<[u8]>) -> Result<(), Quit> {
        let mut out = io::stdout().lock();
        let written = out.write_all(text.as_ref()).and_then(|()| out.flush());
        written.map_err(|error| Quit::io("write to the standard output", &error))
    }

    /// Writes a line of data to stdout.
    ///
    /// # Errors
    /// As [`Context::print`].
    pub(crate) fn print_line(&self, text: impl AsRef<str>) -> Result<(), Quit> {
        self.print(format!("{}\n", text.as_ref()))
    }

    /// Says something on stderr. Nobody is told when that fails: there is nobody left to tell.
    pub(crate) fn say(&self, text: impl AsRef<str>) {
        let _ = io::stderr().lock().write_all(format!("{}\n", text.as_ref()).as_bytes());
    }

    /// Says what a command did without.
    pub(crate) fn warn(&self, warnings: &[String]) {
        for warning in warnings {
            self.say(format!("WARNING: {warning}"));
        }
    }

    /// Reports one failure of several; the command goes on.
    pub(crate) fn report(&self, quit: Quit) {
        report(&self.with_suggestion(quit));
    }

    /// A failure to find a container, with the name that may have been meant.
    pub(crate) fn with_suggestion(&self, quit: Quit) -> Quit {
        let Some(Missing::Container(name)) = quit.missing() else { return quit };
        let close = self.similar_container(name);
        quit.did_you_mean(close)
    }

    /// A container's name that is close to this one.
    pub(crate) fn similar_container(&self, name: &str) -> Option<String> {
        let containers = self.engine.containers(false).ok()?;
        let names = containers.iter().map(|container| container.name.as_str());
        suggest::closest(name, names).map(str::to_owned)
    }

    /// A setting of Docker's `config.json`, `psFormat` for one. A file that is not there or is damaged
    /// has none.
    pub(crate) fn docker_setting(&self, name: &str) -> Option<String> {
        let file = self.engine.settings().docker_config_dir.as_ref()?.join("config.json");
        let json: serde_json::Value = serde_json::from_slice(&std::fs::read(file).ok()?).ok()?;
        json.get(name)?.as_str().filter(|text| !text.is_empty()).map(str::to_owned)
    }
}

/// Writes a failure to stderr.
pub(crate) fn report(quit: &Quit) {
    let _ = io::stderr().lock().write_all(quit.report().as_bytes());
}

/// Where things are unless told otherwise.
pub(crate) fn default_settings() -> Settings {
    use crate::environment as env;
    Settings {
        data_root: env::data_root().unwrap_or_else(|| PathBuf::from("/var/lib/tug")),
        exec_root: env::exec_root().unwrap_or_else(|| PathBuf::from("/run/tug")),
        exe: PathBuf::from("/proc/self/exe"),
        docker_config_dir: env::docker_config_dir(),
        mirrors: env::mirrors(),
        registries: env::registry_files(),
        default_platform: env::default_platform(),
    }
}

/// The exit code as the process ends with it.
pub(crate) fn ended(result: Result<u8, Quit>) -> ExitCode {
    match result {
        Ok(code) => ExitCode::from(code),
        Err(quit) => {
            report(&quit);
            ExitCode::from(quit.exit_code())
        }
    }
}
