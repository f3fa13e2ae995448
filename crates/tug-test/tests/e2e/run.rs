//! `tug run`: what a command gets, what comes back.

use tug_test::sandbox::Sandbox;
use tug_test::wait::until;

#[test]
fn output_goes_where_the_command_wrote_it() {
    let s = Sandbox::new();
    let run = s.sh(&[], "echo to-out; echo to-err >&2");
    assert_eq!(run.ok(), "to-out");
    assert_eq!(run.stderr, "to-err\n");
}

#[test]
fn the_exit_code_is_the_commands() {
    let s = Sandbox::new();
    for code in [0, 1, 42, 125, 255] {
        s.sh(&[], &format!("exit {code}")).code(code);
    }
    s.sh(&["--init"], "kill -9 $$").code(137);
    s.sh(&["--init"], "kill -TERM $$").code(143);
}

#[test]
fn input_reaches_the_command_only_when_asked_for() {
    let s = Sandbox::new();
    let with = s.tug_with(&["run", "--rm", "-i", "busybox", "cat"], b"hello\nworld");
    assert_eq!(with.ok(), "hello\nworld");
    let without = s.tug_with(&["run", "--rm", "busybox", "cat"], b"hello\n");
    assert_eq!(without.ok(), "");
}

#[test]
fn the_end_of_input_ends_the_commands_input() {
    let s = Sandbox::new();
    let run = s.tug_with(&["run", "--rm", "-i", "busybox", "wc", "-c"], &[b'x'; 100_000]);
    assert_eq!(run.ok().trim(), "100000");
}

#[test]
fn streams_are_eight_bit_clean_both_ways() {
    let s = Sandbox::new();
    let every: Vec<u8> = (0..=255u8).cycle().take(3 << 20).collect();
    let run = s.tug_with(&["run", "--rm", "-i", "busybox", "cat"], &every);
    run.code(0);
    assert!(run.bytes == every, "{} bytes of {} came back changed", run.bytes.len(), every.len());
}

#[test]
fn a_last_line_without_newline_arrives() {
    let s = Sandbox::new();
    for _ in 0..20 {
        let run = s.sh(&[], "printf 'no newline'");
        assert_eq!(run.code(0).stdout, "no newline");
    }
}

#[test]
fn detached_prints_the_id_and_lets_go_of_the_terminal() {
    let s = Sandbox::new();
    let id = s.detached(&["--name", "web"], &["sleep", "60"]);
    assert_eq!(s.format("web", "{{.Id}}"), id);
    assert_eq!(s.status("web"), "running");
}

#[test]
fn rm_removes_the_container_whatever_its_end() {
    let s = Sandbox::new();
    s.sh(&["--name", "gone"], "true").ok();
    s.sh(&["--name", "gone"], "exit 3").code(3);
    let id = s.detached(&["--rm", "--name", "gone"], &["sleep", "60"]);
    s.tug(&["kill", "gone"]).ok();
    until("the removal", || s.tug(&["ps", "-aq"]).ok().is_empty());
    until("the directories to go", || !s.container_dirs().contains(&id));
}

#[test]
fn without_rm_the_container_stays_with_its_exit_code() {
    let s = Sandbox::new();
    s.tug(&["run", "--name", "left", "busybox", "sh", "-c", "exit 7"]).code(7);
    assert_eq!(s.status("left"), "exited");
    assert_eq!(s.format("left", "{{.State.ExitCode}}"), "7");
    assert!(s.tug(&["ps", "-a"]).ok().contains("Exited (7)"));
}

#[test]
fn the_hostname_is_the_short_id_unless_given() {
    let s = Sandbox::new();
    let file = s.path("id");
    let name = s.sh(&["--cidfile", &file], "hostname");
    let id = std::fs::read_to_string(&file).unwrap_or_default();
    assert_eq!(id.len(), 64, "--cidfile holds the full id, no newline: {id:?}");
    assert_eq!(name.ok(), &id[..12]);
    assert_eq!(s.sh(&["--hostname", "box.example"], "hostname").ok(), "box.example");
    assert_eq!(s.sh(&["-h", "box"], "cat /etc/hostname").ok(), "box");
}

#[test]
fn a_cidfile_that_exists_is_refused() {
    let s = Sandbox::new();
    let file = s.path("id");
    assert!(std::fs::write(&file, "x").is_ok());
    let run = s.sh(&["--cidfile", &file], "true");
    run.code(125).says("container ID file found");
    assert_eq!(s.tug(&["ps", "-aq"]).ok(), "", "nothing was created");
}

