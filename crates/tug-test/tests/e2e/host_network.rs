//! On the machine's own network: what a namespace of the test's own cannot show.

use std::net::ToSocketAddrs;
use tug_test::sandbox::Sandbox;
use tug_test::skip::skip;

/// A Debian mirror as this machine names and reaches it.
fn mirror() -> Option<String> {
    let address =
        ("deb.debian.org", 80).to_socket_addrs().ok()?.find(std::net::SocketAddr::is_ipv4)?;
    std::net::TcpStream::connect_timeout(&address, std::time::Duration::from_secs(5)).ok()?;
    Some(address.ip().to_string())
}

#[test]
fn a_container_reaches_the_world_by_name() {
    let s = Sandbox::on_host();
    s.load("busybox");
    if mirror().is_none() {
        skip("this machine reaches no Debian mirror");
        return;
    }
    let run =
        s.sh(&[], "wget -qO- http://deb.debian.org/debian/dists/bookworm/Release | grep ^Codename");
    assert_eq!(run.ok(), "Codename: bookworm");
}

#[test]
fn debian_installs_a_package_inside() {
    let s = Sandbox::on_host();
    s.load("debian");
    if mirror().is_none() {
        skip("this machine reaches no Debian mirror");
        return;
    }
    let script = "apt-get update -qq && apt-get install -qq -y --no-install-recommends hello >/dev/null 2>&1 && hello";
    s.tug(&["run", "--rm", "debian", "sh", "-c", script]).shows("Hello, world!");
}

#[test]
fn nginx_serves_its_page_on_the_hosts_addresses() {
    let s = Sandbox::on_host();
    s.load("nginx");
    s.tug(&["run", "-d", "--name", "web", "-p", "0:80", "nginx"]).ok();
    let port = s.tug(&["port", "web", "80"]).ok().rsplit(':').next().unwrap_or_default().to_owned();
    let page = s.shell(&format!(
        "curl -sS --retry 20 --retry-connrefused --retry-delay 1 http://127.0.0.1:{port}/"
    ));
    page.shows("Welcome to nginx!");
    s.wait_for_log("web", "GET / HTTP");
    s.tug(&["stop", "web"]).ok();
    assert_eq!(
        s.format("web", "{{.State.ExitCode}}"),
        "0",
        "SIGQUIT, the image's stop signal, ends it well"
    );
}

#[test]
fn two_data_roots_never_disturb_each_other() {
    let (one, two) = (Sandbox::on_host(), Sandbox::on_host());
    one.load("busybox");
    two.load("busybox");
    let first = one.detached(&["--name", "same"], &["sleep", "60"]);
    let second = two.detached(&["--name", "same"], &["sleep", "60"]);
    let address = |s: &Sandbox| s.format("same", "{{.NetworkSettings.IPAddress}}");
    assert_ne!(address(&one), address(&two));
    one.tug(&["system", "reset", "-f"]).ok();
    assert_eq!(two.status("same"), "running");
    two.tug(&["exec", "same", "ip", "route"]).shows("default via");
    assert_ne!(first, second);
}
