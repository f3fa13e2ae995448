//! What a start and its end cost. Run alone, optimised: `cargo test -p tug-net cost -- --ignored`.

use crate::world::{Namespace, World, endpoint, on_host};
use std::io::Write;
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};
use tug_net::{
    PortRequest, Protocol, attach, detach, ensure_bridge, publish, retire, unpublish,
    unpublish_ports,
};

#[test]
#[ignore = "a measurement"]
fn cost() {
    on_host(|| {
        const ROUNDS: u32 = 200;
        let World { config, .. } = World::new();
        let end = endpoint(&config, 2);
        let names =
            ["ensure", "attach", "publish", "unpublish_ports", "unpublish", "retire", "detach"];
        let mut sums = [Duration::ZERO; 7];
        let port = |protocol, port| PortRequest {
            host_ip: Ipv4Addr::UNSPECIFIED,
            host_ports: (port, port),
            container_port: 80,
            protocol,
        };
        let ports = [port(Protocol::Tcp, 8080)];
        for _ in 0..ROUNDS {
            let namespace = Namespace::new();
            let mut timed = |index: usize, start: Instant| sums[index] += start.elapsed();
            let start = Instant::now();
            ensure_bridge(&config).unwrap();
            timed(0, start);
            let start = Instant::now();
            attach(&config, &end, namespace.fd()).unwrap();
            timed(1, start);
            let start = Instant::now();
            let (list, _held) = publish(&config, end.address, &ports).unwrap();
            timed(2, start);
            let start = Instant::now();
            unpublish_ports(&config, end.address, &list).unwrap();
            timed(3, start);
            let start = Instant::now();
            unpublish(&config, end.address).unwrap();
            timed(4, start);
            let start = Instant::now();
            retire(&end.host_link).unwrap();
            timed(5, start);
            let start = Instant::now();
            detach(&end.host_link).unwrap();
            timed(6, start);
        }
        for (name, sum) in names.iter().zip(sums) {
            let micros = sum.as_secs_f64() * 1e6 / f64::from(ROUNDS);
            writeln!(std::io::stderr(), "{name:16} {micros:8.1} µs").unwrap();
        }
    });
}
