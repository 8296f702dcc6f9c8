//! The commented example of every file: what `lap help <file>` prints, and the documentation of the keys.

/// The example of `lap.toml`, `node.toml`, `container.toml`, `env.toml` or `rootfs.toml`.
pub fn example(file: &str) -> Option<&'static str> {
    match file {
        "lap.toml" => Some(include_str!("lap.toml")),
        "node.toml" => Some(include_str!("node.toml")),
        "container.toml" => Some(include_str!("container.toml")),
        "rootfs.toml" => Some(include_str!("rootfs.toml")),
        "env.toml" => Some(include_str!("env.toml")),
        _ => None,
    }
}
