//! Annotations, archives, several platforms, and what a Dockerfile says of itself.

use super::Project;
use serde_json::Value;
use tug_test::registry::Registry;
use tug_test::sandbox::Sandbox;

/// What skopeo, another implementation, reads.
fn skopeo(s: &Sandbox, words: &str) -> Value {
    let output = s.shell(&format!("skopeo {words}"));
    serde_json::from_str(output.ok()).unwrap_or_else(|error| panic!("{error}: {output}"))
}

fn has_skopeo() -> bool {
    let found = std::process::Command::new("skopeo").arg("--version").output().is_ok();
    if !found {
        tug_test::skip::skip("skopeo is missing");
    }
    found
}

#[test]
fn an_archive_is_written_without_keeping_the_image() {
    let s = Sandbox::new();
    let p = Project::new(&s, "FROM busybox\nCOPY a /a\nCMD [\"cat\",\"/a\"]\n", &[("a", "1")]);
    let before = s.tug(&["images", "-aq"]).stdout.clone();
    for kind in ["docker", "oci"] {
        let path = s.path(&format!("{kind}.tar"));
        p.try_build(&s, &["-t", "kept:1", "-o", &format!("type={kind},dest={path}")]).ok();
        assert_eq!(s.tug(&["images", "-aq"]).stdout, before, "{kind}: nothing is kept");
        s.tug(&["load", "-i", &path]).shows("Loaded image: kept:1");
        assert_eq!(s.tug(&["run", "--rm", "kept:1"]).ok(), "1");
        s.tug(&["rmi", "kept:1"]).ok();
    }
    assert_eq!(
        s.shell(&format!("tar tf {} | grep -c manifest.json", s.path("oci.tar"))).stdout,
        "0\n"
    );
    let path = s.path("both.tar");
    p.try_build(&s, &["-t", "kept:2", "--load", "-o", &format!("type=oci,dest={path}")]).ok();
    assert_eq!(s.tug(&["run", "--rm", "kept:2"]).ok(), "1");
    if has_skopeo() {
        let read = skopeo(&s, &format!("inspect --config oci-archive:{path}"));
        assert_eq!(read["config"]["Cmd"][1], "/a");
    }
}

#[test]
fn annotations_are_on_the_manifest_here_and_in_the_registry() {
    let s = Sandbox::new();
    let Ok(Some(registry)) = Registry::start() else { return };
    let p = Project::new(&s, "FROM busybox\nRUN echo 1 > /f\n", &[]);
    let name = format!("{}/noted:1", registry.address());
    p.try_build(
        &s,
        &[
            "-t",
            &name,
            "--push",
            "--annotation",
            "org.example.by=tug",
            "--annotation",
            "manifest:k=a=b",
        ],
    )
    .ok();
    if has_skopeo() {
        let raw = skopeo(&s, &format!("inspect --raw --tls-verify=false docker://{name}"));
        assert_eq!(raw["annotations"]["org.example.by"], "tug");
        assert_eq!(raw["annotations"]["k"], "a=b");
        assert_eq!(raw["layers"][0]["mediaType"], "application/vnd.oci.image.layer.v1.tar+gzip");
    }
    // The same image without them: they are gone.
    p.try_build(&s, &["-t", &name, "--push"]).ok();
    if has_skopeo() {
        let raw = skopeo(&s, &format!("inspect --raw --tls-verify=false docker://{name}"));
        assert!(raw.get("annotations").is_none(), "{raw}");
    }
    p.try_build(&s, &["--annotation", "index:a=b"])
        .code(1)
        .says("index annotations not supported for single platform export");
    p.try_build(&s, &["--annotation", "what:a=b"]).says("unknown annotation type \"what\"");
    p.try_build(&s, &["--annotation", "a"]).says("invalid annotation \"a\", expected key=value");
}

