//! `containers/<name>/container.toml`, in the words of the Compose specification.

use std::{collections::BTreeSet, path::Path};

use lap_snapshots::hooks::{Scrub, SnapshotHooks};

use super::{
    ParsedFile, build, checks, data, healthcheck,
    node::{bytes, cpus},
    variables::variables,
};
use crate::config::{
    document::{Item, Schema, Table, open, schema::key},
    files,
    model::{Container, NetworkMode, Port, Volume},
    problem::{Ledger, did_you_mean, shown},
    value::{
        capability::capability,
        duration::duration,
        grant::security_opt,
        name,
        port::port,
        signal::signal,
        volume::{tmpfs, volume},
        words,
    },
};

/// The secrets that lap makes and mounts under `/run/secrets`.
pub const SECRETS: [&str; 6] = ["tls.crt", "tls.key", "htpasswd", REGISTRY_HTPASSWD, "admin.pub", KEYS];

/// The user who may write to the registry, and a hash of the password.
pub const REGISTRY_HTPASSWD: &str = "registry.htpasswd";

/// The password itself, beside that hash: the node pushes what it builds. No container sees it.
pub const REGISTRY_PASSWORD: &str = "registry.password";

/// The DNS server's keys. They change while it runs: the container sees the directory they are in, as
/// `/run/secrets/<name>`, and is not replaced.
pub const KEYS: &str = "keys.json";

