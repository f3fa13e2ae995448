//! Builds killed while their result goes out: nothing half is left under the name of what they write, and the same
//! again gives what it would have given.
//!
//! The seed is printed; `TUG_TEST_SEED` repeats a run, `TUG_TEST_ROUNDS` makes it longer.

use super::Project;
use crate::faults::{Dice, kill};
use std::path::Path;
use std::time::Instant;
use tug_test::process::Running;
use tug_test::registry::Registry;
use tug_test::sandbox::{Sandbox, Started};

const FILE: &str = "FROM --platform=$BUILDPLATFORM busybox AS make\nARG TARGETARCH\n\
    RUN head -c 3000000 /dev/zero | tr '\\0' $TARGETARCH > /big; seq 1 200000 > /numbers\n\
    FROM scratch\nCOPY --from=make /big /numbers /out/\nCOPY a /out/deep/er/a\n";

/// One way out: what is given besides, and where it goes.
struct Way {
    flags: Vec<String>,
    place: Option<String>,
    tag: Option<String>,
}

fn ways(s: &Sandbox, registry: &Registry) -> Vec<Way> {
    let place = |number: usize| s.path(&format!("way{number}"));
    let flags = |list: &[&str]| list.iter().map(|flag| (*flag).to_owned()).collect::<Vec<_>>();
    let both = "--platform=linux/amd64,linux/arm64";
    let mut ways: Vec<Way> = [
        (both, "type=local"),
        (both, "type=tar"),
        ("-q", "type=docker,compression=gzip"),
        (both, "type=oci"),
        (both, "type=oci,compression=zstd"),
        (both, "type=oci,tar=false,compression=gzip"),
    ]
    .into_iter()
    .enumerate()
    .map(|(number, (flag, kind))| Way {
        flags: flags(&[flag, "-o", &format!("{kind},dest={}", place(number))]),
        place: Some(place(number)),
        tag: None,
    })
    .collect();
    for (number, options) in [(20, ""), (21, ",compression=zstd"), (22, ",image-manifest=false")] {
        let to = format!("type=local,mode=max,dest={}{options}", place(number));
        let flags = flags(&["-t", "app", both, "--cache-to", &to]);
        ways.push(Way { flags, place: Some(place(number)), tag: None });
    }
    ways.push(Way { flags: flags(&["-t", "app", both]), place: None, tag: None });
    let name = |tag: &str| format!("{}/app:{tag}", registry.address());
    let push = flags(&["-t", &name("pushed"), both, "--push"]);
    ways.push(Way { flags: push, place: None, tag: Some("pushed".into()) });
    let to = format!("type=registry,mode=max,ref={}", name("cache"));
    let cache = flags(&["-t", "app", both, "--cache-to", &to]);
    ways.push(Way { flags: cache, place: None, tag: Some("cache".into()) });
    ways
}

/// What lies under a name, without what is still being written; nothing when nothing does.
fn content(s: &Sandbox, place: &str) -> String {
    let script = format!(
        "if [ -d {place} ]; then cd {place} && find . -path './.tug-*' -prune -o -type f ! -name '.*.tug-*' -print | sort | xargs -r sha256sum; \
         elif [ -e {place} ]; then sha256sum < {place}; fi"
    );
    s.shell(&script).ok().to_owned()
}

/// Every file is one of the whole ones, and what a list names is there.
fn nothing_half(s: &Sandbox, place: &str, whole: &str, what: &str) {
    for line in content(s, place).lines() {
        if line.ends_with("index.json") {
            let list = std::fs::read(Path::new(place).join("index.json")).unwrap();
            let list: serde_json::Value = serde_json::from_slice(&list).unwrap();
            for entry in list["manifests"].as_array().unwrap() {
                let hex = entry["digest"].as_str().unwrap().replace("sha256:", "");
                assert!(Path::new(place).join("blobs/sha256").join(hex).exists(), "{what}: {list}");
            }
        } else if let Some((sum, name)) = line.split_once("  ./blobs/sha256/") {
            assert_eq!(sum, name, "{what}: a half blob");
        } else {
            assert!(whole.contains(line), "{what}: {line} is none of\n{whole}");
        }
    }
}

