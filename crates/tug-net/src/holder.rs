//! Which process of the host holds a port, from `/proc`: for error messages, so every failure to
//! look is simply no answer.

use crate::Protocol;
use std::collections::HashSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// A process with a socket on a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortHolder {
    /// Its number in the caller's PID namespace.
    pub pid: i32,
    /// Its name, as `/proc/PID/comm` has it.
    pub name: String,
}

/// The host process whose socket keeps `ip:port` from being bound. TCP sockets that are bound but
/// do not listen are in none of the kernel's tables, and are not found.
pub fn port_holder(ip: Ipv4Addr, port: u16, protocol: Protocol) -> Option<PortHolder> {
    // Not /proc/net: that is the namespace of the process' first thread.
    let read = |name| std::fs::read_to_string(format!("/proc/thread-self/net/{name}"));
    let (v4, v6) = match protocol {
        Protocol::Tcp => ("tcp", "tcp6"),
        Protocol::Udp => ("udp", "udp6"),
        Protocol::Sctp => return None,
    };
    let mut inodes = HashSet::new();
    for text in [read(v4), read(v6)].into_iter().flatten() {
        inodes.extend(sockets_on(&text, ip, port));
    }
    if inodes.is_empty() { None } else { owner(&inodes) }
}

/// Inodes of the sockets in a table of `/proc/net` whose local end clashes with `ip:port`.
fn sockets_on(table: &str, ip: Ipv4Addr, port: u16) -> impl Iterator<Item = u64> {
    let clashes = move |line: &&str| {
        let local = line.split_ascii_whitespace().nth(1).and_then(parse_end);
        local.is_some_and(|(address, local_port)| local_port == port && clash(address, ip))
    };
    let inode = |line: &str| line.split_ascii_whitespace().nth(9)?.parse().ok();
    // 0 stands for connections whose process is gone.
    table.lines().skip(1).filter(clashes).filter_map(inode).filter(|inode| *inode != 0)
}

fn clash(held: IpAddr, wanted: Ipv4Addr) -> bool {
    match held.to_canonical() {
        IpAddr::V4(held) => held == wanted || held.is_unspecified() || wanted.is_unspecified(),
        // A socket on all of IPv6 takes IPv4 along unless told otherwise, which is not shown.
        IpAddr::V6(held) => held.is_unspecified(),
    }
}

/// `0100007F:1F90`: words in the machine's byte order, then the port.
fn parse_end(text: &str) -> Option<(IpAddr, u16)> {
    let (address, port) = text.split_once(':')?;
    let mut bytes = Vec::with_capacity(16);
    for start in (0..address.len()).step_by(8) {
        let word = u32::from_str_radix(address.get(start..start + 8)?, 16).ok()?;
        bytes.extend_from_slice(&word.to_ne_bytes());
    }
    let port = u16::from_str_radix(port, 16).ok()?;
    let address = match *bytes {
        [a, b, c, d] => Ipv4Addr::new(a, b, c, d).into(),
        _ => Ipv6Addr::from(<[u8; 16]>::try_from(bytes).ok()?).into(),
    };
    Some((address, port))
}

fn owner(inodes: &HashSet<u64>) -> Option<PortHolder> {
    let processes = std::fs::read_dir("/proc").ok()?.flatten();
    for process in processes {
        let Some(pid) = process.file_name().to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        let descriptors = std::fs::read_dir(process.path().join("fd")).into_iter().flatten();
        let holds = descriptors.flatten().any(|descriptor| {
            let target = std::fs::read_link(descriptor.path()).ok();
            let inode = target.as_ref().and_then(|target| {
                target.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()
            });
            inode.is_some_and(|inode| inodes.contains(&inode))
        });
        if holds {
            let comm = std::fs::read_to_string(process.path().join("comm")).unwrap_or_default();
            return Some(PortHolder { pid, name: comm.trim_end().to_owned() });
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    const TCP: &str = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4711 1 0 100 0 0 10 0
   1: 00000000:0016 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 42 1 0 100 0 0 10 0
   2: 0100007F:1F90 0100007F:8E2C 06 00000000:00000000 03:00000E5C 00000000     0        0 0 3 0
";
    const TCP6: &str = "  sl  local_address remote_address st ...
   0: 00000000000000000000000000000000:0050 00000000000000000000000000000000:0000 0A 0:0 00:0 0 0 0 7 1
   1: 0000000000000000FFFF00000100007F:0051 00000000000000000000000000000000:0000 0A 0:0 00:0 0 0 0 8 1
   2: 00000000000000000000000001000000:0052 00000000000000000000000000000000:0000 0A 0:0 00:0 0 0 0 9 1
";

    fn found(table: &str, ip: [u8; 4], port: u16) -> Vec<u64> {
        sockets_on(table, ip.into(), port).collect()
    }

    #[test]
    fn sockets_are_found_by_the_address_they_clash_with() {
        if cfg!(target_endian = "big") {
            return;
        }
        assert_eq!(found(TCP, [127, 0, 0, 1], 8080), [4711]);
        assert_eq!(found(TCP, [0, 0, 0, 0], 8080), [4711]);
        assert_eq!(found(TCP, [10, 0, 0, 1], 8080), []);
        assert_eq!(found(TCP, [10, 0, 0, 1], 22), [42]);
    }

    #[test]
    fn ipv6_sockets_count_where_they_take_ipv4_along() {
        if cfg!(target_endian = "big") {
            return;
        }
        assert_eq!(found(TCP6, [10, 0, 0, 1], 0x50), [7]);
        assert_eq!(found(TCP6, [127, 0, 0, 1], 0x51), [8]);
        assert_eq!(found(TCP6, [127, 0, 0, 1], 0x52), []);
    }

    #[test]
    fn garbage_is_no_socket() {
        assert_eq!(found("", [0; 4], 1), []);
        assert_eq!(found("head\n1:\n2: zz:zz\n3: 01:0001 a\n", [0; 4], 1), []);
    }

    #[test]
    fn a_listener_of_this_process_is_found() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let holder = port_holder(Ipv4Addr::UNSPECIFIED, port, Protocol::Tcp).unwrap();
        assert_eq!(holder.pid, i32::try_from(std::process::id()).unwrap());
    }
}
