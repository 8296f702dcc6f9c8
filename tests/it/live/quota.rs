//! A container that fills the pool of all: it is frozen, the others go on, and what a person does about it helps.

use std::time::{Duration, Instant};

use super::lab::{Lab, until, until_or};

fn node(lab: &Lab, script: &str) -> String {
    lab.on_node("test", &["sh", "-c", script]).ok().trim().to_owned()
}

/// Fills its data as fast as it can as long as `/data/begin` is there, and counts in its memory. It begins anew after each failure.
const FILLS: &str = "CMD [\"/bin/sh\", \"-c\", \"trap exit TERM; n=0; while :; do until test -e /data/begin; do sleep 0.1; done; \
                     n=$((n+1)); echo $n >/tmp/turn; head -c 8m /dev/urandom >/data/fill.$n 2>/dev/null; done & wait\"]\n";
/// Writes a little all the time, and counts what it wrote.
const WRITES: &str = "CMD [\"/bin/sh\", \"-c\", \"trap exit TERM; n=0; while :; do n=$((n+1)); \
                      head -c 4000 /dev/urandom >/data/page && sync /data/page && echo $n >/tmp/wrote; sleep 0.05; done & wait\"]\n";
/// Its health check does something that needs no second process, and leaves a trace.
const FILLER: &str = "depends_on = [\"one\"]\nhealthcheck = { test = [\"CMD-SHELL\", \"kill -CONT 1; echo x >>/tmp/woke\"], interval = \"1s\" }\n\
                      data = { size = \"100m\" }\n";

fn lab(name: &str) -> Lab {
    let lab = Lab::tiny(name);
    let image = std::fs::read_to_string(lab.root.join("containers/one/Dockerfile")).unwrap();
    let begin = image.find("CMD").unwrap();
    lab.write("containers/one/Dockerfile", &format!("{}RUN mkdir -p /tmp\n{WRITES}", &image[..begin]));
    lab.write("containers/two/Dockerfile", &format!("FROM infra/one\nRUN mkdir -p /tmp\n{FILLS}"));
    lab.write("containers/two/container.toml", FILLER);
    lab.commit();
    lab
}

fn status(lab: &Lab) -> serde_json::Value {
    serde_json::from_str(&lab.lap(&["status", "--json"]).out).unwrap_or_default()
}

/// What `container` counts in its memory.
fn counter(lab: &Lab, container: &str, file: &str) -> u64 {
    let root = format!("/proc/$(docker inspect --format '{{{{.State.Pid}}}}' infra_{container})/root");
    node(lab, &format!("cat {root}/tmp/{file} 2>/dev/null || true")).parse().unwrap_or(0)
}

fn is_frozen(lab: &Lab) -> bool {
    status(lab)["facts"]["quota"]["over"]["two"]["frozen"] == true
}

fn goes_on(lab: &Lab) {
    let before = counter(lab, "two", "turn");
    until("the container goes on", || counter(lab, "two", "turn") > before);
}

/// The pool is at its end; gives how long it took from there until the container was frozen.
fn fill(lab: &Lab) -> Duration {
    node(lab, "touch /data/two/begin");
    let free = || node(lab, "df --output=avail -B1 /var/lib/lap/pool | tail -n 1").parse::<u64>().unwrap();
    until_or(|| free() < 20 << 20, || format!("{} bytes are free", free()));
    let full = Instant::now();
    let held = "docker inspect --format '{{.Id}}' infra_two | xargs -I @ find /sys/fs/cgroup -path '*@*' -name pids.max -exec cat {} +";
    until_or(|| node(lab, held) == "0", || format!("{}{}", node(lab, held), lab.lap(&["status"]).out));
    full.elapsed()
}

/// How many files it has.
fn reserve(lab: &Lab) -> usize {
    node(lab, "ls /var/lib/lap/pool/reserve 2>/dev/null || true").lines().count()
}

fn one_writes(lab: &Lab, when: &str) {
    let before = counter(lab, "one", "wrote");
    until(&format!("`one` writes {when}"), || counter(lab, "one", "wrote") > before + 3);
}

/// Long enough for some of its health checks.
fn stays_still(lab: &Lab) {
    let woke = "cat /proc/$(docker inspect --format '{{.State.Pid}}' infra_two)/root/tmp/woke | wc -l";
    let woken = || node(lab, woke).trim().parse::<u64>().unwrap();
    let before = (counter(lab, "two", "turn"), woken());
    std::thread::sleep(Duration::from_secs(3));
    assert_eq!(counter(lab, "two", "turn"), before.0);
    // A check that the guard ends may have written its line before, on a busy machine: one, and not one a second.
    let after = woken();
    assert!(after <= before.1 + 1, "{after} checks ran, {} before", before.1);
}

