//! Names, ids and prefixes.

use std::collections::BTreeSet;
use tug_test::sandbox::Sandbox;

#[test]
fn ids_are_sixty_four_hex_digits_and_twelve_are_shown() {
    let s = Sandbox::new();
    let id = s.detached(&[], &["sleep", "60"]);
    assert_eq!(s.tug(&["ps", "-q"]).ok(), &id[..12]);
    assert_eq!(s.tug(&["ps", "-q", "--no-trunc"]).ok(), id);
}

#[test]
fn generated_names_are_an_adjective_and_a_person() {
    let s = Sandbox::new();
    let names: BTreeSet<String> = (0..12)
        .map(|_| {
            let id = s.tug(&["create", "busybox"]).ok().to_owned();
            s.format(&id, "{{.Name}}")
        })
        .collect();
    assert_eq!(names.len(), 12, "all different: {names:?}");
    for name in names {
        let words: Vec<_> = name.trim_start_matches('/').split('_').collect();
        assert!(
            words.len() == 2 && words.iter().all(|w| w.bytes().all(|b| b.is_ascii_alphanumeric())),
            "{name}"
        );
    }
}

#[test]
fn a_name_a_prefix_and_the_full_id_all_name_it() {
    let s = Sandbox::new();
    let id = s.tug(&["create", "--name", "My.name-1", "busybox"]).ok().to_owned();
    for name in ["My.name-1", "/My.name-1", &id, &id[..12], &id[..3]] {
        assert_eq!(s.format(name, "{{.Id}}"), id, "{name}");
    }
}

#[test]
fn an_ambiguous_prefix_lists_its_candidates() {
    let s = Sandbox::new();
    // Seventeen ids share a first digit at least once.
    let ids: Vec<String> = (0..17).map(|_| s.tug(&["create", "busybox"]).ok().to_owned()).collect();
    let count = |first: &char| ids.iter().filter(|id| id.starts_with(*first)).count();
    let digits = || "0123456789abcdef".chars();
    let shared = digits().find(|first| count(first) > 1).unwrap_or('0').to_string();
    let answer = s.tug(&["start", &shared]);
    answer.code(1).says("multiple containers match").hint("more digits");
    for id in ids.iter().filter(|id| id.starts_with(&shared)) {
        answer.says(&id[..12]);
    }
    assert!(s.tug(&["ps", "-q"]).ok().is_empty(), "none was started");
}

#[test]
fn a_name_wins_over_a_prefix() {
    let s = Sandbox::new();
    let first = s.tug(&["create", "busybox"]).ok().to_owned();
    let named = s.tug(&["create", "--name", &first[..4], "busybox"]).ok().to_owned();
    assert_eq!(s.format(&first[..4], "{{.Id}}"), named);
    assert_eq!(s.format(&first[..5], "{{.Id}}"), first);
}

#[test]
fn a_taken_name_says_by_whom() {
    let s = Sandbox::new();
    let id = s.tug(&["create", "--name", "web", "busybox"]).ok().to_owned();
    let again = s.tug(&["run", "--name", "web", "busybox", "true"]);
    again.code(125).says("container name \"/web\" is already in use by container").says(&id);
    again.hint("tug rm");
    assert_eq!(s.tug(&["ps", "-aq"]).lines().len(), 1);
}

#[test]
fn a_bad_name_is_refused() {
    let s = Sandbox::new();
    for name in ["-x", "a b", "ä", "x/y"] {
        s.tug(&["create", &format!("--name={name}"), "busybox"]).refused(
            1,
            &format!("Invalid container name ({name}), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed"),
        );
    }
}

#[test]
fn rename_moves_the_name_also_of_a_running_container() {
    let s = Sandbox::new();
    s.detached(&["--name", "old"], &["sleep", "60"]);
    s.tug(&["create", "--name", "taken", "busybox"]).ok();
    assert_eq!(s.tug(&["rename", "old", "new"]).ok(), "");
    assert_eq!(s.status("new"), "running");
    s.tug(&["inspect", "old"]).code(1);
    s.tug(&["rename", "new", "taken"]).code(1).says("already in use");
    s.tug(&["rename", "new", "new"]).code(1).says("that is its name already");
    s.tug(&["create", "--name", "old", "busybox"]).ok();
}
