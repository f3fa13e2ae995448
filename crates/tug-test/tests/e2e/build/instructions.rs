//! Every instruction: its effect on the image's configuration and on a container of it.

use super::{Project, config, in_app};
use serde_json::json;
use tug_test::sandbox::Sandbox;

#[test]
fn from_run_copy_and_cmd_make_an_image_that_runs() {
    let s = Sandbox::new();
    let p = Project::new(
        &s,
        "FROM busybox\nWORKDIR /app\nCOPY hello.txt .\nRUN cat hello.txt > /built\nCMD [\"cat\", \"/built\"]\n",
        &[("hello.txt", "hi\n")],
    );
    p.build(&s, &[]);
    assert_eq!(s.tug(&["run", "--rm", "app"]).ok(), "hi");
    let history = s.tug(&["image", "inspect", "--format", "{{len .RootFS.Layers}}", "app"]);
    assert_eq!(history.ok(), "4");
    // An image without a name is run by its id, long or short.
    let id = p.try_build(&s, &["-q"]).ok().to_owned();
    assert!(id.starts_with("sha256:"), "{id}");
    assert_eq!(s.tug(&["run", "--rm", &id[7..15]]).ok(), "hi");
    assert_eq!(s.tug(&["run", "--rm", &id[7..]]).ok(), "hi");
}

#[test]
fn entrypoint_and_cmd_as_in_the_seed() {
    let s = Sandbox::new();
    let p = Project::new(
        &s,
        "FROM busybox\nENTRYPOINT [\"/bin/echo\"]\nCMD [\"Hello, Docker!\"]\n",
        &[],
    );
    p.build(&s, &[]);
    assert_eq!(s.tug(&["run", "--rm", "app"]).ok(), "Hello, Docker!");
    assert_eq!(s.tug(&["run", "--rm", "app", "Hi, Docker!"]).ok(), "Hi, Docker!");
    let p = Project::new(&s, "FROM busybox\nCMD echo $HOME and more\n", &[]);
    p.build(&s, &[]);
    assert_eq!(config(&s, "app")["Cmd"], json!(["/bin/sh", "-c", "echo $HOME and more"]));
    assert_eq!(s.tug(&["run", "--rm", "app"]).ok(), "/root and more");
}

#[test]
fn what_only_configures_is_in_the_configuration_and_works() {
    let s = Sandbox::new();
    let p = Project::new(
        &s,
        concat!(
            "FROM busybox\n",
            "MAINTAINER somebody\n",
            "LABEL one=1 \"two words\"=\"2 2\"\n",
            "ENV A=b C=\"d e\"\nENV F=$A\n",
            "ARG G=h\n",
            "RUN echo $A $C $F $G > /seen\n",
            "EXPOSE 80 53/udp 8000-8001\n",
            "VOLUME /data\n",
            "USER 1000:1001\n",
            "STOPSIGNAL SIGQUIT\n",
            "SHELL [\"/bin/sh\", \"-ec\"]\n",
            "HEALTHCHECK --interval=30s --timeout=3s --retries=2 CMD true\n",
            "ONBUILD RUN echo triggered > /tmp/trigger\n",
            "CMD id -u\n",
        ),
        &[],
    );
    p.build(&s, &[]);
    let config = config(&s, "app");
    assert_eq!(config["Labels"], json!({"one": "1", "two words": "2 2"}));
    let env = config["Env"].as_array().unwrap();
    assert!(env.contains(&json!("A=b")) && env.contains(&json!("C=d e")), "{env:?}");
    assert!(env.contains(&json!("F=b")) && !env.iter().any(|v| v == "G=h"), "{env:?}");
    let ports = json!({"53/udp": {}, "80/tcp": {}, "8000/tcp": {}, "8001/tcp": {}});
    assert_eq!(config["ExposedPorts"], ports);
    assert_eq!(config["Volumes"], json!({"/data": {}}));
    assert_eq!(config["User"], "1000:1001");
    assert_eq!(config["StopSignal"], "SIGQUIT");
    assert_eq!(config["Shell"], json!(["/bin/sh", "-ec"]));
    assert_eq!(config["Healthcheck"]["Test"], json!(["CMD-SHELL", "true"]));
    assert_eq!(config["Healthcheck"]["Interval"], 30_000_000_000_i64);
    assert_eq!(config["OnBuild"], json!(["RUN echo triggered > /tmp/trigger"]));
    assert_eq!(config["Cmd"], json!(["/bin/sh", "-ec", "id -u"]));
    assert_eq!(s.inspect("app")["Author"], "somebody");
    assert_eq!(s.tug(&["run", "--rm", "app"]).ok(), "1000");
    assert_eq!(in_app(&s, "cat /seen"), "b d e b h");

    s.tug(&["tag", "app", "base"]).ok();
    Project::new(&s, "FROM base\nCMD cat /tmp/trigger\n", &[]).build(&s, &[]);
    assert_eq!(in_app(&s, "cat /tmp/trigger"), "triggered");
    assert!(super::config(&s, "app")["OnBuild"].is_null(), "triggers fire once");
}

