//! Random edits against a slow oracle: a step runs exactly when what it takes is different from before.

use super::{Project, steps};
use std::collections::BTreeMap;
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use tug_test::sandbox::Sandbox;

/// Everything that counts of a tree: names, kinds, modes, contents, link targets.
fn state(top: &Path) -> BTreeMap<PathBuf, String> {
    let mut seen = BTreeMap::new();
    let mut open = vec![top.to_owned()];
    while let Some(dir) = open.pop() {
        for entry in std::fs::read_dir(dir).unwrap().flatten() {
            let path = entry.path();
            let metadata = path.symlink_metadata().unwrap();
            let mode = metadata.mode();
            let content = if metadata.is_symlink() {
                format!("link {}", std::fs::read_link(&path).unwrap().display())
            } else if metadata.is_dir() {
                open.push(path.clone());
                format!("directory {mode:o}")
            } else {
                format!("file {mode:o} {}", std::fs::read_to_string(&path).unwrap())
            };
            seen.insert(path.strip_prefix(top).unwrap().to_owned(), content);
        }
    }
    seen
}

struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % limit as u64).unwrap()
    }
}

/// One edit; the last kinds change nothing that counts.
fn edit(top: &Path, random: &mut Random) {
    let file = top.join(format!("d{}/f{}", random.below(3), random.below(4)));
    let letter = char::from(b'a' + u8::try_from(random.below(3)).unwrap());
    let time = std::fs::metadata(&file).and_then(|metadata| metadata.modified()).ok();
    match random.below(8) {
        // The same size and the same time.
        0 | 1 => {
            if !file.is_symlink() && file.exists() {
                std::fs::write(&file, letter.to_string()).unwrap();
                let opened = std::fs::File::options().write(true).open(&file).unwrap();
                opened.set_modified(time.unwrap()).unwrap();
            }
        }
        2 => {
            let beside = top.join("beside");
            std::fs::write(&beside, letter.to_string()).unwrap();
            std::fs::rename(beside, &file).unwrap();
        }
        3 => drop(std::fs::remove_file(&file)),
        4 => {
            let _ = std::fs::remove_file(&file);
            symlink(letter.to_string(), &file).unwrap();
        }
        5 => {
            let mode = [0o644, 0o600, 0o755][random.below(3)];
            let target =
                if random.below(3) == 0 { file.parent().unwrap().to_owned() } else { file };
            if target.exists() && !target.is_symlink() {
                std::fs::set_permissions(&target, PermissionsExt::from_mode(mode | 0o100)).unwrap();
            }
        }
        6 => {
            let other = top.join(format!("d{}/f{}", random.below(3), random.below(4)));
            let _ = std::fs::rename(&file, other);
        }
        _ => {
            if !file.is_symlink() && file.exists() {
                let opened = std::fs::File::options().write(true).open(&file).unwrap();
                opened.set_modified(std::time::SystemTime::now()).unwrap();
            }
        }
    }
}

#[test]
fn no_edit_is_missed_and_nothing_runs_for_nothing() {
    const EDITS: usize = 300;
    let s = Sandbox::empty();
    let p = Project::new(&s, "FROM scratch\nCOPY src /src\n", &[]);
    let out = s.dir().join("out");
    let top = p.dir.join("src");
    for dir in 0..3 {
        std::fs::create_dir_all(top.join(format!("d{dir}"))).unwrap();
        (0..4).for_each(|f| std::fs::write(top.join(format!("d{dir}/f{f}")), "a").unwrap());
    }
    let mut known = Vec::new();
    let seed = std::env::var("TUG_TEST_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed = seed.unwrap_or(0x6564_6974 + u64::from(std::process::id()));
    let mut random = Random(seed | 1);
    for round in 0..EDITS {
        let now = state(&top);
        let built = p.try_build(&s, &["--progress", "plain", "-o", &out.to_string_lossy()]);
        built.ok();
        let (cached, ran) = steps(&built);
        let expected = known.contains(&now);
        let told = format!("TUG_TEST_SEED={seed}, round {round}");
        assert_eq!(cached.len() == 1, expected, "{told}: {now:?}\n{built}");
        assert_eq!(ran.len() == 1, !expected, "{told}");
        assert_eq!(state(&out.join("src")), now, "{told}: what was built is something else");
        std::fs::remove_dir_all(&out).unwrap();
        if !expected {
            known.push(now);
        }
        edit(&top, &mut random);
    }
    assert!(known.len() > EDITS / 4 && known.len() < EDITS, "{} states", known.len());
}

/// Writes a file in turns as `a`s and `b`s, in place and replaced, its size and time kept, until told to end.
fn toggle(file: &Path, end: &AtomicBool) {
    let time = std::fs::metadata(file).unwrap().modified().unwrap();
    let beside = file.with_extension("beside");
    for round in 0.. {
        if end.load(Ordering::Relaxed) {
            return;
        }
        let letter = if round % 2 == 0 { "b" } else { "a" };
        let target = if round % 4 < 2 { file } else { &beside };
        let written =
            std::fs::File::options().write(true).create(true).truncate(false).open(target).unwrap();
        written.write_all_at(letter.repeat(SIZE).as_bytes(), 0).unwrap();
        written.set_modified(time).unwrap();
        if target == beside {
            std::fs::rename(&beside, file).unwrap();
        }
        std::thread::sleep(std::time::Duration::from_micros(round * 37 % 3000));
    }
}

const SIZE: usize = 40_000;

#[test]
fn a_file_that_changes_while_it_is_read_poisons_no_cache() {
    let s = Sandbox::new();
    let p = Project::new(
        &s,
        concat!(
            "FROM busybox AS run\nRUN --mount=target=/c cp /c/src/file /bound\n",
            "FROM scratch\nCOPY src /src\nCOPY --from=run /bound /bound\n",
        ),
        &[(".dockerignore", "**/*.beside\n")],
    );
    (0..200).for_each(|n| p.write(&format!("src/other{n}"), "x"));
    let (file, out) = (p.dir.join("src/file"), s.dir().join("out"));
    for round in 0..12 {
        p.write("src/round", &round.to_string());
        p.write("src/file", &"a".repeat(SIZE));
        let end = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| toggle(&file, &end));
            // It may fail, when the file is exchanged in the wrong moment; it must not remember wrongly.
            for _ in 0..3 {
                p.try_build(&s, &[]);
            }
            end.store(true, Ordering::Relaxed);
        });
        for letter in ["a", "b", "a"] {
            p.write("src/file", &letter.repeat(SIZE));
            p.try_build(&s, &["-o", &out.to_string_lossy()]).ok();
            for name in ["src/file", "bound"] {
                let built = std::fs::read_to_string(out.join(name)).unwrap();
                assert!(built == letter.repeat(SIZE), "round {round}: {name} is not all {letter}");
            }
            std::fs::remove_dir_all(&out).unwrap();
        }
    }
}
