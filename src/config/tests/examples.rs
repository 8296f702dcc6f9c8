//! The commented examples are right, and hold every key there is.

use super::{super::example, super::read::SCHEMAS, World};

#[test]
fn load_as_a_workspace() {
    let lab = World::new()
        .with("lap.toml", example("lap.toml").unwrap())
        .with("nodes/test/node.toml", example("node.toml").unwrap())
        .with("nodes/rootfs.toml", example("rootfs.toml").unwrap())
        .with("env/prod/env.toml", example("env.toml").unwrap())
        .container("registry", "#")
        .container("files", "")
        .with("containers/files/container.toml", example("container.toml").unwrap())
        .load();
    assert_eq!(lab.containers["files"].command.as_deref().unwrap()[3], "The files");
    assert_eq!(example("x.toml"), None);
}

#[test]
fn hold_every_key() {
    for (file, path, schema) in SCHEMAS {
        let document: toml::Table = example(file).unwrap().parse().unwrap();
        let table = path
            .split('.')
            .filter(|part| !part.is_empty())
            .fold(&document, |table, part| table[part].as_table().unwrap());
        for key in schema.keys {
            assert!(table.contains_key(key.name), "`{}` is not in the example of {file}", key.name);
        }
        // And what a message gives as an example is TOML.
        for key in schema.keys {
            format!("{} = {}", key.name, key.example).parse::<toml::Table>().unwrap();
        }
    }
}
