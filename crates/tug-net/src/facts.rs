//! The few facts about a link that are asked before every start, read straight from the kernel's
//! answer: decoding all of it into the packet crate's types costs as much as the question itself.

use netlink_packet_core::NlasIterator;

/// Length of `struct ifinfomsg`, before a link's attributes.
const LINK_HEADER: usize = 16;

/// What is asked about a link.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct LinkFacts {
    pub(crate) up: bool,
    pub(crate) bridge: bool,
    pub(crate) forwarding: bool,
    pub(crate) route_localnet: bool,
    pub(crate) mtu: u32,
}

impl LinkFacts {
    /// Reads the payload of an `RTM_NEWLINK`; `None` when it is cut off.
    pub(crate) fn read(payload: &[u8]) -> Option<Self> {
        const IFLA_MTU: u16 = 4;
        const IFLA_LINKINFO: u16 = 18;
        const IFLA_INFO_KIND: u16 = 1;
        const IFLA_AF_SPEC: u16 = 26;
        const AF_INET: u16 = 2;
        const IFLA_INET_CONF: u16 = 1;
        let (header, attributes) = payload.split_at_checked(LINK_HEADER)?;
        let flags = number(header, 2)?;
        let mut facts = Self { up: flags & libc::IFF_UP.cast_unsigned() != 0, ..Self::default() };
        for nla in NlasIterator::new(attributes) {
            let nla = nla.ok()?;
            match nla.kind() {
                IFLA_MTU => facts.mtu = number(nla.value(), 0)?,
                IFLA_LINKINFO => {
                    facts.bridge = nested(nla.value(), IFLA_INFO_KIND)
                        .is_some_and(|kind| kind.starts_with(b"bridge\0"));
                }
                IFLA_AF_SPEC => {
                    let inet = nested(nla.value(), AF_INET).unwrap_or_default();
                    // An array in the order of IPV4_DEVCONF_*, which count from 1.
                    let settings = nested(inet, IFLA_INET_CONF).unwrap_or_default();
                    facts.forwarding = number(settings, 0).is_some_and(|on| on != 0);
                    facts.route_localnet = number(settings, 25).is_some_and(|on| on != 0);
                }
                _ => {}
            }
        }
        Some(facts)
    }
}

/// The `index`th 32-bit number, in the machine's byte order.
fn number(bytes: &[u8], index: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(*bytes.get(index * 4..)?.first_chunk()?))
}

/// The value of the first attribute of this kind.
pub(crate) fn nested(mut bytes: &[u8], kind: u16) -> Option<&[u8]> {
    const NESTED: u16 = netlink_packet_core::NLA_F_NESTED;
    loop {
        let length = usize::from(u16::from_ne_bytes(*bytes.first_chunk()?));
        let found = u16::from_ne_bytes(*bytes.get(2..)?.first_chunk()?);
        if found & !NESTED == kind {
            return bytes.get(4..length);
        }
        bytes = bytes.get(length.max(4).next_multiple_of(4)..)?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cut_off_answers_are_not_believed() {
        assert_eq!(LinkFacts::read(&[0; 15]), None);
        assert_eq!(nested(&[8, 0, 1, 0, 1], 1), None);
        assert_eq!(nested(&[5, 0, 1, 0, 7, 0, 0, 0, 5, 0, 2, 0x80, 9], 2), Some(&[9][..]));
        // A length of zero must not make the walk stand still.
        assert_eq!(nested(&[0; 64], 3), None);
    }
}
