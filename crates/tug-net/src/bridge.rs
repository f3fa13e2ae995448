//! The bridge and its nftables table, made and unmade as one.
//!
//! [`ensure_bridge`] runs before every start. Its usual case is two questions to the kernel: is the
//! link as it should be, and does the table carry the mark of these rules. Only when one answer is
//! no does it write, and what it writes may be written by any number of processes at once.

use crate::facts::{LinkFacts, nested};
use crate::socket::{self, Kept, Netlink};
use crate::{BridgeConfig, Error, Result};
use crate::{link, nft, ruleset};
use std::io;

/// The global switch; writing it sets the same for every link of the host.
const IP_FORWARD: &str = "/proc/sys/net/ipv4/ip_forward";
/// Length of `struct nfgenmsg`, before a rule's attributes.
const NETFILTER_HEADER: usize = 4;

/// Makes sure that the bridge, its address, the kernel settings it needs and the nftables table
/// exist, creating or repairing what is missing. Idempotent, and safe in many processes at once.
///
/// # Errors
/// When the kernel lacks bridges or nftables, when the caller may not administer the network, or
/// when something else has the bridge's name.
pub fn ensure_bridge(config: &BridgeConfig) -> Result<()> {
    check_name(&config.bridge)?;
    let mut route = Netlink::route()?;
    match find_bridge(&mut route, config)? {
        State::Ready => {}
        State::Absent => {
            forward_packets()?;
            create(&mut route, config)?;
            configure(&mut route, config)?;
        }
        State::Incomplete => {
            forward_packets()?;
            configure(&mut route, config)?;
        }
    }
    ensure_table(config)
}

/// Removes the bridge and the table. Idempotent; containers still connected lose their network.
///
/// # Errors
/// When the kernel refuses for another reason than their absence.
pub fn remove_bridge(config: &BridgeConfig) -> Result<()> {
    let removed_table = remove_table(config);
    detach(&config.bridge)?;
    removed_table
}

/// Takes a container whose processes have ended off the bridge, so that its address can be handed
/// on at once. The link itself goes with its namespace, moments after the last process in it and the
/// last descriptor of it are gone. Idempotent.
///
/// This is the end of every run, for it takes microseconds; [`detach`] waits out several of the
/// kernel's grace periods, some 25 ms.
///
/// # Errors
/// When the kernel refuses for another reason than the link's absence.
pub fn retire(host_link: &str) -> Result<()> {
    check_name(host_link)?;
    let failed = |source| Error::RemoveLink { link: host_link.to_owned(), source };
    let mut route = Netlink::route()?;
    let index = match route.link_index(host_link) {
        Ok(index) => index,
        Err(error) if error.raw_os_error() == Some(libc::ENODEV) => return Ok(()),
        Err(source) => return Err(failed(source)),
    };
    // Gone meanwhile, not up, or on no bridge: nothing passes it either way.
    let harmless = |errno| matches!(errno, libc::ENODEV | libc::ENETDOWN | libc::EOPNOTSUPP);
    route.batch(&[link::retire(index)], harmless).map_err(|refused| failed(refused.into()))
}

/// Removes a link of the host by name, and with it the end inside a container, and waits until it
/// is gone. Idempotent.
///
/// # Errors
/// When the kernel refuses for another reason than its absence.
pub fn detach(host_link: &str) -> Result<()> {
    check_name(host_link)?;
    let removed =
        Netlink::route()?.batch(&[link::remove(host_link)], |errno| errno == libc::ENODEV);
    removed
        .map_err(|refused| Error::RemoveLink { link: host_link.to_owned(), source: refused.into() })
}

/// The kernel's rules for a link's name (`dev_valid_name`).
pub(crate) fn check_name(name: &str) -> Result<()> {
    let bad = |b: u8| b == b'/' || b == b':' || b == 0 || b.is_ascii_whitespace();
    if name.is_empty() || name.len() > 15 || matches!(name, "." | "..") || name.bytes().any(bad) {
        return Err(Error::LinkName { name: name.to_owned() });
    }
    Ok(())
}

/// How much of the bridge is there.
enum State {
    Absent,
    Incomplete,
    Ready,
}

fn find_bridge(route: &mut Netlink, config: &BridgeConfig) -> Result<State> {
    let name = &config.bridge;
    let found = route.get(&link::get_link(name), |_, payload| LinkFacts::read(payload));
    let facts = match found {
        Ok(facts) => facts.ok_or(Error::Answer { request: "RTM_GETLINK" })?,
        Err(error) if error.raw_os_error() == Some(libc::ENODEV) => return Ok(State::Absent),
        Err(source) => return Err(Error::InspectLink { link: name.clone(), source }),
    };
    if !facts.bridge {
        return Err(Error::NotABridge { link: name.clone() });
    }
    let ready = facts.up && facts.forwarding && facts.route_localnet && facts.mtu == config.mtu;
    Ok(if ready { State::Ready } else { State::Incomplete })
}

