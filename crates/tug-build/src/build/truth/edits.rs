//! Edits of a context as people, editors, version control and malice make them. About every fourth is
//! undone again, so that what was seen before comes back.

use std::collections::BTreeMap;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

const DIRS: u64 = 6;
const FILES: u64 = 16;

/// The rules an ignore file is drawn from.
const RULES: [&str; 11] = [
    "# nothing",
    "d1",
    "*.log",
    "**/*.tmp",
    "!d2/f4.tmp",
    "d3/**",
    "!d3/f1.txt",
    "d?/f0.txt",
    "/d4/f2.txt",
    "d5/sub",
    "!d5/sub/f3.txt",
];

/// xorshift64*: a sequence that one number repeats.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) % sides
    }

    fn pick<T: Copy>(&mut self, list: &[T]) -> T {
        list[usize::try_from(self.roll(list.len() as u64)).unwrap()]
    }
}

/// A sequence of edits.
pub(super) struct Edits {
    top: PathBuf,
    dice: Dice,
    undo: Option<Undo>,
    kinds: BTreeMap<&'static str, usize>,
}

struct Undo {
    path: PathBuf,
    content: Vec<u8>,
    time: SystemTime,
}

impl Edits {
    pub(super) fn new(top: &Path, seed: u64, dockerfile: &str) -> Self {
        for dir in 0..DIRS {
            std::fs::create_dir_all(top.join(format!("d{dir}/sub"))).unwrap();
            for file in 0..FILES {
                let end = ["txt", "log", "tmp"][usize::try_from(file % 3).unwrap()];
                let at = if file % 5 == 4 { "sub/" } else { "" };
                std::fs::write(top.join(format!("d{dir}/{at}f{file}.{end}")), "aaaa").unwrap();
            }
            std::fs::write(top.join(format!("d{dir}/f1.txt")), "aaaa").unwrap();
        }
        std::fs::write(top.join("Dockerfile"), dockerfile).unwrap();
        let dice = Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        Self { top: top.to_owned(), dice, undo: None, kinds: BTreeMap::new() }
    }

    /// How many kinds of edits there were.
    pub(super) fn kinds(&self) -> usize {
        self.kinds.len()
    }

    /// Makes one; says what it was.
    pub(super) fn next(&mut self) -> String {
        if let Some(undo) = self.undo.take()
            && self.dice.roll(4) == 0
            && undo.path.symlink_metadata().is_ok_and(|metadata| metadata.is_file())
        {
            std::fs::write(&undo.path, &undo.content).unwrap();
            set_time(&undo.path, undo.time);
            return self.did("undone", &undo.path);
        }
        let path = self.file();
        let metadata = path.symlink_metadata().ok();
        let is_file = metadata.as_ref().is_some_and(std::fs::Metadata::is_file);
        let kind = self.dice.roll(19);
        match (kind, is_file) {
            (0..=3, true) => self.same_size_and_time(&path),
            (4, true) => self.replaced(&path),
            (5, true) => self.grown(&path),
            (6, true) => {
                let content = std::fs::read(&path).unwrap();
                std::fs::write(&path, content).unwrap();
                self.did("written again", &path)
            }
            (7, true) => {
                set_time(&path, SystemTime::now());
                self.did("touched", &path)
            }
            (8, true) => {
                let owner = Some(u32::try_from(self.dice.roll(3)).unwrap());
                std::os::unix::fs::chown(&path, owner, None).unwrap();
                self.did("given away", &path)
            }
            (9, true) => {
                let mode = self.dice.pick(&[0o644, 0o600, 0o755, 0o4755]);
                std::fs::set_permissions(&path, PermissionsExt::from_mode(mode)).unwrap();
                self.did("mode", &path)
            }
            (10, _) => {
                let (dir, mode) = (self.dir(), self.dice.pick(&[0o755, 0o700, 0o750]));
                std::fs::set_permissions(&dir, PermissionsExt::from_mode(mode)).unwrap();
                self.did("mode of a directory", &dir)
            }
            (11, _) => {
                let other = self.file();
                let _ = std::fs::rename(&path, &other);
                self.did("renamed", &other)
            }
            (12, _) => self.swapped(&path),
            (13, _) => {
                gone(&path);
                let to = self.dice.pick(&["f1.txt", "f3.log", "f4.tmp", "nowhere"]);
                symlink(to, &path).unwrap();
                self.did("a link", &path)
            }
            (14, _) => self.directories_swapped(),
            (15, _) => self.rules(),
            (16, _) => {
                let other = self.file();
                if is_file && other != path {
                    gone(&other);
                    std::fs::hard_link(&path, &other).unwrap();
                }
                self.did("a second name", &other)
            }
            (17, _) => {
                gone(&path);
                self.did("removed", &path)
            }
            _ => {
                gone(&path);
                match self.dice.roll(8) {
                    0 => std::fs::create_dir(&path).unwrap(),
                    _ => std::fs::write(&path, self.dice.pick(&["aaaa", "bbbb"])).unwrap(),
                }
                self.did("new", &path)
            }
        }
    }

