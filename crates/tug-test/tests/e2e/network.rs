//! The default bridge, seen from inside, from the host and from another machine.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::time::Duration;
use tug_test::machine::{ITS_ADDRESS, Machine, OUR_ADDRESS, ip};
use tug_test::sandbox::{Sandbox, UPLINK, UPLINK_MTU};
use tug_test::wait::{until, until_some};

/// Serves one line to everybody who connects to port 80.
const SERVER: &[&str] =
    &["sh", "-c", "mkdir /www; echo hello > /www/index.html; exec httpd -f -p 80 -h /www"];

/// The first bytes a connection to `address` brings after a request for `/`.
fn get(address: &str) -> Option<String> {
    let address: SocketAddr = address.parse().ok()?;
    let mut stream = TcpStream::connect_timeout(&address, Duration::from_millis(500)).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(2))).ok()?;
    stream.write_all(b"GET / HTTP/1.0\r\n\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    Some(answer)
}

fn serves(address: &str) -> bool {
    get(address).is_some_and(|answer| answer.contains("hello"))
}

/// A server in container `name`, answering.
fn server(s: &Sandbox, name: &str, flags: &[&str]) -> String {
    let id = s.detached(&[&["--name", name], flags].concat(), SERVER);
    let address = s.format(name, "{{.NetworkSettings.IPAddress}}");
    until("the server", || serves(&format!("{address}:80")));
    id
}

#[test]
fn addresses_come_in_sequence_with_mac_mtu_and_route() {
    let s = Sandbox::new();
    let look = "cat /sys/class/net/eth0/address /sys/class/net/eth0/mtu; ip -o -4 address show eth0 | awk '{print $4}'; ip route";
    for n in 2..5 {
        let id = s.detached(&[], &["sleep", "60"]);
        let inside = s.tug(&["exec", &id, "sh", "-c", look]);
        assert_eq!(
            inside.lines().iter().map(|line| line.trim()).collect::<Vec<_>>(),
            [
                &*format!("02:42:ac:11:00:0{n}"),
                &*UPLINK_MTU.to_string(),
                &*format!("172.17.0.{n}/16"),
                "default via 172.17.0.1 dev eth0",
                &*format!("172.17.0.0/16 dev eth0 scope link  src 172.17.0.{n}"),
            ]
        );
        assert_eq!(
            s.format(&id, "{{with .NetworkSettings}}{{.IPAddress}}/{{.IPPrefixLen}} {{.Gateway}} {{.MacAddress}}{{end}}"),
            format!("172.17.0.{n}/16 172.17.0.1 02:42:ac:11:00:0{n}")
        );
    }
}

#[test]
fn an_address_is_free_again_after_the_end() {
    let s = Sandbox::new();
    for _ in 0..3 {
        assert_eq!(s.sh(&[], "hostname -i").ok(), "172.17.0.2");
    }
    let kept = s.detached(&[], &["sleep", "60"]);
    assert_eq!(s.format(&kept, "{{.NetworkSettings.IPAddress}}"), "172.17.0.2");
    assert_eq!(s.sh(&[], "hostname -i").ok(), "172.17.0.3");
}

#[test]
fn the_bridge_has_the_gateways_address_and_the_uplinks_mtu() {
    let s = Sandbox::new();
    s.detached(&[], &["sleep", "60"]);
    let links = tug_test::process::run("ip", &["-o", "-4", "address"]);
    let line = links.lines().into_iter().find(|line| line.contains("172.17.0.1/16"));
    let name = line.and_then(|line| line.split_whitespace().nth(1)).unwrap_or_default();
    assert!(name.starts_with("tug"), "{links}");
    let mtu = std::fs::read_to_string(format!("/sys/class/net/{name}/mtu"));
    if let Ok(mtu) = mtu {
        // /sys shows the network of its mount; only there on the machine's own.
        assert_eq!(mtu.trim(), UPLINK_MTU.to_string());
    }
    tug_test::process::run("ip", &["link", "show", name]).shows(&format!("mtu {UPLINK_MTU}"));
}

#[test]
fn another_range_is_taken_where_the_host_routes_the_first() {
    let s = Sandbox::new();
    ip("route add 172.17.0.0/16 via 192.0.2.9");
    let address = s.sh(&[], "hostname -i");
    assert_eq!(address.ok(), "172.18.0.2");
}

