//! Whether production is whole: what is recorded, what runs, its data, its names and its secrets are of one state.

use std::time::{Duration, Instant};

use crate::live::{lab::Lab, promote::prod};

/// Long enough that only what never comes is missed.
const PATIENCE: Duration = Duration::from_secs(240);

/// What production is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct State {
    /// Of the container that changes.
    pub version: String,
    /// In the data of the one that does not.
    pub mark: String,
}

/// One question for each of what must agree, a line each. What a promotion brought that never began may lie there: the next one replaces it.
const LOOK: &str = "\
    docker exec infra_two cat /say; \
    cat /data/two/file; \
    docker exec infra_two cat /data/file; \
    docker inspect --format '{{.State.Status}}' infra_one; \
    grep -o 'two-[a-z0-9]*[.]internal' /var/lib/lap/pool/state/current.json | sort -u | xargs; \
    grep -o 'two-[a-z0-9]*[.]internal' /var/lib/lap/names/names.json | sort -u | xargs; \
    openssl x509 -in /var/lib/lap/secrets/two/tls.crt -noout -ext subjectAltName | grep -o 'two-[a-z0-9]*[.]internal' | xargs; \
    cat /data/one/mark; \
    ls -A /var/lib/lap /var/lib/lap/pool /var/lib/lap/pool/state /var/lib/lap/pool/snapshots | \
    grep -E 'switch.json|restore.*json|hooks.json|lap-new|lap-restore|^[.]new-' | xargs; \
    docker ps --all --format '{{.Names}}' | grep -vE '^infra_(one|two)$' | xargs";

impl State {
    /// What it is, or what does not agree.
    pub fn look(lab: &Lab) -> Result<Self, String> {
        let said = lab.on_node("prod", &["sh", "-c", LOOK]);
        let lines: Vec<&str> = said.out.lines().collect();
        let [say, file, inside, one, recorded, named, secret, mark, left, others] = lines[..] else {
            return Err(format!("{} answers: {}{}", lines.len(), said.out, said.err));
        };
        let name = format!("two-{say}.internal");
        let agree = [file, inside].iter().all(|found| *found == say)
            && [recorded, named, secret].iter().all(|found| *found == name)
            && one == "running"
            && left.is_empty()
            && others.is_empty();
        if agree { Ok(Self { version: say.into(), mark: mark.into() }) } else { Err(said.out) }
    }
}

/// Waits until it is one of these, and `lap status` says that all is well.
pub fn until_whole(lab: &Lab, allowed: &[&State]) -> Result<State, String> {
    let begun = Instant::now();
    loop {
        let status = lab.lap(&["status", "prod"]);
        let found = State::look(lab);
        let verified = || lab.lap(&["release", "ledger", "verify"]).code == 0;
        match &found {
            Ok(state) if status.code == 0 && allowed.contains(&state) && verified() => return Ok(state.clone()),
            _ if begun.elapsed() > PATIENCE => return Err(format!("{found:?}\n{}\n{}", status.out, status.err)),
            _ => std::thread::sleep(Duration::from_millis(100)),
        }
    }
}

/// Two environments, with `two` in its first version.
pub fn both(name: &str) -> Lab {
    let lab = Lab::two_environments(name);
    // Its healthcheck passes as soon as its data is written.
    write_version(&lab, "v0");
    let mark = "trap exit TERM; test -e /data/mark || echo 0 >/data/mark; sleep infinity & wait";
    lab.edit("containers/one/Dockerfile", "trap exit TERM; sleep infinity & wait", mark);
    lab.commit();
    lab
}

/// A version that is not the present one.
pub fn version(present: &str, random: u64) -> String {
    let new = format!("v{random}");
    if new == present { format!("v{}", random + 1) } else { new }
}

/// `two` in this version: another image, another name, another certificate; it writes its version into its data.
pub fn write_version(lab: &Lab, version: &str) {
    let command = "trap exit TERM; cat /say >/data/file; sleep infinity & wait";
    lab.write(
        "containers/two/Dockerfile",
        &format!("FROM infra/one\nRUN echo {version} >/say\nCMD [\"/bin/sh\", \"-c\", \"{command}\"]\n"),
    );
    lab.write(
        "containers/two/container.toml",
        &format!(
            "depends_on = [\"one\"]\nnames = [\"two-{version}.internal\"]\nports = [\"8181:81\"]\nsecrets = [\"tls.crt\", \"tls.key\"]\n\
             healthcheck = {{ test = [\"CMD-SHELL\", \"test -s /data/file\"] }}\n"
        ),
    );
    lab.commit();
}

/// The release that a roll-back may go to, and its version: the one before the present one, if there is one.
pub fn before(lab: &Lab) -> Option<(u64, String)> {
    let releases = "cd /var/lib/lap/pool/state; grep -o '\"release\": *[0-9]*' current.json; \
                    for file in releases/*.json; do echo $file $(grep -o 'two-[a-z0-9]*[.]internal' $file | sort -u); done";
    let said = prod(lab, releases);
    let mut lines = said.lines();
    let now: u64 = lines.next()?.rsplit(' ').next()?.parse().ok()?;
    let release = |line: &str| -> Option<(u64, String)> {
        let (file, name) = line.split_once(' ')?;
        let number = file.trim_start_matches("releases/").trim_end_matches(".json").parse().ok()?;
        Some((number, name.strip_prefix("two-")?.strip_suffix(".internal")?.to_owned()))
    };
    lines.filter_map(release).filter(|(number, _)| *number < now).max()
}

/// The newest snapshot of production.
pub fn newest_snapshot(lab: &Lab) -> String {
    let list: serde_json::Value = serde_json::from_str(&lab.lap(&["snapshot", "list", "prod", "--json"]).ok()).unwrap();
    list.as_array().unwrap().last().unwrap()["meta"]["id"].as_str().unwrap().to_owned()
}
