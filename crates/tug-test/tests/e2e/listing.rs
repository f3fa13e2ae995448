//! ps, inspect and port: what a person and a script read.

use tug_test::output::normal;
use tug_test::sandbox::Sandbox;

#[test]
fn ps_has_dockers_columns() {
    let s = Sandbox::new();
    assert_eq!(
        s.tug(&["ps"]).ok(),
        "CONTAINER ID   IMAGE     COMMAND   CREATED   STATUS    PORTS     NAMES"
    );
    s.detached(&["--name", "web", "-p", "127.0.0.1:8080:80"], &["sleep", "60"]);
    let table = s.tug(&["ps"]);
    let lines = table.lines();
    let row: Vec<_> =
        lines[1].split("   ").map(str::trim).filter(|cell| !cell.is_empty()).collect();
    assert_eq!(normal(row[0]), "<SHORT>");
    assert_eq!(&row[1..3], ["busybox", "\"sleep 60\""]);
    assert!(row[3].ends_with("ago") && row[4].starts_with("Up "), "{table}");
    assert_eq!(&row[5..], ["127.0.0.1:8080->80/tcp", "web"]);
}

#[test]
fn ps_shows_the_running_and_a_all() {
    let s = Sandbox::new();
    s.tug(&["create", "--name", "created", "busybox"]).ok();
    s.tug(&["run", "--name", "done", "busybox", "true"]).ok();
    s.detached(&["--name", "up"], &["sleep", "60"]);
    let names = |flags: &[&str]| {
        let ps = s.tug(&[&["ps", "--format", "{{.Names}}"], flags].concat());
        ps.lines().join(" ")
    };
    assert_eq!(names(&[]), "up");
    assert_eq!(names(&["-a"]), "up done created", "newest first");
    assert_eq!(names(&["-l"]), "up");
    assert_eq!(names(&["-n", "2"]), "up done");
    assert_eq!(names(&["-a", "--filter", "status=exited"]), "done");
    assert_eq!(names(&["-a", "-f", "name=e"]), "done created");
    assert_eq!(names(&["-a", "-f", "status=created", "-f", "status=running"]), "up created");
    assert_eq!(names(&["-a", "-f", "exited=0"]), "done");
    s.tug(&["ps", "-f", "colour=red"]).code(1).says("colour");
    let states = s.tug(&["ps", "-a", "--format", "{{.Names}} {{.State}} {{.Status}}"]);
    assert!(states.ok().contains("created created Created"), "{states}");
}

#[test]
fn ps_filters_by_label_ancestor_and_id() {
    let s = Sandbox::new();
    let a =
        s.tug(&["create", "--name", "a1", "-l", "tier=web", "-l", "x", "busybox"]).ok().to_owned();
    s.tug(&["create", "--name", "b1", "-l", "tier=db", "busybox"]).ok();
    let names = |filter: &str| {
        let ps = s.tug(&["ps", "-a", "--format", "{{.Names}}", "-f", filter]);
        ps.lines().join(" ")
    };
    assert_eq!(names("label=tier"), "b1 a1");
    assert_eq!(names("label=tier=web"), "a1");
    assert_eq!(names(&format!("id={}", &a[..6])), "a1");
    assert_eq!(names("ancestor=busybox"), "b1 a1");
    assert_eq!(names("ancestor=debian"), "");
    assert_eq!(names("since=a1"), "b1");
    assert_eq!(names("before=b1"), "a1");
}

#[test]
fn ps_formats_json_tables_and_sizes() {
    let s = Sandbox::new();
    s.tug(&["run", "--name", "c1", "busybox", "sh", "-c", "head -c 5000 /dev/zero > /f"]).ok();
    let json = s.tug(&["ps", "-a", "--format", "json"]);
    let row: serde_json::Value = serde_json::from_str(json.ok()).unwrap_or_default();
    assert_eq!(
        (&row["Names"], &row["Image"], &row["State"]),
        (&"c1".into(), &"busybox".into(), &"exited".into())
    );
    let table = s.tug(&["ps", "-a", "--format", "table {{.Names}}\t{{.Image}}"]);
    assert_eq!(table.ok(), "NAMES     IMAGE\nc1        busybox");
    let sized = s.tug(&["ps", "-as", "--format", "{{.Size}}"]);
    assert!(sized.ok().starts_with("5kB (virtual "), "{sized}");
    s.tug(&["ps", "--format", "{{.Nothing}}"]).code(1).says("Nothing");
}

