//! rmi, prune, system df, history and templates: what goes, what stays, and what is told of it.

use tug_test::layer::Meta;
use tug_test::sandbox::Sandbox;
use tug_test::skip::skip;

/// An image of one small layer of its own.
fn image(s: &Sandbox, name: &str, label: &str) {
    let config = serde_json::json!({"Cmd": ["sh"], "Labels": {"kind": label}});
    s.image(name, &config, |tar| tar.file("own", Meta::mode(0o644), name.repeat(1000).as_bytes()));
}

fn names(s: &Sandbox) -> String {
    let list = s.tug(&["images", "--format", "{{.Repository}}:{{.Tag}}"]);
    let mut names: Vec<&str> = list.lines();
    names.sort_unstable();
    names.join(" ")
}

#[test]
fn a_forced_removal_leaves_a_running_containers_image() {
    let s = Sandbox::new();
    let id = s.tug(&["images", "-q", "--no-trunc"]).ok().to_owned();
    let container = s.detached(&["--name", "c1"], &["sleep", "60"]);
    let short = &container[..12];
    s.tug(&["rmi", "busybox"]).refused(
        1,
        &format!(
            "conflict: unable to remove repository reference \"busybox\" (must force) - container {short} is using its referenced image {}",
            &id[7..19]
        ),
    );
    s.tug(&["rmi", "-f", &id]).refused(
        1,
        &format!(
            "conflict: unable to delete {} (cannot be forced) - image is being used by running container {short}",
            &id[7..19]
        ),
    );
    let forced = s.tug(&["rmi", "-f", "busybox"]);
    assert_eq!(forced.ok(), "Untagged: busybox:latest");
    assert_eq!(names(&s), "<none>:<none>", "it is there without a name");
    s.tug(&["rm", "-f", "c1"]).ok();
    s.tug(&["image", "prune", "-f"]).shows(&format!("deleted: {id}"));
    assert_eq!(names(&s), "");
}

#[test]
fn several_removals_go_on_after_a_failure() {
    let s = Sandbox::new();
    image(&s, "one:1", "x");
    let removed = s.tug(&["rmi", "nothing", "one:1", "neither"]);
    removed.code(1).says("nothing:latest").says("neither:latest");
    assert!(removed.stdout.starts_with("Untagged: one:1\nDeleted: "), "{removed}");
    assert_eq!(names(&s), "busybox:latest");
    s.tug(&["image", "rm", "--platform", "linux/s390x", "busybox"]).code(1).says("linux/s390x");
    s.tug(&["image", "inspect", "--platform", "linux/s390x", "busybox"])
        .code(1)
        .says("does not provide the specified platform (linux/s390x)");
    s.tug(&["image", "inspect", "--platform", "linux/amd64", "busybox"]).ok();
}

#[test]
fn image_prune_takes_what_nobody_uses() {
    let s = Sandbox::new();
    image(&s, "used:1", "x");
    image(&s, "free:1", "x");
    image(&s, "other:1", "y");
    image(&s, "moved:1", "z");
    s.tug(&["tag", "busybox", "moved:1"]).ok();
    s.tug(&["create", "--name", "c1", "used:1", "true"]).ok();
    let asked = s.tug_with(&["image", "prune"], b"n\n");
    assert_eq!(
        asked.ok(),
        "WARNING! This will remove all dangling images.\nAre you sure you want to continue? [y/N] "
    );
    let dangling = s.tug_with(&["image", "prune"], b"y\n");
    dangling.shows("Deleted Images:").shows("deleted: sha256:").shows("Total reclaimed space: ");
    assert_eq!(names(&s), "busybox:latest free:1 moved:1 other:1 used:1");
    s.tug(&["image", "prune", "-af", "--filter", "label=kind=x"]).shows("untagged: free:1");
    assert_eq!(names(&s), "busybox:latest moved:1 other:1 used:1");
    s.tug(&["image", "prune", "-af", "--filter", "until=2000-01-01"]).ok();
    assert_eq!(names(&s), "busybox:latest moved:1 other:1 used:1");
    s.tug(&["image", "prune", "-f", "--filter", "foo=bar"]).code(1).says("foo");
    s.tug(&["image", "prune", "-af"]).shows("untagged: other:1");
    assert_eq!(names(&s), "used:1");
    s.tug(&["start", "-a", "c1"]).ok();
    let again = s.tug(&["image", "prune", "-af"]);
    assert_eq!(again.ok(), "Total reclaimed space: 0B");
}

