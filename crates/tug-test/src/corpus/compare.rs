//! What was built beside what Docker built, and the differences that are meant.

use super::{Case, dir, read};
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// What was recorded of one topic, by the names of the cases; none when nothing was.
pub fn recorded(topic: &str) -> Option<BTreeMap<String, String>> {
    let path = dir().join("docker").join(format!("{topic}.txt"));
    path.exists().then(|| read(&path).into_iter().map(recorded_case).collect())
}

fn recorded_case(case: Case) -> (String, String) {
    let text = case.sections.into_iter().next().map(|section| section.text);
    (case.name, text.unwrap_or_default().trim_end().to_owned())
}

/// The differences that are meant: by name of the case, lines as [`difference`] gives them.
pub fn meant() -> BTreeMap<String, String> {
    let mut meant = BTreeMap::new();
    for case in read(&dir().join("differences.txt")) {
        let lines = case.all("lines").next().map(|section| section.text.clone());
        for name in case.name.split_whitespace() {
            meant.insert(name.to_owned(), lines.clone().unwrap_or_default());
        }
    }
    meant
}

/// Lines of Docker's alone behind `-`, of tug's alone behind `+`; empty when there are none.
pub fn difference(docker: &str, tug: &str) -> String {
    let mut count: BTreeMap<&str, i32> = BTreeMap::new();
    docker
        .lines()
        .filter(|line| counts(line))
        .for_each(|line| *count.entry(line).or_default() += 1);
    tug.lines().for_each(|line| *count.entry(line).or_default() -= 1);
    let mut out = String::new();
    for (sign, lines, wanted) in [('-', docker, 1), ('+', tug, -1)] {
        for line in lines.lines() {
            if let Some(left) = count.get_mut(line).filter(|left| left.signum() == wanted) {
                *left -= wanted;
                let _ = writeln!(out, "{sign}{line}");
            }
        }
    }
    out
}

/// What Docker said of a case that fails is kept to be read, not to be repeated.
fn counts(line: &str) -> bool {
    !line.is_empty() && !line.starts_with("says ")
}

#[cfg(test)]
mod tests {
    use super::difference;

    #[test]
    fn lines_of_either_alone_are_found() {
        assert_eq!(difference("a\nb\nsays x\n", "b\na\n"), "");
        assert_eq!(difference("a\nb\nb\n", "b\nc\n"), "-a\n-b\n+c\n");
    }
}
