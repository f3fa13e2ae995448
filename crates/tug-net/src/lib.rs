//! Networks: what is wanted as plain values, and the executor that makes the kernel agree.
//!
//! Owns bridges, veth pairs, addresses, routes, tug's nftables table, choice of subnets and
//! addresses, and the rules for a container's resolv.conf. It speaks netlink itself and starts no
//! program. It refuses to own who uses which address: that is in the store.

mod config;

pub use config::*;
