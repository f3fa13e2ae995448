//! tug beside a real Docker 28: what Docker saved is loaded as Docker had it, tug says of it what Docker
//! says, and what tug saves Docker loads. `tests/data/docker-28` is what Docker made and said once; where one
//! runs (`./dev peers start`, its socket in `TUG_TEST_PEER_DOCKER`), it is asked itself.

use serde_json::Value;
use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Command;
use tug_test::output::Output;
use tug_test::process::Running;
use tug_test::sandbox::Sandbox;
use tug_test::skip::skip;

/// Docker's images: where they were recorded, and their names.
const IMAGES: [(&str, &str); 4] = [
    ("plain", "plain:1"),
    ("layered", "layered"),
    ("committed", "committed:1"),
    ("imported", "imported:1"),
];

fn data() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/docker-28")
}

fn recorded(name: &str) -> String {
    std::fs::read_to_string(data().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn parsed(text: &str) -> Vec<Value> {
    serde_json::Deserializer::from_str(text).into_iter().map(Result::unwrap).collect()
}

/// An engine with all of Docker's archives loaded; what that said.
fn with_archives() -> (Sandbox, String) {
    let s = Sandbox::empty();
    let archive = |name: &str| data().join(format!("{name}.tar.gz")).display().to_string();
    let said: String = ["several", "committed", "imported"]
        .iter()
        .map(|name| s.tug(&["load", "-i", &archive(name)]).ok().to_owned() + "\n")
        .collect();
    (s, said)
}

#[test]
fn what_docker_saved_is_loaded_as_docker_has_it() {
    let (s, said) = with_archives();
    assert_eq!(said, recorded("load.txt"));
    for (file, name) in IMAGES {
        let docker = &parsed(&recorded(&format!("{file}.inspect.json")))[0][0];
        let id = s.tug(&["image", "inspect", "-f", "{{.Id}}", name]);
        assert_eq!(id.ok(), docker["Id"], "{name}");
        let tree = std::fs::File::open(data().join(format!("{file}.tree.tar.gz"))).unwrap();
        assert_same(name, &tree_of(&s, name), &files(flate2::read::GzDecoder::new(tree)));
    }
}

#[test]
fn what_is_said_of_an_image_is_what_docker_says() {
    let (s, _) = with_archives();
    for (file, name) in IMAGES {
        let ours = s.tug(&["image", "inspect", name]);
        let docker = recorded(&format!("{file}.inspect.json"));
        assert_eq!(keys(ours.ok()), keys(&docker), "{name}: the keys and their order");
        let (mut ours, mut docker) = (parsed(ours.ok()), parsed(&docker));
        for value in [&mut ours[0][0], &mut docker[0][0]] {
            // Where the layers are is everybody's own affair.
            for path in value["GraphDriver"]["Data"].as_object_mut().unwrap().values_mut() {
                *path = Value::Null;
            }
        }
        assert_eq!(ours, docker, "{name}");
        let history = ["image", "history", "--no-trunc", "--format", "json", name];
        let docker = recorded(&format!("{file}.history.json"));
        assert_eq!(timeless(s.tug(&history).ok()), timeless(&docker), "{name}");
        let table = "table {{.ID}}\\t{{.CreatedBy}}\\t{{.Size}}\\t{{.Comment}}";
        let table = s.tug(&["image", "history", "--human=false", "--format", table, name]);
        assert_eq!(table.stdout, recorded(&format!("{file}.history.txt")), "{name}");
    }
    // A name given here is a time; a loaded one is none.
    s.tug(&["tag", "plain:1", "tagged:1"]).ok();
    let time = s.tug(&["image", "inspect", "-f", "{{.Metadata.LastTagTime}}", "tagged:1"]);
    assert!(!time.ok().starts_with("0001-"), "{time}");
}

#[test]
fn lists_have_dockers_lines() {
    let (s, _) = with_archives();
    s.tug(&["create", "--name", "held", "-v", "kept:/kept", "plain:1"]).ok();
    let sorted = |mut lines: Vec<Value>| {
        // Of images made in the same second Docker has none first.
        lines.sort_by_key(ToString::to_string);
        lines
    };
    let ours = s.tug(&["image", "ls", "--no-trunc", "--format", "json"]);
    assert_eq!(sorted(timeless(ours.ok())), sorted(timeless(&recorded("ls.json"))));
    for (command, file) in [
        (&["image", "ls"][..], "ls.txt"),
        (&["image", "ls", "--digests", "--no-trunc"], "ls-digests.txt"),
    ] {
        let ours = s.tug(command);
        let words = |text: &str| text.lines().next().map(|line| line.split_whitespace().count());
        assert_eq!(words(ours.ok()), words(&recorded(file)), "{command:?}: the columns");
        assert_eq!(ours.lines().len(), recorded(file).lines().count(), "{command:?}");
    }
    let ours = s.tug(&["system", "df", "--format", "json"]);
    assert_eq!(parsed(ours.ok()), parsed(&recorded("df.json")));
    assert_eq!(s.tug(&["system", "df"]).stdout, recorded("df.txt"));
    let ours = &mut parsed(s.tug(&["system", "df", "-v", "--format", "json"]).ok())[0];
    let docker = &mut parsed(&recorded("df-v.json"))[0];
    for (part, line) in [("Images", "ID"), ("Containers", "ID"), ("Volumes", "Name")] {
        let of =
            |all: &Value| sorted(timeless(&all[part].as_array().map(|all| lines(all)).unwrap()));
        let (ours, docker) = (of(ours), of(docker));
        assert_eq!(ours.len(), docker.len(), "{part}");
        for (ours, docker) in ours.iter().zip(&docker) {
            assert_eq!(keys(&ours.to_string()), keys(&docker.to_string()), "{part} {}", ours[line]);
            if part == "Images" {
                assert_eq!(ours, docker);
            }
        }
    }
}

fn lines(values: &[Value]) -> String {
    values.iter().map(ToString::to_string).collect()
}

/// Lines of JSON without what changes by the second.
fn timeless(text: &str) -> Vec<Value> {
    let mut lines = parsed(text);
    for line in &mut lines {
        for name in ["CreatedSince", "RunningFor"] {
            line.as_object_mut().and_then(|line| line.remove(name));
        }
    }
    lines
}

/// Every key with the kind of its value, in the order of the text: what a program relies on.
fn keys(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut rest = text;
    while let Some(end) = rest.find("\":") {
        let name = rest[..end].rsplit('"').next().unwrap_or_default();
        rest = &rest[end + 2..];
        let kind = match rest.trim_start().chars().next() {
            Some('0'..='9' | '-') => '0',
            Some('t' | 'f') => 't',
            Some(other) => other,
            None => '?',
        };
        found.push(format!("{name} {kind}"));
    }
    found
}

/// A path of a tree: kind, mode, owner and what is there, as text.
type Files = BTreeMap<String, String>;

/// The paths of a tar. Those of the stand-ins for mounts, which each engine makes for itself, are left out.
fn files(tar: impl Read) -> Files {
    let mut archive = tar::Archive::new(tar);
    let (mut found, mut links) = (Files::new(), Vec::new());
    for entry in archive.entries().unwrap() {
        let mut entry = entry.unwrap();
        let path = entry.path().unwrap().display().to_string();
        let path = path.trim_start_matches("./").trim_end_matches('/').to_owned();
        if is_stand_in(&path) {
            continue;
        }
        if entry.header().entry_type().is_hard_link() {
            let target = entry.link_name().unwrap().unwrap().display().to_string();
            links.push((path, target.trim_start_matches("./").to_owned()));
            continue;
        }
        let mut text = format!(
            "{:?} {:o} {}:{}",
            entry.header().entry_type(),
            entry.header().mode().unwrap() & 0o7777,
            entry.header().uid().unwrap(),
            entry.header().gid().unwrap(),
        );
        if let Some(link) = entry.link_name().unwrap() {
            text += &format!(" -> {}", link.display());
        }
        if let Ok(Some(major)) = entry.header().device_major() {
            text += &format!(" {major},{}", entry.header().device_minor().unwrap().unwrap_or(0));
        }
        for pair in entry.pax_extensions().unwrap().into_iter().flatten().flatten() {
            if pair.key_bytes().starts_with(b"SCHILY.xattr.") {
                text += &format!(" {}={:?}", pair.key().unwrap(), pair.value_bytes());
            }
        }
        if entry.header().entry_type().is_file() {
            let mut content = Vec::new();
            entry.read_to_end(&mut content).unwrap();
            let time = entry.header().mtime().unwrap();
            text += &format!(" at {time}: {} bytes, {}", content.len(), digest(&content));
        }
        found.insert(path, text);
    }
    // Which of its names a file is stored under is the archiver's choice; that they are one file is not.
    for (path, target) in links {
        let whole = found.get(&target).unwrap_or_else(|| panic!("{path}: no {target}")).clone();
        found.insert(path, whole);
    }
    found
}

fn is_stand_in(path: &str) -> bool {
    let known = ["", ".dockerenv", "dev", "proc", "sys", "etc/hostname", "etc/hosts"];
    let more = ["etc/mtab", "etc/resolv.conf", "etc"];
    known.contains(&path) || more.contains(&path) || path.starts_with("dev/")
}

fn digest(bytes: &[u8]) -> String {
    use sha2::Digest as _;
    sha2::Sha256::digest(bytes).iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

fn tree_of(s: &Sandbox, image: &str) -> Files {
    let id = s.tug(&["create", image, "true"]).ok().to_owned();
    let tree = files(s.tug(&["export", &id]).bytes.as_slice());
    s.tug(&["rm", &id]).ok();
    tree
}

#[track_caller]
fn assert_same(what: &str, ours: &Files, docker: &Files) {
    assert!(!docker.is_empty(), "{what}: an empty tree proves nothing");
    let all: std::collections::BTreeSet<_> = ours.keys().chain(docker.keys()).collect();
    let differ: Vec<_> = all
        .into_iter()
        .filter(|path| ours.get(*path) != docker.get(*path))
        .map(|path| {
            format!("{path}\n  tug    {:?}\n  docker {:?}", ours.get(path), docker.get(path))
        })
        .collect();
    assert!(differ.is_empty(), "{what}:\n{}", differ.join("\n"));
}

/// A Docker that runs here, by the environment.
struct Docker {
    socket: PathBuf,
}

impl Docker {
    fn here() -> Option<Self> {
        let socket = PathBuf::from(std::env::var_os("TUG_TEST_PEER_DOCKER")?);
        socket.exists().then_some(Self { socket })
    }

    fn run(&self, arguments: &[&str]) -> Output {
        // Beside the socket is a client with buildx.
        let client = self.socket.with_file_name("docker");
        let client = if client.exists() { client } else { "docker".into() };
        let mut command = Command::new(client);
        command.args(arguments).env("DOCKER_HOST", format!("unix://{}", self.socket.display()));
        Running::start(command).wait()
    }

    fn id(&self, name: &str) -> String {
        self.run(&["image", "inspect", "-f", "{{.Id}}", name]).ok().to_owned()
    }

    fn tree(&self, name: &str) -> Files {
        let id = self.run(&["create", name, "true"]).ok().to_owned();
        let tree = files(self.run(&["export", &id]).bytes.as_slice());
        self.run(&["rm", &id]).ok();
        tree
    }
}

#[test]
fn a_running_docker_loads_what_tug_saves_and_gives_it_back() {
    let Some(docker) = Docker::here() else {
        return skip("no Docker here: ./dev peers start, and TUG_TEST_PEER_DOCKER its socket");
    };
    let s = Sandbox::new();
    let mark = tug_test::unique();
    let (app, base) = (format!("tug-test-app:{mark}"), format!("tug-test-base:{mark}"));
    std::fs::create_dir_all(s.dir().join("context/dir")).unwrap();
    std::fs::write(s.dir().join("context/dir/file"), "from the context\n").unwrap();
    let steps = "FROM busybox\nRUN echo one >/one && ln /one /two && ln -s one /three && rm -r /var/www \
                 && mkdir -m 2755 /setgid && mknod /null c 1 3 && touch -d @1700000000 /one\n\
                 COPY --chown=7:8 dir /copied\nRUN rm /copied/file && rm -r /home && mkdir /home\nENV A=b\n";
    std::fs::write(s.dir().join("context/Dockerfile"), steps).unwrap();
    s.tug(&["build", "-q", "-t", &app, &s.path("context")]).ok();
    s.tug(&["tag", "busybox", &base]).ok();
    let (ours, back) = (s.path("ours.tar"), s.path("back.tar"));
    s.tug(&["save", "-o", &ours, &app, &base]).ok();

    let said = docker.run(&["load", "-i", &ours]);
    said.shows(&format!("Loaded image: {app}")).shows(&format!("Loaded image: {base}"));
    for name in [&app, &base] {
        assert_eq!(docker.id(name), s.tug(&["image", "inspect", "-f", "{{.Id}}", name]).ok());
        assert_same(name, &tree_of(&s, name), &docker.tree(name));
    }
    let ran =
        docker.run(&["run", "--rm", "--network", "none", &app, "sh", "-c", "cat /two; echo $A"]);
    assert_eq!(ran.ok(), "one\nb");

    docker.run(&["save", "-o", &back, &app, &base]).ok();
    docker.run(&["image", "rm", &app, &base]).ok();
    let other = Sandbox::empty();
    other.tug(&["load", "-q", "-i", &back]).ok();
    for name in [&app, &base] {
        let id = other.tug(&["image", "inspect", "-f", "{{.Id}}", name]);
        assert_eq!(id.ok(), s.tug(&["image", "inspect", "-f", "{{.Id}}", name]).ok());
    }
    assert_same(&app, &tree_of(&other, &app), &tree_of(&s, &app));
}

#[test]
fn what_a_running_docker_built_from_busybox_runs_here() {
    let Some(docker) = Docker::here() else {
        return skip("no Docker here: ./dev peers start, and TUG_TEST_PEER_DOCKER its socket");
    };
    let s = Sandbox::new();
    let app = format!("tug-test-built:{}", tug_test::unique());
    let (base, saved) = (s.path("base.tar"), s.path("built.tar"));
    s.tug(&["save", "-o", &base, "busybox"]).ok();
    docker.run(&["load", "-q", "-i", &base]).ok();
    std::fs::create_dir(s.dir().join("context")).unwrap();
    let steps = "FROM busybox\nRUN echo built >/built && ln /built /again && rm /etc/group\n\
                 RUN rm -r /usr && mkdir /usr && echo new >/usr/new\nCMD [\"cat\", \"/again\", \"/usr/new\"]\n";
    std::fs::write(s.dir().join("context/Dockerfile"), steps).unwrap();
    docker.run(&["build", "-q", "-t", &app, &s.path("context")]).ok();
    docker.run(&["save", "-o", &saved, &app]).ok();
    s.tug(&["load", "-q", "-i", &saved]).ok();
    assert_eq!(s.tug(&["image", "inspect", "-f", "{{.Id}}", &app]).ok(), docker.id(&app));
    assert_same(&app, &tree_of(&s, &app), &docker.tree(&app));
    assert_eq!(s.tug(&["run", "--rm", &app]).ok(), "built\nnew");
    docker.run(&["image", "rm", &app]).ok();
}