fn create(route: &mut Netlink, config: &BridgeConfig) -> Result<()> {
    route.batch(&[link::create_bridge(config)], |errno| errno == libc::EEXIST).map_err(|refused| {
        Error::CreateBridge { bridge: config.bridge.clone(), source: refused.into() }
    })
}

fn configure(route: &mut Netlink, config: &BridgeConfig) -> Result<()> {
    let failed = |source| Error::ConfigureBridge {
        bridge: config.bridge.clone(),
        address: format!("{}/{}", config.gateway, config.subnet.prefix_len()),
        source,
    };
    let index = route.link_index(&config.bridge).map_err(failed)?;
    route
        .batch(&link::configure_bridge(config, index), |errno| {
            // The address is there already; IPv6 is not.
            matches!(errno, libc::EEXIST | libc::EAFNOSUPPORT)
        })
        .map_err(|refused| failed(refused.into()))
}

/// Turns forwarding on for the whole host, as every container engine with NAT must: replies come
/// in over the uplink. Left alone when it is on already.
fn forward_packets() -> Result<()> {
    let failed = |source| Error::Sysctl { path: IP_FORWARD, source };
    if std::fs::read(IP_FORWARD).map_err(failed)?.starts_with(b"0") {
        std::fs::write(IP_FORWARD, "1").map_err(failed)?;
    }
    Ok(())
}

/// A netfilter socket, or the error that says that the kernel has no such thing.
pub(crate) fn netfilter(config: &BridgeConfig) -> Result<Kept> {
    socket::netfilter().map_err(|source| Error::NoNftables { table: config.table.clone(), source })
}

/// Tells a kernel without nftables, or without a part of it, from other refusals. ENOENT is what
/// an unknown chain type or expression comes back as.
pub(crate) fn missing_nftables(errno: i32) -> bool {
    matches!(errno, libc::EOPNOTSUPP | libc::EPROTONOSUPPORT | libc::EAFNOSUPPORT | libc::ENOENT)
}

fn ensure_table(config: &BridgeConfig) -> Result<()> {
    let mut netlink = netfilter(config)?;
    if marked(&mut netlink, config)? {
        return Ok(());
    }
    nft::commit(&mut netlink, &ruleset::table(config)).map_err(|refused| {
        let (table, source) = (config.table.clone(), io::Error::from_raw_os_error(refused.errno));
        if missing_nftables(refused.errno) {
            Error::NoNftables { table, source }
        } else {
            Error::WriteTable { table, source }
        }
    })
}

/// Whether the guard chain carries the mark of these rules.
fn marked(netlink: &mut Netlink, config: &BridgeConfig) -> Result<bool> {
    const NFTA_RULE_USERDATA: u16 = 7;
    let wanted = nft::comment_data(&ruleset::mark(config));
    let request = nft::list_rules(&config.table, ruleset::GUARD);
    let (mut marked, mut others) = (false, false);
    let listed = netlink.dump(&request, |_, payload| {
        let attributes = payload.get(NETFILTER_HEADER..).unwrap_or_default();
        match nested(attributes, NFTA_RULE_USERDATA) {
            Some(data) if data == wanted => marked = true,
            _ => others = true,
        }
    });
    match listed {
        Ok(_) => Ok(marked && !others),
        // No such table; or, EINVAL, no nftables at all, which the attempt to write will tell.
        Err(error) if matches!(error.raw_os_error(), Some(libc::ENOENT | libc::EINVAL)) => {
            Ok(false)
        }
        Err(source) => Err(Error::ReadTable { table: config.table.clone(), source }),
    }
}

fn remove_table(config: &BridgeConfig) -> Result<()> {
    let Ok(mut netlink) = socket::netfilter() else { return Ok(()) };
    match nft::commit(&mut netlink, &[nft::delete_table(&config.table)]) {
        Err(refused) if !missing_nftables(refused.errno) => {
            Err(Error::RemoveTable { table: config.table.clone(), source: refused.into() })
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_the_kernel_refuses_are_refused_before_it_is_asked() {
        for name in ["", ".", "..", "a/b", "a b", "a:b", "sixteen-bytes-xx", "a\0"] {
            assert!(matches!(check_name(name), Err(Error::LinkName { .. })), "{name:?}");
        }
        for name in ["tug0", "fifteen-bytes-x", "veth.1"] {
            assert!(check_name(name).is_ok(), "{name:?}");
        }
    }
}
