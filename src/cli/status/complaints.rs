//! What is wrong with an environment, a sentence each, and per kind the command that mends it.

use std::collections::BTreeMap;

use lap_base::{
    error::Result,
    state::Unreadable,
    words::{ago, bytes, plural},
};
use time::OffsetDateTime;

use super::{complaint::Complaint, quota};
use crate::{
    cli::snapshot::texts,
    keys::{self, Ends, Keys},
    wire::protocol::NodeFacts,
    workspace::Workspace,
};

/// What is late, damaged, full or not at its end.
pub fn late(workspace: &Workspace, environment: &str, facts: &NodeFacts) -> Vec<Complaint> {
    let (snapshots, lab, now) = (&facts.snapshots, &workspace.lab, lap_base::clock::now());
    let of_file = |file: &Unreadable| Complaint { text: file.sentence(), hints: file.hints.clone() };
    let mut all: Vec<Complaint> = facts.unreadable.iter().map(of_file).collect();
    if is_recovering(facts) {
        let hint = format!(
            "the agent tries again until it succeeds; `lap promote --resume --to {environment}` watches a promotion or rollback"
        );
        all.push(Complaint::new(recovering(facts, now), hint));
    }
    all.extend(quota::over(facts, environment, now));
    if facts.data.is_low() {
        let text = format!("`/data` is full: {} of {} are free", bytes(facts.data.free), bytes(facts.data.size));
        let hint = format!(
            "find large snapshots with `lap snapshot list {environment} --sizes` and remove them with `lap snapshot rm ID --env {environment}`, or set a larger `disk` in the node's node.toml"
        );
        all.push(Complaint::new(text, hint.clone()));
        all.extend(quota::largest(facts).map(|text| Complaint::new(text, hint)));
    }
    if !snapshots.ahead.is_empty() {
        let ahead: Vec<_> = snapshots.ahead.iter().collect();
        let hints = texts::mend_ahead(&ahead, environment).to_vec();
        all.push(Complaint { text: texts::ahead(&ahead), hints });
    }
    let age = now - snapshots.newest.unwrap_or(0).max(snapshots.since);
    if snapshots.policy.patience().is_some_and(|patience| age > patience.cast_signed()) {
        let hint = format!("`lap snapshot {environment}` takes a snapshot now");
        all.push(Complaint::new("the newest snapshot is older than the schedule allows", hint));
    }
    for why in &snapshots.incomplete {
        let hint = format!("`lap snapshot show latest --env {environment}` shows what the newest snapshot contains");
        all.push(Complaint::new(format!("the newest snapshot: {why}"), hint));
    }
    // Before that there was no node that could be copied.
    let since = if snapshots.since > 0 { snapshots.since } else { now };
    let copies = lab.copies.complaints(lab.repositories.keys(), &facts.copies, since, now);
    let hint = format!("`lap snapshot copy --due {environment}` makes due copies and verifications");
    all.extend(copies.into_iter().map(|text| Complaint::new(text, hint.clone())));
    all
}

/// The certificates that end soon: of servers with less than a third of their life left, of authorities within a year.
pub fn certificates(
    keys: &Keys,
    environment: &str,
    servers: &BTreeMap<String, String>,
    now: OffsetDateTime,
) -> Result<Vec<Complaint>> {
    let servers = servers.iter().filter_map(|(container, pem)| {
        let what = match keys::ends_soon(pem, now)? {
            Ends::On(end) => format!("{} on {}", if end < now { "ended" } else { "ends" }, end.date()),
            Ends::Unreadable => "cannot be read".to_owned(),
        };
        let hint = format!("`lap up {environment}` renews the certificates of the servers");
        Some(Complaint::new(format!("the certificate of `{container}` {what}"), hint))
    });
    let hint = "`lap keys new` renews the lab's own certificates";
    let authorities = keys.ending(now)?;
    Ok(servers.chain(authorities.iter().map(|ending| Complaint::new(ending.sentence(now), hint))).collect())
}

/// Nodes that still admit removed operators.
pub fn open(sentences: Vec<String>) -> impl Iterator<Item = Complaint> {
    let hint = "if this lap.toml is older than the addition of the key, run `git pull` first";
    sentences.into_iter().map(move |text| Complaint::new(text, hint))
}