#[test]
fn containers_and_volumes_are_pruned() {
    let s = Sandbox::new();
    s.tug(&[
        "run",
        "--name",
        "done",
        "-l",
        "a=1",
        "busybox",
        "sh",
        "-c",
        "head -c 5000 /dev/zero > /f",
    ])
    .ok();
    s.tug(&["create", "--name", "new", "-v", "/data", "busybox"]).ok();
    let up = s.detached(&["--name", "up", "-v", "kept:/k"], &["sleep", "60"]);
    s.tug(&["volume", "create", "named"]).ok();
    s.tug(&["container", "prune", "-f", "--filter", "until=1h"]).ok();
    let some = s.tug(&["container", "prune", "-f", "--filter", "label=a"]);
    some.shows("Deleted Containers:").shows("Total reclaimed space: 5kB");
    s.tug(&["container", "prune", "-f"]).ok();
    assert_eq!(s.tug(&["ps", "-aq", "--no-trunc"]).ok(), up);
    let anonymous = s.tug(&["volume", "prune", "-f"]);
    assert_eq!(anonymous.lines().len(), 4, "{anonymous}");
    let named = s.tug(&["volume", "prune", "-af"]);
    assert!(named.ok().starts_with("Deleted Volumes:\nnamed\n\nTotal"), "{named}");
    assert_eq!(s.tug(&["volume", "ls", "-q"]).ok(), "kept");
}

#[test]
fn system_prune_takes_everything_at_once() {
    let s = Sandbox::new();
    image(&s, "free:1", "x");
    s.tug(&["run", "--name", "done", "-v", "/data", "busybox", "true"]).ok();
    s.tug(&["system", "prune", "-f", "--volumes", "--filter", "until=1h"])
        .refused(1, "The \"until\" filter is not supported with \"--volumes\"");
    let pruned = s.tug(&["system", "prune", "-af", "--volumes"]);
    pruned
        .shows("Deleted Containers:")
        .shows("Deleted Volumes:")
        .shows("Deleted Images:")
        .shows("untagged: free:1")
        .shows("untagged: busybox:latest");
    let left = |dir: &str| {
        std::fs::read_dir(s.data_root().join(dir)).map_or(0, |entries| entries.flatten().count())
    };
    assert_eq!((left("layers"), left("containers"), left("volumes")), (0, 0, 0));
    let df = s.tug(&["system", "df", "--format", "{{.Type}} {{.TotalCount}} {{.Size}}"]);
    assert_eq!(df.ok(), "Images 0 0B\nContainers 0 0B\nLocal Volumes 0 0B\nBuild Cache 0 0B");
}

#[test]
fn df_counts_shared_layers_once() {
    let s = Sandbox::new();
    s.tug(&["tag", "busybox", "again:1"]).ok();
    s.tug(&["run", "--name", "c1", "busybox", "sh", "-c", "head -c 5000 /dev/zero > /f"]).ok();
    let size = s.tug(&["image", "inspect", "-f", "{{.Size}}", "busybox"]).ok().to_owned();
    let rows = s.tug(&[
        "system",
        "df",
        "--format",
        "{{.Type}}|{{.TotalCount}}|{{.Active}}|{{.Reclaimable}}",
    ]);
    assert_eq!(
        rows.ok(),
        "Images|1|1|0B (0%)\nContainers|1|0|5kB (100%)\nLocal Volumes|0|0|0B\nBuild Cache|0|0|0B"
    );
    let layers = s.shell(
        "find data/layers/*/fs -type f -links 1 -printf '%s\\n' | awk '{s+=$1} END {print s+0}'",
    );
    let (told, there): (u64, u64) =
        (size.parse().unwrap_or(0), layers.ok().parse().unwrap_or(u64::MAX));
    assert!(told >= there && told > 0, "{told} told, {there} in files with one link");
    let long = s.tug(&["system", "df", "-v"]);
    long.shows("Images space usage:").shows("again").shows("UNIQUE SIZE").shows("c1");
    let json = s.tug(&["system", "df", "-v", "--format", "json"]);
    let json: serde_json::Value = serde_json::from_str(json.ok()).unwrap_or_default();
    assert_eq!(json["Images"].as_array().map(Vec::len), Some(1), "one row, for all of its names");
    assert_eq!(json["Containers"][0]["Names"], "c1");
}