#[test]
fn workdir_is_made_and_counts_for_what_follows() {
    let s = Sandbox::new();
    let p = Project::new(
        &s,
        "FROM busybox\nWORKDIR /a\nWORKDIR b/../c\nRUN pwd > /where\nCOPY f .\nCOPY f ./sub/\nUSER tester\nWORKDIR /mine\n",
        &[("f", "x")],
    );
    p.build(&s, &[]);
    let seen = in_app(&s, "cat /where; ls /a/c /a/c/sub; stat -c %u:%g /mine");
    assert_eq!(seen, "/a/c\n/a/c:\nf\nsub\n\n/a/c/sub:\nf\n1000:1001");
    assert_eq!(config(&s, "app")["WorkingDir"], "/mine");
}

#[test]
fn copy_has_owners_modes_globs_links_and_here_documents() {
    let s = Sandbox::new();
    let p = Project::new(
        &s,
        concat!(
            "FROM busybox\n",
            "COPY --chown=tester:testers --chmod=640 src/a.txt /owned\n",
            "COPY --chmod=u=rwX,go=rX src /modes\n",
            "COPY src/*.txt /glob/\n",
            "COPY --exclude=**/*.txt src /without/\n",
            "COPY --parents src/deep/c.md /with/\n",
            "COPY link /followed\n",
            "COPY --link src/a.txt /linked/\n",
            "COPY src /etc/\n",
            "COPY <<one <<\"two\" /here/\nit is $HOME\none\nraw $HOME\ntwo\n",
        ),
        &[("src/a.txt", "a"), ("src/b.txt", "b"), ("src/deep/c.md", "c")],
    );
    std::os::unix::fs::symlink("src/a.txt", p.dir.join("link")).unwrap();
    p.build(&s, &["--build-arg", "X=1"]);
    assert_eq!(in_app(&s, "stat -c '%a %u:%g' /owned"), "640 1000:1001");
    assert_eq!(in_app(&s, "cd /glob && ls"), "a.txt\nb.txt");
    assert_eq!(in_app(&s, "cd /without && find . -type f"), "./deep/c.md");
    assert_eq!(in_app(&s, "cat /with/src/deep/c.md"), "c");
    assert_eq!(in_app(&s, "stat -c %F /followed && cat /linked/a.txt"), "regular file\na");
    assert_eq!(in_app(&s, "ls /etc/deep /etc/passwd"), "/etc/passwd\n\n/etc/deep:\nc.md");
    assert_eq!(in_app(&s, "cat /here/one /here/two"), "it is \nraw $HOME");
    assert_eq!(in_app(&s, "stat -c %a /modes /modes/a.txt"), "755\n644");
}

#[test]
fn add_unpacks_archives_and_copy_does_not() {
    let s = Sandbox::new();
    let p = Project::new(
        &s,
        "FROM busybox\nADD a.tar.gz /added/\nCOPY a.tar.gz /copied/\nADD --unpack=false a.tar.gz /whole/\nADD --chown=5:6 a.tar.gz /owned/\n",
        &[("in/f", "x")],
    );
    s.shell(&format!("tar -C {} -czf {}/a.tar.gz in", p.path(), p.path())).ok();
    p.build(&s, &[]);
    let seen = in_app(&s, "cat /added/in/f; echo; ls /copied /whole; stat -c %u:%g /owned/in/f");
    assert_eq!(seen, "x\n/copied:\na.tar.gz\n\n/whole:\na.tar.gz\n5:6");
}

#[test]
fn scratch_has_nothing_and_needs_nothing() {
    let s = Sandbox::new();
    let p = Project::new(
        &s,
        "FROM busybox AS tools\nFROM scratch\nCOPY --from=tools /bin/busybox /bin/sh\nRUN echo $PATH > /path\nCMD [\"/bin/sh\", \"-c\", \"echo *; read x < /path; echo $x\"]\n",
        &[],
    );
    p.build(&s, &[]);
    let path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    let seen = s.tug(&["run", "--rm", "app"]).ok().to_owned();
    assert_eq!(seen, format!("bin dev etc path proc sys\n{path}"));
    // The step's layer holds what it wrote and nothing of what was mounted for it.
    let layers = s.inspect("app")["RootFS"]["Layers"].clone();
    let top = layers.as_array().unwrap().last().unwrap().as_str().unwrap()[7..].to_owned();
    let tree = s.data_root().join("layers").join(top).join("fs");
    let names: Vec<_> = std::fs::read_dir(tree).unwrap().flatten().map(|e| e.file_name()).collect();
    assert_eq!(names, ["path"]);
}

