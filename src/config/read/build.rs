//! `build`: what is in the image's build context beside the files of the directory.

use super::variables::variables;
use crate::config::{
    document::{Item, Schema, Table, schema::key},
    model::{Build, Rootfs},
    problem::{did_you_mean, shown},
};

/// The keys of `build`.
pub const SCHEMA: Schema = Schema {
    keys: &[
        key("args", r#"{ VERSION = "1.2" }"#),
        key("with_lap", "true"),
        key("rootfs", r#"{ suite = "bookworm", packages = ["curl"] }"#),
    ],
    refused: &[
        ("context", "not supported: the context is always the container's own directory"),
        ("dockerfile", "not supported: it is always `Dockerfile` beside this file"),
        ("target", "not supported: lap builds the last stage of the Dockerfile"),
    ],
};

/// The keys of `build.rootfs`.
pub const ROOTFS: Schema = Schema {
    keys: &[
        key("suite", r#""bookworm""#),
        key("variant", r#""minbase""#),
        key("packages", r#"["curl"]"#),
        key("exclude", r#"["/usr/share/man/*"]"#),
        key("include", r#"["/usr/share/doc/*/copyright"]"#),
    ],
    refused: &[],
};

const VARIANTS: [&str; 9] =
    ["extract", "custom", "essential", "apt", "required", "minbase", "buildd", "important", "standard"];

/// Reads the table.
pub fn read(item: &Item<'_>) -> Option<Build> {
    let table = item.table()?.with(&SCHEMA);
    Some(Build {
        args: table.get("args").map(|item| variables(&item)).unwrap_or_default(),
        with_lap: table.get("with_lap").and_then(|item| item.bool()).unwrap_or_default(),
        rootfs: table.get("rootfs").and_then(|item| rootfs(&item)),
        ..Build::default()
    })
}

fn rootfs(item: &Item<'_>) -> Option<Rootfs> {
    Some(rootfs_table(&item.table()?.with(&ROOTFS)))
}

/// What a table with the keys of [`ROOTFS`] says.
pub fn rootfs_table(table: &Table<'_>) -> Rootfs {
    Rootfs {
        suite: table.require("suite").and_then(|item| item.parse(suite)).unwrap_or_default(),
        variant: table.get("variant").and_then(|item| item.parse(variant)).unwrap_or_else(|| "minbase".to_owned()),
        packages: table.get("packages").map(|item| item.each(package).into_iter().collect()).unwrap_or_default(),
        exclude: table.get("exclude").map(|item| item.each(pattern)).unwrap_or_default(),
        include: table.get("include").map(|item| item.each(pattern)).unwrap_or_default(),
    }
}

// These become arguments of mmdebstrap: none may look like an option or like two.

fn suite(text: &str) -> Result<String, String> {
    let good = text.starts_with(|c: char| c.is_ascii_lowercase())
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'.'));
    if good { Ok(text.to_owned()) } else { Err(format!("{} is not a suite: write e.g. `bookworm`", shown(text))) }
}

fn variant(text: &str) -> Result<String, String> {
    if VARIANTS.contains(&text) {
        return Ok(text.to_owned());
    }
    let guess = did_you_mean(text, VARIANTS);
    let help = if guess.is_empty() { ": write e.g. `minbase`" } else { &guess };
    Err(format!("{} is not a variant of mmdebstrap{help}", shown(text)))
}

fn package(text: &str) -> Result<String, String> {
    let good = text.len() > 1
        && text.starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit())
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'+' | b'-' | b'.'));
    if good { Ok(text.to_owned()) } else { Err(format!("{} is not a package's name: write e.g. `curl`", shown(text))) }
}

fn pattern(text: &str) -> Result<String, String> {
    if text.starts_with('/') && !text.contains(|c: char| c.is_whitespace()) {
        return Ok(text.to_owned());
    }
    Err(format!("{} is not a pattern of paths: write e.g. `/usr/share/man/*`", shown(text)))
}