#[test]
fn what_builds_remember_is_told_and_what_images_share_is_kept_without_all() {
    let s = Sandbox::new();
    std::fs::write(s.dir().join("Dockerfile"), "FROM busybox\nRUN echo x > /x\n").unwrap();
    let build = || s.tug(&["build", "--progress=plain", "-t", "built:1", "."]);
    build().code(0);
    assert!(!s.tug(&["system", "prune", "-f"]).ok().contains("build cache"));
    build().says("CACHED");
    s.tug(&["rmi", "built:1"]).ok();
    s.tug(&["system", "prune", "-f", "--filter", "until=1h"]).ok();
    build().says("CACHED");
    s.tug(&["rmi", "built:1"]).ok();
    let told = s.tug(&["system", "prune", "-f"]);
    assert!(told.shows("Deleted build cache objects:\n").lines().len() >= 3, "{told}");
    assert!(!build().stderr.contains("CACHED"));
}

/// Sizes as `df` has them: containers', volumes'.
fn counted(s: &Sandbox) -> (String, String) {
    let df = s.tug(&["system", "df", "--format", "{{.Size}}"]);
    let lines = df.lines();
    (lines[1].to_owned(), lines[2].to_owned())
}

#[test]
fn df_counts_what_rests_once() {
    let s = Sandbox::new();
    let fill = "mkdir -p /tmp/d /data/d; for i in $(seq 2000); do echo x > /tmp/d/$i; done; cp -r /tmp/d /data/";
    s.tug(&["run", "--name", "filler", "-v", "big:/data", "busybox", "sh", "-c", fill]).ok();
    let four = || ("4kB".to_owned(), "4kB".to_owned());
    assert_eq!(counted(&s), four());
    // From the figures now. Deep inside, the host's own changes are not seen.
    std::fs::write(s.data_root().join("volumes/big/_data/d/more"), [0; 5000]).unwrap();
    assert_eq!(counted(&s), four());
    if std::path::Path::new("/usr/bin/strace").exists() {
        let calls = s.shell(
            "strace -f -e trace=getdents64,newfstatat,statx,lstat,stat -o calls \
             $TUG system df -v > /dev/null; wc -l < calls",
        );
        let calls: usize = calls.ok().parse().unwrap_or(usize::MAX);
        assert!(calls < 100, "{calls} looks at files");
    } else {
        skip("strace is missing (apt-get install strace)");
    }
    // On top it is, and so is all a container may have done.
    std::fs::write(s.data_root().join("volumes/big/_data/top"), [0; 1000]).unwrap();
    assert_eq!(counted(&s), ("4kB".to_owned(), "10kB".to_owned()));
    s.tug(&["run", "--rm", "-v", "big:/data", "busybox", "rm", "-r", "/data/d/more"]).ok();
    assert_eq!(counted(&s), ("4kB".to_owned(), "5kB".to_owned()));
    s.tug(&["start", "-a", "filler"]).ok();
    s.tug(&["rm", "filler"]).ok();
    assert_eq!(counted(&s), ("0B".to_owned(), "5kB".to_owned()));
    s.tug(&["volume", "rm", "big"]).ok();
    assert_eq!(counted(&s), ("0B".to_owned(), "0B".to_owned()));
}