#[test]
fn long_commands_are_cut_unless_asked() {
    let s = Sandbox::new();
    s.tug(&["create", "busybox", "echo", "one two three four five"]).ok();
    let command = |flags: &[&str]| {
        s.tug(&[&["ps", "-a", "--format", "{{.Command}}"], flags].concat()).ok().to_owned()
    };
    assert_eq!(command(&[]), "\"echo 'one two three…\"");
    assert_eq!(command(&["--no-trunc"]), "\"echo 'one two three four five'\"");
}

#[test]
fn ps_of_many_keeps_exit_statuses_apart() {
    let s = Sandbox::new();
    for code in [0, 1, 42] {
        s.tug(&[
            "run",
            "--name",
            &format!("c{code}"),
            "busybox",
            "sh",
            "-c",
            &format!("exit {code}"),
        ])
        .code(code);
    }
    let table = s.tug(&["ps", "-a", "--format", "{{.Names}} {{.Status}}"]);
    for code in [0, 1, 42] {
        table.shows(&format!("c{code} Exited ({code}) "));
    }
}

#[test]
fn inspect_is_json_with_dockers_keys() {
    let s = Sandbox::new();
    let id = s.detached(&["--name", "c1", "-e", "A=1", "-p", "8080:80"], &["sleep", "60"]);
    let json = s.inspect("c1");
    for key in [
        "Id",
        "Created",
        "Path",
        "Args",
        "State",
        "Image",
        "ResolvConfPath",
        "HostnamePath",
        "HostsPath",
        "LogPath",
        "Name",
        "RestartCount",
        "Driver",
        "Platform",
        "HostConfig",
        "Mounts",
        "Config",
        "NetworkSettings",
    ] {
        assert!(!json[key].is_null(), "{key} is missing");
    }
    assert_eq!(json["Id"], id.as_str());
    assert_eq!(
        (&json["Path"], &json["Args"][0], &json["Name"]),
        (&"sleep".into(), &"60".into(), &"/c1".into())
    );
    assert_eq!(json["State"]["Pid"], s.pids(&id).0);
    assert_eq!(json["NetworkSettings"]["Networks"]["bridge"]["IPAddress"], "172.17.0.2");
    assert_eq!(json["NetworkSettings"]["Ports"]["80/tcp"][0]["HostPort"], "8080");
}

#[test]
fn inspect_takes_templates_types_and_several_names() {
    let s = Sandbox::new();
    s.tug(&["create", "--name", "c1", "busybox"]).ok();
    let name = s.tug(&["inspect", "-f", "{{.Name}} {{json .State.Running}}", "c1"]);
    assert_eq!(name.ok(), "/c1 false");
    let two = s.tug(&["inspect", "-f", "{{.Id}}", "c1", "busybox"]);
    assert!(two.lines()[1].starts_with("sha256:"), "a container, then an image: {two}");
    let missing = s.tug(&["inspect", "c1", "nobody"]);
    missing.code(1).says("No such object: nobody");
    assert!(missing.stdout.contains("\"Name\": \"/c1\""), "what exists is printed: {missing}");
    s.tug(&["inspect", "--type", "image", "c1"]).code(1);
    s.tug(&["inspect", "-f", "{{.Nope}}", "c1"]).code(1).says("Nope");
}

#[test]
fn port_lists_what_is_published() {
    let s = Sandbox::new();
    s.detached(
        &["--name", "c1", "-p", "8080:80", "-p", "127.0.0.1:53:53/udp", "-p", "9000"],
        &["sleep", "60"],
    );
    let all = s.tug(&["port", "c1"]);
    all.shows("80/tcp -> 0.0.0.0:8080")
        .shows("53/udp -> 127.0.0.1:53")
        .shows("9000/tcp -> 0.0.0.0:");
    assert_eq!(s.tug(&["port", "c1", "80"]).ok(), "0.0.0.0:8080");
    assert_eq!(s.tug(&["port", "c1", "53/udp"]).ok(), "127.0.0.1:53");
    s.tug(&["port", "c1", "81"]).code(1).says("'81'");
}

#[test]
fn a_closed_pipe_ends_quietly() {
    let s = Sandbox::new();
    for _ in 0..30 {
        s.tug(&["create", "busybox"]).ok();
    }
    let run = s.shell("for i in 1 2 3 4 5; do $TUG ps -a --no-trunc | head -n 1; done");
    assert_eq!(run.stderr, "");
}
