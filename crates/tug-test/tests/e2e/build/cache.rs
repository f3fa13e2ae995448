//! What is remembered and what is not: keys are content and nothing else.

use super::{Project, in_app, steps};
use std::os::unix::fs::PermissionsExt;
use tug_test::sandbox::Sandbox;

const COPY_AND_RUN: &str = "FROM busybox\nCOPY . /app/\nRUN cat /app/f > /seen\n";

#[test]
fn nothing_runs_when_nothing_changed_and_the_image_is_the_same() {
    let s = Sandbox::new();
    let p = Project::new(&s, COPY_AND_RUN, &[("f", "1")]);
    p.build(&s, &[]);
    let id = s.inspect("app")["Id"].clone();
    let again = p.build(&s, &[]);
    let (cached, ran) = steps(&again);
    assert_eq!((cached.len(), ran.len()), (2, 0), "{again}");
    assert_eq!(s.inspect("app")["Id"], id);
    let (cached, ran) = steps(&p.build(&s, &["--no-cache"]));
    assert_eq!((cached.len(), ran.len()), (0, 2));
}

#[test]
fn every_edit_is_seen_and_no_touch_is() {
    let s = Sandbox::new();
    let p = Project::new(&s, COPY_AND_RUN, &[("f", "1"), ("g", "1")]);
    std::os::unix::fs::symlink("f", p.dir.join("l")).unwrap();
    p.build(&s, &[]);
    let changed = |what: &str| {
        let output = p.build(&s, &["--explain"]);
        let (_, ran) = steps(&output);
        assert!(!ran.is_empty(), "{what} was not seen: {output}");
        output
    };
    let same = |what: &str| {
        let (_, ran) = steps(&p.build(&s, &[]));
        assert_eq!(ran, Vec::<String>::new(), "{what} must not matter");
    };
    let f = p.dir.join("f");
    // The same size and the same time, written in place and as a new file.
    let time = std::fs::metadata(&f).unwrap().modified().unwrap();
    std::fs::write(&f, "2").unwrap();
    std::fs::File::options().write(true).open(&f).unwrap().set_modified(time).unwrap();
    changed("an edit in place").says("file f changed");
    assert_eq!(in_app(&s, "cat /seen"), "2");
    std::fs::write(p.dir.join("new"), "3").unwrap();
    std::fs::File::options()
        .write(true)
        .open(p.dir.join("new"))
        .unwrap()
        .set_modified(time)
        .unwrap();
    std::fs::rename(p.dir.join("new"), &f).unwrap();
    changed("a file put in its place").says("file f changed");
    assert_eq!(in_app(&s, "cat /seen"), "3");

    std::fs::set_permissions(&f, PermissionsExt::from_mode(0o755)).unwrap();
    changed("a mode").says("mode or owner");
    std::fs::rename(p.dir.join("g"), p.dir.join("h")).unwrap();
    changed("a name").says("file h is new").says("file g is gone");
    std::fs::remove_file(p.dir.join("l")).unwrap();
    std::os::unix::fs::symlink("h", p.dir.join("l")).unwrap();
    changed("a link's target").says("file l changed");
    p.write(".dockerignore", "h\n");
    changed("an ignore rule").says("file h is gone");

    std::fs::File::options()
        .write(true)
        .open(&f)
        .unwrap()
        .set_modified(std::time::UNIX_EPOCH)
        .unwrap();
    same("a time");
    p.write("h", "ignored");
    same("an ignored file");
    std::fs::rename(&p.dir, p.dir.with_extension("moved")).unwrap();
    let moved = Project { dir: p.dir.with_extension("moved") };
    assert_eq!(steps(&moved.build(&s, &[])).1, Vec::<String>::new(), "where the context is");
}