/// The keys of `container.toml`.
pub const SCHEMA: Schema = Schema {
    keys: &[
        key("description", r#""git repositories""#),
        key("names", r#"["git.internal"]"#),
        key("ports", r#"["2200:22"]"#),
        key("volumes", r#"["/srv/files:/files:ro"]"#),
        key("environment", r#"{ LANG = "C.UTF-8" }"#),
        key("depends_on", r#"["registry"]"#),
        key("healthcheck", r#"{ test = ["CMD", "true"] }"#),
        key("cap_add", r#"["NET_ADMIN"]"#),
        key("cap_drop", r#"["ALL"]"#),
        key("security_opt", r#"["no-new-privileges"]"#),
        key("privileged", "false"),
        key("read_only", "true"),
        key("tmpfs", r#"["/tmp:size=64m"]"#),
        key("mem_limit", r#""512m""#),
        key("pids_limit", "512"),
        key("cpus", "0.5"),
        key("user", r#""git""#),
        key("init", "true"),
        key("network_mode", r#""bridge""#),
        key("data", r#"{ size = "10g" }"#),
        key("snapshot", r#"{ before = ["/usr/bin/dump"] }"#),
        key("checks", r#"{ timeout = "60s" }"#),
        key("command", r#"["serve", "--verbose"]"#),
        key("entrypoint", r#"["/usr/bin/serve"]"#),
        key("hostname", r#""git""#),
        key("stop_grace_period", r#""10s""#),
        key("stop_signal", r#""SIGTERM""#),
        key("secrets", r#"["tls.crt"]"#),
        key("scale", "1"),
        key("build", r#"{ args = { VERSION = "1.2" } }"#),
    ],
    refused: &[
        ("deploy", "reserved for services on several nodes, not supported yet: remove it"),
        ("route", "reserved for the ingress, not supported yet: remove it"),
        ("pid", "not supported, because a container sees only its own processes: remove it"),
        ("ipc", "not supported, because a container's shared memory is its own: remove it"),
        ("image", "not supported, because lap builds every image: write `FROM …` in the Dockerfile"),
        ("restart", "not supported, because every container is `unless-stopped`: remove it"),
        ("container_name", "not supported, because the name is `infra_` and the directory's name: remove it"),
        ("env_file", "not supported: write `environment`, or read a file under `/env`"),
        ("devices", "not supported: remove it"),
        ("networks", "not supported, because containers reach each other by name: remove it"),
        ("labels", "not supported, because labels are reserved for lap: remove it"),
    ],
};

/// Docker refuses less.
const LEAST_MEMORY: u64 = 6 << 20;
/// The kernel has no more numbers for processes.
const MOST_PIDS: u64 = 4_194_304;

/// A container as its file says.
#[derive(Debug)]
pub struct ContainerFile {
    pub container: Container,
    pub lists: Lists,
}

/// What other files are compared with, element by element, each with its index in the file.
#[derive(Debug, Default)]
pub struct Lists {
    pub names: Vec<(usize, String)>,
    pub ports: Vec<(usize, Port)>,
    pub volumes: Vec<(usize, Volume)>,
    pub tmpfs: Vec<(usize, String)>,
    pub depends_on: Vec<(usize, String)>,
    pub cap_add: Vec<(usize, String)>,
    pub security_opt: Vec<(usize, String)>,
}

/// Reads the container `name`, whose DNS names are in `zone`.
pub fn read(root: &Path, name: &str, zone: &str, ledger: &Ledger) -> ParsedFile<ContainerFile> {
    let mut out = ContainerFile { container: Container::new(name), lists: Lists::default() };
    let path = format!("containers/{name}/container.toml");
    let missing = "missing: each directory under `containers` needs one, see `lap help container.toml`";
    let file = files::read(root, &path, missing, ledger).filter(|file| {
        let Some(document) = open(file, ledger) else { return false };
        let table = Table::document(file, &document, &SCHEMA, ledger);
        out.lists = lists(&table, zone);
        fill(&out.lists, &mut out.container);
        identity(&table, &mut out.container);
        rights(&table, &mut out.container);
        process(&table, &mut out.container);
        true
    });
    ParsedFile { file, value: out }
}

fn lists(table: &Table<'_>, zone: &str) -> Lists {
    let as_is = |text: &str| Ok(text.to_owned());
    Lists {
        names: list(table, "names", |text| name::in_zone(text, zone)),
        ports: list(table, "ports", port),
        volumes: list(table, "volumes", volume),
        tmpfs: list(table, "tmpfs", tmpfs),
        depends_on: list(table, "depends_on", as_is),
        cap_add: list(table, "cap_add", capability),
        security_opt: list(table, "security_opt", security_opt),
    }
}

fn list<T>(table: &Table<'_>, key: &str, parse: impl FnMut(&str) -> Result<T, String>) -> Vec<(usize, T)> {
    table.get(key).map(|item| item.numbered(parse)).unwrap_or_default()
}

fn fill(lists: &Lists, out: &mut Container) {
    fn values<T: Clone, C: FromIterator<T>>(list: &[(usize, T)]) -> C {
        list.iter().map(|(_, value)| value.clone()).collect()
    }
    out.names = values(&lists.names);
    out.ports = values(&lists.ports);
    out.volumes = values(&lists.volumes);
    out.tmpfs = values(&lists.tmpfs);
    out.depends_on = values(&lists.depends_on);
    out.cap_add = values(&lists.cap_add);
    out.security_opt = values(&lists.security_opt);
}

/// What others see of it.
fn identity(table: &Table<'_>, out: &mut Container) {
    out.description = table.get("description").and_then(|item| item.string()).unwrap_or_default().to_owned();
    out.scale = table.get("scale").and_then(|item| scale(&item)).unwrap_or(1);
    out.hostname = table.get("hostname").and_then(|item| item.parse(name::label));
    out.healthcheck = table.get("healthcheck").and_then(|item| healthcheck::read(&item));
    out.build = table.get("build").and_then(|item| build::read(&item)).unwrap_or_default();
}

/// What it may do, and how much.
fn rights(table: &Table<'_>, out: &mut Container) {
    out.cap_drop = set(table, "cap_drop", capability);
    out.privileged = flag(table, "privileged");
    out.read_only = flag(table, "read_only");
    out.network_mode = table.get("network_mode").and_then(|item| item.parse(network_mode)).unwrap_or_default();
    out.secrets = set(table, "secrets", secret);
    out.mem_limit = table.get("mem_limit").and_then(|item| bytes(&item, LEAST_MEMORY, "6m"));
    out.pids_limit = table.get("pids_limit").and_then(|item| item.integer(1, MOST_PIDS)).map(|pids| pids as u32);
    out.data = table.get("data").and_then(|item| data::read(&item));
    out.cpus = table.get("cpus").and_then(|item| cpus(&item));
}

/// What runs in it.
fn process(table: &Table<'_>, out: &mut Container) {
    out.environment = table.get("environment").map(|item| variables(&item)).unwrap_or_default();
    out.user = table.get("user").and_then(|item| item.parse(user));
    out.init = flag(table, "init");
    out.command = table.get("command").and_then(|item| command(&item));
    out.snapshot = table.get("snapshot").and_then(|item| hooks(&item));
    out.checks = table.get("checks").and_then(|item| checks::read(&item));
    out.entrypoint = table.get("entrypoint").and_then(|item| command(&item));
    if let Some(period) = table.get("stop_grace_period").and_then(|item| item.parse(duration)) {
        out.stop_grace_period = period;
    }
    out.stop_signal = table.get("stop_signal").and_then(|item| item.parse(signal));
}

fn flag(table: &Table<'_>, key: &str) -> bool {
    table.get(key).and_then(|item| item.bool()).unwrap_or_default()
}

fn set(table: &Table<'_>, key: &str, parse: impl FnMut(&str) -> Result<String, String>) -> BTreeSet<String> {
    table.get(key).map(|item| item.each(parse).into_iter().collect()).unwrap_or_default()
}

fn scale(item: &Item<'_>) -> Option<u32> {
    let value = item.integer(0, u32::MAX.into())?;
    if value > 1 {
        item.problem("more than one is not supported yet: write `1`, or `0` for a base image of others");
        return None;
    }
    Some(value as u32)
}

fn command(item: &Item<'_>) -> Option<Vec<String>> {
    let words = if item.is_string() { item.parse(words::split)? } else { item.list().map(|_| item.strings())? };
    if words.is_empty() {
        item.problem("empty: write a program, or remove the key");
        return None;
    }
    Some(words)
}

/// The keys of `snapshot`.
pub const HOOKS: Schema = Schema {
    keys: &[
        key("before", r#"["/usr/bin/dump"]"#),
        key("after", r#"["/usr/bin/resume"]"#),
        key("timeout", r#""30s""#),
        key("scrub", r#""none""#),
    ],
    refused: &[],
};

fn hooks(item: &Item<'_>) -> Option<SnapshotHooks> {
    let table = item.table()?.with(&HOOKS);
    let words = |key: &str| table.get(key).and_then(|item| command(&item)).unwrap_or_default();
    let timeout = table.get("timeout").and_then(|item| item.parse(duration));
    Some(SnapshotHooks {
        before: words("before"),
        after: words("after"),
        timeout: timeout.unwrap_or(std::time::Duration::from_secs(30)),
        scrub: table.get("scrub").and_then(|item| scrub(&item)),
    })
}

fn scrub(item: &Item<'_>) -> Option<Scrub> {
    if item.is_string() && item.string() == Some("none") {
        return Some(Scrub::None);
    }
    command(item).map(Scrub::Run)
}

fn network_mode(text: &str) -> Result<NetworkMode, String> {
    match text {
        "bridge" => Ok(NetworkMode::Bridge),
        "host" => Ok(NetworkMode::Host),
        _ => Err(format!("{} is not supported: write `bridge` or `host`", shown(text))),
    }
}

fn secret(text: &str) -> Result<String, String> {
    if SECRETS.contains(&text) {
        return Ok(text.to_owned());
    }
    let guess = did_you_mean(text, SECRETS);
    let known = SECRETS.map(|name| format!("`{name}`")).join(", ");
    let help = if guess.is_empty() { format!(": known are {known}") } else { guess };
    Err(format!("{} is not a secret{help}", shown(text)))
}

fn user(text: &str) -> Result<String, String> {
    let good = |part: &str| {
        !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.'))
    };
    let parts: Vec<&str> = text.split(':').collect();
    if parts.len() <= 2 && parts.into_iter().all(good) {
        return Ok(text.to_owned());
    }
    Err(format!("{} is not a user: write USER or USER:GROUP, e.g. `git` or `1000:1000`", shown(text)))
}