/// Containers that are not as they should be.
pub fn sick(environment: &str, containers: &[&str], facts: &NodeFacts) -> Option<Complaint> {
    if containers.is_empty() {
        return None;
    }
    let text = format!("not healthy: `{}`", containers.join("`, `"));
    // An interrupted operation and a frozen container have a complaint of their own.
    let unexplained = containers.iter().find(|name| !is_recovering(facts) && !facts.quota.is_frozen(name));
    let hint = |name| format!("`lap logs {environment}/{name}` shows the reason; `lap up {environment}` repairs it");
    Some(Complaint { text, hints: unexplained.map(hint).into_iter().collect() })
}

/// Something was interrupted, and the agent has not finished it, or not taken it back, yet: what runs now may be neither what ran before
/// nor what is to run.
fn is_recovering(facts: &NodeFacts) -> bool {
    facts.recovery.is_some() || facts.lock.as_ref().is_some_and(|(holder, _)| holder.is_recovery())
}

/// The same as a sentence: how often it was tried, and why it failed last.
fn recovering(facts: &NodeFacts, now: i64) -> String {
    let mut said = "the agent completes an interrupted operation".to_owned();
    let known = facts.recovery.as_ref();
    if let Some((known, error)) = known.and_then(|known| Some((known, known.error.as_ref()?))) {
        let tries = plural(usize::try_from(known.tries).unwrap_or(usize::MAX), "failed attempt");
        said = format!(
            "{said}: {tries} in {}, the last one: {}",
            ago(now - known.since),
            error.lines().next().unwrap_or_default()
        );
    }
    said
}

#[cfg(test)]
mod tests {
    use super::{super::complaint::error, *};
    use crate::wire::protocol::{OverFact, SnapshotFacts};

    #[test]
    fn certificates_that_end_soon_are_complaints() {
        let dir = tempfile::tempdir().unwrap();
        let keys = Keys::create(dir.path(), "office", "internal", &["test".into()]).unwrap().keys;
        let now = OffsetDateTime::now_utc();
        let leaf = keys.issue("test", &["git.internal".into()], &[], now).unwrap();
        let servers = BTreeMap::from([("git".to_owned(), leaf.chain)]);
        let after = |days| -> Vec<String> {
            let all = certificates(&keys, "test", &servers, now + time::Duration::days(days)).unwrap();
            all.into_iter().map(|complaint| complaint.text).collect()
        };
        assert!(after(0).is_empty() && after(264).is_empty());
        assert_eq!(after(265), [format!("the certificate of `git` ends on {}", leaf.not_after.date())]);
        assert_eq!(after(398), [format!("the certificate of `git` ended on {}", leaf.not_after.date())]);
        let damaged = BTreeMap::from([("git".to_owned(), "-----BEGIN".to_owned())]);
        let all = certificates(&keys, "test", &damaged, now).unwrap();
        assert_eq!(all[0].text, "the certificate of `git` cannot be read");
        assert!(after(3290)[1].starts_with("the certificate `.lap/keys/test/issuing.crt` ends on "));
    }

    #[test]
    fn a_frozen_container_takes_no_hint_from_another_sick_one() {
        let mut facts = NodeFacts::default();
        let over = OverFact { id: "1".into(), bytes: 9, size: 5, since: 1, frozen: true, unmeasured: false };
        facts.quota.over.insert("cache".into(), over);
        let said = sick("test", &["cache", "web"], &facts).unwrap();
        assert_eq!(said.text, "not healthy: `cache`, `web`");
        assert!(said.hints[0].starts_with("`lap logs test/web` shows the reason"), "{:?}", said.hints);
        assert!(sick("test", &["cache"], &facts).unwrap().hints.is_empty());
    }

    #[test]
    fn each_kind_of_complaint_has_its_hint_once() {
        let (copy, verified) = (Complaint::new("a", "copy"), Complaint::new("b", "copy"));
        let error = error(vec![copy, Complaint::new("c", "rm"), verified]);
        assert_eq!((error.message.as_str(), error.hints), ("a; c; b", vec!["copy".to_owned(), "rm".to_owned()]));
    }

    #[test]
    fn a_snapshot_from_the_future_is_named_with_the_command_that_removes_it() {
        let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
        let workspace = Workspace::open(root, None).unwrap();
        let snapshots = SnapshotFacts { ahead: vec!["20991121-094512".parse().unwrap()], ..SnapshotFacts::default() };
        let facts = NodeFacts { snapshots, ..NodeFacts::default() };
        let error = error(late(&workspace, "test", &facts));
        assert_eq!(error.message, "the clock of the node was or is wrong: `20991121-094512` is dated in the future");
        assert!(error.hints[1].contains("`lap snapshot rm 20991121-094512 --env test`"), "{:?}", error.hints);
    }
}
