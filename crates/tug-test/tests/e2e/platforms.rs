//! One name, several platforms: looked at and removed one by one.

use crate::pull::registry_with_busybox;
use tug_test::layout::Family;
use tug_test::push::push;
use tug_test::sandbox::{Sandbox, busybox_in};

#[test]
fn the_images_of_an_index_are_told_apart() {
    let s = Sandbox::empty();
    let Some(registry) = registry_with_busybox() else { return };
    let dir = tempfile::tempdir().unwrap_or_else(|e| panic!("{e}"));
    let (layout, here) = busybox_in(dir.path()).unwrap_or_else(|e| panic!("{e}"));
    let config = serde_json::json!({"architecture": "s390x", "os": "linux", "config": {"Cmd": ["far"]},
        "history": [{"created_by": "ENV far", "empty_layer": true}],
        "rootfs": {"type": "layers", "diff_ids": []}});
    let far = layout
        .image_of(Family::Oci, config.to_string().as_bytes(), &[])
        .unwrap_or_else(|e| panic!("{e}"));
    let index = layout
        .index(Family::Oci, &[(&far, "linux/s390x"), (&here, "linux/amd64")])
        .unwrap_or_else(|e| panic!("{e}"));
    let pushed = push(registry.address(), &layout, &index, "both", "latest");
    assert!(pushed.is_ok(), "{pushed:?}");
    let name = format!("{}/both", registry.address());
    s.tug(&["pull", &name]).ok();
    let cmd = |platform: &str| {
        let format = "{{.Architecture}} {{json .Config.Cmd}}";
        s.tug(&["image", "inspect", "--platform", platform, "-f", format, &name])
    };
    assert_eq!(cmd("linux/amd64").ok(), "amd64 [\"sh\"]");
    cmd("linux/s390x").code(1).says("does not provide").hint("tug pull --platform linux/s390x");
    s.tug(&["pull", "--platform", "linux/s390x", &name]).ok();
    assert_eq!(cmd("linux/amd64").ok(), "amd64 [\"sh\"]", "the other is still here");
    assert_eq!(cmd("linux/s390x").ok(), "s390x [\"far\"]");
    let steps =
        s.tug(&["history", "--platform", "linux/s390x", "--format", "{{.CreatedBy}}", &name]);
    assert_eq!(steps.ok(), "ENV far");
    let removed = s.tug(&["rmi", "--platform", "linux/s390x", &name]);
    assert!(removed.ok().starts_with("Deleted: sha256:"), "{removed}");
    assert_eq!(cmd("linux/amd64").ok(), "amd64 [\"sh\"]");
    cmd("linux/s390x").code(1);
    s.tug(&["run", "--rm", &name, "true"]).ok();
    let last = s.tug(&["rmi", "--platform", "linux/amd64", &name]);
    assert!(last.ok().starts_with("Untagged: "), "{last}");
    assert_eq!(s.tug(&["images", "-q"]).ok(), "");
}
