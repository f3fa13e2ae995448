//! The kernel takes the program and does as it says.

use super::*;
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketType};

/// In a process of its own: a filter cannot be taken off again.
#[test]
fn a_filtered_process_is_denied_what_the_profile_denies() {
    #[expect(clippy::disallowed_methods, reason = "a test may start itself")]
    let child = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "--ignored", "--nocapture", "seccomp::tests::kernel::filtered"])
        .output()
        .unwrap();
    let output = String::from_utf8_lossy(&child.stdout);
    assert!(child.status.success(), "{output}{}", String::from_utf8_lossy(&child.stderr));
    assert!(output.contains("1 passed"), "the other half is gone: {output}");
}

#[test]
#[ignore = "the other half of a_filtered_process_is_denied_what_the_profile_denies"]
fn filtered() {
    let vsock = || rustix::net::socket(AddressFamily::VSOCK, SocketType::STREAM, None).err();
    assert_ne!(vsock(), Some(Errno::PERM), "denied before there is a filter");
    // So that it needs no capability, as for a container with no_new_privs.
    rustix::thread::set_no_new_privs(true).unwrap();
    let program = super::super::program(&crate::Seccomp::Default, &fourteen()).unwrap().unwrap();
    tug_sys::seccomp::load(&program, true).unwrap();
    assert_eq!(vsock(), Some(Errno::PERM));
    assert_eq!(tug_sys::netns::unshare().unwrap_err().raw_os_error(), Some(libc::EPERM));
    let absent = "/no/such/mount";
    let unmount = rustix::mount::unmount(absent, rustix::mount::UnmountFlags::empty());
    assert_eq!(unmount, Err(Errno::PERM));
    // The rest goes on: clone3 does not exist, so the C library takes clone for the thread.
    std::thread::spawn(|| std::fs::read("/proc/self/status").unwrap()).join().unwrap();
    rustix::net::socket(AddressFamily::INET, SocketType::DGRAM, None).unwrap();
}

/// Fails where [`load`](tug_sys::seccomp::load) has an error to swallow.
#[test]
fn the_kernel_refuses_what_is_no_program() {
    let load = |program: &[Instruction]| tug_sys::seccomp::load(program, false).unwrap_err();
    assert_eq!(load(&[]).raw_os_error(), Some(libc::EINVAL));
    let jump = Instruction { code: compile::JUMP, jt: 0, jf: 0, k: 9 };
    assert_eq!(load(&[jump]).raw_os_error(), Some(libc::EINVAL));
    assert_eq!(load(&vec![jump; 70_000]).kind(), std::io::ErrorKind::InvalidInput);
}
