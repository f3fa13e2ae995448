//! The applications of the books people learn from, built and served. They need the machine's real network.

use super::Project;
use std::net::ToSocketAddrs;
use tug_test::sandbox::Sandbox;
use tug_test::skip::skip;

fn reaches(name: &str, port: u16) -> bool {
    let addresses = (name, port).to_socket_addrs();
    addresses.into_iter().flatten().any(|address| {
        std::net::TcpStream::connect_timeout(&address, std::time::Duration::from_secs(5)).is_ok()
    })
}

fn page(s: &Sandbox, container: &str, port: &str) -> String {
    let published = s.tug(&["port", container, port]).ok().to_owned();
    let port = published.rsplit(':').next().unwrap_or_default();
    let get =
        format!("curl -sS --retry 30 --retry-connrefused --retry-delay 1 http://127.0.0.1:{port}/");
    s.shell(&get).ok().to_owned()
}

#[test]
fn nginx_is_installed_by_apt_get_and_serves() {
    let s = Sandbox::on_host();
    if !reaches("deb.debian.org", 80) {
        skip("this machine reaches no Debian mirror");
        return;
    }
    s.load("debian");
    let p = Project::new(
        &s,
        "FROM debian\n\nRUN apt-get -y update && apt-get -y upgrade\nRUN apt-get -y install nginx\n\nEXPOSE 80\n\nCMD [\"nginx\", \"-g\", \"daemon off;\"]\n",
        &[],
    );
    p.build(&s, &[]);
    s.tug(&["run", "-d", "--name", "web", "-p", "0:80", "app"]).ok();
    assert!(page(&s, "web", "80").contains("Welcome to nginx!"));
}

const SERVER: &str = "const isOdd = require('is-odd');
require('http').createServer((q, r) => r.end('odd: ' + isOdd(3))).listen(3000);
";
const PACKAGE: &str = r#"{"name": "app", "version": "1.0.0", "scripts": {"start": "node server.js"},
"dependencies": {"is-odd": "3.0.1"}}"#;

#[test]
fn the_node_server_is_built_with_npm_install_and_answers() {
    let s = Sandbox::on_host();
    let archive = tug_test::sandbox::cache().join("images/node.tar");
    if !archive.exists() {
        skip("there is no node image: `./dev images` makes it");
        return;
    }
    if !reaches("registry.npmjs.org", 443) {
        skip("this machine does not reach the npm registry");
        return;
    }
    s.load("node");
    // Where HTTPS goes through a proxy of the machine's, its authority is in the host's bundle.
    let bundle = "/etc/ssl/certs/ca-certificates.crt";
    let p = Project::new(
        &s,
        "FROM node\n\nWORKDIR /app\n\nCOPY . /app\n\nRUN --mount=type=secret,id=ca,target=/ca.pem NODE_EXTRA_CA_CERTS=/ca.pem npm install\n\nEXPOSE 3000\n\nCMD [\"node\", \"server.js\"]\n",
        &[("server.js", SERVER), ("package.json", PACKAGE), (".dockerignore", "node_modules\n")],
    );
    let flags = ["--secret", &format!("id=ca,src={bundle}")];
    p.build(&s, &flags);
    s.tug(&["run", "-d", "--name", "exec", "-p", "0:3000", "app"]).ok();
    assert_eq!(page(&s, "exec", "3000"), "odd: true");
    let text = std::fs::read_to_string(p.dir.join("Dockerfile")).unwrap();
    p.write("Dockerfile", &text.replace("[\"node\", \"server.js\"]", "npm run start"));
    let (cached, ran) = super::steps(&p.build(&s, &flags));
    assert_eq!((cached.len(), ran.len()), (1, 2), "the context changed with the Dockerfile in it");
    s.tug(&["run", "-d", "--name", "shell", "-p", "0:3000", "app"]).ok();
    assert_eq!(page(&s, "shell", "3000"), "odd: true");
}
