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
        .says("docker exporter does not support exporting manifest lists, use the oci exporter instead");
    let tar = s.path("many-files.tar");
    p.try_build(&s, &[&both[..], &["-o", &format!("type=tar,dest={tar}")]].concat()).ok();
    assert_eq!(
        s.shell(&format!("tar tf {tar} | sort")).lines(),
        [
            "linux_amd64/",
            "linux_amd64/a",
            "linux_amd64/out",
            "linux_arm64/",
            "linux_arm64/a",
            "linux_arm64/out"
        ]
    );
    let dir = s.path("together");
    let to = format!("type=local,dest={dir},platform-split=false");
    p.try_build(&s, &[&both[..], &["-o", &to]].concat()).ok();
    s.shell(&format!("ls {dir}; cat {dir}/out")).shows("a\nout\nbuilt for arm64");
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
    p.try_build(&s, &["--provenance=disabled=true", "--attest=type=provenance,disabled=true"]).ok();
    p.try_build(&s, &["--provenance=foo"]).says("invalid value foo");
}

/// The blobs of an archive or a layout that a list names, by media type.
fn layer_types(s: &Sandbox, script: &str) -> Vec<String> {
    let text = s.shell(script);
    let value: Value = serde_json::from_str(text.ok()).unwrap();
    let layers = value["layers"].as_array().unwrap();
    layers.iter().map(|layer| layer["mediaType"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn archives_are_compressed_and_typed_as_asked() {
    let s = Sandbox::new();
    let p = Project::new(&s, "FROM busybox\nCOPY a /a\nCMD [\"cat\",\"/a\"]\n", &[("a", "1")]);
    for (options, ending) in [
        ("", ".tar"),
        (",compression=gzip,compression-level=1,force-compression=true", "gzip"),
        (",compression=zstd,force-compression=true", "zstd"),
        (",compression=uncompressed,force-compression=true", ".tar"),
        (",oci-mediatypes=false,compression=gzip,force-compression=true", "diff.tar.gzip"),
    ] {
        for kind in ["oci", "docker"] {
            let path = s.path("x.tar");
            let to = format!(
                "type={kind},dest={path}{options},name=other:1,annotation-manifest-descriptor.k=v"
            );
            let to = if options.contains("mediatypes") {
                to.replace(",annotation-manifest-descriptor.k=v", "")
            } else {
                to
            };
            p.try_build(&s, &["-o", &to]).ok();
            let types = layer_types(
                &s,
                &format!(
                    "cd {}; mkdir -p un; tar xf {path} -C un; cat un/blobs/sha256/$(sed 's/.*\"digest\":\"sha256:\\([0-9a-f]*\\).*/\\1/' un/index.json)",
                    s.dir().display(),
                ),
            );
            assert_eq!(types.len(), 2);
            assert!(types.iter().all(|kind| kind.ends_with(ending)), "{options}: {types:?}");
            s.tug(&["load", "-i", &path]).shows("Loaded image: other:1");
            assert_eq!(s.tug(&["run", "--rm", "other:1"]).ok(), "1");
            s.tug(&["rmi", "other:1"]).ok();
            s.shell(&format!("cd {}; rm -r un {path}", s.dir().display())).ok();
        }
    }
    // A directory holds several, by name.
    let dir = s.path("layout");
    for name in ["one:1", "two:1", "one:1"] {
        p.try_build(&s, &["-t", name, "-o", &format!("type=oci,dest={dir},tar=false")]).ok();
        p.write("a", name);
    }
    let list = s.shell(&format!("cat {dir}/index.json"));
    let list: Value = serde_json::from_str(list.ok()).unwrap();
    let names: Vec<_> = list["manifests"]
        .as_array()
        .unwrap()
        .iter()
        .map(|line| line["annotations"]["io.containerd.image.name"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["docker.io/library/two:1", "docker.io/library/one:1"]);
    // Everything at once.
    let (tar, files, oci) = (s.path("all.tar"), s.path("all"), s.path("all-oci.tar"));
    p.try_build(
        &s,
        &[
            "-t",
            "all:1",
            "--load",
            "-o",
            &files,
            "-o",
            &format!("type=tar,dest={tar}"),
            "-o",
            &format!("type=oci,dest={oci}"),
        ],
    )
    .ok();
    s.shell(&format!(
        "test -e {files}/a && tar tf {tar} | grep -qx a && tar tf {oci} | grep -qx index.json"
    ))
    .ok();
    s.tug(&["run", "--rm", "all:1"]).ok();
    p.try_build(&s, &["-o", &files, "-o", &format!("type=local,dest={files}")])
        .says("two outputs go to");
    let images = s.tug(&["images", "-aq"]).lines().len();
    p.write("a", "new");
    p.try_build(&s, &["-t", "kept:9", "-o", "type=cacheonly"]).ok();
    assert_eq!(s.tug(&["images", "-aq"]).lines().len(), images, "nothing is kept");
    for (to, why) in [
        ("type=image,compression=zstd", "says how an image is pushed"),
        ("type=local", "dest is required for local exporter"),
        ("type=image,name-canonical=true", "name-canonical=true is not supported by tug"),
        ("type=oci,dest=/proc/x.tar", "/proc/x.tar"),
    ] {
        let output = p.try_build(&s, &["-o", to]);
        assert_ne!(output.code, 0);
        output.says(why);
    }
}

/// The manifest a registry has under a name.
fn manifest(s: &Sandbox, registry: &Registry, repository: &str, tag: &str) -> Value {
    let accept = [
        "oci.image.manifest.v1",
        "oci.image.index.v1",
        "docker.distribution.manifest.v2",
        "docker.distribution.manifest.list.v2",
    ];
    let accept: Vec<String> =
        accept.iter().map(|kind| format!("-H 'Accept: application/vnd.{kind}+json'")).collect();
    let text = s.shell(&format!(
        "curl -s {} http://{}/v2/{repository}/manifests/{tag}",
        accept.join(" "),
        registry.address()
    ));
    serde_json::from_str(text.ok()).unwrap()
}

#[test]
fn the_layers_of_a_base_are_pushed_as_they_came() {
    let mut s = Sandbox::new();
    let (Ok(Some(registry)), Ok(Some(other))) = (Registry::start(), Registry::start()) else {
        return;
    };
    // A base compressed as tug would not.
    let base = Project::new(&s, "FROM busybox\nRUN seq 1 20000 > /numbers\n", &[]);
    let name = format!("{}/base:1", registry.address());
    let how = "type=image,push=true,compression=gzip,compression-level=9,force-compression=true";
    base.try_build(&s, &["-t", &name, "-o", how]).ok();
    let digests = |value: &Value| -> Vec<String> {
        value["layers"]
            .as_array()
            .unwrap()
            .iter()
            .map(|layer| layer["digest"].as_str().unwrap().to_owned())
            .collect()
    };
    let wanted = digests(&manifest(&s, &registry, "base", "1"));
    assert_eq!(wanted.len(), 2);
    let (first, second) = (s.path("data"), s.path("second"));
    s.set_env("TUG_DATA_ROOT", &second);
    let p = Project::new(&s, &format!("FROM {name}\nRUN echo 1 > /f\n"), &[]);
    // Into another repository, and then to a registry that has none of it.
    let app = format!("{}/app:1", registry.address());
    let pushed = p.try_build(&s, &["-t", &app, "--push"]);
    pushed.says("Mounted from base");
    assert_eq!(digests(&manifest(&s, &registry, "app", "1"))[..2], wanted);
    let far = format!("{}/app:1", other.address());
    p.try_build(&s, &["-t", &far, "--push"]).ok();
    assert_eq!(digests(&manifest(&s, &other, "app", "1"))[..2], wanted);
    // The base is gone here: what its layers were is still known.
    s.tug(&["rmi", &name]).ok();
    let app = format!("{}/app:2", registry.address());
    s.tug(&["tag", &far, &app]).ok();
    s.tug(&["push", &app]).ok();
    assert_eq!(digests(&manifest(&s, &registry, "app", "2"))[..2], wanted);
    // In the other family, and compressed otherwise.
    let oci = format!("{}/app:3", registry.address());
    p.try_build(&s, &["-t", &oci, "-o", "type=image,push=true,oci-mediatypes=true"]).ok();
    let value = manifest(&s, &registry, "app", "3");
    assert_eq!(digests(&value)[..2], wanted);
    assert_eq!(value["config"]["mediaType"], "application/vnd.oci.image.config.v1+json");
    let zstd = format!("{}/app:4", registry.address());
    p.try_build(&s, &["-t", &zstd, "-o", "type=registry,compression=zstd"]).ok();
    let value = manifest(&s, &registry, "app", "4");
    let ends: Vec<_> = value["layers"]
        .as_array()
        .unwrap()
        .iter()
        .map(|l| l["mediaType"].as_str().unwrap().rsplit('+').next().unwrap().to_owned())
        .collect();
    assert_eq!(ends, ["gzip", "gzip", "zstd"], "what is there already stays");
    p.try_build(&s, &["-t", &zstd, "-o", "type=registry,compression=zstd,force-compression=true"])
        .ok();
    let value = manifest(&s, &registry, "app", "4");
    assert!(
        value["layers"]
            .as_array()
            .unwrap()
            .iter()
            .all(|l| l["mediaType"].as_str().unwrap().ends_with("zstd"))
    );
    s.tug(&["rmi", "-f", &zstd]).ok();
    s.tug(&["pull", &zstd]).ok();
    assert_eq!(s.tug(&["run", "--rm", &zstd, "cat", "/f"]).ok(), "1");
    s.tug(&["system", "check"]).ok();
    s.tug(&["system", "reset", "-f"]);
    s.set_env("TUG_DATA_ROOT", &first);
}

#[test]
fn what_is_written_beside_an_image_names_it() {
    let s = Sandbox::new();
    let Ok(Some(registry)) = Registry::start() else { return };
    let p = Project::new(
        &s,
        "FROM --platform=$BUILDPLATFORM busybox AS make\nARG TARGETARCH\nRUN echo $TARGETARCH > /a\n\
         FROM busybox AS amd64\nCOPY --from=make /a /a\nFROM scratch AS arm64\nCOPY --from=make /a /a\n\
         FROM $TARGETARCH\n",
        &[],
    );
    p.write(
        "Dockerfile",
        &format!("ARG TARGETARCH\n{}", std::fs::read_to_string(p.dir.join("Dockerfile")).unwrap()),
    );
    let (iid, meta) = (s.path("iid"), s.path("meta"));
    let beside = ["--iidfile", &iid, "--metadata-file", &meta];
    let read = |path: &str| std::fs::read_to_string(path).unwrap();
    let json = || serde_json::from_str::<Value>(&read(&meta)).unwrap();
    // One image.
    let quiet = p.try_build(&s, &[&beside[..], &["-q", "-t", "app", "-t", "b:2"]].concat());
    let id = s.format("app", "{{.Id}}");
    assert_eq!((quiet.ok(), read(&iid)), (id.as_str(), id.clone()));
    let value = json();
    assert_eq!(value["containerimage.config.digest"], id);
    assert_eq!(value["containerimage.digest"], id);
    assert_eq!(value["image.name"], "docker.io/library/app:latest,docker.io/library/b:2");
    // Several: the index, and what runs here.
    let both = ["--platform", "linux/amd64,linux/arm64"];
    let name = format!("{}/many:1", registry.address());
    let quiet = p.try_build(&s, &[&both[..], &beside, &["-q", "-t", &name]].concat());
    let id = s.format(&name, "{{.Id}}");
    assert_eq!((quiet.ok(), read(&iid)), (id.as_str(), id.clone()));
    let value = json();
    assert_eq!(value["containerimage.config.digest"], id);
    assert_eq!(value["containerimage.descriptor"]["digest"], value["containerimage.digest"]);
    assert_eq!(
        value["containerimage.descriptor"]["mediaType"],
        "application/vnd.oci.image.index.v1+json"
    );
    assert_eq!(s.tug(&["run", "--rm", &name, "cat", "/a"]).ok(), "amd64");
    assert_eq!(
        s.tug(&["run", "--rm", "--platform", "linux/amd64", &name, "cat", "/a"]).ok(),
        "amd64"
    );
    // The other one is there, and has no program to run.
    s.tug(&["create", "--name", "far", "--platform", "linux/arm64", &name, "x"]).ok();
    assert_eq!(s.shell("\"$TUG\" export far | tar xOf - a").ok(), "arm64");
    s.tug(&["rm", "far"]).ok();
    assert_eq!(
        s.tug(&["images", "-q", "--no-trunc", name.trim_end_matches(":1")]).lines(),
        [id.as_str()]
    );
    // Pushed: what the registry has.
    p.try_build(&s, &[&both[..], &beside, &["-t", &name, "--push"]].concat()).ok();
    let head = s.shell(&format!("curl -sI -H 'Accept: application/vnd.oci.image.index.v1+json' http://{}/v2/many/manifests/1 | grep -i docker-content-digest", registry.address()));
    assert!(head.stdout.contains(json()["containerimage.digest"].as_str().unwrap()), "{head}");
    // An archive has a manifest of its own; files have no image.
    let archive = s.path("x.tar");
    p.try_build(&s, &[&beside[..], &["-o", &format!("type=oci,dest={archive}")]].concat()).ok();
    let listed = s.shell(&format!("tar xOf {archive} index.json"));
    assert!(listed.stdout.contains(json()["containerimage.digest"].as_str().unwrap()), "{listed}");
    p.try_build(&s, &["--metadata-file", &meta, "-o", &s.path("files")]).ok();
    assert_eq!(json(), serde_json::json!({}));
    p.try_build(&s, &["--iidfile", &iid, "-o", &s.path("files")])
        .says("local and tar exporters are incompatible with image ID file");
    p.try_build(&s, &["-q", "--progress=plain"]).says("cannot be used together");
}