#[test]
fn the_environment_is_the_images_with_ours_over_it() {
    let s = Sandbox::new();
    let mut plain =
        s.run(&["-h", "box"], &["env"]).lines().iter().map(ToString::to_string).collect::<Vec<_>>();
    plain.sort();
    assert_eq!(
        plain,
        [
            "HOME=/root",
            "HOSTNAME=box",
            "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        ]
    );
    let file = s.path("env");
    assert!(std::fs::write(&file, "# a comment\nA=from file\nB=b\n\nFROM_HOST\n").is_ok());
    let script = "echo \"$A|$B|$C|${FROM_HOST-unset}|${HOME}\"";
    let mut s = s;
    s.set_env("FROM_HOST", "the host's");
    let run =
        s.sh(&["--env-file", &file, "-e", "B=flag wins", "--env", "C", "-e", "HOME=/x"], script);
    assert_eq!(run.ok(), "from file|flag wins||the host's|/x");
}

#[test]
fn working_directories_are_made() {
    let s = Sandbox::new();
    assert_eq!(s.sh(&[], "pwd").ok(), "/");
    assert_eq!(s.sh(&["-w", "/tmp"], "pwd").ok(), "/tmp");
    let made = s.sh(&["--workdir", "/not/there/yet"], "pwd; stat -c '%U %a' .");
    assert_eq!(made.ok(), "/not/there/yet\nroot 755");
}

#[test]
fn users_and_groups_are_the_images() {
    let s = Sandbox::new();
    let id = |user: &str| s.sh(&["-u", user], "id; echo $HOME").ok().to_owned();
    assert_eq!(s.sh(&[], "id -u; id -g").ok(), "0\n0");
    assert_eq!(
        id("tester"),
        "uid=1000(tester) gid=1001(testers) groups=50(staff),1001(testers),2000(extra)\n/home"
    );
    assert_eq!(id("1000:33"), "uid=1000(tester) gid=33(www-data) groups=33(www-data)\n/home");
    assert_eq!(id("tester:staff"), "uid=1000(tester) gid=50(staff) groups=50(staff)\n/home");
    assert_eq!(id("4321"), "uid=4321 gid=0(root) groups=0(root)\n/");
    let added = s.sh(&["-u", "4321:5", "--group-add", "33", "--group-add", "extra"], "id");
    assert_eq!(added.ok(), "uid=4321 gid=5(tty) groups=5(tty),33(www-data),2000(extra)");
}

#[test]
fn commands_arguments_and_entrypoints_combine_as_in_docker() {
    let s = Sandbox::new();
    let config =
        serde_json::json!({"Entrypoint": ["echo", "entry"], "Cmd": ["cmd"], "Env": ["PATH=/bin"]});
    s.image("entry:1", &config, |_| Ok(()));
    let run = |arguments: &[&str]| s.tug(&[&["run", "--rm"], arguments].concat()).ok().to_owned();
    assert_eq!(run(&["entry:1"]), "entry cmd");
    assert_eq!(run(&["entry:1", "given"]), "entry given");
    assert_eq!(run(&["--entrypoint", "printf", "entry:1", "%s-", "a", "b"]), "a-b-");
    assert_eq!(run(&["--entrypoint", "", "entry:1", "echo", "bare"]), "bare");
    s.tug(&["run", "--rm", "--entrypoint", "", "entry:1"])
        .refused(125, "no command specified: image entry:1 has neither ENTRYPOINT nor CMD");
}

#[test]
fn flags_after_the_image_belong_to_the_command() {
    let s = Sandbox::new();
    let run = s.run(&[], &["echo", "--rm", "-it", "--", "--name=x"]);
    assert_eq!(run.ok(), "--rm -it -- --name=x");
}

#[test]
fn labels_and_annotated_fields_are_kept() {
    let s = Sandbox::new();
    let file = s.path("labels");
    assert!(std::fs::write(&file, "from.file=yes\n").is_ok());
    let id = s.tug(&[
        "create",
        "-l",
        "a=1",
        "--label",
        "b",
        "--label-file",
        &file,
        "--stop-signal",
        "USR1",
        "--stop-timeout",
        "7",
        "busybox",
    ]);
    let labels = s.format(id.ok(), "{{json .Config.Labels}}");
    assert_eq!(labels, r#"{"a":"1","b":"","from.file":"yes"}"#);
    assert_eq!(s.format(id.ok(), "{{.Config.StopSignal}} {{.Config.StopTimeout}}"), "USR1 7");
}

#[test]
fn programs_find_what_they_know_a_docker_container_by() {
    let s = Sandbox::new();
    let look = "ls -l /.dockerenv | cut -c1-10; readlink /etc/mtab; grep -c ' / overlay' /etc/mtab";
    assert_eq!(s.sh(&["--rm"], look).ok(), "-rwxr-xr-x\n/proc/mounts\n1");
    // It is nobody's: one may delete it, and the next container has it again.
    assert_eq!(s.sh(&["--rm"], "rm /.dockerenv /etc/mtab; ls -A / | grep -c docker").stdout, "0\n");
    assert_eq!(s.sh(&["--rm"], look).ok(), "-rwxr-xr-x\n/proc/mounts\n1");
}

#[test]
fn the_writable_layer_is_the_containers_own() {
    let s = Sandbox::new();
    s.tug(&["run", "--name", "one", "busybox", "sh", "-c", "echo mine > /file; rm -f /bin/vi"])
        .ok();
    s.sh(&[], "test ! -e /file && test -e /bin/vi").ok();
    s.tug(&["start", "-a", "one"]).ok();
    let changed = s.tug(&["run", "--name", "two", "busybox", "ls", "/file"]);
    changed.code(1);
}

#[test]
fn management_spelling_and_the_name_docker_work_too() {
    let s = Sandbox::new();
    let spelled = s.tug(&["container", "run", "--rm", "busybox", "echo", "long"]);
    assert_eq!(spelled.ok(), "long");
    let run = s.shell("ln -s $TUG ./docker && ./docker run --rm busybox echo as docker");
    assert_eq!(run.ok(), "as docker");
    s.shell("rm docker").ok();
}

#[test]
fn combined_short_flags_parse_as_docker_parses_them() {
    let s = Sandbox::new();
    let run = s.tug_with(
        &[
            "run",
            "--rm",
            "-ieA=1",
            "-w/tmp",
            "--init=false",
            "busybox",
            "sh",
            "-c",
            "echo $A; pwd; cat",
        ],
        b"in",
    );
    assert_eq!(run.ok(), "1\n/tmp\nin");
}
