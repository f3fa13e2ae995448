//! The namespaces tests play in, and the servers and clients in them.

use crate::kernel;
use std::fs::File;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::Duration;
use tug_net::{BridgeConfig, Endpoint, attach, ensure_bridge, loopback_up, mac_of};

/// The host's address on the uplink, and the neighbour's.
pub(crate) const HOST: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 1);
pub(crate) const OUTSIDE: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 2);
pub(crate) const MTU: u32 = 1400;

const PATIENCE: Duration = Duration::from_secs(5);
/// How long something that must not come is waited for.
const SILENCE: Duration = Duration::from_millis(300);

/// Runs a test on a fresh "host": loopback up and nothing else.
pub(crate) fn on_host(test: impl FnOnce() + Send + 'static) {
    let run = move || {
        if let Err(error) = tug_sys::netns::unshare() {
            skipped(&format!("no network namespace, are you root? {error}"));
            return;
        }
        loopback_up(this_namespace().as_fd()).unwrap();
        test();
    };
    let name = thread::current().name().unwrap_or_default().to_owned();
    if let Err(panic) = thread::Builder::new().name(name).spawn(run).unwrap().join() {
        std::panic::resume_unwind(panic);
    }
}

/// Says that a test could not run here. Straight to the descriptor, for the harness hides what a
/// passing test prints.
pub(crate) fn skipped(why: &str) {
    let name = thread::current().name().unwrap_or("a test").to_owned();
    let _ = writeln!(io::stderr(), "SKIPPED {name}: {why}");
}

/// The calling thread's network namespace.
pub(crate) fn this_namespace() -> OwnedFd {
    File::open("/proc/thread-self/ns/net").unwrap().into()
}

/// A network namespace besides the host's.
pub(crate) struct Namespace(OwnedFd);

impl Namespace {
    /// An empty one.
    pub(crate) fn new() -> Self {
        let make = || {
            tug_sys::netns::unshare().unwrap();
            this_namespace()
        };
        Self(thread::spawn(make).join().unwrap())
    }

    /// The calling thread's.
    pub(crate) fn current() -> Self {
        Self(this_namespace())
    }

    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }

    /// Runs something inside.
    pub(crate) fn run<T: Send>(&self, task: impl FnOnce() -> T + Send) -> T {
        let inside = || {
            let kind = Some(rustix::thread::LinkNameSpaceType::Network);
            rustix::thread::move_into_link_name_space(self.0.as_fd(), kind).unwrap();
            task()
        };
        thread::scope(|scope| match scope.spawn(inside).join() {
            Ok(value) => value,
            Err(panic) => std::panic::resume_unwind(panic),
        })
    }
}

/// The `n`th data root's network: bridge `tugN`, 172.(17+N).0.0/16.
pub(crate) fn network(n: u8) -> BridgeConfig {
    BridgeConfig {
        bridge: format!("tug{n}"),
        table: format!("tug{n}"),
        subnet: format!("172.{}.0.0/16", 17 + n).parse().unwrap(),
        gateway: Ipv4Addr::new(172, 17 + n, 0, 1),
        mtu: MTU,
    }
}

/// The end of a network's `n`th address.
pub(crate) fn endpoint(config: &BridgeConfig, n: u8) -> Endpoint {
    let [a, b, ..] = config.subnet.addr().octets();
    let address = Ipv4Addr::new(a, b, 0, n);
    Endpoint {
        host_link: format!("v{b}-{n}"),
        container_link: "eth0".into(),
        address,
        mac: mac_of(address),
    }
}

/// A namespace on a bridge.
pub(crate) struct Container {
    pub(crate) namespace: Namespace,
    pub(crate) endpoint: Endpoint,
}

impl Container {
    pub(crate) fn start(config: &BridgeConfig, n: u8) -> Self {
        let (namespace, endpoint) = (Namespace::new(), endpoint(config, n));
        attach(config, &endpoint, namespace.fd()).unwrap();
        Self { namespace, endpoint }
    }

    pub(crate) fn address(&self) -> Ipv4Addr {
        self.endpoint.address
    }
}

/// Host, neighbour and one bridge.
pub(crate) struct World {
    pub(crate) config: BridgeConfig,
    pub(crate) outside: Namespace,
}

