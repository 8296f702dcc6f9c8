//! Cells and lines that several snapshot commands print.

use lap_base::words::{self, bytes, plural};
use lap_snapshots::{HookRan, Id, Meta, Pause};

use crate::{release::manifest::ReleaseManifest, wire::protocol::ListedSnapshot};

/// What ran when it was taken.
pub(super) fn ran(meta: &Meta) -> String {
    match meta.current.clone().map(serde_json::from_value::<ReleaseManifest>) {
        None => "-".into(),
        Some(Ok(current)) => crate::apply::options::short(&current.commit),
        Some(Err(_)) => "not known".into(),
    }
}

/// Why it stays.
pub(super) fn kept(listed: &ListedSnapshot) -> String {
    match &listed.because {
        None => "until removed".into(),
        Some(because) if because.is_empty() => "no longer".into(),
        Some(because) => because.join("; "),
    }
}

/// That these are dated in the future.
pub(in crate::cli) fn ahead(ids: &[&Id]) -> String {
    let names = ids.iter().map(|id| format!("`{id}`")).collect::<Vec<_>>().join(", ");
    let verb = if ids.len() == 1 { "is" } else { "are" };
    format!("the clock of the node was or is wrong: {names} {verb} dated in the future")
}

/// What mends it.
pub(in crate::cli) fn mend_ahead(ids: &[&Id], environment: &str) -> [String; 2] {
    let names = ids.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
    [
        "compare the clock of the node with yours (`lap ssh NODE date`), and set it if it is wrong".to_owned(),
        format!("if the clock is right, `lap snapshot rm {names} --env {environment}` removes what you do not need"),
    ]
}

/// What writers felt, a line each.
pub(super) fn felt(pause: &Pause) -> Vec<String> {
    let time = |micros: u64| short(micros as f64 / 1e6);
    let mut lines = Vec::new();
    if let Some(probe) = pause.probe {
        lines.push(format!("Slowest write during the snapshot: {}.", time(probe)));
    }
    if let Some(stood) = pause.still {
        let (files, size) = (plural(stood.files as usize, "file"), bytes(stood.bytes));
        lines.push(format!("Containers were frozen for {} while {files} ({size}) were copied.", time(stood.micros)));
    }
    if !pause.containers.is_empty() {
        let each = pause.containers.iter().map(|(name, micros)| format!("`{name}` {}", time(*micros)));
        lines.push(format!("Longest wait for the disk: {}.", each.collect::<Vec<_>>().join(", ")));
    }
    let hook = |ran: &HookRan| format!("The hook `{}` of `{}` took {}.", ran.hook, ran.container, time(ran.micros));
    lines.extend(pause.hooks.iter().map(hook));
    lines
}

/// Milliseconds where a second would hide what it is about.
pub fn short(seconds: f64) -> String {
    if seconds < 1.0 { format!("{:.0} ms", seconds * 1e3) } else { words::duration(seconds) }
}