#[test]
fn a_published_port_is_reached_from_everywhere() {
    let s = Sandbox::new();
    let other = Machine::join();
    let id = server(&s, "web", &["-p", "8080:80"]);
    for address in ["127.0.0.1", UPLINK, OUR_ADDRESS, "172.17.0.1"] {
        until(&format!("{address}:8080"), || serves(&format!("{address}:8080")));
    }
    let from_outside = format!("{OUR_ADDRESS}:8080");
    assert!(other.on(move || serves(&from_outside)), "from another machine");
    let fetch = format!("wget -qO- http://{UPLINK}:8080/");
    assert_eq!(s.sh(&[], &fetch).ok(), "hello", "from another container, by the host's address");
    assert_eq!(s.tug(&["exec", &id, "sh", "-c", &fetch]).ok(), "hello", "from itself");
    assert_eq!(s.sh(&[], "wget -qO- http://172.17.0.2/").ok(), "hello", "directly");
    s.tug(&["rm", "-f", "web"]).ok();
    assert!(get("127.0.0.1:8080").is_none(), "no longer after its end");
}

#[test]
fn the_clients_address_is_kept() {
    let s = Sandbox::new();
    let other = Machine::join();
    s.detached(
        &["--name", "c1", "-p", "8080:80"],
        &["sh", "-c", "mkdir /w; exec httpd -f -vv -p 80 -h /w"],
    );
    until("the server", || get("172.17.0.2:80").is_some());
    let address = format!("{OUR_ADDRESS}:8080");
    assert!(other.on(move || get(&address)).is_some());
    until("the request", || {
        let logs = s.tug(&["logs", "c1"]);
        (logs.stdout + &logs.stderr).contains(ITS_ADDRESS)
    });
}

#[test]
fn nothing_unpublished_is_reached_from_outside() {
    let s = Sandbox::new();
    let other = Machine::join();
    server(&s, "web", &["-p", "127.0.0.1:8080:80"]);
    assert!(serves("127.0.0.1:8080"));
    let (routed, bound, loopback) = other.on(|| {
        ip(&format!("route add 172.17.0.0/16 via {OUR_ADDRESS}"));
        ip(&format!("route add 127.0.0.99/32 via {OUR_ADDRESS} dev wan"));
        (get("172.17.0.2:80"), get(&format!("{OUR_ADDRESS}:8080")), get("127.0.0.99:8080"))
    });
    assert!(routed.is_none(), "the container's own address, routed");
    assert!(bound.is_none(), "a port published on loopback only");
    assert!(loopback.is_none(), "loopback, routed");
    assert!(!serves(&format!("{UPLINK}:8080")), "another address of the host");
}

#[test]
fn ports_are_bound_to_one_address_or_chosen() {
    let s = Sandbox::new();
    server(&s, "a1", &["-p", &format!("{UPLINK}:7777:80"), "-p", "80", "-p", "9000-9001:80"]);
    assert!(serves(&format!("{UPLINK}:7777")) && get("127.0.0.1:7777").is_none());
    let ports = s.tug(&["port", "a1", "80"]);
    assert_eq!(ports.lines().len(), 3, "{ports}");
    for line in ports.lines() {
        let port = line.rsplit(':').next().unwrap_or_default();
        let address = if port == "7777" { UPLINK } else { "127.0.0.1" };
        assert!(serves(&format!("{address}:{port}")), "{line}");
    }
    assert!(ports.ok().contains("0.0.0.0:9000"), "{ports}");
    server(&s, "b1", &["-p", "9000-9001:80"]);
    assert_eq!(s.tug(&["port", "b1", "80"]).ok(), "0.0.0.0:9001", "the next of the range");
}

#[test]
fn exposed_ports_are_published_on_request() {
    let s = Sandbox::new();
    let config = serde_json::json!({"Cmd": SERVER, "ExposedPorts": {"80/tcp": {}, "81/udp": {}}});
    s.image("web:1", &config, |_| Ok(()));
    let id = s.tug(&["run", "-d", "-P", "web:1"]).ok().to_owned();
    let tcp = s.tug(&["port", &id, "80"]).ok().to_owned();
    until("the server", || serves(&tcp.replace("0.0.0.0", "127.0.0.1")));
    s.tug(&["port", &id, "81/udp"]).ok();
}

