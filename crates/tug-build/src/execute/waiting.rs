//! Waiting for the network, but not longer than the build goes on.

use crate::build::Cancel;
use std::future::Future;
use std::io::{Error, ErrorKind};
use std::time::Duration;
use tokio::runtime::{Builder, Runtime};

/// How long a server may say nothing.
const PATIENCE: Duration = Duration::from_secs(120);

/// Runs one thing at a time, in the thread that asks.
pub(super) struct Waiting {
    runtime: Runtime,
    cancel: Cancel,
}

impl Waiting {
    pub(super) fn new(cancel: &Cancel) -> Result<Self, Error> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        Ok(Self { runtime, cancel: cancel.clone() })
    }

    /// Something that takes as long as a server takes to say a few bytes. When the build is cancelled it ends at once,
    /// as aborted: what asked finds out by asking the build.
    pub(super) fn wait<T>(&self, what: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
        self.wait_for(PATIENCE, what)
    }

    /// The same with another patience.
    pub(super) fn wait_for<T>(
        &self,
        patience: Duration,
        what: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        self.runtime.block_on(async {
            tokio::select! {
                biased;
                () = self.cancel.cancelled() => Err(ErrorKind::ConnectionAborted.into()),
                done = tokio::time::timeout(patience, what) => done.unwrap_or_else(|_| {
                    let seconds = patience.as_secs();
                    let why = format!("the server has said nothing for {seconds} seconds");
                    Err(Error::new(ErrorKind::TimedOut, why))
                }),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cancelled_build_waits_for_nobody() {
        let cancel = Cancel::default();
        let waiting = Waiting::new(&cancel).unwrap();
        assert_eq!(waiting.wait(async { Ok(1) }).unwrap(), 1);
        let other = cancel.clone();
        let asks = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(50));
            other.cancel();
        });
        let end = waiting.wait::<()>(std::future::pending()).unwrap_err();
        assert_eq!(end.kind(), ErrorKind::ConnectionAborted);
        asks.join().unwrap();
        assert!(waiting.wait(async { Ok(1) }).is_err(), "and nobody afterwards");
        let slow = Waiting::new(&Cancel::default()).unwrap();
        let end = slow.wait_for::<()>(Duration::from_millis(5), std::future::pending());
        assert_eq!(end.unwrap_err().kind(), ErrorKind::TimedOut);
    }
}
