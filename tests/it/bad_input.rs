//! A workspace that is wrong: every problem with its place and what would be right, and nothing was touched.

use crate::workspace::Workspace;

const HINT: &str =
    "hint: `lap help lap.toml` (or `node.toml`, `container.toml`, `env.toml`, `rootfs.toml`) explains every key\n";

fn message(problems: &[&str]) -> String {
    let count = if problems.len() == 1 { "1 problem".to_owned() } else { format!("{} problems", problems.len()) };
    format!("error: the workspace has {count}:\n{}\n{HINT}", problems.join("\n"))
}

/// `lap up` of this workspace names these problems, and leaves everything as it is.
#[track_caller]
fn wrong(workspace: &Workspace, problems: &[&str]) {
    let before = workspace.everything();
    workspace.lap(["up"]).fails(3, &message(problems));
    assert_eq!(workspace.everything(), before, "something was made or changed");
}

const MASTER: &str = "environment = \"test\"\nrole = \"master\"\naddress = \".10\"\n";
const WORKER: &str = "environment = \"test\"\nrole = \"worker\"\n";

#[test]
fn unknown_key() {
    wrong(
        &Workspace::small().container("git", "prots = [\"2200:22\"]\n"),
        &["containers/git/container.toml:1: prots: unknown key; did you mean `ports`?"],
    );
}

#[test]
fn bad_name() {
    wrong(
        &Workspace::small().container("Git_2", "description = \"code\"\n").with("lap.toml", "lab = \"The Office\"\n"),
        &[
            "containers/Git_2: `Git_2` is not a name: write lower-case letters, digits and hyphens between them, e.g. `git-2`",
            "lap.toml:1: lab: `The Office` is not a name: write lower-case letters, digits and hyphens between them, e.g. `the-office`",
        ],
    );
}

#[test]
fn duplicate_name() {
    let two = Workspace::small()
        .container("git", "names = [\"git.internal\"]\n")
        .container("hub", "names = [\"git.internal\"]\n");
    wrong(
        &two,
        &["containers/hub/container.toml:1: names[0]: `git.internal` is taken by container `git`: write another name"],
    );
}

#[test]
fn address_outside_the_subnet() {
    let lap = "lab = \"office\"\ndefault = \"test\"\n[network]\nsubnet = \"192.168.7.0/24\"\n";
    let workspace = Workspace::small().with("lap.toml", lap);
    let node = MASTER.replace(".10", "192.168.8.10");
    wrong(
        &workspace.with("nodes/test/node.toml", node),
        &[
            "nodes/test/node.toml:3: address: `192.168.8.10` is outside the subnet `192.168.7.0/24`: write `192.168.7.2` to `192.168.7.254`",
        ],
    );
}

#[test]
fn address_used_twice() {
    wrong(
        &Workspace::small().with("nodes/test/node.toml", MASTER.replace(".10", ".11")),
        &["nodes/test/node.toml:3: address: `.11` is taken by node `prod`: write another address"],
    );
}

#[test]
fn port_taken_twice() {
    wrong(
        &Workspace::small().container("hub", "ports = [\"2200:22\"]\n"),
        &[
            "containers/hub/container.toml:1: ports[0]: port `2200/tcp` is taken by container `git`: write another host port",
        ],
    );
}

#[test]
fn cycle() {
    let workspace =
        Workspace::small().container("git", "depends_on = [\"hub\"]\n").container("hub", "depends_on = [\"git\"]\n");
    wrong(
        &workspace,
        &["containers/git/container.toml:1: depends_on[0]: a cycle: `git` → `hub` → `git`: remove one of them"],
    );
}

#[test]
fn unknown_words() {
    let workspace = Workspace::small()
        .with("nodes/two/node.toml", "environment = \"tset\"\nrole = \"slave\"\naddress = \".12\"\n")
        .with("lap.toml", "lab = \"office\"\ndefault = \"tests\"\n")
        .with("env/prod/env.toml", "promote_from = \"staging\"\n");
    wrong(
        &workspace,
        &[
            "env/prod/env.toml:1: promote_from: `staging` is not an environment: write one of `prod`, `test`",
            "lap.toml:2: default: `tests` is not an environment; did you mean `test`?",
            "nodes/two/node.toml:1: environment: `tset` is not an environment; did you mean `test`?",
            "nodes/two/node.toml:2: role: `slave` is not a role: write `master`, `worker`, `data`, `builder` or `backup`",
        ],
    );
}

