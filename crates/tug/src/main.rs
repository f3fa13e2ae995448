//! The command line.
//!
//! Owns words and their meaning: which command, which flags, what is printed, which exit code. It
//! refuses to know how anything is done: that is [`tug_engine`]'s.
//!
//! ```text
//! main ─► argv[0] is a monitor's or a reaper's ─► tug_monitor, Engine::reap
//!      └► dispatch ─► Command (flags, help) ─► its `run` in `commands` ─► Engine ─► `text`
//! ```
//!
//! Start-up is part of every container's start, so nothing is made here that the chosen command does
//! not use: only its own flags are looked at, and the engine opens nothing before it is asked.

mod build_view;
mod commands;
mod container_flags;
mod context;
mod dispatch;
mod environment;
mod flags;
mod foreground;
mod interrupt;
mod progress;
mod quit;
mod session;
mod suggest;
mod text;
mod toolbox;
mod value;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: tug_sys::heap::Heap = tug_sys::heap::Heap;

fn main() -> ExitCode {
    let mut words = std::env::args_os();
    let own_name = words.next().unwrap_or_default();
    // A monitor's life begins here as well: nothing may stand before this.
    if own_name == tug_monitor::MONITOR {
        return ExitCode::from(u8::try_from(tug_monitor::run_monitor()).unwrap_or(u8::MAX));
    }
    if own_name == tug_engine::REAPER {
        return reap(words.collect());
    }
    if own_name == interrupt::SWEEPER {
        return interrupt::sweep(&words.collect::<Vec<_>>());
    }
    if own_name == toolbox::PLACE {
        return toolbox::main();
    }
    let words: Result<Vec<String>, OsString> = words.map(OsString::into_string).collect();
    let result = match words {
        Ok(words) => dispatch::run(words),
        Err(word) => {
            let shown = word.to_string_lossy();
            Err(quit::Quit::invalid(format!("argument {shown:?} is not UTF-8 text")))
        }
    };
    context::ended(result)
}

/// What a monitor turns into when nobody was there to tidy up after its container.
fn reap(words: Vec<OsString>) -> ExitCode {
    let [data_root, exec_root, id] = words.as_slice() else { return ExitCode::from(125) };
    let mut settings = context::default_settings();
    (settings.data_root, settings.exec_root) = (PathBuf::from(data_root), PathBuf::from(exec_root));
    let id = id.to_string_lossy().into_owned();
    let Ok(id) = tug_types::ContainerId::parse(&id) else { return ExitCode::from(125) };
    // There is nobody to tell: the next command that looks at the container tries again.
    match tug_engine::Engine::new(settings).reap(&id) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}
