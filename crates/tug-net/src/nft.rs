//! nftables messages as values: the few expressions tug's rules are made of, and the frame of a
//! transaction. Numbers are those of `linux/netfilter/nf_tables.h`.

use crate::socket::{Netlink, Refused, Request};
use ipnet::Ipv4Net;
use netlink_packet_core::{DefaultNla, NLM_F_APPEND, NLM_F_CREATE};
use netlink_packet_netfilter::nftables::{
    Bitwise, ChainAttribute, ChainMessage, Cmp, DataAttribute, ExpressionAttribute, Expressions,
    Hook, Immediate, InetHookNumber, ListAttribute, Lookup, Meta, MetaKey, NfTablesMessage,
    Operator, Payload, Register, RuleAttribute, RuleMessage, SetAttribute, SetFlags, SetMessage,
    TableAttribute, TableMessage, Verdict, VerdictAttribute,
};
use netlink_packet_netfilter::none::ControlMessage;
use netlink_packet_netfilter::{NetfilterHeader, NetfilterMessage, NetfilterProtoFamily};

/// One expression of a rule.
pub(crate) type Expression = ListAttribute<ExpressionAttribute>;

/// Where `ip saddr` and `ip daddr` lie in the IPv4 header.
pub(crate) const SADDR: u32 = 12;
pub(crate) const DADDR: u32 = 16;

const PAYLOAD_NETWORK: u32 = 1;
const PAYLOAD_TRANSPORT: u32 = 2;
const SUBSYSTEM: u16 = 10;
const NF_DROP: u32 = 0;
const NF_ACCEPT: u32 = 1;

/// A chain hooked into packet processing, with policy accept.
pub(crate) struct Chain {
    pub(crate) name: &'static str,
    pub(crate) kind: &'static str,
    pub(crate) hook: InetHookNumber,
    pub(crate) priority: i32,
}

/// A message of the `ip` family.
pub(crate) fn message(inner: NfTablesMessage) -> NetfilterMessage {
    NetfilterMessage::new(NetfilterHeader::new(NetfilterProtoFamily::IPv4, 0, 0), inner)
}

/// Sends all requests as one transaction: either every one takes effect or none does.
pub(crate) fn commit(
    netlink: &mut Netlink,
    requests: &[Request<NetfilterMessage>],
) -> Result<(), Refused> {
    let frame = |control: ControlMessage| {
        let header = NetfilterHeader::new(NetfilterProtoFamily::Unspec, 0, SUBSYSTEM);
        NetfilterMessage::new(header, control)
    };
    netlink.transaction(
        &frame(ControlMessage::BatchBegin),
        requests,
        &frame(ControlMessage::BatchEnd),
    )
}

/// `add table ip NAME`
pub(crate) fn add_table(table: &str) -> Request<NetfilterMessage> {
    let attributes = vec![TableAttribute::Name(table.to_owned())];
    (message(NfTablesMessage::NewTable(TableMessage { attributes })), NLM_F_CREATE)
}

/// `delete table ip NAME`
pub(crate) fn delete_table(table: &str) -> Request<NetfilterMessage> {
    let attributes = vec![TableAttribute::Name(table.to_owned())];
    (message(NfTablesMessage::DeleteTable(TableMessage { attributes })), 0)
}

/// `add chain ip TABLE NAME { type KIND hook HOOK priority N; }`
pub(crate) fn add_chain(table: &str, chain: &Chain) -> Request<NetfilterMessage> {
    let attributes = vec![
        ChainAttribute::Table(table.to_owned()),
        ChainAttribute::Name(chain.name.to_owned()),
        ChainAttribute::Hook(vec![
            Hook::Number(chain.hook.into()),
            Hook::Priority(chain.priority.cast_unsigned()),
        ]),
        ChainAttribute::Policy(NF_ACCEPT),
        ChainAttribute::Type(chain.kind.to_owned()),
    ];
    (message(NfTablesMessage::NewChain(ChainMessage { attributes })), NLM_F_CREATE)
}

