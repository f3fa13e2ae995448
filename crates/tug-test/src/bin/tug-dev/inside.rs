//! What tests run inside of containers because busybox has no such thing.

use rustix::mount::{FsOpenFlags, MountFlags, MoveMountFlags, OpenTreeFlags, UnmountFlags};
use std::ffi::CStr;
use std::io;
use std::net::UdpSocket;

/// Sends every packet back, forever.
pub(crate) fn udp_echo(port: &str) -> io::Result<()> {
    let port: u16 = port.parse().map_err(io::Error::other)?;
    let socket = UdpSocket::bind(("0.0.0.0", port))?;
    let mut packet = [0; 2048];
    loop {
        let (length, client) = socket.recv_from(&mut packet)?;
        socket.send_to(&packet[..length], client)?;
    }
}

/// Tries system calls that a container has no business with; prints each with the kernel's answer.
pub(crate) fn forbidden() {
    let none: Option<&CStr> = None;
    let attempts = [
        ("mount", rustix::mount::mount("none", "/tmp", "tmpfs", MountFlags::empty(), none)),
        ("umount2", rustix::mount::unmount("/proc", UnmountFlags::DETACH)),
        ("pivot_root", rustix::process::pivot_root("/", "/")),
        ("fsopen", rustix::mount::fsopen("tmpfs", FsOpenFlags::empty()).map(drop)),
        (
            "open_tree",
            rustix::mount::open_tree(rustix::fs::CWD, "/", OpenTreeFlags::OPEN_TREE_CLONE)
                .map(drop),
        ),
        (
            "move_mount",
            rustix::mount::move_mount(
                rustix::fs::CWD,
                "/proc",
                rustix::fs::CWD,
                "/tmp",
                MoveMountFlags::empty(),
            ),
        ),
        ("sethostname", rustix::system::sethostname(b"other")),
        ("setdomainname", rustix::system::setdomainname(b"other")),
        (
            "finit_module",
            std::fs::File::open("/proc/self/exe").map_or(Err(rustix::io::Errno::BADF), |file| {
                rustix::system::finit_module(&file, c"", 0)
            }),
        ),
        ("reboot", rustix::system::reboot(rustix::system::RebootCommand::CadOff)),
    ];
    for (name, result) in attempts {
        let answer = match result {
            Ok(()) => "worked".to_owned(),
            Err(error) => format!("errno {}", error.raw_os_error()),
        };
        println!("{name} {answer}");
    }
}