#[test]
fn no_master() {
    wrong(
        &Workspace::small().with("nodes/test/node.toml", WORKER),
        &[
            "env/test/env.toml:1: no master: write a `nodes/<name>/node.toml` with `environment = \"test\"`, `role = \"master\"`",
        ],
    );
}

#[test]
fn two_masters() {
    wrong(
        &Workspace::small().with("nodes/two/node.toml", MASTER.replace(".10", ".12")),
        &["nodes/two/node.toml:2: role: `test` has two masters, `test` and `two`: write `worker` in one of them"],
    );
}

#[test]
fn no_dockerfile() {
    wrong(
        &Workspace::small().without("containers/git/Dockerfile"),
        &["containers/git/Dockerfile: missing: write one that begins with FROM"],
    );
}

#[test]
fn path_that_leaves_the_workspace() {
    let workspace = Workspace::small()
        .container("git", "volumes = [\"/env/../etc:/etc2\"]\n")
        .without("env/test/env.toml")
        .link("env/test/env.toml", "/etc/hostname");
    wrong(
        &workspace,
        &[
            "containers/git/container.toml:1: volumes[0]: `/env/../etc` contains `.` or `..`: write the resolved path",
            "env/test/env.toml: the link leads out of the workspace, to `/etc/hostname`: replace it by a copy",
        ],
    );
}

#[test]
fn nobody_granted_it() {
    let toml = "privileged = true\nvolumes = [\"/var/run/docker.sock:/docker.sock\", \"/data/hub:/hub\"]\n";
    wrong(
        &Workspace::small().container("git", toml),
        &[
            "containers/git/container.toml:1: privileged: `privileged` makes the container root on the node, which lap.toml does not grant: remove it, or add `git = [\"privileged: true\"]` under `[grants]` in lap.toml",
            "containers/git/container.toml:2: volumes[0]: Docker's socket makes the container root on the node, which lap.toml does not grant: remove it, or add `git = [\"/var/run/docker.sock\"]` under `[grants]` in lap.toml",
            "containers/git/container.toml:2: volumes[1]: `/data/hub` is outside `/data/git` and `/env`, which lap.toml does not grant: remove it, or add `git = [\"/data/hub\"]` under `[grants]` in lap.toml",
        ],
    );
}

#[test]
fn not_utf8() {
    wrong(
        &Workspace::small().with("nodes/test/node.toml", b"role = \"m\xffster\"\n"),
        &["nodes/test/node.toml:1: not UTF-8: save the file as UTF-8"],
    );
}

#[test]
fn empty_file() {
    wrong(
        &Workspace::small().with("env/test/env.toml", ""),
        &["env/test/env.toml:1: the file is empty: `lap help env.toml` shows its keys"],
    );
}

#[test]
fn not_toml() {
    wrong(
        &Workspace::small().with("env/test/env.toml", "description = \"t\ntwo\n"),
        &["env/test/env.toml:2: this is not TOML: key with no value, expected `=`"],
    );
}

#[test]
fn many_at_once_from_any_verb() {
    let workspace = Workspace::small()
        .with("lap.toml", "lab = \"office\"\ndefault = \"test\"\nsubnet = \"10.0.0.0/8\"\n")
        .with("nodes/test/node.toml", "environment = \"test\"\nrole = \"master\"\naddress = \".300\"\ncpu = 2\n")
        .with("env/test/env.toml", "")
        .container("hub", "depends_on = [\"gti\"]\nports = [\"80\", \"80\"]\n");
    let want = message(&[
        "containers/hub/container.toml:1: depends_on[0]: `gti` is not a container; did you mean `git`?",
        "containers/hub/container.toml:2: ports[1]: port `80/tcp` is written twice: remove one",
        "env/test/env.toml:1: the file is empty: `lap help env.toml` shows its keys",
        "lap.toml:3: subnet: unknown key: known are `lab`, `default`, `network`, `operators`, `grants`, `hosts`, `pcs`, `dns`, `snapshot`, `repositories`, `copies`, `promote`",
        "nodes/test/node.toml:3: address: `.300` is not an offset: write `.2` to `.254`",
        "nodes/test/node.toml:4: cpu: unknown key; did you mean `cpus`?",
    ]);
    let before = workspace.everything();
    for line in ["up", "up --all", "up --dry-run", "status", "down", "doctor", "keys new", "destroy test --yes", "ssh"]
    {
        workspace.lap(line.split(' ')).fails(3, &want);
    }
    assert_eq!(workspace.everything(), before, "something was made or changed");
}