/// `flush chain ip TABLE NAME`
pub(crate) fn flush_chain(table: &str, chain: &str) -> Request<NetfilterMessage> {
    let attributes =
        vec![RuleAttribute::Table(table.to_owned()), RuleAttribute::Chain(chain.to_owned())];
    (message(NfTablesMessage::DeleteRule(RuleMessage { attributes })), 0)
}

/// `add rule ip TABLE CHAIN …`, with a comment that `nft list ruleset` shows.
pub(crate) fn add_rule(
    table: &str,
    chain: &str,
    expressions: Vec<Expression>,
    comment: Option<&str>,
) -> Request<NetfilterMessage> {
    let mut attributes = vec![
        RuleAttribute::Table(table.to_owned()),
        RuleAttribute::Chain(chain.to_owned()),
        RuleAttribute::Expressions(expressions),
    ];
    attributes.extend(comment.map(|text| RuleAttribute::UserData(comment_data(text))));
    (message(NfTablesMessage::NewRule(RuleMessage { attributes })), NLM_F_CREATE | NLM_F_APPEND)
}

/// A comment as the nft program keeps it in a rule's user data: type 0, length, text with its NUL.
pub(crate) fn comment_data(text: &str) -> Vec<u8> {
    let text = &text.as_bytes()[..text.len().min(127)];
    let mut data = vec![0, u8::try_from(text.len() + 1).unwrap_or(u8::MAX)];
    data.extend_from_slice(text);
    data.push(0);
    data
}

/// Asks for the rules of one chain.
pub(crate) fn list_rules(table: &str, chain: &str) -> NetfilterMessage {
    let attributes =
        vec![RuleAttribute::Table(table.to_owned()), RuleAttribute::Chain(chain.to_owned())];
    message(NfTablesMessage::GetRule(RuleMessage { attributes }))
}

/// A map's types: the number that lets the nft program print it, and the length in bytes.
pub(crate) struct MapType {
    pub(crate) number: u32,
    pub(crate) length: u32,
}

/// `add map ip TABLE NAME { type KEY : DATA; }`
pub(crate) fn add_map(
    table: &str,
    name: &str,
    id: u32,
    key: &MapType,
    data: &MapType,
) -> Request<NetfilterMessage> {
    let attributes = vec![
        SetAttribute::Table(table.to_owned()),
        SetAttribute::Name(name.to_owned()),
        SetAttribute::Flags(SetFlags::Map),
        SetAttribute::KeyType(key.number),
        SetAttribute::KeyLen(key.length),
        SetAttribute::DataType(data.number),
        SetAttribute::DataLen(data.length),
        SetAttribute::Id(id),
    ];
    (message(NfTablesMessage::NewSet(SetMessage { attributes })), NLM_F_CREATE)
}

/// `iifname == NAME` and its kin; names compare over their whole 16 bytes.
pub(crate) fn link_is(key: MetaKey, operator: Operator, name: &str) -> [Expression; 2] {
    let mut bytes = name.as_bytes().to_vec();
    bytes.resize(16, 0);
    [load_meta(key, Register::Reg1), compare(operator, bytes)]
}

/// `ip saddr NET` or `ip daddr NET`, by the field's offset.
pub(crate) fn address_in(offset: u32, net: Ipv4Net) -> [Expression; 3] {
    [
        load_address(offset, Register::Reg1),
        mask(net.netmask().octets()),
        compare(Operator::Equal, net.network().octets().to_vec()),
    ]
}

/// `fib daddr type local`
pub(crate) fn destination_is_local() -> [Expression; 2] {
    const RESULT_ADDRTYPE: u32 = 3;
    const FLAG_DADDR: u32 = 2;
    const RTN_LOCAL: u32 = 2;
    let fib = other("fib", &[(1, Register::Reg1.into()), (2, RESULT_ADDRTYPE), (3, FLAG_DADDR)]);
    [fib, compare(Operator::Equal, RTN_LOCAL.to_ne_bytes().to_vec())]
}

/// `ct status dnat`
pub(crate) fn is_dnatted() -> [Expression; 3] {
    const KEY_STATUS: u32 = 2;
    const IPS_DST_NAT: u32 = 1 << 5;
    conntrack_has(KEY_STATUS, IPS_DST_NAT)
}

