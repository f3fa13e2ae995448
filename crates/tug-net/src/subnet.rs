//! Choice of subnets and addresses: pure arithmetic, what is taken is told by the caller.

use ipnet::Ipv4Net;
use std::collections::BTreeSet;
use std::net::Ipv4Addr;

/// The first of Docker's default pools that overlaps nothing in `taken`: 172.17.0.0/16 to
/// 172.31.0.0/16, then 192.168.0.0/20 to 192.168.240.0/20.
///
/// Routes shorter than /8 do not count: they are default routes in halves, as VPNs set them, and
/// would take everything.
pub fn choose_subnet(taken: &[Ipv4Net]) -> Option<Ipv4Net> {
    let large = (17..=31).map(|second| (Ipv4Addr::new(172, second, 0, 0), 16));
    let small = (0..=15).map(|sixteenth| (Ipv4Addr::new(192, 168, sixteenth * 16, 0), 20));
    let mut pools = large.chain(small).map(|(ip, prefix)| Ipv4Net::new_assert(ip, prefix));
    pools.find(|pool| !taken.iter().any(|net| net.prefix_len() >= 8 && overlaps(pool, net)))
}

fn overlaps(a: &Ipv4Net, b: &Ipv4Net) -> bool {
    a.contains(b) || b.contains(a)
}

/// The lowest address of `subnet` that is neither used nor the gateway, the network or the
/// broadcast address.
pub fn next_address(
    subnet: Ipv4Net,
    gateway: Ipv4Addr,
    used: &BTreeSet<Ipv4Addr>,
) -> Option<Ipv4Addr> {
    subnet.hosts().find(|address| *address != gateway && !used.contains(address))
}

/// The MAC address that goes with an address: Docker's 02:42 and the four bytes.
pub fn mac_of(address: Ipv4Addr) -> [u8; 6] {
    let [a, b, c, d] = address.octets();
    [0x02, 0x42, a, b, c, d]
}

/// A MAC address as it is written, `02:42:ac:11:00:02`.
pub fn mac_text(mac: [u8; 6]) -> String {
    let [a, b, c, d, e, f] = mac;
    format!("{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{f:02x}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn net(text: &str) -> Ipv4Net {
        text.parse().unwrap()
    }

    #[test]
    fn pools_follow_each_other_as_dockers_do() {
        assert_eq!(choose_subnet(&[]), Some(net("172.17.0.0/16")));
        assert_eq!(choose_subnet(&[net("172.17.5.0/24")]), Some(net("172.18.0.0/16")));
        assert_eq!(choose_subnet(&[net("172.16.0.0/12")]), Some(net("192.168.0.0/20")));
        let taken = [net("172.16.0.0/12"), net("192.168.1.0/24"), net("192.168.16.0/30")];
        assert_eq!(choose_subnet(&taken), Some(net("192.168.32.0/20")));
        assert_eq!(choose_subnet(&[net("172.16.0.0/12"), net("192.168.0.0/16")]), None);
    }

    #[test]
    fn half_default_routes_take_nothing() {
        assert_eq!(
            choose_subnet(&[net("0.0.0.0/1"), net("128.0.0.0/1"), net("0.0.0.0/0")]),
            Some(net("172.17.0.0/16"))
        );
    }

    #[test]
    fn addresses_come_in_sequence_and_gaps_are_filled() {
        let (subnet, gateway) = (net("10.0.0.0/29"), Ipv4Addr::new(10, 0, 0, 1));
        let mut used = BTreeSet::new();
        while let Some(address) = next_address(subnet, gateway, &used) {
            assert!(used.insert(address));
        }
        let last: Vec<u8> = used.iter().map(|address| address.octets()[3]).collect();
        assert_eq!(last, [2, 3, 4, 5, 6]);
        used.remove(&Ipv4Addr::new(10, 0, 0, 4));
        assert_eq!(next_address(subnet, gateway, &used), Some(Ipv4Addr::new(10, 0, 0, 4)));
    }

    #[test]
    fn macs_are_dockers() {
        assert_eq!(mac_text(mac_of(Ipv4Addr::new(172, 17, 0, 2))), "02:42:ac:11:00:02");
    }
}
