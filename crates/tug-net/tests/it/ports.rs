//! Publishing and taking back; who may have a port.

use crate::kernel;
use crate::world::*;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream, UdpSocket};
use tug_net::{
    BridgeConfig, Error, PortRequest, Protocol, PublishedPort, ensure_bridge, publish, published,
    republish, unpublish, unpublish_ports,
};
use tug_types::{Explain, Kind};

const ANY: Ipv4Addr = Ipv4Addr::UNSPECIFIED;
const A: Ipv4Addr = Ipv4Addr::new(172, 17, 0, 2);
const B: Ipv4Addr = Ipv4Addr::new(172, 17, 0, 3);

fn request(host_ip: Ipv4Addr, host_ports: (u16, u16), protocol: Protocol) -> PortRequest {
    PortRequest { host_ip, host_ports, container_port: 80, protocol }
}

fn tcp(port: u16) -> PortRequest {
    request(ANY, (port, port), Protocol::Tcp)
}

fn bridge() -> BridgeConfig {
    let config = network(0);
    ensure_bridge(&config).unwrap();
    config
}

#[test]
fn the_table_tells_what_is_published() {
    on_host(|| {
        let config = bridge();
        assert_eq!(published(&config).unwrap(), []);
        let requests = [
            tcp(8080),
            request(ANY, (8080, 8080), Protocol::Udp),
            request(Ipv4Addr::LOCALHOST, (9090, 9090), Protocol::Tcp),
        ];
        let (ports, held) = publish(&config, A, &requests).unwrap();
        assert_eq!(held.len(), 3);
        let expected: Vec<_> = ports.into_iter().map(|port| (port, A)).collect();
        assert_eq!(published(&config).unwrap(), expected);
    });
}

#[test]
fn unpublishing_takes_exactly_ones_own() {
    on_host(|| {
        let config = bridge();
        let (a, _a) = publish(&config, A, &[tcp(8080), tcp(8081)]).unwrap();
        let (b, _b) =
            publish(&config, B, &[tcp(8082), request(ANY, (8080, 8080), Protocol::Udp)]).unwrap();
        for _ in 0..2 {
            unpublish(&config, A).unwrap();
            let left: Vec<_> = published(&config).unwrap().into_iter().map(|(p, _)| p).collect();
            assert_eq!(left, [b[1].clone(), b[0].clone()]);
        }
        // Not as they were: one is gone already.
        unpublish_ports(&config, B, &b[..1]).unwrap();
        unpublish_ports(&config, B, &b).unwrap();
        assert_eq!(published(&config).unwrap(), []);
        unpublish_ports(&config, A, &a).unwrap();
        kernel::delete_table("tug0");
        unpublish(&config, A).unwrap();
        unpublish_ports(&config, A, &a).unwrap();
        assert_eq!(published(&config).unwrap(), []);
    });
}

#[test]
fn a_port_of_a_host_process_is_named_with_its_holder() {
    on_host(|| {
        let config = bridge();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let error = publish(&config, A, &[tcp(port)]).unwrap_err();
        let Error::PortTaken { holder: Some(holder), .. } = &error else { panic!("{error:?}") };
        assert_eq!(holder.pid, i32::try_from(std::process::id()).unwrap());
        let failure = error.failure();
        assert_eq!(failure.kind, Kind::Conflict);
        assert_eq!(
            failure.message,
            format!("failed to bind host port 0.0.0.0:{port}/tcp: address already in use")
        );
        assert!(failure.hint.unwrap().contains(&format!("process {}", holder.pid)));
        // UDP has ports of its own.
        publish(&config, A, &[request(ANY, (port, port), Protocol::Udp)]).unwrap();
    });
}

#[test]
fn a_port_of_another_container_is_named_with_its_address() {
    on_host(|| {
        let config = bridge();
        let (_, _held) = publish(&config, A, &[tcp(8080)]).unwrap();
        let wanted = request(Ipv4Addr::LOCALHOST, (8080, 8080), Protocol::Tcp);
        let failure = publish(&config, B, &[wanted]).unwrap_err().failure();
        assert_eq!(failure.message, "Bind for 127.0.0.1:8080 failed: port is already allocated");
        assert_eq!(
            failure.hint.unwrap(),
            "port 8080/tcp is published by the container at 172.17.0.2"
        );
    });
}

