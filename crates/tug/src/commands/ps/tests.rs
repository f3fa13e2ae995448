//! Rows and choices against what Docker's own client prints of the same containers.

use super::COMMAND;
use super::choice::Choice;
use super::line::{Line, listing, status};
use crate::flags;
use crate::text::listing::Row;
use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use tug_engine::{ContainerSummary, Engine, Status};
use tug_net::{Protocol, PublishedPort};
use tug_types::{ContainerId, Digest};

const NOW: i64 = 1_700_000_000;

fn container(digit: &str, name: &str) -> ContainerSummary {
    ContainerSummary {
        id: ContainerId::parse(&digit.repeat(64)).unwrap(),
        name: name.to_owned(),
        image: "busybox".to_owned(),
        image_id: Digest::from_sha256([0xcc; 32]),
        command: "sh -c 'echo a & b'".to_owned(),
        created: NOW - 7200,
        status: Status::Running,
        started_at: (NOW - 7200) * 1_000_000_000,
        finished_at: 0,
        exit_code: 0,
        ports: Vec::new(),
        exposed: Vec::new(),
        labels: BTreeMap::new(),
        mounts: Vec::new(),
        networks: vec!["bridge".to_owned()],
        size: None,
    }
}

fn port(ip: Ipv4Addr, host_port: u16, container_port: u16) -> PublishedPort {
    PublishedPort { host_ip: ip, host_port, container_port, protocol: Protocol::Tcp }
}

fn three() -> Vec<ContainerSummary> {
    let any = Ipv4Addr::UNSPECIFIED;
    let mut web = container("1", "web");
    web.ports = vec![
        port(any, 8080, 80),
        port(Ipv4Addr::LOCALHOST, 443, 443),
        port(Ipv4Addr::LOCALHOST, 444, 444),
        port(any, 8000, 8000),
        port(any, 8001, 8001),
        port(any, 8002, 8002),
    ];
    web.exposed = ["53/udp", "9000/tcp", "9001/tcp"].map(str::to_owned).to_vec();
    web.labels = [("a", "1"), ("b", "2")].map(|(k, v)| (k.to_owned(), v.to_owned())).into();
    web.mounts = vec!["data-with-a-long-name".to_owned(), "/x/y".to_owned()];
    web.size = Some((12_345, 4_260_000));
    let mut db = container("2", "db");
    db.status = Status::Exited;
    db.exit_code = 3;
    db.finished_at = (NOW - 3600) * 1_000_000_000;
    db.command = "x".to_owned();
    db.image = "registry.example.org:5000/team/app:1.2".to_owned();
    let mut img = container("3", "img");
    img.image = Digest::from_sha256([0xcc; 32]).to_string();
    vec![web, db, img]
}

fn lines(whole: bool) -> Vec<Line> {
    three().into_iter().map(|container| Line { container, whole, now: NOW }).collect()
}

#[test]
fn the_table_is_what_dockers_client_prints_of_the_same_containers() {
    let expected = "\
CONTAINER ID   IMAGE                                    COMMAND                CREATED       STATUS                         PORTS                                                                                                           NAMES
111111111111   busybox                                  \"sh -c 'echo a & b'\"   2 hours ago   Up 2 hours                     53/udp, 127.0.0.1:443-444->443-444/tcp, 0.0.0.0:8000-8002->8000-8002/tcp, 9000-9001/tcp, 0.0.0.0:8080->80/tcp   web
222222222222   registry.example.org:5000/team/app:1.2   \"x\"                    2 hours ago   Exited (3) About an hour ago                                                                                                                   db
333333333333   cccccccccccc                             \"sh -c 'echo a & b'\"   2 hours ago   Up 2 hours                                                                                                                                     img
";
    assert_eq!(listing(false).print("", lines(false)).unwrap(), expected);
}

#[test]
fn formats_print_what_dockers_client_prints() {
    let print = |format: &str| listing(false).print(format, lines(false)).unwrap();
    assert_eq!(
        print("{{.ID}}: {{.Labels}} {{.Mounts}} {{.LocalVolumes}} {{.Size}} {{.Networks}} {{.Label \"a\"}}")
            .lines()
            .next()
            .unwrap(),
        "111111111111: a=1,b=2 data-with-a-lo…,/x/y 1 12.3kB (virtual 4.26MB) bridge 1"
    );
    let json = print("json");
    let json = json.lines().next().unwrap();
    assert!(
        json.starts_with("{\"Command\":\"\\\"sh -c 'echo a \\u0026 b'\\\"\",\"CreatedAt\":\""),
        "{json}"
    );
    assert!(
        json.contains("\"Platform\":null,\"Ports\":\"53/udp, 127.0.0.1:443-444-\\u003e443-444/tcp"),
        "{json}"
    );
    assert!(json.ends_with("\"State\":\"running\",\"Status\":\"Up 2 hours\"}"), "{json}");
    let raw = print("raw");
    assert!(
        raw.contains(
            "\nstate: exited\nstatus: Exited (3) About an hour ago\nnames: db\nlabels:\nports:\n\n"
        ),
        "{raw}"
    );
    let titled = print("table {{.Names}}\\t{{.Label \"com.x.some-thing_y\"}}");
    assert!(titled.starts_with("NAMES     some thing y\nweb       "), "{titled}");
    let sized = listing(true).print("", lines(false)).unwrap();
    assert!(sized.contains("web       12.3kB (virtual 4.26MB)\n"), "{sized}");
}