#[test]
fn df_counts_what_runs_each_time_or_says_from_when_its_figure_is() {
    let s = Sandbox::new();
    let id = s.detached(&["-v", "live:/data"], &["sh", "-c", "sleep 1000"]);
    assert_eq!(counted(&s), ("0B".to_owned(), "0B".to_owned()));
    let exec = |script: &str| s.tug(&["exec", &id, "sh", "-c", script]).ok().to_owned();
    exec("echo abc > /data/f; echo abcdefg > /f");
    assert_eq!(counted(&s), ("8B".to_owned(), "4B".to_owned()));
    // More than can be counted in the time there is.
    exec(
        "mkdir -p /data/many; cd /data/many; for i in $(seq 40000); do : > $i; done; echo abc > last",
    );
    let late = s.tug(&["system", "df"]);
    late.says("WARNING: some containers that run have too many files").says("being counted anew");
    assert_eq!(late.lines()[3].split_whitespace().nth(4), Some("4B"));
    let patience = std::time::Instant::now();
    while counted(&s).1 != "8B" {
        assert!(patience.elapsed().as_secs() < 20, "{:?}", counted(&s));
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    s.tug(&["rm", "-f", &id]).ok();
    let after = s.tug(&["system", "df"]);
    assert!(!after.ok().is_empty() && after.stderr.is_empty(), "{after}");
}

#[test]
fn history_tells_the_steps() {
    let s = Sandbox::new();
    let id = s.tug(&["images", "-q"]).ok().to_owned();
    let table = s.tug(&["history", "busybox"]);
    assert!(table.lines()[0].starts_with("IMAGE          CREATED"), "{table}");
    assert!(table.lines()[1].starts_with(&id), "{table}");
    let sizes = s.tug(&["image", "history", "-H=false", "--format", "{{.Size}}", "busybox"]);
    let sum: u64 = sizes.lines().iter().filter_map(|line| line.parse::<u64>().ok()).sum();
    let size = s.tug(&["inspect", "-f", "{{.Size}}", "busybox"]);
    assert_eq!(sum.to_string(), size.ok());
    s.tug(&["history", "nothing"]).refused(1, "No such image: nothing:latest");
    s.tug(&["history", "--format", "{{.Foo}}", "busybox"]).code(1).says(
        "template parsing error: template: :1:2: executing \"\" at <.Foo>: can't evaluate field Foo in type *image.historyContext",
    );
}

#[test]
fn image_inspect_has_dockers_keys_in_dockers_order() {
    let s = Sandbox::new();
    let json = s.tug(&["image", "inspect", "busybox"]);
    let keys: Vec<&str> = json
        .ok()
        .lines()
        .filter_map(|line| line.strip_prefix("        \"")?.split_once('"'))
        .map(|(key, _)| key)
        .collect();
    assert_eq!(
        keys.join(" "),
        "Id RepoTags RepoDigests Parent Comment Created DockerVersion Author Architecture Os Size GraphDriver RootFS Metadata Config"
    );
    let both = s.tug(&["image", "inspect", "busybox", "nothing", "-f", "{{json .Config.Cmd}}"]);
    both.code(1).says("No such image: nothing");
    assert_eq!(both.stdout, "[\"sh\"]\n");
    s.tug(&["image", "inspect", "-f", "{{.Foo", "busybox"])
        .refused(64, "template parsing error: template: :1: unclosed action");
}

#[test]
fn called_docker_it_is_tug() {
    let s = Sandbox::new();
    s.shell(&format!("ln -s {} docker", tug_test::sandbox::binary().display())).ok();
    let listed = s.shell("./docker image ls -q");
    assert_eq!(listed.ok(), s.tug(&["images", "-q"]).ok());
    let typed = s.shell("./docker image prune --help").ok().to_owned();
    assert!(typed.contains("--filter filter"), "{typed}");
}

#[test]
fn a_shell_completes_commands_and_names() {
    let s = Sandbox::new();
    s.tug(&["create", "--name", "alpha", "busybox"]).ok();
    let up = s.detached(&["--name", "beta"], &["sleep", "60"]);
    let script = "source <(\"$TUG\" completion bash); tug() { :; }; \
        ask() { COMP_WORDS=(\"$TUG\" \"$@\"); COMP_CWORD=$#; _tug_complete; echo \"${COMPREPLY[*]}\" | tr '\\n' ' '; echo; }; \
        ask rmi busy; ask stop ''; ask start ''; ask image pr; ask volume cr; ask run --memory-sw";
    let asked = s.shell(&format!(
        "TUG={} bash -c '{}'",
        tug_test::sandbox::binary().display(),
        script.replace('\'', "'\\''")
    ));
    let lines: Vec<&str> = asked.ok().lines().map(str::trim).collect();
    assert_eq!(
        lines,
        ["busybox:latest", "beta", "alpha", "prune", "create", "--memory-swap --memory-swappiness"],
        "{asked}"
    );
    s.tug(&["rm", "-f", &up]).ok();
    s.tug(&["completion", "tcsh"]).code(1).says("tcsh");
    for shell in ["zsh", "fish"] {
        s.tug(&["completion", shell]).shows("__complete");
    }
}