#[test]
fn the_configuration_and_history_are_buildkits_to_the_byte() {
    let s = Sandbox::new();
    let p = Project::new(
        &s,
        "FROM scratch\nARG V=1\nCOPY f /\nLABEL a=b\nHEALTHCHECK NONE\nCMD [\"x\", \"<&>\"]\n",
        &[("f", "x")],
    );
    p.build(&s, &["--build-arg", "SOURCE_DATE_EPOCH=10", "--label", "c=d"]);
    let id = s.inspect("app")["Id"].as_str().unwrap()[7..].to_owned();
    let bytes = std::fs::read(s.data_root().join("blobs/sha256").join(id)).unwrap();
    let layer = s.inspect("app")["RootFS"]["Layers"][0].as_str().unwrap().to_owned();
    let step = |by: &str, empty: &str| {
        format!(
            "{{\"created\":\"1970-01-01T00:00:10Z\",\"created_by\":\"{by}\",\"comment\":\"buildkit.dockerfile.v0\"{empty}}}"
        )
    };
    let empty = ",\"empty_layer\":true";
    let history = [
        step("ARG V=1", empty),
        step("COPY f / # buildkit", ""),
        step("LABEL a=b", empty),
        step("HEALTHCHECK \\u0026{[\\\"NONE\\\"] \\\"0s\\\" \\\"0s\\\" \\\"0s\\\" \\\"0s\\\" '\\\\x00'}", empty),
        step("CMD [\\\"x\\\" \\\"\\u003c\\u0026\\u003e\\\"]", empty),
    ]
    .join(",");
    let expected = format!(
        "{{\"architecture\":\"amd64\",\"config\":{{\"Env\":[\"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\"],\"Cmd\":[\"x\",\"\\u003c\\u0026\\u003e\"],\"WorkingDir\":\"/\",\"Labels\":{{\"a\":\"b\",\"c\":\"d\"}},\"ArgsEscaped\":true,\"Healthcheck\":{{\"Test\":[\"NONE\"]}}}},\"created\":\"1970-01-01T00:00:10Z\",\"history\":[{history}],\"os\":\"linux\",\"rootfs\":{{\"type\":\"layers\",\"diff_ids\":[\"{layer}\"]}}}}"
    );
    assert_eq!(String::from_utf8_lossy(&bytes), expected);
    // Elsewhere, later, the same.
    let other = Sandbox::new();
    let again = Project::new(
        &other,
        &std::fs::read_to_string(p.dir.join("Dockerfile")).unwrap(),
        &[("f", "x")],
    );
    again.build(&other, &["--build-arg", "SOURCE_DATE_EPOCH=10", "--label", "c=d"]);
    assert_eq!(other.inspect("app")["Id"], s.inspect("app")["Id"]);
}

#[test]
fn archives_of_every_compression_are_added_imported_and_contexts() {
    let s = Sandbox::new();
    let dir = s.path("packed");
    let made = s.shell(&format!(
        "mkdir -p {dir}/tree/sub && cd {dir} && echo in > tree/sub/f && printf 'FROM busybox\\nCOPY sub/f /f\\n' > tree/Dockerfile \
         && tar cf a.tar -C tree . && xz -9k a.tar && bzip2 -k a.tar && gzip -k a.tar && zstd -q a.tar \
         && cat a.tar.xz a.tar.xz > /dev/null && head -c 100 a.tar.xz > cut.tar.xz \
         && xz --lzma2=preset=0,dict=512MiB -c a.tar > greedy.tar.xz && xz -dc greedy.tar.xz > /dev/null"
    ));
    made.ok();
    for end in ["tar", "tar.xz", "tar.bz2", "tar.gz", "tar.zst"] {
        let p = Project::new(&s, &format!("FROM busybox\nADD a.{end} /to/\n"), &[]);
        s.shell(&format!("cp {dir}/a.{end} {}", p.path())).ok();
        p.build(&s, &[]);
        assert_eq!(in_app(&s, "cat /to/sub/f"), "in", "{end}");
        s.shell(&format!("\"$TUG\" build -q -t app - < {dir}/a.{end}")).ok();
        assert_eq!(in_app(&s, "cat /f"), "in", "{end}");
        s.tug(&["import", &format!("{dir}/a.{end}"), "imported"]).ok();
        s.tug(&["rmi", "imported"]).ok();
    }
    s.tug(&["import", &format!("{dir}/cut.tar.xz"), "x"])
        .code(1)
        .says("ends in the middle of the xz stream");
    s.tug(&["import", &format!("{dir}/greedy.tar.xz"), "x"]).code(1).says("memory too big");
}
