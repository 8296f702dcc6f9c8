//! One hostile container does everything at once: it holds connections of the name server and of the registry, has names forwarded, starts
//! processes without end, and fills the disk with a file that has no name. The others are served all the time, `lap status` names the container,
//! and it is frozen.

use std::time::{Duration, Instant};

use super::lab::{Lab, PATIENCE, run, until_or};
use crate::random::Random;

/// Waits for its numbers, floods, waits once more, and fills and forks. Process 1 holds the file without a name.
const ATTACK: &str = r#"#!/bin/sh
trap exit TERM
[ -p /data/attack ] || mkfifo /data/attack /data/go
read tcp forwards registry </data/attack
node=$LAP_NODE_ADDRESS
hold() { while :; do sleep 600 | /bin/busybox nc "$node" "$1"; done; }
forward() { n=0; while :; do n=$((n+1)); /bin/busybox nslookup "x$n.$1.example.com" "$node"; done; }
hammer() { while :; do echo "GET /v2/ HTTP/1.0" | /bin/busybox nc "$node" 5000; done; }
n=0; while [ $n -lt "$tcp" ]; do hold 53 & n=$((n+1)); done
n=0; while [ $n -lt "$registry" ]; do hold 5000 & n=$((n+1)); done
n=0; while [ $n -lt "$forwards" ]; do forward $n & hammer & n=$((n+1)); done
exec 3>/data/gone; rm /data/gone
read x </data/go
dd if=/dev/urandom bs=1M >&3 &
bomb() { bomb | bomb & }
(bomb) &
while :; do wait; done
"#;

const HOSTILE: &str = "depends_on = [\"one\"]\nhealthcheck = { test = [\"CMD-SHELL\", \"grep -q two /say\"] }\n\
                       pids_limit = 400\ncpus = 0.5\ndata = { size = \"100m\" }\n";
const WRITES: &str = "CMD [\"/bin/sh\", \"-c\", \"trap exit TERM; n=0; while :; do n=$((n+1)); head -c 4000 /dev/urandom >/data/page && sync /data/page \
                      && echo $n >/tmp/wrote; sleep 0.05; done & wait\"]\n";

/// What was asked and answered in one round.
#[derive(Debug, Default)]
pub struct Served {
    pub answers: u64,
    /// The longest that one answer took.
    pub slowest: Duration,
    /// From the full disk until the container was frozen.
    pub frozen: Duration,
}

fn node(lab: &Lab, script: &str) -> String {
    lab.on_node("test", &["sh", "-c", script]).ok().trim().to_owned()
}

/// A lab with a name server, a registry, a container that writes, and the hostile one.
pub fn lab(name: &str) -> Lab {
    let lab = Lab::with_dns(name);
    lab.take_registry();
    let image = std::fs::read_to_string(lab.root.join("containers/one/Dockerfile")).unwrap();
    let begin = image.find("CMD").unwrap();
    lab.write("containers/one/Dockerfile", &format!("{}RUN mkdir -p /tmp\n{WRITES}", &image[..begin]));
    lab.write(
        "containers/two/Dockerfile",
        "FROM infra/one\nRUN echo two > /say\nCOPY attack /attack\nCMD [\"/attack\"]\n",
    );
    lab.write("containers/two/attack", ATTACK);
    lab.executable("containers/two/attack");
    lab.write("containers/two/container.toml", HOSTILE);
    lab.commit();
    lab.lap(&["up"]).ok();
    lab
}