#[test]
fn commands_of_a_platform_nothing_runs_are_refused_plainly() {
    let s = Sandbox::new();
    let p = Project::new(&s, "FROM scratch\nCOPY a /a\nLABEL x=1\n", &[("a", "1")]);
    p.try_build(&s, &["-t", "far", "--platform", "linux/s390x"]).ok();
    assert_eq!(s.inspect("far")["Architecture"], "s390x");
    if s.shell("ls /proc/sys/fs/binfmt_misc | grep -q s390x").code == 0 {
        return tug_test::skip::skip("an emulator of s390x is registered");
    }
    p.write("Dockerfile", "FROM scratch\nCOPY a /a\nRUN [\"/a\"]\n");
    p.try_build(&s, &["--platform", "linux/s390x"])
        .code(1)
        .says("cannot run commands of linux/s390x: no emulator for it is registered")
        .says("Dockerfile:3")
        .hint("FROM --platform=$BUILDPLATFORM");
}

#[test]
fn several_platforms_make_an_index_kept_archived_and_pushed() {
    let s = Sandbox::new();
    let Ok(Some(registry)) = Registry::start() else { return };
    let p = Project::new(
        &s,
        "FROM --platform=$BUILDPLATFORM busybox AS make\nARG TARGETARCH\n\
         RUN echo built for $TARGETARCH > /out\n\
         FROM scratch\nARG TARGETPLATFORM\nLABEL for=$TARGETPLATFORM\nCOPY --from=make /out /out\nCOPY a /a\n",
        &[("a", "1")],
    );
    let both = ["--platform", "linux/amd64,linux/arm64"];
    let name = format!("{}/many:1", registry.address());
    let flags = [
        "-t",
        &name,
        "--push",
        "--annotation",
        "index:who=me",
        "--annotation",
        "manifest[linux/arm64]:far=1",
    ];
    p.try_build(&s, &[&both[..], &flags[..]].concat()).ok();
    for (platform, arch) in [("linux/amd64", "amd64"), ("linux/arm64", "arm64")] {
        let format = "{{.Architecture}} {{json .Config.Labels}}";
        let seen = s.tug(&["image", "inspect", "--platform", platform, "-f", format, &name]);
        assert_eq!(seen.ok(), format!("{arch} {{\"for\":\"{platform}\"}}"));
    }
    if has_skopeo() {
        let raw = skopeo(&s, &format!("inspect --raw --tls-verify=false docker://{name}"));
        assert_eq!(raw["annotations"]["who"], "me");
        let platforms: Vec<_> = raw["manifests"]
            .as_array()
            .unwrap()
            .iter()
            .map(|m| m["platform"]["architecture"].clone())
            .collect();
        assert_eq!(platforms, ["amd64", "arm64"]);
        let far = raw["manifests"][1]["digest"].as_str().unwrap();
        let repository = name.trim_end_matches(":1");
        let far =
            skopeo(&s, &format!("inspect --raw --tls-verify=false docker://{repository}@{far}"));
        assert_eq!(far["annotations"]["far"], "1");
        // Another reader takes all of it.
        let copied = s.path("copied");
        s.shell(&format!(
            "skopeo copy -q --all --src-tls-verify=false docker://{name} dir:{copied}"
        ))
        .ok();
    }
    // As archive and as files.
    let archive = s.path("many.tar");
    let kept = s.tug(&["images", "-aq"]).lines().len();
    p.try_build(
        &s,
        &[&both[..], &["-t", "m:1", "-o", &format!("type=oci,dest={archive}")]].concat(),
    )
    .ok();
    assert_eq!(s.tug(&["images", "-aq"]).lines().len(), kept);
    if has_skopeo() {
        let raw = skopeo(&s, &format!("inspect --raw oci-archive:{archive}"));
        assert_eq!(raw["manifests"].as_array().map(Vec::len), Some(2), "{raw}");
    }
    let dir = s.path("files");
    p.try_build(&s, &[&both[..], &["-o", &dir]].concat()).ok();
    assert_eq!(
        s.shell(&format!("cat {dir}/linux_arm64/out {dir}/linux_amd64/out")).lines(),
        ["built for arm64", "built for amd64"]
    );
    p.try_build(&s, &[&both[..], &["-o", &format!("type=docker,dest={archive}")]].concat())
        .code(1)
        .says("the docker output of several platforms is not supported");
}

