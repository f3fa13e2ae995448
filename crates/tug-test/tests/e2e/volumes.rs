//! Named and anonymous volumes.

use tug_test::layer::Meta;
use tug_test::sandbox::Sandbox;

#[test]
fn a_named_volume_is_made_on_first_use_and_outlives_its_containers() {
    let s = Sandbox::new();
    s.sh(&["-v", "data:/data"], "echo kept > /data/f").ok();
    assert_eq!(s.sh(&["-v", "data:/elsewhere"], "cat /elsewhere/f").ok(), "kept");
    assert_eq!(s.sh(&["--mount", "type=volume,src=data,dst=/d"], "cat /d/f").ok(), "kept");
    assert_eq!(s.tug(&["volume", "ls", "-q"]).ok(), "data");
    assert_eq!(
        s.sh(&["-v", "data:/data:ro"], "touch /data/x 2>&1; true").ok(),
        "touch: /data/x: Read-only file system"
    );
}

#[test]
fn a_new_volume_starts_with_what_the_image_has_there() {
    let s = Sandbox::new();
    s.image("seeded:1", &serde_json::json!({"Cmd": ["sh"]}), |tar| {
        tar.dir("seed", Meta { mode: 0o2750, uid: 1000, gid: 1001 })?;
        tar.file("seed/f", Meta { mode: 0o640, uid: 33, gid: 33 }, b"from the image")?;
        tar.symlink("seed/link", "f")
    });
    let look = ["sh", "-c", "cat /seed/f; stat -c '%u:%g %a' /seed /seed/f; readlink /seed/link"];
    let run = s.tug(&[&["run", "--rm", "-v", "vv:/seed", "seeded:1"], &look[..]].concat());
    assert_eq!(run.ok(), "from the image1000:1001 2750\n33:33 640\nf");
    s.tug(&["run", "--rm", "-v", "vv:/seed", "seeded:1", "rm", "/seed/f"]).ok();
    s.tug(&["run", "--rm", "-v", "vv:/seed", "seeded:1", "test", "!", "-e", "/seed/f"]).ok();
    s.tug(&["run", "--rm", "-v", "ww:/seed:nocopy", "seeded:1", "test", "!", "-e", "/seed/f"]).ok();
}

#[test]
fn anonymous_volumes_go_with_their_container() {
    let s = Sandbox::new();
    s.image("vol:1", &serde_json::json!({"Cmd": ["sh"], "Volumes": {"/data": {}}}), |_| Ok(()));
    let volumes = || s.tug(&["volume", "ls", "-q"]).ok().lines().count();
    s.tug(&["run", "--rm", "vol:1", "touch", "/data/x"]).ok();
    assert_eq!(volumes(), 0, "--rm");
    s.tug(&["run", "--name", "c1", "-v", "/more", "vol:1", "touch", "/data/x", "/more/x"]).ok();
    assert_eq!(volumes(), 2);
    s.tug(&["rm", "c1"]).ok();
    assert_eq!(volumes(), 2, "rm keeps them");
    s.tug(&["run", "--name", "c1", "-v", "named:/data", "vol:1", "true"]).ok();
    s.tug(&["rm", "-v", "c1"]).ok();
    assert_eq!(volumes(), 3, "rm -v keeps named ones");
    s.tug(&["run", "--name", "d1", "vol:1", "true"]).ok();
    s.tug(&["rm", "-fv", "d1"]).ok();
    assert_eq!(volumes(), 3);
}

#[test]
fn the_content_of_an_anonymous_volume_survives_a_restart() {
    let s = Sandbox::new();
    s.tug(&[
        "run",
        "--name",
        "c1",
        "-v",
        "/data",
        "busybox",
        "sh",
        "-c",
        "echo x >> /data/f; wc -l < /data/f",
    ])
    .ok();
    assert_eq!(s.tug(&["start", "-a", "c1"]).ok(), "2");
}

#[test]
fn volume_commands_create_list_inspect_and_remove() {
    let s = Sandbox::new();
    assert_eq!(s.tug(&["volume", "create", "--label", "a=b", "mine"]).ok(), "mine");
    assert_eq!(s.tug(&["volume", "create", "mine"]).ok(), "mine", "again is no error");
    let anonymous = s.tug(&["volume", "create"]).ok().to_owned();
    assert_eq!(anonymous.len(), 64);
    assert_eq!(
        s.tug(&["volume", "ls"]).lines()[0].split_whitespace().collect::<Vec<_>>(),
        ["DRIVER", "VOLUME", "NAME"]
    );
    let shown = s.tug(&[
        "volume",
        "inspect",
        "-f",
        "{{.Driver}} {{.Scope}} {{json .Labels}} {{.Mountpoint}}",
        "mine",
    ]);
    assert_eq!(
        shown.ok(),
        format!("local local {{\"a\":\"b\"}} {}", s.path("data/volumes/mine/_data"))
    );
    assert_eq!(s.tug(&["volume", "ls", "-q", "-f", "label=a"]).ok(), "mine");
    assert_eq!(s.tug(&["volume", "rm", "mine", &anonymous]).ok(), format!("mine\n{anonymous}"));
    s.tug(&["volume", "rm", "mine"]).refused(1, "get mine: no such volume");
    s.tug(&["volume", "rm", "-f", "mine"]).ok();
    s.tug(&["volume", "inspect", "mine"]).code(1).says("get mine: no such volume");
    s.tug(&["volume", "create", "a/b"]).code(1).says("includes invalid characters");
}

#[test]
fn a_volume_in_use_is_not_removed() {
    let s = Sandbox::new();
    let id = s.tug(&["create", "-v", "data:/data", "busybox"]).ok().to_owned();
    s.tug(&["volume", "rm", "data"]).code(1).says("the volume data is in use by").hint("tug rm");
    s.tug(&["rm", &id]).ok();
    s.tug(&["volume", "rm", "data"]).ok();
}

#[test]
fn mounts_show_in_inspect() {
    let s = Sandbox::new();
    let id =
        s.tug(&["create", "-v", "data:/data:ro", "-v", "/tmp:/host", "busybox"]).ok().to_owned();
    let mounts = s.inspect(&id)["Mounts"].clone();
    let find = |target: &str| {
        let list = mounts.as_array().cloned().unwrap_or_default();
        list.into_iter().find(|m| m["Destination"] == target).unwrap_or_default()
    };
    let (volume, bind) = (find("/data"), find("/host"));
    assert_eq!(
        (&volume["Type"], &volume["Name"], &volume["RW"]),
        (&"volume".into(), &"data".into(), &false.into())
    );
    assert_eq!(
        (&bind["Type"], &bind["Source"], &bind["RW"]),
        (&"bind".into(), &"/tmp".into(), &true.into())
    );
}
