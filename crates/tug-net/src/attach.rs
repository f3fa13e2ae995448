//! Joins a network namespace to the bridge.
//!
//! The peer is born inside the namespace under its final name, so one message on the host's side
//! does what moving and renaming would take five for. Inside, everything is one batch. Namespaces
//! are entered only to open a socket there; it keeps speaking to its namespace afterwards.

use crate::bridge::{check_name, detach};
use crate::socket::{Netlink, Refused};
use crate::{BridgeConfig, Endpoint, Error, Result, link};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};

/// Connects the namespace: a veth pair with one end on the bridge, address and default route
/// inside. Undone when a step fails. A link left over from an earlier run under the same name is
/// replaced. The calling thread visits the namespace, so it must not be shared with other work.
///
/// # Errors
/// When the bridge is missing or the kernel refuses a step.
pub fn attach(config: &BridgeConfig, endpoint: &Endpoint, netns: BorrowedFd<'_>) -> Result<()> {
    check_name(&endpoint.host_link)?;
    check_name(&endpoint.container_link)?;
    let mut host = Netlink::route()?;
    create_pair(&mut host, config, endpoint, netns)?;
    configure(&host, config, endpoint, netns).inspect_err(|_| {
        // The first failure is the one to report.
        let _ = detach(&endpoint.host_link);
    })
}

/// Brings up `lo` in a namespace that gets no other link (`--network none`).
///
/// # Errors
/// When the namespace cannot be entered or the kernel refuses.
pub fn loopback_up(netns: BorrowedFd<'_>) -> Result<()> {
    let mut inside = socket_in(&Netlink::route()?, netns)?;
    inside
        .batch(&[link::loopback_up()], |_| false)
        .map_err(|refused| Error::Loopback { source: refused.into() })
}

fn create_pair(
    host: &mut Netlink,
    config: &BridgeConfig,
    endpoint: &Endpoint,
    netns: BorrowedFd<'_>,
) -> Result<()> {
    let failed = |source| Error::CreateLink {
        host_link: endpoint.host_link.clone(),
        bridge: config.bridge.clone(),
        source,
    };
    let bridge = host.link_index(&config.bridge).map_err(failed)?;
    let pair =
        [link::create_pair(config, endpoint, bridge, netns), link::reflect(&endpoint.host_link)];
    match host.batch(&pair, |_| false) {
        Err(Refused { errno: libc::EEXIST }) => {
            detach(&endpoint.host_link)?;
            host.batch(&pair, |_| false)
        }
        outcome => outcome,
    }
    .map_err(|refused| failed(refused.into()))
}

fn configure(
    host: &Netlink,
    config: &BridgeConfig,
    endpoint: &Endpoint,
    netns: BorrowedFd<'_>,
) -> Result<()> {
    let failed = |source| Error::ConfigureLink {
        link: endpoint.container_link.clone(),
        address: endpoint.address,
        source,
    };
    let mut inside = socket_in(host, netns)?;
    let index = inside.link_index(&endpoint.container_link).map_err(failed)?;
    inside
        // A kernel without IPv6 has no use for being told to leave it out.
        .batch(&link::configure_endpoint(config, endpoint, index), |errno| {
            errno == libc::EAFNOSUPPORT
        })
        .map_err(|refused| failed(refused.into()))
}

/// Opens a routing socket inside a namespace and comes back.
fn socket_in(host: &Netlink, netns: BorrowedFd<'_>) -> Result<Netlink> {
    let kind = Some(LinkNameSpaceType::Network);
    let enter = |source: io::Error| Error::EnterNamespace { source };
    let home = tug_sys::netns::of_socket(host.as_fd()).map_err(enter)?;
    move_into_link_name_space(netns, kind).map_err(|errno| enter(errno.into()))?;
    let opened = Netlink::route();
    move_into_link_name_space(home.as_fd(), kind)
        .map_err(|errno| Error::LeaveNamespace { source: errno.into() })?;
    opened
}
