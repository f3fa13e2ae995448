//! Who reaches whom: real packets between namespaces.

use crate::kernel;
use crate::world::*;
use std::io::ErrorKind;
use std::net::Ipv4Addr;
use tug_net::{PortRequest, Protocol, attach, ensure_bridge, publish, retire};

const ANY: Ipv4Addr = Ipv4Addr::UNSPECIFIED;
const LOOPBACK: Ipv4Addr = Ipv4Addr::LOCALHOST;

/// TCP and UDP of one port.
fn both(host_ip: Ipv4Addr, host_port: u16, container_port: u16) -> [PortRequest; 2] {
    [Protocol::Tcp, Protocol::Udp].map(|protocol| PortRequest {
        host_ip,
        host_ports: (host_port, host_port),
        container_port,
        protocol,
    })
}

fn assert_answers(ip: Ipv4Addr, port: u16, expected: &str) {
    assert_eq!(ask_tcp(ip, port).unwrap(), expected, "tcp {ip}:{port}");
    assert_eq!(ask_udp(ip, port).unwrap(), expected, "udp {ip}:{port}");
}

/// Nothing answers, and for TCP this is how it shows.
fn assert_silent(ip: Ipv4Addr, port: u16, kind: ErrorKind) {
    assert_eq!(refused_tcp(ip, port).kind(), kind, "tcp {ip}:{port}");
    refused_udp(ip, port);
}

#[test]
fn a_container_reaches_the_outside_as_the_host() {
    on_host(|| {
        let world = World::new();
        let container = Container::start(&world.config, 2);
        serve(&world.outside, 7000, "outside");
        container.namespace.run(|| assert_answers(OUTSIDE, 7000, &format!("outside {HOST}")));
        // Known only by the host's address: the neighbour's way back does not need the route.
        container.namespace.run(|| assert_silent(OUTSIDE, 7001, ErrorKind::ConnectionRefused));
    });
}

#[test]
fn containers_and_host_reach_each_other_directly() {
    on_host(|| {
        let world = World::new();
        let [a, b] = [2, 3].map(|n| Container::start(&world.config, n));
        serve(&a.namespace, 80, "a");
        b.namespace.run(|| assert_answers(a.address(), 80, &format!("a {}", b.address())));
        assert_answers(a.address(), 80, &format!("a {}", world.config.gateway));
        serve_here(world.config.gateway, 81, "host");
        let gateway = world.config.gateway;
        b.namespace.run(|| assert_answers(gateway, 81, &format!("host {}", b.address())));
    });
}

#[test]
fn a_published_port_is_reached_from_everywhere() {
    on_host(|| reached_from_everywhere(&World::new()));
}

/// Where the kernel has br_netfilter, what stays on the bridge passes through nftables or does not.
#[test]
fn a_published_port_is_reached_with_and_without_br_netfilter() {
    on_host(|| {
        let setting = "/proc/sys/net/bridge/bridge-nf-call-iptables";
        let Ok(now) = std::fs::read_to_string(setting) else {
            skipped("the kernel has no br_netfilter loaded");
            return;
        };
        std::fs::write(setting, if now.trim() == "0" { "1" } else { "0" }).unwrap();
        reached_from_everywhere(&World::new());
    });
}

fn reached_from_everywhere(world: &World) {
    let gateway = world.config.gateway;
    let [web, other] = [2, 3].map(|n| Container::start(&world.config, n));
    serve(&web.namespace, 80, "web");
    let (ports, _held) = publish(&world.config, web.address(), &both(ANY, 8080, 80)).unwrap();
    assert_eq!(ports.len(), 2);
    // The host: over loopback, its own address, and the bridge's.
    assert_answers(LOOPBACK, 8080, &format!("web {gateway}"));
    assert_answers(Ipv4Addr::new(127, 0, 0, 9), 8080, &format!("web {gateway}"));
    assert_answers(HOST, 8080, &format!("web {HOST}"));
    assert_answers(gateway, 8080, &format!("web {gateway}"));
    // The outside, seen under its own address.
    world.outside.run(|| assert_answers(HOST, 8080, &format!("web {OUTSIDE}")));
    // Another container, and the container itself: the answer has to come back the same way.
    for container in [&web, &other] {
        container.namespace.run(|| assert_answers(HOST, 8080, &format!("web {gateway}")));
        container.namespace.run(|| assert_answers(gateway, 8080, &format!("web {gateway}")));
    }
}

