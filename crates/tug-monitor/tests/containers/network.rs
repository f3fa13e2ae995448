//! Links and published ports, in a network namespace that the test has to itself.

use crate::world::{World, eventually};
use std::io::Read;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use tug_monitor::{Error, NetworkSpec, reconcile};
use tug_net::{BridgeConfig, Endpoint, PortRequest, Protocol};
use tug_types::Kind;

pub(crate) const TESTS: &[crate::Test] = &[
    ("a_published_port_answers_and_nothing_of_it_is_left", || on_host(published)),
    ("a_taken_port_fails_the_start_and_undoes_it", || on_host(taken)),
    ("a_killed_monitor_leaves_no_link_and_no_port_after_reconciling", || on_host(killed)),
    ("without_a_network_there_is_a_loopback", || on_host(loopback)),
];

/// Runs a test in a thread that has left the real host's network.
fn on_host(test: fn()) {
    let run = move || {
        if let Err(error) = tug_sys::netns::unshare() {
            crate::say(&format!("SKIPPED, NOT PASSED: no network namespace: {error}"));
            return;
        }
        let namespace = std::fs::File::open("/proc/thread-self/ns/net").unwrap();
        tug_net::loopback_up(namespace.as_fd()).unwrap();
        test();
    };
    if let Err(panic) = std::thread::spawn(run).join() {
        std::panic::resume_unwind(panic);
    }
}

fn bridge() -> BridgeConfig {
    BridgeConfig {
        bridge: "tugtest0".into(),
        table: "tugtest".into(),
        subnet: "172.17.0.0/16".parse().unwrap(),
        gateway: Ipv4Addr::new(172, 17, 0, 1),
        mtu: 1400,
    }
}

/// A container on the bridge that answers one connection.
fn server(host_port: u16) -> World {
    let mut world = World::shell("echo up; nc -l -p 8080 -e echo hello");
    let address = Ipv4Addr::new(172, 17, 0, 2);
    world.spec.network = Some(NetworkSpec {
        bridge: bridge(),
        endpoint: Endpoint {
            host_link: "vtugtest".into(),
            container_link: "eth0".into(),
            address,
            mac: tug_net::mac_of(address),
        },
        ports: vec![PortRequest {
            host_ip: Ipv4Addr::UNSPECIFIED,
            host_ports: (host_port, host_port),
            container_port: 8080,
            protocol: Protocol::Tcp,
        }],
    });
    world
}

fn links() -> String {
    std::fs::read_to_string("/proc/thread-self/net/dev").unwrap()
}

fn assert_no_network_left() {
    assert_eq!(tug_net::published(&bridge()).unwrap(), []);
    eventually("the link to go", || !links().contains("vtugtest"));
    assert!(links().contains("tugtest0"), "the bridge stays");
}

fn published() {
    let world = server(0);
    let mut started = world.start();
    let port = started.state.ports[0].host_port;
    assert!(port > 0);
    assert!(links().contains("vtugtest"));
    let mut text = String::new();
    eventually("the server", || match TcpStream::connect((Ipv4Addr::LOCALHOST, port)) {
        Ok(mut stream) => stream.read_to_string(&mut text).is_ok_and(|count| count > 0),
        Err(_) => false,
    });
    assert_eq!(text, "hello\n");
    let record = started.owner.wait().unwrap();
    assert_eq!((record.exit_code, record.error), (0, None));
    started.owner.take_claim().unwrap().done();
    assert_no_network_left();
}

fn taken() {
    let holder = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0)).unwrap();
    let port = holder.local_addr().unwrap().port();
    let world = server(port);
    match world.try_start() {
        Err(Error::Setup { failure, exit_code: 125 }) => {
            assert_eq!(failure.kind, Kind::Conflict, "{failure}");
            assert!(failure.message.contains(&port.to_string()), "{failure}");
        }
        other => panic!("{other:?}"),
    }
    world.assert_nothing_left();
    assert_no_network_left();
    drop(holder);
    let mut started = world.start();
    started.owner.signal(9).unwrap();
    started.owner.wait().unwrap();
    started.owner.take_claim().unwrap().done();
    assert_no_network_left();
}

fn killed() {
    let world = server(0);
    let started = world.start();
    assert_eq!(tug_net::published(&bridge()).unwrap().len(), 1);
    let monitor = rustix::process::Pid::from_raw(started.monitor_pid).unwrap();
    rustix::process::kill_process(monitor, rustix::process::Signal::KILL).unwrap();
    drop(started);
    let lock = tug_monitor::wait_for_lock(world.run_dir()).unwrap();
    let network = world.spec.network.as_ref().unwrap();
    let mut remains = world.remains();
    remains.network = Some((&network.bridge, &network.endpoint));
    assert_eq!(reconcile(&remains).unwrap().exit_code, 137);
    assert_eq!(reconcile(&remains).unwrap().exit_code, 137);
    drop(lock);
    assert_no_network_left();
}

fn loopback() {
    let world = World::shell("cat /proc/net/dev; cat /sys/class/net/lo/flags");
    assert_eq!(world.run(), 0);
    let text = String::from_utf8(world.printed().0).unwrap();
    assert!(text.contains("lo:") && !text.contains("eth0"), "{text}");
    // IFF_UP | IFF_LOOPBACK
    assert!(text.ends_with("0x9\n"), "{text}");
}