#[test]
fn a_foreign_base_lies_beside_ones_own() {
    let s = Sandbox::new();
    let Ok(Some(registry)) = Registry::start() else { return };
    let name = format!("{}/base:1", registry.address());
    let both = ["--platform", "linux/amd64,linux/arm64"];
    let p = Project::new(
        &s,
        "FROM busybox AS amd64\nFROM scratch AS arm64\nCOPY a /only-far\nFROM $TARGETARCH\n",
        &[("a", "1")],
    );
    p.write("Dockerfile", "ARG TARGETARCH\nFROM --platform=linux/amd64 busybox AS amd64\nFROM scratch AS arm64\nCOPY a /only-far\nFROM $TARGETARCH\n");
    p.try_build(&s, &[&both[..], &["-t", &name, "--push"]].concat()).ok();
    let user = Project::new(&s, &format!("FROM {name}\nCOPY b /b\n"), &[("b", "2")]);
    let (first, second) = (s.path("data"), s.path("second"));
    let mut other = s;
    other.set_env("TUG_DATA_ROOT", &second);
    other.tug(&["pull", &name]).ok();
    let output = user.try_build(&other, &[&both[..], &["-t", "app"]].concat());
    output.ok();
    assert_eq!(other.tug(&["run", "--rm", &name, "echo", "own"]).ok(), "own", "the name stayed");
    let dir = other.path("files");
    user.try_build(&other, &["--platform", "linux/arm64", "-o", &dir]).ok();
    assert_eq!(other.shell(&format!("ls {dir}")).lines(), ["b", "only-far"]);
    // What is left behind is looked for in the first one.
    other.tug(&["system", "reset", "-f"]);
    other.set_env("TUG_DATA_ROOT", &first);
}

#[test]
fn a_dockerfile_is_asked_for_its_targets_and_arguments() {
    let s = Sandbox::new();
    let p = Project::new(
        &s,
        "ARG V=1\n# build compiles\nFROM busybox AS build\n# LEVEL of noise\nARG LEVEL=3\nARG V\n\
         RUN --mount=type=secret,id=key,required=true true\nFROM build\n",
        &[],
    );
    let targets = p.try_build(&s, &["--call", "targets"]);
    assert_eq!(
        targets.ok().lines().map(str::trim_end).collect::<Vec<_>>(),
        ["TARGET    DESCRIPTION", "build     compiles", "(default)"]
    );
    let outline = p.try_build(&s, &["--call", "outline", "--target", "build"]);
    outline.shows("TARGET:      build\nDESCRIPTION: compiles\n\nBUILD ARG   VALUE   DESCRIPTION\nV           1       \nLEVEL       3       of noise\n");
    outline.shows("SECRET   REQUIRED\nkey      true\n");
    let json = p.try_build(&s, &["--call", "outline,format=json", "--build-arg", "LEVEL=9"]);
    let json: Value = serde_json::from_str(json.ok()).unwrap();
    assert_eq!(json["args"][1]["value"], "9");
    p.try_build(&s, &["--call", "check"]).shows("no warnings found");
    p.try_build(&s, &["--call", "what"]).says("--call what is not supported by tug");
    assert_eq!(s.tug(&["images", "-q"]).lines().len(), 1, "nothing was built");
}

#[test]
fn attestations_can_be_turned_off_and_nothing_else() {
    let s = Sandbox::new();
    let p = Project::new(&s, "FROM scratch\nLABEL a=b\n", &[]);
    p.try_build(&s, &["--provenance=false", "--sbom=false", "--attest", "type=sbom,disabled=true"])
        .ok();
    for flag in ["--provenance=true", "--provenance=mode=max", "--sbom=true", "--attest=type=sbom"]
    {
        p.try_build(&s, &[flag]).says("tug writes no attestations").hint("--provenance=false");
    }
    p.try_build(&s, &["--attest", "mode=max"]).says("attestation type not specified");
}