#[test]
fn udp_is_published() {
    let s = Sandbox::new();
    let tool = format!("{}:/tug-dev:ro", tug_test::sandbox::devtool().display());
    s.detached(&["-p", "5353:53/udp", "-v", &tool], &["/tug-dev", "udp-echo", "53"]);
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap_or_else(|e| panic!("{e}"));
    assert!(socket.set_read_timeout(Some(Duration::from_millis(200))).is_ok());
    let answer = until_some("an answer", || {
        socket.send_to(b"ping\n", "127.0.0.1:5353").ok()?;
        let mut bytes = [0; 64];
        let length = socket.recv(&mut bytes).ok()?;
        Some(bytes[..length].to_vec())
    });
    assert_eq!(answer, b"ping\n");
}

#[test]
fn a_port_taken_by_a_container_names_it() {
    let s = Sandbox::new();
    server(&s, "first", &["-p", "8080:80"]);
    let second =
        s.tug(&["run", "-d", "--name", "second", "-p", "8080:80", "busybox", "sleep", "60"]);
    second.code(125).says("Bind for 0.0.0.0:8080 failed: port is already allocated").hint("first");
    assert_eq!(s.status("second"), "created");
    assert!(serves("127.0.0.1:8080"), "the first is not disturbed");
    s.tug(&["rm", "-f", "first"]).ok();
    s.tug(&["start", "second"]).ok();
}

#[test]
fn a_port_taken_by_a_process_names_it() {
    let s = Sandbox::new();
    let listener = TcpListener::bind("0.0.0.0:8080").unwrap_or_else(|e| panic!("{e}"));
    let run = s.sh(&["-p", "8080:80"], "true");
    run.code(125).says("failed to bind host port 0.0.0.0:8080/tcp: address already in use");
    run.hint(&std::process::id().to_string());
    drop(listener);
    s.sh(&["-p", "8080:80"], "true").ok();
    assert_eq!(s.tug(&["ps", "-aq"]).ok(), "");
}

#[test]
fn an_address_that_is_not_the_hosts_is_refused() {
    let s = Sandbox::new();
    s.sh(&["-p", "203.0.113.7:80:80"], "true").code(125).says("203.0.113.7");
    for bad in ["80:80:80:80", "x:80", "70000:80", "80:0", "80/icmp", "90-80:80"] {
        s.sh(&["-p", bad], "true").code(125);
    }
    assert_eq!(s.tug(&["ps", "-aq"]).ok(), "");
}

#[test]
fn the_way_out_is_masked_behind_the_hosts_address() {
    let s = Sandbox::new();
    let other = Machine::join();
    let listener =
        other.on(|| TcpListener::bind((ITS_ADDRESS, 80)).unwrap_or_else(|e| panic!("{e}")));
    let accepted = std::thread::spawn(move || {
        let (mut stream, peer) = listener.accept().ok()?;
        stream.write_all(b"outside\n").ok()?;
        Some(peer.ip().to_string())
    });
    let run = s.sh(&[], &format!("nc {ITS_ADDRESS} 80 </dev/null"));
    assert_eq!(run.ok(), "outside");
    assert_eq!(accepted.join().ok().flatten().as_deref(), Some(OUR_ADDRESS));
}

#[test]
fn names_are_asked_of_the_servers_given() {
    let s = Sandbox::new();
    let other = Machine::join();
    let server = other.on(|| UdpSocket::bind((ITS_ADDRESS, 53)).unwrap_or_else(|e| panic!("{e}")));
    assert!(server.set_read_timeout(Some(Duration::from_secs(20))).is_ok());
    std::thread::spawn(move || while answer_one(&server).is_some() {});
    let flags = ["--dns", ITS_ADDRESS, "--dns-search", "example", "--dns-option", "timeout:2"];
    let config = s.sh(&flags, "cat /etc/resolv.conf");
    config
        .shows(&format!("nameserver {ITS_ADDRESS}"))
        .shows("search example")
        .shows("options timeout:2");
    let lookup = s.sh(&flags, "nslookup -type=a somewhere.example");
    lookup.shows("203.0.113.80");
}