/// `ct state established,related`
pub(crate) fn is_reply_or_related() -> [Expression; 3] {
    const KEY_STATE: u32 = 0;
    const ESTABLISHED: u32 = 1 << 1;
    const RELATED: u32 = 1 << 2;
    conntrack_has(KEY_STATE, ESTABLISHED | RELATED)
}

fn conntrack_has(key: u32, bits: u32) -> [Expression; 3] {
    [
        other("ct", &[(1, Register::Reg1.into()), (2, key)]),
        mask(bits.to_ne_bytes()),
        compare(Operator::NotEqual, vec![0; 4]),
    ]
}

/// Loads `ip saddr` or `ip daddr`.
pub(crate) fn load_address(offset: u32, register: Register) -> Expression {
    load(PAYLOAD_NETWORK, offset, 4, register)
}

/// Loads `th dport`.
pub(crate) fn load_port(register: Register) -> Expression {
    load(PAYLOAD_TRANSPORT, 2, 2, register)
}

/// Loads a property of the packet.
pub(crate) fn load_meta(key: MetaKey, register: Register) -> Expression {
    Expressions::Meta(vec![Meta::Key(key), Meta::DestinationRegister(register)]).into()
}

/// Replaces the key that starts in the first register by what the map holds for it; the rule ends
/// here when that is nothing.
pub(crate) fn look_up(map: &str, id: u32) -> Expression {
    Expressions::Lookup(vec![
        Lookup::Set(map.to_owned()),
        Lookup::SourceRegister(Register::Reg1),
        Lookup::DestinationRegister(Register::Reg1),
        Lookup::SetId(id),
    ])
    .into()
}

/// `dnat to` the address in the first register and the port in the second.
pub(crate) fn dnat_to_registers() -> Expression {
    const DNAT: u32 = 1;
    const FAMILY_IPV4: u32 = 2;
    let (address, port) = (Register::Reg1.into(), Register::Reg32_01.into());
    other("nat", &[(1, DNAT), (2, FAMILY_IPV4), (3, address), (5, port)])
}

/// `masquerade`
pub(crate) fn masquerade() -> Expression {
    other("masq", &[])
}

/// `accept`
pub(crate) fn accept() -> Expression {
    verdict(NF_ACCEPT)
}

/// `drop`
pub(crate) fn drop_packet() -> Expression {
    verdict(NF_DROP)
}

fn verdict(code: u32) -> Expression {
    Expressions::Immediate(vec![
        Immediate::DestinationRegister(Register::Verdict),
        Immediate::Data(DataAttribute::Verdict(vec![VerdictAttribute::Code(Verdict::Other(code))])),
    ])
    .into()
}

fn load(base: u32, offset: u32, length: u32, register: Register) -> Expression {
    Expressions::Payload(vec![
        Payload::DestinationRegister(register),
        Payload::Base(base),
        Payload::Offset(offset),
        Payload::Len(length),
    ])
    .into()
}

fn compare(operator: Operator, data: Vec<u8>) -> Expression {
    Expressions::Cmp(vec![
        Cmp::SourceRegister(Register::Reg1),
        Cmp::Op(operator),
        Cmp::Data(DataAttribute::Value(data)),
    ])
    .into()
}

fn mask(bits: [u8; 4]) -> Expression {
    Expressions::Bitwise(vec![
        Bitwise::SourceRegister(Register::Reg1),
        Bitwise::DestinationRegister(Register::Reg1),
        Bitwise::Length(4),
        Bitwise::Mask(DataAttribute::Value(bits.to_vec())),
        Bitwise::Xor(DataAttribute::Value(vec![0; 4])),
    ])
    .into()
}

/// An expression the packet crate has no type for; all attributes used are 32 bits, big-endian.
fn other(name: &str, attributes: &[(u16, u32)]) -> Expression {
    let nla = |&(kind, value): &(u16, u32)| DefaultNla::new(kind, value.to_be_bytes().to_vec());
    Expressions::Other {
        expression_type: name.to_owned(),
        attributes: attributes.iter().map(nla).collect(),
    }
    .into()
}
