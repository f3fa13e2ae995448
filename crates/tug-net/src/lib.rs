//! Networks: what is wanted as plain values, and the executor that makes the kernel agree.
//!
//! Owns bridges, veth pairs, addresses, routes, tug's nftables table, choice of subnets and
//! addresses, and the rules for a container's resolv.conf and hosts file. It speaks netlink itself,
//! on synchronous sockets, and starts no program. It refuses to own who uses which address: that is
//! in the store. IPv4 only; without root (CAP_NET_ADMIN over the host's network) every function that
//! changes something fails with [`Kind::Denied`](tug_types::Kind::Denied).
//!
//! Start at [`config`](BridgeConfig) for the vocabulary, `ruleset.rs` for the table, and then follow
//! a start: [`ensure_bridge`], [`attach`], [`publish`]; and its end: [`unpublish_ports`], [`retire`].

mod attach;
mod bridge;
mod config;
mod error;
mod facts;
mod flows;
mod holder;
mod host;
pub mod hosts;
mod link;
mod nft;
mod ports;
mod reservation;
pub mod resolv;
mod ruleset;
mod socket;
mod subnet;

pub use attach::{attach, loopback_up};
pub use bridge::{detach, ensure_bridge, remove_bridge, retire};
pub use config::*;
pub use error::{Error, Result};
pub use holder::{PortHolder, port_holder};
pub use host::{host_routes, uplink_mtu};
pub use ports::{publish, published, republish, unpublish, unpublish_ports};
pub use reservation::Reservation;
pub use subnet::{choose_subnet, mac_of, mac_text, next_address};
