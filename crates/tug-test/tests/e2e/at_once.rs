//! Many commands at the same time on one store.

use std::collections::BTreeSet;
use tug_test::sandbox::Sandbox;

#[test]
fn twenty_runs_at_once_all_do_their_work() {
    let s = Sandbox::new();
    let runs: Vec<_> = (0..20)
        .map(|n| {
            (n, s.start(&["run", "--rm", "busybox", "sh", "-c", &format!("echo {n}; exit {n}")]))
        })
        .collect();
    for (n, run) in runs {
        let out = run.wait_in(&s);
        assert_eq!((out.code, out.stdout.trim()), (n, &*n.to_string()), "{out}");
    }
    assert_eq!(s.tug(&["ps", "-aq"]).ok(), "");
}

#[test]
fn twenty_detached_get_addresses_ports_and_names_of_their_own() {
    let s = Sandbox::new();
    let flags = ["run", "-d", "-p", "80", "busybox", "sleep", "600"];
    let runs: Vec<_> = (0..20).map(|_| s.start(&flags)).collect();
    let ids: BTreeSet<String> =
        runs.into_iter().map(|run| run.wait_in(&s).ok().to_owned()).collect();
    assert_eq!(ids.len(), 20);
    let of =
        |template: &str| ids.iter().map(|id| s.format(id, template)).collect::<BTreeSet<_>>().len();
    assert_eq!(of("{{.NetworkSettings.IPAddress}}"), 20);
    assert_eq!(of("{{(index (index .NetworkSettings.Ports \"80/tcp\") 0).HostPort}}"), 20);
    assert_eq!(of("{{.Name}}"), 20);
    assert_eq!(s.tug(&["ps", "-q"]).lines().len(), 20);
    let removals: Vec<_> = ids.iter().map(|id| s.start(&["rm", "-f", id])).collect();
    for removal in removals {
        removal.wait_in(&s).ok();
    }
    assert_eq!(s.tug(&["ps", "-aq"]).ok(), "");
}

#[test]
fn one_name_is_given_once() {
    let s = Sandbox::new();
    let creates: Vec<_> =
        (0..10).map(|_| s.start(&["create", "--name", "only", "busybox"])).collect();
    let codes: Vec<_> = creates.into_iter().map(|create| create.wait_in(&s).code).collect();
    assert_eq!(codes.iter().filter(|code| **code == 0).count(), 1, "{codes:?}");
    assert_eq!(codes.iter().filter(|code| **code == 1).count(), 9, "{codes:?}");
    assert_eq!(s.tug(&["ps", "-aq"]).lines().len(), 1);
}

#[test]
fn one_port_is_given_once() {
    let s = Sandbox::new();
    let flags = ["run", "-d", "-p", "8080:80", "busybox", "sleep", "600"];
    let runs: Vec<_> = (0..8).map(|_| s.start(&flags)).collect();
    let codes: Vec<_> = runs.into_iter().map(|run| run.wait_in(&s).code).collect();
    assert_eq!(codes.iter().filter(|code| **code == 0).count(), 1, "{codes:?}");
    assert_eq!(s.tug(&["ps", "-q"]).lines().len(), 1);
}

#[test]
fn contradicting_commands_leave_a_consistent_container() {
    let s = Sandbox::new();
    for round in 0..10 {
        let id = s.detached(&["--name", "c1"], &["sleep", "600"]);
        let commands: Vec<_> = [
            &["stop", "-t", "0", "c1"][..],
            &["start", "c1"],
            &["kill", "c1"],
            &["restart", "-t", "0", "c1"],
            &["rm", "-f", "c1"],
            &["exec", "c1", "true"],
            &["inspect", "c1"],
            &["ps", "-a"],
        ]
        .into_iter()
        .map(|command| s.start(command))
        .collect();
        for command in commands {
            let out = command.wait_in(&s);
            assert!(!out.stderr.contains("panicked"), "round {round}: {out}");
        }
        s.tug(&["rm", "-f", "c1"]).code(0);
        assert_eq!(s.tug(&["ps", "-aq"]).ok(), "", "round {round}");
        assert!(!s.container_dirs().contains(&id), "round {round}");
    }
}