#[test]
fn states_are_told_as_docker_tells_them() {
    let mut one = container("1", "x");
    let at = |seconds: i64| (NOW - seconds) * 1_000_000_000;
    for (state, text) in [
        (Status::Created, "Created"),
        (Status::Paused, "Up 2 hours (Paused)"),
        (Status::Restarting, "Restarting (7) 5 seconds ago"),
        (Status::Removing, "Removal In Progress"),
        (Status::Dead, "Dead"),
        (Status::Exited, "Exited (7) 5 seconds ago"),
    ] {
        (one.status, one.exit_code, one.finished_at) = (state, 7, at(5));
        assert_eq!(status(&one, NOW), text);
    }
}

#[test]
fn images_are_shown_without_digests() {
    let mut one = container("1", "x");
    one.image = format!("me/app:1@sha256:{}", "a".repeat(64));
    assert_eq!(Line { container: one.clone(), whole: false, now: NOW }.field("Image"), "me/app:1");
    one.image = format!("busybox@sha256:{}", "a".repeat(64));
    assert_eq!(Line { container: one, whole: false, now: NOW }.field("Image"), "busybox");
}

fn choose(line: &str) -> Vec<String> {
    let words = line.split_whitespace().map(str::to_owned).collect();
    let choice = Choice::of(&flags::parse(&COMMAND, words).unwrap()).unwrap();
    let nowhere = std::env::temp_dir().join(format!("tug-ps-test-{}", std::process::id()));
    let mut settings = crate::context::default_settings();
    (settings.data_root, settings.exec_root) = (nowhere.clone(), nowhere.clone());
    let chosen = choice.choose(&Engine::new(settings), three()).unwrap();
    let _ = std::fs::remove_dir_all(nowhere);
    chosen.into_iter().map(|container| container.name).collect()
}

#[test]
fn filters_choose_as_docker_does() {
    for (line, names) in [
        ("", "web img"),
        ("-a", "web db img"),
        ("-l", "web"),
        ("-n 2", "web db"),
        ("--filter status=exited", "db"),
        ("--filter status=exited --filter status=running", "web db img"),
        ("--filter exited=3", ""),
        ("-a --filter exited=3", "db"),
        ("-a --filter exited=0", ""),
        ("-a --filter name=b", "web db"),
        ("-a --filter name=^db$", "db"),
        ("-a --filter name=^/web", "web"),
        ("-a --filter id=222", "db"),
        ("--filter label=a", "web"),
        ("--filter label=a=1 --filter label=b=2", "web"),
        ("--filter label=a=2", ""),
        ("-a --filter publish=8080", "web"),
        ("-a --filter publish=8000-8100/tcp", "web"),
        ("-a --filter publish=8080/udp", ""),
        ("-a --filter expose=53/udp", "web"),
        ("-a --filter expose=80", "web"),
        ("-a --filter volume=/x/y", "web"),
        ("-a --filter network=bridge -n 1", "web"),
        ("-a --filter network=none", ""),
        ("-a --filter health=none", "web db img"),
        ("-a --filter health=healthy", ""),
        ("-a --filter is-task=true", ""),
        ("-a --filter is-task=false", "web db img"),
        ("-a --filter ancestor=busybox", "web"),
    ] {
        let expected: Vec<&str> = names.split_whitespace().collect();
        assert_eq!(choose(line), expected, "{line}");
    }
}

#[test]
fn unknown_filters_and_values_are_refused() {
    let refused = |line: &str| {
        let words = line.split_whitespace().map(str::to_owned).collect();
        let parsed = flags::parse(&COMMAND, words).unwrap();
        Choice::of(&parsed).err().map(|quit| (quit.to_string(), quit.exit_code()))
    };
    assert_eq!(
        refused("-f stauts=exited"),
        Some(("invalid filter 'stauts' (did you mean 'status'?)".to_owned(), 1))
    );
    assert_eq!(
        refused("-f x"),
        Some(("invalid argument \"x\" for \"-f, --filter\" flag: bad format of filter (expected name=value)".to_owned(), 125))
    );
}