#[test]
fn arguments_count_where_they_are_declared() {
    let s = Sandbox::new();
    let p = Project::new(
        &s,
        "FROM busybox\nRUN echo first\nARG V=1\nRUN echo $V > /v\nENV E=x\nRUN echo last\n",
        &[],
    );
    p.build(&s, &[]);
    let output = p.build(&s, &["--build-arg", "V=2", "--explain"]);
    let (cached, ran) = steps(&output);
    assert_eq!((cached.len(), ran.len()), (1, 2), "{output}");
    output.says("variable V changed from \"1\" to \"2\"");
    assert_eq!(in_app(&s, "cat /v"), "2");
}

#[test]
fn a_step_that_comes_out_the_same_leaves_the_rest_cached() {
    let s = Sandbox::new();
    let dockerfile = |what: &str| {
        format!(
            "FROM busybox AS a\nRUN echo {what} >/dev/null; echo same > /out\nFROM busybox\nCOPY --from=a /out /out\nRUN cat /out\n"
        )
    };
    let p = Project::new(&s, &dockerfile("one"), &[]);
    p.build(&s, &[]);
    p.write("Dockerfile", &dockerfile("two"));
    let (cached, ran) = steps(&p.build(&s, &[]));
    assert_eq!((cached.len(), ran.len()), (2, 1), "{cached:?} {ran:?}");
}

#[test]
fn the_same_step_runs_once_for_two_builds_at_the_same_time() {
    let s = Sandbox::new();
    let p = Project::new(
        &s,
        "FROM busybox\nRUN --mount=type=cache,target=/c sleep 1; echo x >> /c/runs; wc -l < /c/runs > /n\n",
        &[],
    );
    let one = s.start(&["build", "-t", "one", &p.path()]);
    let two = s.start(&["build", "-t", "two", &p.path()]);
    one.wait_in(&s).ok();
    two.wait_in(&s).ok();
    assert_eq!(s.inspect("one")["Id"], s.inspect("two")["Id"]);
    assert_eq!(s.tug(&["run", "--rm", "two", "cat", "/n"]).ok(), "1");
}

#[test]
fn six_builds_of_different_files_share_what_they_have_in_common() {
    let s = Sandbox::new();
    let shared = "FROM busybox AS work\nRUN --mount=type=cache,target=/c,sharing=shared \
        sleep 0.7; echo x >> /c/runs; cp /c/runs /n\n";
    let projects: Vec<Project> = (0..6)
        .map(|n| {
            let own =
                format!("{shared}FROM busybox\nCOPY --from=work /n /n\nRUN echo {n} > /own\n");
            Project::new(&s, &own, &[])
        })
        .collect();
    let begun: Vec<_> = projects
        .iter()
        .enumerate()
        .map(|(n, project)| s.start(&["build", "-t", &format!("app{n}"), &project.path()]))
        .collect();
    begun.into_iter().for_each(|build| {
        build.wait_in(&s).ok();
    });
    for n in 0..6 {
        let app = format!("app{n}");
        let seen = s.tug(&["run", "--rm", &app, "cat", "/n", "/own"]);
        assert_eq!(seen.ok(), format!("x\n{n}"), "the shared step ran once");
    }
}

#[test]
fn a_base_that_changed_runs_everything_anew() {
    let s = Sandbox::new();
    let base = Project::new(&s, "FROM busybox\nRUN echo 1 > /base\n", &[]);
    base.try_build(&s, &["-t", "base"]).ok();
    let p = Project::new(&s, "FROM base\nRUN cat /base > /seen\n", &[]);
    p.build(&s, &[]);
    base.write("Dockerfile", "FROM busybox\nRUN echo 2 > /base\n");
    base.try_build(&s, &["-t", "base"]).ok();
    p.build(&s, &[]);
    assert_eq!(in_app(&s, "cat /seen"), "2");
}

#[test]
fn removing_the_image_keeps_the_cache() {
    let s = Sandbox::new();
    let p = Project::new(&s, COPY_AND_RUN, &[("f", "1")]);
    p.build(&s, &[]);
    s.tug(&["rmi", "app"]).ok();
    let (cached, ran) = steps(&p.build(&s, &[]));
    assert_eq!((cached.len(), ran.len()), (2, 0));
    assert_eq!(in_app(&s, "cat /seen"), "1");
}
