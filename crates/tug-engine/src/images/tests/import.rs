//! `import`: a bare root filesystem becomes an image.

use super::*;
use crate::images::ImportOptions;
use tug_test::layer::LayerTar;

fn rootfs() -> Vec<u8> {
    let mut tar = LayerTar::new(Vec::new());
    tar.dir("etc", Meta::mode(0o755)).unwrap();
    tar.file("etc/hostname", Meta::mode(0o644), b"box\n").unwrap();
    tar.finish().unwrap()
}

#[test]
fn a_tar_becomes_an_image_with_the_changes_asked_for() {
    let sandbox = Sandbox::new();
    let tar = rootfs();
    let id = sandbox
        .engine
        .import(
            tar.as_slice(),
            ImportOptions {
                source: String::new(),
                reference: Some(reference("box:1")),
                changes: vec![r#"CMD ["sh"]"#.to_owned(), "ENV A=b".to_owned()],
                message: Some("from a tar".to_owned()),
                platform: Some("linux/arm/v7".to_owned()),
            },
        )
        .unwrap();
    let row = sandbox.engine.store().image_by_reference(&reference("box:1")).unwrap().unwrap();
    assert_eq!(row.id, id);
    let config: serde_json::Value = serde_json::from_slice(&row.config).unwrap();
    assert_eq!(config["config"], json!({"Cmd": ["sh"], "Env": ["A=b"]}));
    assert_eq!(config["comment"], "from a tar");
    assert_eq!(config["history"][0]["comment"], "from a tar");
    assert_eq!(
        (&config["os"], &config["architecture"], &config["variant"]),
        (&json!("linux"), &json!("arm"), &json!("v7"))
    );
    assert_eq!(config["rootfs"]["diff_ids"][0], tug_test::layout::digest_of(&tar));
    assert!(row.created > 1_700_000_000);
    assert_eq!(sandbox.engine.store().blobs().read(&id).unwrap(), row.config);
    let layers = sandbox.engine.store().image_layers(&id).unwrap();
    let tree = sandbox.engine.store().layers().tree(&layers[0].diff_id);
    assert_eq!(std::fs::read(tree.join("etc/hostname")).unwrap(), b"box\n");
}

#[test]
fn without_a_name_it_stays_unnamed() {
    let sandbox = Sandbox::new();
    let id = sandbox.engine.import(rootfs().as_slice(), ImportOptions::default()).unwrap();
    let row = &sandbox.engine.store().images().unwrap()[0];
    assert_eq!(row.id, id);
    assert!(row.tags.is_empty());
    let config: serde_json::Value = serde_json::from_slice(&row.config).unwrap();
    assert_eq!(config["comment"], "Imported from -");
    assert_eq!(config["architecture"], "amd64");
}

#[test]
fn what_cannot_be_imported_leaves_nothing() {
    let sandbox = Sandbox::new();
    let mut escaping = LayerTar::new(Vec::new());
    escaping.file("../out", Meta::mode(0o644), b"x").unwrap();
    let escaping = escaping.finish().unwrap();
    let whole = rootfs();
    for (input, changes, words) in [
        (escaping.as_slice(), vec![], "../out"),
        (&whole[..700], vec![], "ends"),
        (whole.as_slice(), vec!["RUN make".to_owned()], "RUN is not a valid change command"),
        (b"BZh91AY&SY".as_slice(), vec![], "read the layer"),
    ] {
        let options = ImportOptions { changes, ..ImportOptions::default() };
        let error = sandbox.engine.import(input, options).expect_err("it was imported");
        let message = error.failure().message;
        assert!(message.contains(words), "{message}");
        assert_eq!(sandbox.leftovers(), [""; 0]);
    }
}
