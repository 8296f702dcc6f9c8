//! `env/<name>/env.toml`: one deployment of the infrastructure.

use std::path::Path;

use super::ParsedFile;
use crate::config::{
    document::{Schema, Table, open, schema::key},
    files,
    model::{Environment, OnFailure},
    problem::Ledger,
    value::address::upstream,
};

/// The keys of `env.toml`.
pub const SCHEMA: Schema = Schema {
    keys: &[
        key("description", r#""what the team works with""#),
        key("promote_from", r#""test""#),
        key("upstreams", r#"["9.9.9.9"]"#),
        key("on_failure", r#""restore""#),
    ],
    refused: &[],
};

/// Reads the environment `name`. Its master is found later, among the nodes.
pub fn read(root: &Path, name: &str, ledger: &Ledger) -> ParsedFile<Environment> {
    let mut out = Environment {
        name: name.to_owned(),
        description: String::new(),
        promote_from: None,
        upstreams: Vec::new(),
        on_failure: OnFailure::Keep,
        master: String::new(),
        builder: None,
    };
    let path = format!("env/{name}/env.toml");
    let missing = "missing: each directory under `env` needs one, see `lap help env.toml`";
    let file = files::read(root, &path, missing, ledger).filter(|file| {
        let Some(document) = open(file, ledger) else { return false };
        let table = Table::document(file, &document, &SCHEMA, ledger);
        out.description = table.get("description").and_then(|item| item.string()).unwrap_or_default().to_owned();
        out.promote_from = table.get("promote_from").and_then(|item| item.string()).map(str::to_owned);
        out.upstreams = table.get("upstreams").map(|item| item.each(upstream)).unwrap_or_default();
        out.on_failure = table.get("on_failure").and_then(|item| item.parse(on_failure)).unwrap_or_default();
        true
    });
    ParsedFile { file, value: out }
}

fn on_failure(text: &str) -> Result<OnFailure, String> {
    match text {
        "keep" => Ok(OnFailure::Keep),
        "restore" => Ok(OnFailure::Restore),
        _ => Err(format!("`{text}` is not known: write `keep` or `restore`")),
    }
}