#[test]
fn a_listener_is_blamed_before_what_a_killed_process_left() {
    on_host(|| {
        let config = bridge();
        drop(publish(&config, A, &[tcp(8080)]).unwrap());
        let _listener = TcpListener::bind("0.0.0.0:8080").unwrap();
        let error = publish(&config, B, &[tcp(8080)]).unwrap_err();
        assert!(matches!(error, Error::PortTaken { holder: Some(_), .. }), "{error}");
    });
}

#[test]
fn all_ports_are_published_or_none() {
    on_host(|| {
        let config = bridge();
        let listener = TcpListener::bind("0.0.0.0:8081").unwrap();
        publish(&config, A, &[tcp(8080), tcp(8081)]).unwrap_err();
        assert_eq!(published(&config).unwrap(), []);
        drop(listener);
        kernel::delete_table("tug0");
        let error = publish(&config, A, &[tcp(8080), tcp(8081)]).unwrap_err();
        assert!(matches!(error, Error::WritePorts { .. }), "{error}");
        ensure_bridge(&config).unwrap();
        let (_, _held) = publish(&config, A, &[tcp(8080), tcp(8081)]).unwrap();
        assert_eq!(published(&config).unwrap().len(), 2);
    });
}

#[test]
fn a_held_port_is_refused_to_everybody_until_it_is_let_go() {
    on_host(|| {
        let config = bridge();
        let requests = [tcp(8080), request(ANY, (8080, 8080), Protocol::Udp)];
        let (_, held) = publish(&config, A, &requests).unwrap();
        // The standard library's listeners say SO_REUSEADDR, as most servers do.
        let refused = |error: io::Error| error.kind() == io::ErrorKind::AddrInUse;
        assert!(TcpListener::bind("127.0.0.1:8080").is_err_and(refused));
        assert!(TcpListener::bind("0.0.0.0:8080").is_err_and(refused));
        assert!(UdpSocket::bind("0.0.0.0:8080").is_err_and(refused));
        drop(held);
        TcpListener::bind("0.0.0.0:8080").unwrap();
        UdpSocket::bind("0.0.0.0:8080").unwrap();
    });
}

#[test]
fn what_a_killed_process_left_gives_way() {
    on_host(|| {
        let config = bridge();
        let requests = [tcp(8080), request(ANY, (53, 53), Protocol::Udp)];
        drop(publish(&config, A, &requests).unwrap());
        assert_eq!(published(&config).unwrap().len(), 2);
        let (ports, _held) = publish(&config, B, &[tcp(8080)]).unwrap();
        let all = published(&config).unwrap();
        assert_eq!(all.len(), 2);
        assert_eq!(all[1], (ports[0].clone(), B));
        assert_eq!(all[0].1, A);
        // Taking back what the dead one had does not touch what its successor has.
        unpublish(&config, A).unwrap();
        assert_eq!(published(&config).unwrap(), [(ports[0].clone(), B)]);
    });
}

#[test]
fn ports_outlive_a_firewall_reload() {
    on_host(|| {
        let config = bridge();
        let (ports, _held) = publish(&config, A, &[tcp(8080), tcp(8081)]).unwrap();
        kernel::delete_table("tug0");
        ensure_bridge(&config).unwrap();
        assert_eq!(published(&config).unwrap(), []);
        for _ in 0..2 {
            republish(&config, A, &ports).unwrap();
            assert_eq!(published(&config).unwrap().len(), 2);
        }
    });
}

#[test]
fn ports_left_open_are_chosen() {
    on_host(|| {
        let config = bridge();
        let free = request(ANY, (0, 0), Protocol::Tcp);
        let (ports, _held) = publish(&config, A, &vec![free; 20]).unwrap();
        let range = std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap();
        let mut range = range.split_whitespace().map(|end| end.parse::<u16>().unwrap());
        let (first, last) = (range.next().unwrap(), range.next().unwrap());
        let mut chosen: Vec<u16> = ports.iter().map(|port| port.host_port).collect();
        assert!(chosen.iter().all(|port| (first..=last).contains(port)), "{chosen:?}");
        chosen.sort_unstable();
        chosen.dedup();
        assert_eq!(chosen.len(), 20);
    });
}