impl World {
    /// The neighbour routes the container's subnet over the host, as a hostile or merely helpful
    /// one would.
    pub(crate) fn new() -> Self {
        let (config, outside) = (network(0), Namespace::new());
        kernel::uplink(&outside, HOST, OUTSIDE, MTU);
        ensure_bridge(&config).unwrap();
        outside.run(|| kernel::route(config.subnet, HOST));
        Self { config, outside }
    }
}

/// Serves TCP and UDP on a port until the tests end: says who asked, and from which side.
pub(crate) fn serve(namespace: &Namespace, port: u16, name: &'static str) {
    let sockets = || (TcpListener::bind(("0.0.0.0", port)), UdpSocket::bind(("0.0.0.0", port)));
    let (tcp, udp) = namespace.run(sockets);
    answer(tcp.unwrap(), udp.unwrap(), name);
}

/// Serves on the host itself.
pub(crate) fn serve_here(ip: Ipv4Addr, port: u16, name: &'static str) {
    answer(TcpListener::bind((ip, port)).unwrap(), UdpSocket::bind((ip, port)).unwrap(), name);
}

fn answer(tcp: TcpListener, udp: UdpSocket, name: &'static str) {
    thread::spawn(move || {
        for mut stream in tcp.incoming().flatten() {
            let peer = stream.peer_addr().map(|peer| peer.ip().to_string()).unwrap_or_default();
            let _ = write!(stream, "{name} {peer}");
        }
    });
    thread::spawn(move || {
        let mut buffer = [0; 64];
        while let Ok((length, peer)) = udp.recv_from(&mut buffer) {
            let question = String::from_utf8_lossy(&buffer[..length]).into_owned();
            let _ = udp.send_to(format!("{question}:{name} {}", peer.ip()).as_bytes(), peer);
        }
    });
}

/// Connects and reads the answer.
pub(crate) fn ask_tcp(ip: Ipv4Addr, port: u16) -> io::Result<String> {
    tcp(ip, port, PATIENCE)
}

/// As [`ask_tcp`], where no answer is expected.
pub(crate) fn refused_tcp(ip: Ipv4Addr, port: u16) -> io::Error {
    tcp(ip, port, SILENCE).expect_err("it answered")
}

fn tcp(ip: Ipv4Addr, port: u16, patience: Duration) -> io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&SocketAddr::from((ip, port)), patience)?;
    stream.set_read_timeout(Some(patience))?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    Ok(text)
}

/// Sends a datagram from a fresh port and reads the answer.
pub(crate) fn ask_udp(ip: Ipv4Addr, port: u16) -> io::Result<String> {
    ask_from(&UdpSocket::bind("0.0.0.0:0")?, ip, port, PATIENCE)
}

/// As [`ask_udp`], where no answer is expected.
pub(crate) fn refused_udp(ip: Ipv4Addr, port: u16) -> io::Error {
    let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
    silence_from(&socket, ip, port)
}

/// Sends a datagram from this socket and reads the answer.
pub(crate) fn answer_from(socket: &UdpSocket, ip: Ipv4Addr, port: u16) -> io::Result<String> {
    ask_from(socket, ip, port, PATIENCE)
}

/// As [`answer_from`], where no answer is expected.
pub(crate) fn silence_from(socket: &UdpSocket, ip: Ipv4Addr, port: u16) -> io::Error {
    ask_from(socket, ip, port, SILENCE).expect_err("it answered")
}

fn ask_from(socket: &UdpSocket, ip: Ipv4Addr, port: u16, patience: Duration) -> io::Result<String> {
    // Numbered: what a loaded machine delivers late must not pass for the answer to this one.
    static QUESTIONS: AtomicU32 = AtomicU32::new(0);
    let question = QUESTIONS.fetch_add(1, Ordering::Relaxed).to_string();
    socket.set_read_timeout(Some(patience))?;
    socket.send_to(question.as_bytes(), (ip, port))?;
    let mut buffer = [0; 64];
    loop {
        let (length, _) = socket.recv_from(&mut buffer)?;
        let text = String::from_utf8_lossy(&buffer[..length]);
        if let Some((number, answer)) = text.split_once(':')
            && number == question
        {
            return Ok(answer.to_owned());
        }
    }
}