#[test]
fn a_port_on_loopback_stays_there() {
    on_host(|| {
        let world = World::new();
        let gateway = world.config.gateway;
        let [web, other] = [2, 3].map(|n| Container::start(&world.config, n));
        serve(&web.namespace, 80, "web");
        let (_, _held) = publish(&world.config, web.address(), &both(LOOPBACK, 8080, 80)).unwrap();
        assert_answers(LOOPBACK, 8080, &format!("web {gateway}"));
        assert_silent(HOST, 8080, ErrorKind::ConnectionRefused);
        for from in [&world.outside, &other.namespace] {
            from.run(|| assert_silent(HOST, 8080, ErrorKind::ConnectionRefused));
        }
        world.outside.run(|| {
            kernel::steal_loopback(HOST);
            assert_silent(LOOPBACK, 8080, ErrorKind::TimedOut);
        });
        other.namespace.run(|| {
            kernel::steal_loopback(gateway);
            assert_silent(LOOPBACK, 8080, ErrorKind::TimedOut);
        });
    });
}

#[test]
fn the_hosts_own_loopback_is_out_of_a_containers_reach() {
    on_host(|| {
        let world = World::new();
        let container = Container::start(&world.config, 2);
        serve_here(LOOPBACK, 9000, "secret");
        assert_answers(LOOPBACK, 9000, "secret 127.0.0.1");
        // Once they know each other's MAC addresses nothing but the rules is in the way.
        serve_here(world.config.gateway, 9001, "open");
        container.namespace.run(|| {
            assert_eq!(ask_tcp(world.config.gateway, 9001).unwrap(), "open 172.17.0.2");
            kernel::steal_loopback(world.config.gateway);
            assert_silent(LOOPBACK, 9000, ErrorKind::TimedOut);
        });
    });
}

#[test]
fn a_port_on_one_address_is_on_no_other() {
    on_host(|| {
        let world = World::new();
        let web = Container::start(&world.config, 2);
        serve(&web.namespace, 80, "web");
        let (_, _held) = publish(&world.config, web.address(), &both(HOST, 8080, 80)).unwrap();
        assert_answers(HOST, 8080, &format!("web {HOST}"));
        world.outside.run(|| assert_answers(HOST, 8080, &format!("web {OUTSIDE}")));
        assert_silent(LOOPBACK, 8080, ErrorKind::ConnectionRefused);
        assert_silent(world.config.gateway, 8080, ErrorKind::ConnectionRefused);
    });
}

#[test]
fn routing_to_a_container_from_outside_leads_nowhere() {
    on_host(|| {
        let world = World::new();
        let web = Container::start(&world.config, 2);
        serve(&web.namespace, 80, "web");
        serve(&web.namespace, 81, "private");
        let (_, _held) = publish(&world.config, web.address(), &both(ANY, 8080, 80)).unwrap();
        world.outside.run(|| {
            assert_silent(web.address(), 81, ErrorKind::TimedOut);
            assert_silent(web.address(), 80, ErrorKind::TimedOut);
            assert_silent(web.address(), 8080, ErrorKind::TimedOut);
        });
    });
}

#[test]
fn two_data_roots_do_not_disturb_each_other() {
    on_host(|| {
        let world = World::new();
        let second = network(1);
        ensure_bridge(&second).unwrap();
        let (a, b) = (Container::start(&world.config, 2), Container::start(&second, 2));
        serve(&world.outside, 7000, "outside");
        serve(&a.namespace, 80, "a");
        serve(&b.namespace, 80, "b");
        let (_, _a) = publish(&world.config, a.address(), &both(ANY, 8080, 80)).unwrap();
        let (_, _b) = publish(&second, b.address(), &both(ANY, 8081, 80)).unwrap();
        for container in [&a, &b] {
            container.namespace.run(|| assert_answers(OUTSIDE, 7000, &format!("outside {HOST}")));
        }
        world.outside.run(|| assert_answers(HOST, 8080, &format!("a {OUTSIDE}")));
        world.outside.run(|| assert_answers(HOST, 8081, &format!("b {OUTSIDE}")));
        assert_answers(LOOPBACK, 8081, &format!("b {}", second.gateway));
        // From one into the other: published ports only.
        a.namespace.run(|| assert_silent(b.address(), 80, ErrorKind::TimedOut));
        b.namespace.run(|| assert_silent(a.address(), 80, ErrorKind::TimedOut));
        a.namespace.run(|| assert_eq!(ask_tcp(HOST, 8081).unwrap(), "b 172.18.0.1"));
        b.namespace.run(|| assert_eq!(ask_tcp(HOST, 8080).unwrap(), "a 172.17.0.1"));
    });
}

#[test]
fn an_address_handed_on_leads_to_its_new_owner_at_once() {
    on_host(|| {
        let world = World::new();
        let old = Container::start(&world.config, 2);
        serve(&old.namespace, 80, "old");
        assert_eq!(ask_tcp(old.address(), 80).unwrap(), "old 172.17.0.1");
        // Its namespace lives on and would go on answering.
        retire(&old.endpoint.host_link).unwrap();
        let namespace = Namespace::new();
        let end = tug_net::Endpoint { host_link: "again".into(), ..endpoint(&world.config, 2) };
        attach(&world.config, &end, namespace.fd()).unwrap();
        serve(&namespace, 80, "new");
        assert_eq!(ask_tcp(old.address(), 80).unwrap(), "new 172.17.0.1");
    });
}