/// Plays one attack; `Err`: what was not served.
pub fn play(lab: &Lab, random: &mut Random) -> Result<Served, String> {
    let mut served = Served::default();
    let numbers = (20 + random.below(60), 1 + random.below(4), 10 + random.below(40));
    eprintln!(
        "  {} TCP connections to the name server, {} floods, {} connections to the registry",
        numbers.0, numbers.1, numbers.2
    );
    node(lab, &format!("timeout 60 sh -c 'echo {} {} {} >/data/two/attack'", numbers.0, numbers.1, numbers.2));
    for _ in 0..10 {
        ask(lab, &mut served)?;
    }
    node(lab, "timeout 60 sh -c 'echo >/data/two/go'");
    let (begun, mut full) = (Instant::now(), None);
    while !is_frozen(lab) {
        if begun.elapsed() > PATIENCE {
            return Err(format!("the container is not frozen: {:?}", lab.lap(&["status"])));
        }
        let free = node(lab, "df --output=avail -B1 /var/lib/lap/pool | tail -n 1").parse::<u64>().unwrap_or(0);
        if free < 20 << 20 {
            full.get_or_insert_with(Instant::now);
        }
        // While the disk is full and the container is not frozen yet, a write may fail: that is seen below.
        names(lab, &mut served)?;
    }
    served.frozen = full.map_or(Duration::ZERO, |full| full.elapsed());
    for _ in 0..5 {
        ask(lab, &mut served)?;
    }
    let status = lab.lap(&["status"]);
    let only = status.err.contains("not healthy: `two`; `two` is frozen since ");
    if status.code != 7 || !only {
        return Err(format!("`lap status` does not name it: {status:?}"));
    }
    lab.lap(&["snapshot"]).ok();
    Ok(served)
}

/// The container is started anew, and everything is healthy.
pub fn mend(lab: &Lab) {
    lab.lap(&["restart", "two"]).ok();
    for id in node(lab, "ls /var/lib/lap/pool/snapshots").split_whitespace() {
        lab.lap(&["snapshot", "rm", "--yes", id]).ok();
    }
    until_or(|| lab.lap(&["status"]).code == 0, || format!("{:?}", lab.lap(&["status"])));
}

fn is_frozen(lab: &Lab) -> bool {
    let status: serde_json::Value = serde_json::from_str(&lab.lap(&["status", "--json"]).out).unwrap_or_default();
    status["facts"]["quota"]["over"]["two"]["frozen"] == true
}

/// Real requests: names over UDP and TCP, the registry over TLS, and a write that is on the disk.
fn ask(lab: &Lab, served: &mut Served) -> Result<(), String> {
    names(lab, served)?;
    let (address, root) = (lab.address("test"), lab.root.join(".lap/keys/root.crt"));
    let url = format!("https://{address}:5000/v2/");
    answered(served, || {
        let ran = run(
            "curl",
            &["--silent", "--show-error", "--fail", "--max-time", "60", "--cacert", root.to_str().unwrap(), &url],
        );
        (ran.code == 0).then_some(()).ok_or_else(|| format!("the registry: {ran:?}"))
    })?;
    answered(served, || {
        let before = wrote(lab);
        until_or(|| wrote(lab) > before, || format!("`one` does not write: {:?}", lab.lap(&["status"])));
        Ok(())
    })
}

fn names(lab: &Lab, served: &mut Served) -> Result<(), String> {
    let address = lab.address("test");
    for words in [&["one.internal"][..], &["+tcp", "one.internal"]] {
        answered(served, || {
            let server = format!("@{address}");
            let ran = run("dig", &[&["+short", "+time=10", "+tries=3", server.as_str()], words].concat());
            (ran.out.trim() == address).then_some(()).ok_or_else(|| format!("the name server ({words:?}): {ran:?}"))
        })?;
    }
    Ok(())
}

fn wrote(lab: &Lab) -> u64 {
    let script = "cat /proc/$(docker inspect --format '{{.State.Pid}}' infra_one)/root/tmp/wrote";
    node(lab, script).parse().unwrap_or(0)
}

fn answered(served: &mut Served, ask: impl FnOnce() -> Result<(), String>) -> Result<(), String> {
    let begun = Instant::now();
    ask()?;
    served.answers += 1;
    served.slowest = served.slowest.max(begun.elapsed());
    Ok(())
}
