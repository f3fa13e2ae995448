//! `stop`, `kill`, `restart`, `wait`: through the container's monitor, which owns the process.

use crate::record::Record;
use crate::start::Started;
use crate::{Engine, Error, spec};
use tug_monitor::Client;
use tug_store::{ContainerRow, ContainerState};

impl Engine {
    /// Asks a container to end: its stop signal, then SIGKILL after `timeout` seconds (its own or 10
    /// when `None`, never when negative). One that does not run is no error.
    ///
    /// # Errors
    /// When there is none, or the signal is unknown.
    pub fn stop(
        &self,
        name: &str,
        signal: Option<&str>,
        timeout: Option<i64>,
    ) -> Result<(), Error> {
        let row = self.container(name)?;
        let record = Record::read(&row)?;
        let config = &record.config;
        let signal = signal.or(config.stop_signal.as_deref()).unwrap_or("SIGTERM");
        let signal = spec::signal_number(signal)?;
        let seconds = timeout.or(config.stop_timeout).unwrap_or(10);
        if row.state != ContainerState::Running {
            return Ok(());
        }
        let Ok(mut client) = Client::connect(&self.run_dir(&row.id)) else {
            return self.settle_after_end(&row);
        };
        let milliseconds = if seconds < 0 { -1 } else { seconds.saturating_mul(1000) };
        // When the line breaks the monitor is gone, and so is the container.
        let ended = client.stop(signal, milliseconds).and_then(|()| client.wait().map(drop));
        drop(ended);
        self.settle_after_end(&row)
    }

    /// Sends a signal to a running container's first process.
    ///
    /// # Errors
    /// When there is none, it does not run, or the signal is unknown.
    pub fn kill(&self, name: &str, signal: &str) -> Result<(), Error> {
        let signal = spec::signal_number(signal)?;
        let row = self.container(name)?;
        let not_running = || Error::NotRunning { name: row.name.clone() };
        if row.state != ContainerState::Running {
            return Err(not_running());
        }
        let mut client = Client::connect(&self.run_dir(&row.id)).map_err(|_| not_running())?;
        client.signal(signal).map_err(|error| Error::from_explain(&error))?;
        if signal == 9 {
            // `docker kill` returns when the container is dead.
            let ended = client.wait();
            drop(ended);
            self.settle_after_end(&row)?;
        }
        Ok(())
    }

    /// `stop`, then `start`.
    ///
    /// # Errors
    /// As both.
    pub fn restart(
        &self,
        name: &str,
        signal: Option<&str>,
        timeout: Option<i64>,
    ) -> Result<Option<Started>, Error> {
        let id = self.container(name)?.id;
        self.stop(id.as_str(), signal, timeout)?;
        self.start(id.as_str())
    }

    /// Waits for the container's end and returns its exit code; at once when it does not run.
    ///
    /// # Errors
    /// When there is none.
    pub fn wait(&self, name: &str) -> Result<i32, Error> {
        let row = self.container(name)?;
        if row.state == ContainerState::Running
            && let Ok(mut client) = Client::connect(&self.run_dir(&row.id))
            && let Ok(exit) = client.wait()
        {
            self.settle_after_end(&row)?;
            return Ok(exit.exit_code);
        }
        self.settle_after_end(&row)?;
        match self.container(row.id.as_str()) {
            Ok(row) => Ok(row.exit_code),
            Err(Error::NoContainer { .. }) => Ok(0),
            Err(error) => Err(error),
        }
    }

    /// Gives container another name.
    ///
    /// # Errors
    /// When there is none, or the name is bad or taken.
    pub fn rename(&self, name: &str, new_name: &str) -> Result<(), Error> {
        crate::create::check_container_name(new_name)?;
        let row = self.container(name)?;
        let new_name = new_name.trim_start_matches('/');
        if new_name == row.name {
            return Err(Error::SameName { name: row.name });
        }
        Ok(self.store.rename_container(&row.id, new_name)?)
    }

    /// The end of the run is recorded before we return, by us or by whoever was first.
    fn settle_after_end(&self, row: &ContainerRow) -> Result<(), Error> {
        if row.state == ContainerState::Running { self.finish(&row.id) } else { Ok(()) }
    }
}