fn only_two_is_sick(lab: &Lab) -> String {
    until_or(|| is_frozen(lab), || lab.lap(&["status"]).out);
    let said = lab.lap(&["status"]);
    assert_eq!(said.code, 7, "{said:?}");
    assert!(
        said.err.contains("not healthy: `two`; `two` is frozen since ")
            && said.err.contains("more than its size of 100.0 MiB"),
        "{said:?}"
    );
    assert!(said.err.contains("`lap restart test/two` starts it again") && said.out.contains("frozen"), "{said:?}");
    assert_eq!(status(lab)["containers"][0]["health"], "healthy");
    said.err
}

#[test]
fn a_container_that_fills_the_pool_is_frozen_and_the_others_go_on() {
    let lab = lab("quota");
    lab.lap(&["up"]).ok();
    until("the reserve is there", || reserve(&lab) == 8);
    lab.lap(&["snapshot"]).ok();
    let first = node(&lab, "ls /var/lib/lap/pool/snapshots");
    let took = fill(&lab);
    eprintln!("frozen {:.1} s after the pool was full", took.as_secs_f64());

    // Nothing of it moves, also where its own health check tries to continue it; the others write and are healthy.
    only_two_is_sick(&lab);
    stays_still(&lab);
    one_writes(&lab, "beside a frozen container");
    assert!(lab.on_node("test", &["docker", "exec", "infra_two", "/bin/true"]).code != 0, "nothing starts in it");

    // Snapshots are taken, more than one; and an agent that starts again knows what it froze.
    lab.lap(&["snapshot"]).ok();
    lab.lap(&["snapshot"]).ok();
    one_writes(&lab, "after snapshots");
    let kill_agent = || lab.on_node("test", &["pkill", "-9", "-f", "lap agent run"]).ok();
    kill_agent();
    until("the agent is there again", || lab.lap(&["status"]).code == 7);
    only_two_is_sick(&lab);
    stays_still(&lab);
    node(&lab, "rm /run/lap/frozen.json");
    kill_agent();
    until("the agent found out", || lab.lap(&["status"]).code == 7 && is_frozen(&lab));
    stays_still(&lab);

    // A part comes back, and so does a file.
    lab.lap(&["restore", "--yes", &first, "--only", "one"]).ok();
    one_writes(&lab, "after a restore of its data");
    assert!(is_frozen(&lab));

    // Another size, without a restart.
    let started = || node(&lab, "docker inspect --format '{{.State.StartedAt}}' infra_two");
    let before = started();
    lab.edit("containers/two/container.toml", "100m", "2g");
    lab.commit();
    let said = lab.lap(&["up", "--dry-run"]).ok();
    assert!(said.contains("the data size of `two` is 2.0 GiB instead of 100.0 MiB"), "{said}");
    lab.lap(&["up"]).ok();
    goes_on(&lab);
    assert_eq!(started(), before);
    // A smaller size freezes it again.
    node(&lab, "rm -f /data/two/begin");
    lab.edit("containers/two/container.toml", "2g", "100m");
    lab.commit();
    until_or(|| lab.lap(&["up"]).code == 0, || format!("{:?}", lab.lap(&["up"])));
    until_or(|| is_frozen(&lab), || format!("{:?}", lab.lap(&["status"])));

    // Started again, it may run as long as it does not grow. What is shared counts whole, and needs no room here.
    lab.lap(&["restart", "two"]).ok();
    until_or(|| !is_frozen(&lab), || lab.lap(&["status"]).out);
    node(&lab, "docker exec infra_two /bin/true");
    let said = lab.lap(&["status"]).fails(7);
    assert!(said.contains("`two` is frozen again if its data grows: "), "{said}");
    node(&lab, "cd /data/two && for n in 1 2 3; do cp --reflink=always fill.9 more.$n; done; sync");
    until_or(|| is_frozen(&lab), || lab.lap(&["status"]).out);

    // A whole restore, in that state: the data is that of the snapshot, and nobody is frozen.
    lab.lap(&["restore", "--yes", &first]).ok();
    until_or(|| !is_frozen(&lab) && status(&lab)["containers"][1]["health"] == "healthy", || lab.lap(&["status"]).out);
    node(&lab, "docker exec infra_two /bin/true");
    for id in node(&lab, "ls /var/lib/lap/pool/snapshots").split_whitespace() {
        lab.lap(&["snapshot", "rm", "--yes", id]).ok();
    }
    until_or(|| lab.lap(&["status"]).code == 0, || lab.lap(&["status"]).out);
    until("the reserve is whole again", || reserve(&lab) == 8);
}
