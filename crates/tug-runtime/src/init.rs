//! `--init`: process 1 that forwards signals and reaps, without a file in the image. The process splits
//! just before it locks itself down: the child goes on to the command, the parent stays as init.

use crate::capabilities;
use std::time::Duration;
use tug_sys::process::{self as sys, AllSignals, Cloned};

/// Returns in the child only. The parent keeps nothing open, cannot be looked into, and ends with the
/// child's exit code once the child has ended.
pub(crate) fn split() {
    match sys::clone(0, None) {
        Ok(Cloned::Child) => {
            // A group of its own, in the foreground where there is a terminal. Asking for that from the
            // background would stop the process, were SIGTTOU not blocked; the mask is reset before
            // the command is executed.
            AllSignals::block();
            let _ = rustix::process::setpgid(None, None);
            let _ = rustix::termios::tcsetpgrp(rustix::stdio::stdin(), rustix::process::getpid());
        }
        Ok(Cloned::Parent { pid, pidfd }) => {
            drop(pidfd);
            stay(pid)
        }
        // Without a second process the command runs as process 1 itself.
        Err(_) => {}
    }
}

fn stay(child: i32) -> ! {
    let signals = AllSignals::block();
    sys::set_name(c"tug-init");
    // The command line and the environment are those of the monitor on the host.
    tug_sys::traces::erase(b"tug-init");
    sys::set_dumpable(false);
    // What fails here leaves an init that could do more than it does.
    let _ = rustix::thread::set_no_new_privs(true);
    let _ = capabilities::permitted().and_then(|had| capabilities::Set::to_signal().take(had));
    let parent_death = Some(rustix::process::Signal::KILL);
    let _ = rustix::process::set_parent_process_death_signal(parent_death);
    sys::close_everything();
    loop {
        while let Some((pid, status)) = sys::collect_child() {
            if pid == child {
                sys::exit_now(sys::exit_code(status));
            }
        }
        match signals.wait() {
            libc::SIGCHLD => {}
            signal if signal > 0 => sys::signal_child(child, signal),
            _ => std::thread::sleep(Duration::from_millis(1)),
        }
    }
}