    fn did(&mut self, kind: &'static str, path: &Path) -> String {
        *self.kinds.entry(kind).or_default() += 1;
        format!("{kind}: {}", path.strip_prefix(&self.top).unwrap_or(path).display())
    }

    fn dir(&mut self) -> PathBuf {
        self.top.join(format!("d{}", self.dice.roll(DIRS)))
    }

    /// A few files are edited most of the time, as in life; the others have time to settle.
    fn file(&mut self) -> PathBuf {
        let file = match self.dice.roll(5) {
            0 => self.dice.roll(FILES),
            _ => self.dice.roll(3),
        };
        let end = ["txt", "log", "tmp"][usize::try_from(file % 3).unwrap()];
        let at = if file % 5 == 4 { "sub/" } else { "" };
        self.dir().join(format!("{at}f{file}.{end}"))
    }

    fn same_size_and_time(&mut self, path: &Path) -> String {
        let content = std::fs::read(path).unwrap();
        let time = path.metadata().unwrap().modified().unwrap();
        let letter = self.dice.pick(b"abc");
        std::fs::write(path, vec![letter; content.len()]).unwrap();
        set_time(path, time);
        self.undo = Some(Undo { path: path.to_owned(), content, time });
        self.did("edited, size and time kept", path)
    }

    /// As editors save: a new file in its place, here with the old one's time.
    fn replaced(&mut self, path: &Path) -> String {
        let metadata = path.metadata().unwrap();
        let beside = self.top.join("beside");
        let length = usize::try_from(metadata.len()).unwrap();
        std::fs::write(&beside, vec![self.dice.pick(b"abc"); length]).unwrap();
        std::fs::set_permissions(&beside, metadata.permissions()).unwrap();
        set_time(&beside, metadata.modified().unwrap());
        std::fs::rename(beside, path).unwrap();
        self.did("replaced, size and time kept", path)
    }

    fn grown(&mut self, path: &Path) -> String {
        let length = usize::try_from(self.dice.roll(6)).unwrap();
        std::fs::write(path, vec![b'a'; length]).unwrap();
        self.did("another size", path)
    }

    fn swapped(&mut self, path: &Path) -> String {
        let other = self.file();
        let beside = self.top.join("beside");
        if path.exists() && other.exists() && other != path {
            std::fs::rename(path, &beside).unwrap();
            std::fs::rename(&other, path).unwrap();
            std::fs::rename(beside, &other).unwrap();
        }
        self.did("two files swapped", path)
    }

    fn directories_swapped(&mut self) -> String {
        let (one, other, beside) = (self.dir(), self.dir(), self.top.join("beside"));
        if one != other {
            std::fs::rename(&one, &beside).unwrap();
            std::fs::rename(&other, &one).unwrap();
            std::fs::rename(beside, &other).unwrap();
        }
        self.did("two directories swapped", &one)
    }

    fn rules(&mut self) -> String {
        let file = self.top.join(".dockerignore");
        let count = self.dice.roll(4);
        let lines: Vec<&str> = (0..count).map(|_| self.dice.pick(&RULES)).collect();
        std::fs::write(&file, lines.join("\n")).unwrap();
        self.did("rules", &file)
    }
}

fn gone(path: &Path) {
    match path.symlink_metadata() {
        Ok(metadata) if metadata.is_dir() => std::fs::remove_dir_all(path).unwrap(),
        Ok(_) => std::fs::remove_file(path).unwrap(),
        Err(_) => {}
    }
}

fn set_time(path: &Path, time: SystemTime) {
    std::fs::File::options().write(true).open(path).unwrap().set_modified(time).unwrap();
}
