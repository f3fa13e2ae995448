//! The bridge and its table come into being, survive, and go.

use crate::kernel;
use crate::world::{Container, MTU, Namespace, World, endpoint, network, on_host};
use rustix::thread::{CapabilitySet, CapabilitySets};
use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};
use tug_net::{
    BridgeConfig, Error, attach, detach, ensure_bridge, host_routes, loopback_up, remove_bridge,
    retire, uplink_mtu,
};
use tug_types::{Explain, Kind};

/// What the table is made of when it is whole.
const RULES: usize = 13;

#[test]
fn a_bridge_appears_once_however_often_it_is_asked_for() {
    on_host(|| {
        let config = network(0);
        for _ in 0..3 {
            ensure_bridge(&config).unwrap();
        }
        assert_eq!(kernel::links(), ["lo", "tug0"]);
        assert_eq!(kernel::tables(), ["tug0"]);
        assert_eq!(kernel::rules("tug0"), RULES);
        assert_eq!(host_routes().unwrap(), [config.subnet]);
        let setting = |name: &str| std::fs::read_to_string(format!("/proc/sys/net/ipv4/{name}"));
        assert_eq!(setting("ip_forward").unwrap(), "1\n");
        assert_eq!(setting("conf/tug0/route_localnet").unwrap(), "1\n");
        assert_eq!(setting("conf/all/route_localnet").unwrap(), "0\n");
    });
}

#[test]
fn twenty_at_once_agree() {
    on_host(|| {
        let here = Namespace::current();
        let start = Barrier::new(20);
        thread::scope(|scope| {
            let one = || {
                here.run(|| {
                    start.wait();
                    ensure_bridge(&network(0))
                })
            };
            let all: Vec<_> = (0..20).map(|_| scope.spawn(one)).collect();
            for outcome in all {
                outcome.join().unwrap().unwrap();
            }
        });
        assert_eq!(kernel::links(), ["lo", "tug0"]);
        assert_eq!(kernel::rules("tug0"), RULES);
        let container = Container::start(&network(0), 2);
        drop(container);
    });
}

#[test]
fn nothing_is_left_after_removal() {
    on_host(|| {
        let (config, other) = (network(0), network(1));
        ensure_bridge(&config).unwrap();
        ensure_bridge(&other).unwrap();
        let container = Container::start(&config, 2);
        for _ in 0..2 {
            detach(&container.endpoint.host_link).unwrap();
        }
        for _ in 0..2 {
            remove_bridge(&config).unwrap();
        }
        assert_eq!(kernel::links(), ["lo", "tug1"]);
        assert_eq!(kernel::tables(), ["tug1"]);
        remove_bridge(&other).unwrap();
        assert_eq!(kernel::links(), ["lo"]);
        assert_eq!(kernel::tables(), Vec::<String>::new());
    });
}

#[test]
fn what_a_firewall_reload_took_comes_back() {
    on_host(|| {
        let config = network(0);
        ensure_bridge(&config).unwrap();
        kernel::delete_table("tug0");
        ensure_bridge(&config).unwrap();
        assert_eq!(kernel::rules("tug0"), RULES);
        kernel::flush_chain("tug0", "guard");
        assert_eq!(kernel::rules("tug0"), RULES - 1);
        ensure_bridge(&config).unwrap();
        assert_eq!(kernel::rules("tug0"), RULES);
    });
}

#[test]
fn rules_for_another_subnet_are_replaced() {
    on_host(|| {
        let config = network(0);
        ensure_bridge(&config).unwrap();
        let moved =
            BridgeConfig { subnet: network(3).subnet, gateway: network(3).gateway, ..config };
        ensure_bridge(&moved).unwrap();
        assert_eq!(kernel::rules("tug0"), RULES);
    });
}

#[test]
fn forwarding_and_mtu_are_put_right_again() {
    on_host(|| {
        let config = network(0);
        ensure_bridge(&config).unwrap();
        std::fs::write("/proc/sys/net/ipv4/ip_forward", "0").unwrap();
        ensure_bridge(&config).unwrap();
        let forwards = std::fs::read_to_string("/proc/sys/net/ipv4/ip_forward").unwrap();
        assert_eq!(forwards, "1\n");
        let smaller = BridgeConfig { mtu: 1280, ..config };
        ensure_bridge(&smaller).unwrap();
        kernel::route("0.0.0.0/0".parse().unwrap(), [172, 17, 0, 9].into());
        assert_eq!(uplink_mtu().unwrap(), 1280);
    });
}

#[test]
fn a_link_of_another_kind_is_not_touched() {
    on_host(|| {
        kernel::dummy_link("tug0");
        let error = ensure_bridge(&network(0)).unwrap_err();
        assert!(matches!(&error, Error::NotABridge { link } if link == "tug0"), "{error}");
        assert!(kernel::links().contains(&"tug0".to_owned()));
    });
}