#[test]
fn a_range_gives_its_first_free_port() {
    on_host(|| {
        let config = bridge();
        let _taken = TcpListener::bind("0.0.0.0:7000").unwrap();
        let range = request(ANY, (7000, 7002), Protocol::Tcp);
        let (one, _one) = publish(&config, A, std::slice::from_ref(&range)).unwrap();
        let (two, _two) = publish(&config, B, std::slice::from_ref(&range)).unwrap();
        assert_eq!((one[0].host_port, two[0].host_port), (7001, 7002));
        let error = publish(&config, B, &[range]).unwrap_err();
        assert!(matches!(error, Error::NoFreePort { first: 7000, last: 7002, .. }), "{error}");
    });
}

#[test]
fn what_cannot_be_published_is_refused_by_name() {
    on_host(|| {
        let config = bridge();
        let refusal = |request| publish(&config, A, &[request]).unwrap_err().failure();
        let failure = refusal(request(ANY, (1, 1), Protocol::Sctp));
        assert_eq!(failure.kind, Kind::Invalid);
        assert!(failure.message.contains("80/sctp"), "{failure}");
        let failure = refusal(request([203, 0, 113, 9].into(), (8080, 8080), Protocol::Tcp));
        assert_eq!(failure.kind, Kind::Invalid);
        assert!(failure.hint.unwrap().contains("203.0.113.9 is no address of this host"));
        assert_eq!(refusal(request(ANY, (2, 1), Protocol::Tcp)).kind, Kind::Invalid);
    });
}

#[test]
fn a_port_a_server_has_just_left_can_be_had() {
    on_host(|| {
        let config = bridge();
        let listener = TcpListener::bind("127.0.0.1:8080").unwrap();
        let mut client = TcpStream::connect("127.0.0.1:8080").unwrap();
        let (mut server, _) = listener.accept().unwrap();
        // The side that closes first keeps the port in TIME_WAIT.
        server.write_all(b"bye").unwrap();
        drop((server, listener));
        client.read_to_string(&mut String::new()).unwrap();
        drop(client);
        let lingering = std::fs::read_to_string("/proc/thread-self/net/tcp").unwrap();
        assert!(lingering.contains("0100007F:1F90"), "{lingering}");
        let (_, _held) = publish(&config, A, &[tcp(8080)]).unwrap();
        TcpListener::bind("0.0.0.0:8080").unwrap_err();
    });
}

#[test]
fn many_ports_go_in_one_transaction() {
    on_host(|| {
        let config = bridge();
        let ports: Vec<PublishedPort> = (10_000..20_000)
            .map(|host_port| PublishedPort {
                host_ip: ANY,
                host_port,
                container_port: host_port,
                protocol: Protocol::Tcp,
            })
            .collect();
        republish(&config, A, &ports).unwrap();
        let expected: Vec<_> = ports.into_iter().map(|port| (port, A)).collect();
        assert_eq!(published(&config).unwrap(), expected);
        unpublish(&config, A).unwrap();
        assert_eq!(published(&config).unwrap(), []);
    });
}

#[test]
fn a_udp_client_that_never_pauses_follows_the_port() {
    on_host(|| {
        let world = World::new();
        let config = &world.config;
        let [a, b] = [2, 3].map(|n| Container::start(config, n));
        serve(&a.namespace, 80, "a");
        serve(&b.namespace, 80, "b");
        let port = [request(ANY, (5353, 5353), Protocol::Udp)];
        let client = world.outside.run(|| UdpSocket::bind("0.0.0.0:0").unwrap());
        silence_from(&client, HOST, 5353);
        let (published, held) = publish(config, a.address(), &port).unwrap();
        assert_eq!(answer_from(&client, HOST, 5353).unwrap(), format!("a {OUTSIDE}"));
        unpublish_ports(config, a.address(), &published).unwrap();
        drop(held);
        silence_from(&client, HOST, 5353);
        let (_, _held) = publish(config, b.address(), &port).unwrap();
        assert_eq!(answer_from(&client, HOST, 5353).unwrap(), format!("b {OUTSIDE}"));
    });
}