/// What a registry has under a name is all there.
fn all_there(s: &Sandbox, registry: &Registry, tag: &str, what: &str) -> bool {
    let base = format!("http://{}/v2/app", registry.address());
    let get = |kind: &str, name: &str| {
        let accept = "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json, application/vnd.docker.distribution.manifest.v2+json";
        s.shell(&format!("curl -sf -H 'Accept: {accept}' {base}/{kind}/{name}"))
    };
    let Ok(top) = serde_json::from_str::<serde_json::Value>(&get("manifests", tag).stdout) else {
        return false;
    };
    let digest =
        |value: &serde_json::Value| value["digest"].as_str().unwrap_or_default().to_owned();
    let mut manifests = vec![top.clone()];
    for entry in top["manifests"].as_array().into_iter().flatten() {
        let text = get("manifests", &digest(entry));
        manifests.push(serde_json::from_str(text.ok()).unwrap());
    }
    for manifest in &manifests {
        for blob in
            manifest["layers"].as_array().into_iter().flatten().chain(manifest.get("config"))
        {
            let found = s.shell(&format!("curl -sfo /dev/null -I {base}/blobs/{}", digest(blob)));
            assert_eq!(found.code, 0, "{what}: {blob} is missing");
        }
    }
    true
}

#[test]
fn a_result_killed_on_its_way_out_leaves_nothing_half() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let seed = number("TUG_TEST_SEED").unwrap_or(0x6f75_7470 + u64::from(std::process::id()));
    let rounds = number("TUG_TEST_ROUNDS").unwrap_or(60);
    println!("TUG_TEST_SEED={seed}");
    let mut dice = Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    let s = Sandbox::new();
    let Ok(Some(registry)) = Registry::start() else { return };
    let p = Project::new(&s, FILE, &[("a", "1")]);
    let path = p.path();
    let ways = ways(&s, &registry);
    let command = |way: &Way| {
        let mut all = vec!["build".to_owned(), "--build-arg=SOURCE_DATE_EPOCH=7".to_owned()];
        all.extend(way.flags.iter().cloned());
        all.push(path.clone());
        all
    };
    let run = |way: &Way| {
        let all = command(way);
        s.tug(&all.iter().map(String::as_str).collect::<Vec<_>>())
    };
    let remove = |way: &Way| {
        if let Some(place) = &way.place {
            s.shell(&format!("rm -rf {place}")).ok();
        }
    };
    // Once from nothing, and once more for the time it takes with all steps cached.
    let mut expected = Vec::new();
    for way in &ways {
        run(way).ok();
        let whole = way.place.as_ref().map(|place| content(&s, place)).unwrap_or_default();
        assert!(way.place.is_none() || !whole.is_empty(), "{:?}", way.flags);
        remove(way);
        let begun = Instant::now();
        run(way).ok();
        expected.push((whole, begun.elapsed()));
        remove(way);
    }
    let ids = s.tug(&["images", "-aq", "--no-trunc"]).ok().to_owned();
    let mut at_work = 0;
    for round in 0..rounds {
        let at = usize::try_from(round).unwrap_or(0) % ways.len();
        let (way, (whole, time)) = (&ways[at], &expected[at]);
        let delay = time.mul_f64(dice.roll(1000) as f64 / 900.0);
        let what = format!("TUG_TEST_SEED={seed}, round {round}: {:?} after {delay:?}", way.flags);
        if let Some(at) = way.flags.iter().position(|flag| flag == "-t") {
            s.tug(&["rmi", "-f", &way.flags[at + 1]]);
        }
        let all = command(way);
        let started = s.start(&all.iter().map(String::as_str).collect::<Vec<_>>());
        std::thread::sleep(delay);
        kill(started.0.pid());
        let Started(running) = started;
        let ended = Running::wait(running);
        at_work += usize::from(ended.code != 0);
        if let Some(place) = &way.place {
            nothing_half(&s, place, whole, &what);
        }
        if let Some(tag) = &way.tag {
            assert!(all_there(&s, &registry, tag, &what), "{what}: it was there before");
        }
        let checked = s.tug(&["system", "check"]);
        assert_eq!(checked.code, 0, "{what}: {checked}");
        let again = run(way);
        assert_eq!(again.code, 0, "{what}: {again}");
        if let Some(place) = &way.place {
            assert_eq!(content(&s, place), *whole, "{what}: not what it would have been");
            let left = s.shell(&format!("ls -a {place} | grep '^[.]tug-'"));
            assert_eq!(left.stdout, "", "{what}");
        }
        if let Some(tag) = &way.tag {
            assert!(all_there(&s, &registry, tag, &what), "{what}");
        }
        assert_eq!(
            s.tug(&["images", "-aq", "--no-trunc"]).lines().len(),
            ids.lines().count(),
            "{what}"
        );
        remove(way);
    }
    assert!(
        at_work > usize::try_from(rounds / 3).unwrap_or(0),
        "only {at_work} were killed at work"
    );
}