#[test]
fn a_container_gets_all_of_its_link() {
    on_host(|| {
        let config = network(0);
        ensure_bridge(&config).unwrap();
        let container = Container::start(&config, 2);
        container.namespace.run(|| {
            assert_eq!(kernel::links(), ["lo", "eth0"]);
            assert_eq!(host_routes().unwrap(), [config.subnet]);
            assert_eq!(uplink_mtu().unwrap(), MTU);
            let v6 = std::fs::read_to_string("/proc/thread-self/net/if_inet6").unwrap();
            assert!(!v6.contains("eth0"), "{v6}");
            assert_eq!(kernel::mac("eth0"), "02:42:ac:11:00:02");
            std::net::TcpListener::bind("127.0.0.1:0").unwrap();
            std::net::TcpListener::bind("172.17.0.2:0").unwrap();
        });
        assert!(kernel::links().contains(&container.endpoint.host_link));
    });
}

#[test]
fn an_end_left_by_an_earlier_run_is_replaced() {
    on_host(|| {
        let config = network(0);
        ensure_bridge(&config).unwrap();
        let old = Container::start(&config, 2);
        let new = Container::start(&config, 2);
        old.namespace.run(|| assert_eq!(kernel::links(), ["lo"]));
        new.namespace.run(|| assert_eq!(kernel::links(), ["lo", "eth0"]));
    });
}

#[test]
fn a_containers_link_goes_with_its_namespace() {
    on_host(|| {
        let config = network(0);
        ensure_bridge(&config).unwrap();
        let Container { namespace, endpoint } = Container::start(&config, 2);
        retire(&endpoint.host_link).unwrap();
        drop(namespace);
        let deadline = Instant::now() + Duration::from_secs(10);
        while kernel::links().contains(&endpoint.host_link) {
            assert!(Instant::now() < deadline, "{:?}", kernel::links());
            thread::sleep(Duration::from_millis(5));
        }
        retire(&endpoint.host_link).unwrap();
        // Nothing to retire on a link of another kind either.
        kernel::dummy_link("d0");
        retire("d0").unwrap();
    });
}

#[test]
fn without_the_right_to_it_one_is_told_so() {
    on_host(|| {
        // Only this thread gives its capabilities up.
        let none = CapabilitySet::empty();
        let sets = CapabilitySets { effective: none, permitted: none, inheritable: none };
        rustix::thread::set_capabilities(None, sets).unwrap();
        std::fs::write("/proc/sys/net/ipv4/ip_forward", "1").ok();
        let failure = ensure_bridge(&network(0)).unwrap_err().failure();
        assert_eq!(failure.kind, Kind::Denied, "{failure}");
        assert!(failure.hint.is_some());
    });
}

#[test]
fn a_failed_attach_leaves_no_link() {
    on_host(|| {
        let (config, namespace) = (network(0), Namespace::new());
        let end = endpoint(&config, 2);
        let error = attach(&config, &end, namespace.fd()).unwrap_err();
        assert!(matches!(error, Error::CreateLink { .. }), "{error}");
        ensure_bridge(&config).unwrap();
        // No gateway in reach of that address: the default route is refused, the last step of all.
        let lost = BridgeConfig { gateway: [10, 9, 9, 9].into(), ..config };
        let error = attach(&lost, &end, namespace.fd()).unwrap_err();
        assert!(matches!(error, Error::ConfigureLink { .. }), "{error}");
        assert_eq!(kernel::links(), ["lo", "tug0"]);
        namespace.run(|| assert_eq!(kernel::links(), ["lo"]));
    });
}

#[test]
fn without_a_network_there_is_loopback() {
    on_host(|| {
        let namespace = Namespace::new();
        assert!(namespace.run(|| std::net::TcpStream::connect("127.0.0.1:9").is_err_and(down)));
        loopback_up(namespace.fd()).unwrap();
        assert!(!namespace.run(|| std::net::TcpStream::connect("127.0.0.1:9").is_err_and(down)));
        // The calling thread is back where it came from.
        ensure_bridge(&network(0)).unwrap();
        assert_eq!(kernel::links(), ["lo", "tug0"]);
    });
}

fn down(error: std::io::Error) -> bool {
    error.raw_os_error() == Some(libc::ENETUNREACH)
}

#[test]
fn routes_and_mtu_of_the_uplink_are_seen() {
    on_host(|| {
        assert_eq!(uplink_mtu().unwrap(), 1500);
        assert_eq!(host_routes().unwrap(), []);
        let _world = World::new();
        assert_eq!(uplink_mtu().unwrap(), MTU);
        let expected = ["172.17.0.0/16", "198.51.100.0/24"].map(|net| net.parse().unwrap());
        assert_eq!(host_routes().unwrap(), expected);
    });
}