/// Answers one DNS question with 203.0.113.80, whatever it asks.
fn answer_one(server: &UdpSocket) -> Option<()> {
    let mut packet = [0; 512];
    let (length, client) = server.recv_from(&mut packet).ok()?;
    let mut answer = packet[..length].to_vec();
    answer[2..8].copy_from_slice(&[0x81, 0x80, 0, 1, 0, 1]);
    answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 203, 0, 113, 80]);
    server.send_to(&answer, client).ok().map(drop)
}

#[test]
fn resolv_conf_is_the_hosts_unless_given() {
    let s = Sandbox::new();
    let host = std::fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
    let reachable: Vec<_> = host
        .lines()
        .filter(|line| line.starts_with("nameserver") && !line.contains("127."))
        .collect();
    let inside = s.sh(&[], "cat /etc/resolv.conf");
    for line in reachable {
        inside.shows(line);
    }
}

#[test]
fn hosts_names_the_container_and_what_was_added() {
    let s = Sandbox::new();
    let flags = ["-h", "box", "--add-host", "db:10.1.2.3", "--add-host", "gate:host-gateway"];
    let run = s.sh(&flags, "cat /etc/hosts");
    for line in ["127.0.0.1\tlocalhost", "172.17.0.2\tbox", "10.1.2.3\tdb", "172.17.0.1\tgate"] {
        run.shows(line);
    }
}

#[test]
fn none_has_loopback_only() {
    let s = Sandbox::new();
    let run = s.sh(
        &["--network", "none"],
        "ls /sys/class/net; ip -o address show lo | grep -c 127.0.0.1; ip route",
    );
    assert_eq!(run.ok(), "lo\n1");
    let published = s.sh(&["--network", "none", "-p", "8080:80"], "true");
    assert!([0, 125].contains(&published.code), "{published}");
}

#[test]
fn host_is_the_hosts() {
    let s = Sandbox::new();
    let run = s.sh(&["--network", "host"], &format!("ip -o address | grep -c {UPLINK}; hostname"));
    assert_eq!(run.lines()[0], "1");
    let host = tug_test::process::run("hostname", &[]);
    assert_eq!(run.lines()[1], host.ok(), "its name too, as Docker does");
}

#[test]
fn container_shares_anothers() {
    let s = Sandbox::new();
    server(&s, "web", &["-h", "webhost"]);
    let run = s.sh(
        &["--network", "container:web"],
        "wget -qO- http://127.0.0.1/; hostname; grep webhost /etc/hosts | cut -f1",
    );
    assert_eq!(run.ok(), "hello\nwebhost\n172.17.0.2");
    s.sh(&["--network", "container:nobody"], "true").code(125).says("nobody");
    s.tug(&["create", "--name", "stopped", "busybox"]).ok();
    s.sh(&["--network", "container:stopped"], "true")
        .refused(125, "cannot join network namespace of container stopped: it is not running");
    s.sh(&["--network", "nowhere"], "true").code(125).says("nowhere");
}

#[test]
fn ports_come_back_with_a_restart() {
    let s = Sandbox::new();
    server(&s, "web", &["-p", "8080:80", "-p", "80"]);
    s.tug(&["restart", "-t", "0", "web"]).ok();
    until("the server again", || serves("127.0.0.1:8080"));
    let chosen = s.tug(&["port", "web", "80"]);
    for line in chosen.lines() {
        assert!(serves(&line.replace("0.0.0.0", "127.0.0.1")), "{line}");
    }
}

#[test]
fn publishing_adds_elements_and_no_rules() {
    let s = Sandbox::new();
    s.detached(&[], &["sleep", "60"]);
    let rules = || {
        let all = tug_test::process::run("nft", &["-a", "list", "ruleset"]);
        all.lines().iter().filter(|line| line.contains("# handle")).count()
    };
    let before = rules();
    for port in ["8001:80", "8002:80", "8003:80/udp"] {
        s.detached(&["-p", port], &["sleep", "60"]);
    }
    assert_eq!(rules(), before);
}

#[test]
fn a_flushed_table_comes_back_with_the_next_container() {
    let s = Sandbox::new();
    server(&s, "web", &["-p", "8080:80"]);
    tug_test::process::run("nft", &["flush", "ruleset"]).ok();
    assert!(!serves("127.0.0.1:8080"));
    server(&s, "other", &["-p", "8081:80"]);
    assert!(serves("127.0.0.1:8081"));
}
