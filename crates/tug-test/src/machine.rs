//! Another machine on the network: a thread in a network namespace of its own, joined to the
//! caller's by a cable.

use std::sync::mpsc::{Sender, channel};
use std::thread::JoinHandle;

type Job = Box<dyn FnOnce() + Send>;

/// The other machine. It vanishes with its links when dropped.
pub struct Machine {
    jobs: Option<Sender<Job>>,
    thread: Option<JoinHandle<()>>,
}

/// Its address at the other end of the cable.
pub const ITS_ADDRESS: &str = "198.51.100.2";

/// The caller's address at this end of the cable.
pub const OUR_ADDRESS: &str = "198.51.100.1";

impl Machine {
    /// Joins a new machine to the calling thread's network by a link named `wan`.
    pub fn join() -> Self {
        let (jobs, todo) = channel::<Job>();
        let (say, hear) = channel();
        let thread = std::thread::spawn(move || {
            let moved = tug_sys::netns::unshare();
            let thread = rustix::thread::gettid().as_raw_nonzero();
            if say
                .send((moved, format!("/proc/{}/task/{thread}/ns/net", std::process::id())))
                .is_ok()
            {
                todo.into_iter().for_each(|job| job());
            }
        });
        let (moved, namespace) = hear.recv().unwrap_or_else(|e| panic!("other machine: {e}"));
        assert!(moved.is_ok(), "other machine: {moved:?}");
        let machine = Self { jobs: Some(jobs), thread: Some(thread) };
        ip(&format!("link add wan type veth peer name wan netns {namespace}"));
        ip(&format!("address add {OUR_ADDRESS}/24 dev wan"));
        ip("link set wan up");
        machine.on(|| {
            ip("link set lo up");
            ip(&format!("address add {ITS_ADDRESS}/24 dev wan"));
            ip("link set wan up");
        });
        machine
    }

    /// Does something on that machine and waits for it.
    pub fn on<T: Send + 'static>(&self, job: impl FnOnce() -> T + Send + 'static) -> T {
        let (say, hear) = channel();
        let sent =
            self.jobs.as_ref().map(|jobs| jobs.send(Box::new(move || drop(say.send(job())))));
        assert!(matches!(sent, Some(Ok(()))), "the other machine is gone");
        hear.recv().unwrap_or_else(|e| panic!("on the other machine: {e}"))
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        drop(self.jobs.take());
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

/// Runs ip(8) with these words; it must succeed.
pub fn ip(words: &str) {
    crate::process::run("ip", &words.split(' ').collect::<Vec<_>>()).ok();
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;
    use std::net::{TcpListener, TcpStream};

    #[test]
    fn the_cable_carries() {
        let moved = tug_sys::netns::unshare();
        assert!(moved.is_ok());
        let machine = Machine::join();
        let listener = machine.on(|| TcpListener::bind((ITS_ADDRESS, 80)));
        let listener = listener.unwrap_or_else(|error| panic!("{error}"));
        let client = TcpStream::connect((ITS_ADDRESS, 80));
        let peer = listener.accept().map(|(_, peer)| peer.ip().to_string());
        assert_eq!(peer.unwrap_or_default(), OUR_ADDRESS);
        drop(listener);
        assert!(client.and_then(|mut stream| stream.read(&mut [0])).is_ok());
    }
}
