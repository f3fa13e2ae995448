//! `RUN --mount`, `--network` and `--security`.

use super::{Project, in_app};
use tug_test::sandbox::Sandbox;

#[test]
fn caches_outlive_builds_and_are_in_no_layer() {
    let s = Sandbox::new();
    let p = Project::new(
        &s,
        "FROM busybox\nARG N\nRUN --mount=type=cache,target=/c,mode=0700,uid=7 echo $N >> /c/f; cat /c/f > /seen; stat -c '%a %u' /c >> /seen\n",
        &[],
    );
    p.build(&s, &["--build-arg", "N=1"]);
    p.build(&s, &["--build-arg", "N=2"]);
    assert_eq!(in_app(&s, "cat /seen; ls -d /c 2>&1 | wc -l"), "1\n2\n700 7\n1");
    assert_eq!(in_app(&s, "ls /c 2>/dev/null | wc -l"), "0");
}

#[test]
fn binds_show_the_context_and_stages_and_keep_nothing() {
    let s = Sandbox::new();
    let p = Project::new(
        &s,
        concat!(
            "FROM busybox AS other\nRUN mkdir /d && echo stage > /d/f\n",
            "FROM busybox\n",
            "RUN --mount=type=bind,target=/ctx cat /ctx/sub/f > /one; touch /ctx/x 2>/dev/null || echo read-only >> /one\n",
            "RUN --mount=source=sub/f,target=/file cat /file > /two\n",
            "RUN --mount=from=other,source=/d,target=/d,rw cat /d/f > /three && echo more > /d/g\n",
            "RUN ls /ctx /file /d 2>&1 | wc -l > /gone\n",
            "WORKDIR /w\nRUN --mount=target=here,source=sub cat here/f > /four\n",
        ),
        &[("sub/f", "context\n"), ("ignored", "x"), (".dockerignore", "ignored\n")],
    );
    p.build(&s, &[]);
    assert_eq!(
        in_app(&s, "cat /one /two /three /four"),
        "context\nread-only\ncontext\nstage\ncontext"
    );
    assert_eq!(in_app(&s, "ls / | grep -cE '^(ctx|file|d)$' || true"), "0");
}

#[test]
fn tmpfs_has_its_size() {
    let s = Sandbox::new();
    let p = Project::new(
        &s,
        "FROM busybox\nRUN --mount=type=tmpfs,target=/t,size=1048576 df -k /t | tail -1 | awk '{print $2}' > /size; echo x > /t/f\n",
        &[],
    );
    p.build(&s, &[]);
    assert_eq!(in_app(&s, "cat /size"), "1024");
}

#[test]
fn secrets_are_seen_by_the_step_and_by_nothing_else() {
    let s = Sandbox::new();
    let secret = "correct-horse-battery-staple";
    std::fs::write(s.dir().join("secret"), secret).unwrap();
    let file = s.path("secret");
    let p = Project::new(
        &s,
        concat!(
            "FROM busybox\n",
            "RUN --mount=type=secret,id=s wc -c < /run/secrets/s > /a; stat -c '%a %u' /run/secrets/s >> /a\n",
            "RUN --mount=type=secret,id=s,env=TOKEN printf '%s' \"$TOKEN\" | wc -c > /b\n",
            "RUN --mount=type=secret,id=s,target=/x/y,mode=0444,uid=5 stat -c '%a %u' /x/y > /c\n",
            "RUN --mount=type=secret,id=missing ls /run/secrets/missing 2>&1 | wc -l > /d\n",
        ),
        &[],
    );
    p.build(&s, &["--secret", &format!("id=s,src={file}")]);
    assert_eq!(in_app(&s, "cat /a /b /c"), "28\n400 0\n28\n444 5");
    assert_eq!(
        in_app(&s, "ls -d /x /run 2>/dev/null | wc -l"),
        "0",
        "nothing is left of the mounts"
    );
    let found = s.shell(&format!(
        "grep -rlF {secret} {} {} | wc -l",
        s.data_root().display(),
        s.exec_root().display()
    ));
    assert_eq!(found.ok(), "0");
    let needed =
        Project::new(&s, "FROM busybox\nRUN --mount=type=secret,id=s,required true\n", &[]);
    needed.try_build(&s, &[]).code(1).says("secret s: not found").hint("--secret id=s");
}

#[test]
fn an_agent_is_reached_through_its_socket() {
    let s = Sandbox::new();
    let socket = s.path("agent");
    let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    let p = Project::new(
        &s,
        "FROM busybox\nRUN --mount=type=ssh test -S \"$SSH_AUTH_SOCK\" && echo $SSH_AUTH_SOCK > /seen\n",
        &[],
    );
    p.build(&s, &["--ssh", &format!("default={socket}")]);
    assert_eq!(
        in_app(&s, "cat /seen; ls /run 2>/dev/null | wc -l"),
        "/run/buildkit/ssh_agent.0\n0"
    );
}

#[test]
fn networks_and_rights_are_what_was_asked_for() {
    let s = Sandbox::new();
    let p = Project::new(
        &s,
        "FROM busybox\nRUN ip -o link | wc -l > /default\nRUN --network=none ip -o link | wc -l > /none\n",
        &[],
    );
    p.build(&s, &[]);
    assert_eq!(in_app(&s, "cat /default /none"), "2\n1");
    let host = Project::new(&s, "FROM busybox\nRUN --network=host true\n", &[]);
    host.try_build(&s, &[])
        .code(1)
        .says("network.host is not allowed")
        .hint("--allow network.host");
    host.build(&s, &["--allow", "network.host"]);
    let rights = Project::new(
        &s,
        "FROM busybox\nRUN mount -t tmpfs x /mnt 2>/dev/null || echo no > /refused\n",
        &[],
    );
    rights.build(&s, &[]);
    assert_eq!(in_app(&s, "cat /refused"), "no");
    let hosts = Project::new(
        &s,
        "FROM busybox\nRUN grep name /etc/hosts > /seen; ulimit -n >> /seen\n",
        &[],
    );
    hosts.build(&s, &["--add-host", "name:10.1.2.3", "--ulimit", "nofile=77:77"]);
    assert_eq!(in_app(&s, "cat /seen"), "10.1.2.3\tname\n77");
}
