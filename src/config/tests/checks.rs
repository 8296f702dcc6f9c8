//! What several files say together.

use super::{World, each};

const WORKER: &str = "environment = \"test\"\nrole = \"worker\"\n";

#[test]
fn environments() {
    World::new().without("env").says(&["env: no environment: write `env/test/env.toml`, see `lap help env.toml`"]);
    World::new().without("nodes/test").says(&[
        "env/test/env.toml:1: no master: write a `nodes/<name>/node.toml` with `environment = \"test\"`, `role = \
         \"master\"`",
    ]);
    // Whether there is a master is not known.
    World::new()
        .with("nodes/test/node.toml", "")
        .says(&["nodes/test/node.toml:1: the file is empty: `lap help node.toml` shows its keys"]);
    World::new().with("nodes/two/node.toml", "address = \".12\"\nenvironment = \"test\"\nrole = \"master\"").says(&[
        "nodes/two/node.toml:3: role: `test` has two masters, `test` and `two`: write `worker` in one of them",
    ]);
    World::new().with("env/test/env.toml", "promote_from = \"test\"").says(&[
        "env/test/env.toml:1: promote_from: an environment cannot be promoted from itself: remove it, or name the environment for tests",
    ]);
    World::new().with("env/test/env.toml", "promote_from = \"prod\"").says(&[
        "env/prod/env.toml:1: promote_from: a cycle: `prod` → `test` → `prod`: remove `promote_from` from one of them, which then runs the working tree",
    ]);
    let two = World::new().with("env/a/env.toml", "#").without("env/test").without("nodes/test");
    two.with("env/prod/env.toml", "#")
        .with("nodes/a/node.toml", "environment = \"a\"\nrole = \"master\"\naddress = \".9\"")
        .says(&["lap.toml:1: default: missing: write one of `a`, `prod`"]);
}

#[test]
fn a_name_is_an_environment_or_a_container() {
    World::new().container("prod", "mem_limit = \"1g\"").says(&[
        "containers/prod: `prod` is also an environment, and an address could mean either: rename one of them",
    ]);
    World::new().container("production", "mem_limit = \"1g\"").says(&[]);
}

#[test]
fn addresses() {
    World::new()
        .with("nodes/x/node.toml", format!("{WORKER}address = \".11\""))
        .says(&["nodes/x/node.toml:3: address: `.11` is taken by node `prod`: write another address"]);
    World::new()
        .with("lap.toml", "lab = \"a\"\n[hosts]\nx = \".10\"\n[pcs]\na-b = \"10.0.0.7\"\nc-d = \"10.0.0.7\"")
        .says(&[
            "lap.toml:6: pcs.c-d: `10.0.0.7` is taken by pc `a-b`: write another address",
            "nodes/test/node.toml:3: address: `.10` is taken by host `x`: write another address",
        ]);
    let lap = "lab = \"a\"\n[network]\nsubnet = \"10.0.0.0/28\"\n[hosts]\nx = \"10.0.0.10\"\ny = \".20\"\nz = \"10.0.0.1\"\n\
               [pcs]\na-b = \"10.0.1.3\"\n";
    World::new().with("lap.toml", lap).says(&[
        "lap.toml:6: hosts.y: `.20` is outside the subnet `10.0.0.0/28`: write `10.0.0.2` to `10.0.0.14`",
        "lap.toml:7: hosts.z: `10.0.0.1` is the router's address: write a higher one",
        "lap.toml:9: pcs.a-b: `10.0.1.3` is outside the subnet `10.0.0.0/28`: write `10.0.0.2` to `10.0.0.14`",
        "nodes/test/node.toml:3: address: `.10` is taken by host `x`: write another address",
    ]);
}

#[test]
fn machines_without_an_address() {
    let vm = |more: &str| format!("{WORKER}provider = \"vagrant\"\n{more}");
    let alone = "nodes/x/node.toml:1: address: missing: no other machine of the same host and hypervisor has an address that defines the network: write a full address, e.g. `192.168.57.10`";
    World::new().with("nodes/x/node.toml", vm("")).says(&[alone]);
    let beside = || World::new().with("nodes/y/node.toml", vm("address = \"192.168.57.12\""));
    beside().with("nodes/x/node.toml", vm("")).says(&[]);
    for other in ["host = \"office2\"", "hypervisor = \"virtualbox\""] {
        beside().with("nodes/x/node.toml", vm(&format!("[vm]\n{other}"))).says(&[alone]);
    }
    // The office's DHCP gives it one, wherever the others are.
    World::new().with("nodes/x/node.toml", vm("[vm]\nbridge = \"br0\"")).says(&[]);
    for other in ["box = \"debian/bookworm64\"", "hypervisor = \"virtualbox\""] {
        World::new().with("nodes/x/node.toml", vm(&format!("[vm]\nbridge = \"br0\"\n{other}"))).says(&[
            "nodes/x/node.toml:1: address: missing: an address from the office's DHCP server needs libvirt and lap's own box: write a full address, e.g. `192.168.57.10`",
        ]);
    }
    // A master's is fixed.
    World::new()
        .with("nodes/test/node.toml", "environment = \"test\"\nrole = \"master\"\nprovider = \"vagrant\"")
        .says(&[
            "nodes/test/node.toml:1: address: a machine needs an address of its own: write a full address, e.g. `192.168.57.10`",
        ]);
}

#[test]
fn names() {
    World::new()
        .container("a", "names = [\"x.internal\", \"y.internal\"]")
        .container("b", "names = [\"z.internal\", \"z.internal\",\n\"x.internal\", \"y.test.internal\"]")
        .container("off", "scale = 0\nnames = [\"x.internal\"]")
        .says(&[
            "containers/b/container.toml:1: names[1]: `z.internal` is written twice: remove one",
            "containers/b/container.toml:2: names[2]: `x.internal` is taken by container `a`: write another name",
            "containers/b/container.toml:2: names[3]: `y.test.internal` is `y.internal` of environment `test`, so it is \
             taken by container `a`: write another name",
        ]);
}

#[test]
fn records() {
    let lap = r#"lab = "a"
[hosts]
office = ".2"
[dns.records]
"git.internal" = ["A 10.0.0.1", "TXT welcome"]
"git.test.internal" = ["CNAME www.internal."]
"ns.internal" = ["AAAA fd00::1"]
"office.host.internal" = ["A 10.0.0.1"]
"x.pc.internal" = ["CNAME www.internal."]
"office.node.internal" = ["SSHFP 4 2 123456789abcdef67890123456789abcdef67890123456789abcdef123456789"]
"internal" = ["MX 10 mail.internal.", "CNAME www.internal."]
"www.internal" = ["CNAME git.internal.", "TXT no"]
"two.internal" = ["CNAME a.internal.", "CNAME b.internal."]
"mail.internal" = ["A 10.0.0.2", "A 10.0.0.3",
  "A 10.0.0.2"]
"*.apps.internal" = ["A 10.0.0.4"]
"#;
    World::new().with("lap.toml", lap).container("git", "names = [\"git.internal\"]").says(&[
        "lap.toml:5: dns.records.\"git.internal\"[0]: `git.internal` is taken by container `git`: write another name",
        "lap.toml:6: dns.records.\"git.test.internal\"[0]: `git.test.internal` is taken by container `git`: write another name",
        "lap.toml:7: dns.records.\"ns.internal\"[0]: `ns.internal` is taken by the name server: write another name",
        "lap.toml:8: dns.records.\"office.host.internal\"[0]: `office.host.internal` is taken by host `office`: write another name",
        "lap.toml:9: dns.records.\"x.pc.internal\"[0]: names under `pc.internal` are reserved for lap: write e.g. `www.internal`",
        "lap.toml:11: dns.records.internal[1]: `internal` is the zone itself, which cannot be an alias: write its addresses",
        "lap.toml:12: dns.records.\"www.internal\"[0]: `www.internal` has other records, and a CNAME cannot have others beside it: remove one of them",
        "lap.toml:13: dns.records.\"two.internal\"[0]: `two.internal` has two CNAMEs, and only one is possible: remove one of them",
        "lap.toml:13: dns.records.\"two.internal\"[1]: `two.internal` has two CNAMEs, and only one is possible: remove one of them",
        "lap.toml:15: dns.records.\"mail.internal\"[2]: written twice: remove one",
    ]);
}

#[test]
fn ports() {
    World::new()
        .container("a", "ports = [\"53\", \"53:5353/udp\"]")
        .container("b", "ports = [\"0\",\n\"53:80\",\n\"8080:80\", \"8080:81\", \"22:22\"]")
        .with("lap.toml", "lab = \"a\"\n[grants]\nc = [\"network_mode: host\"]")
        .container("c", "network_mode = \"host\"\nports = [\"80:8000\", \"127.0.0.1:81:81\"]")
        .says(&[
            "containers/b/container.toml:1: ports[0]: `0` is not a port: write HOST:CONTAINER, e.g. `2200:22`",
            "containers/b/container.toml:2: ports[1]: port `53/tcp` is taken by container `a`: write another host port",
            "containers/b/container.toml:3: ports[3]: port `8080/tcp` is written twice: remove one",
            "containers/b/container.toml:3: ports[4]: port `22/tcp` belongs to the node's own sshd: write another host port, e.g. `2200:22`",
            "containers/c/container.toml:2: ports[0]: with `network_mode = \"host\"` a port is not mapped: write \
             `8000:8000/tcp`",
            "containers/c/container.toml:2: ports[1]: with `network_mode = \"host\"` the program chooses its addresses: remove \
             `127.0.0.1:`",
        ]);
    World::new()
        .container("a", "ports = [\"5000\", \"127.0.0.1:5000:5001\"]")
        .says(&["containers/a/container.toml:1: ports[1]: port `5000/tcp` is written twice: remove one"]);
    let foreign = "environment = \"test\"\nrole = \"worker\"\nprovider = \"vagrant\"\naddress = \"192.168.57.12\"\n\
                   vm = { box = \"debian/bookworm64\" }\n";
    World::new().container("a", "ports = [\"7022:80\"]").says(&[]);
    World::new().container("a", "ports = [\"7022:80\"]").with("nodes/extra/node.toml", foreign).says(&[
        "containers/a/container.toml:1: ports[0]: port `7022/tcp` belongs to lap's sshd on machines with an sshd of their own: write another host port",
    ]);
    let node = |name: &str, offset: u8| {
        format!("environment = \"{name}\"\nrole = \"master\"\naddress = \".{offset}\"\npublish = \"10.0.0.1\"\n")
    };
    let published =
        World::new().with("nodes/test/node.toml", node("test", 10)).with("nodes/prod/node.toml", node("prod", 11));
    published.says(&[]);
    published.container("a", "ports = [\"80\"]").says(&[
        "nodes/test/node.toml:4: publish: `10.0.0.1` has the ports of node `prod`: write another address of the host",
    ]);
}

#[test]
fn depends_on() {
    World::new()
        .container("base", "scale = 0")
        .container("git", "depends_on = [\"regsitry\", \"base\", \"zzz\"]")
        .container("registry", "")
        .with("containers/registry/container.toml", "#")
        .says(&[
            "containers/git/container.toml:1: depends_on[0]: `regsitry` is not a container; did you mean `registry`?",
            "containers/git/container.toml:1: depends_on[1]: `base` never runs, its `scale` is 0: remove it (FROM is enough to build it first)",
            "containers/git/container.toml:1: depends_on[2]: `zzz` is not a container: write the name of a directory in \
             `containers`",
        ]);
    World::new()
        .container("c", "depends_on = [\"a\"]")
        .container("a", "depends_on = [\n\"x\",\n\"b\"]")
        .container("b", "depends_on = [\"c\"]")
        .container("x", "depends_on = [\"x\"]")
        .says(&[
            "containers/a/container.toml:3: depends_on[1]: a cycle: `a` → `b` → `c` → `a`: remove one of them",
            "containers/x/container.toml:1: depends_on[0]: a cycle: `x` → `x`: remove one of them",
        ]);
}

#[test]
fn mounts() {
    each(
        "containers/a/container.toml",
        &[(
            "volumes = [\"/env/x:/x\"]\ntmpfs = [\"/x:size=1m\", \"/y\"]",
            &["2: tmpfs[0]: another volume is mounted on `/x`: write another target"],
        )],
    );
}

#[test]
fn grants() {
    let add = "which lap.toml does not grant: remove it, or add";
    let end = "under `[grants]` in lap.toml";
    for (line, what, grant) in [
        ("volumes = [\"/data/ab:/x\"]", "volumes[0]: `/data/ab` is outside `/data/a` and `/env`", "/data/ab"),
        ("volumes = [\"/data:/x\"]", "volumes[0]: `/data` is outside `/data/a` and `/env`", "/data"),
        (
            "volumes = [\"/var/run/docker.sock:/s\"]",
            "volumes[0]: Docker's socket makes the container root on the node",
            "/var/run/docker.sock",
        ),
        ("privileged = true", "privileged: `privileged` makes the container root on the node", "privileged: true"),
        (
            "network_mode = \"host\"",
            "network_mode: `host` puts the container into the node's network",
            "network_mode: host",
        ),
        (
            "cap_add = [\"CHOWN\", \"NET_ADMIN\"]",
            "cap_add[1]: `NET_ADMIN` is not among Docker's default capabilities",
            "cap_add: NET_ADMIN",
        ),
        (
            "security_opt = [\"apparmor=unconfined\"]",
            "security_opt[0]: `apparmor=unconfined` changes the protection of the node",
            "security_opt: apparmor=unconfined",
        ),
        (
            "security_opt = [\"seccomp=unconfined\"]",
            "security_opt[0]: `seccomp=unconfined` changes the protection of the node",
            "security_opt: seccomp=unconfined",
        ),
    ] {
        let want = format!("1: {what}, {add} `a = [\"{grant}\"]` {end}");
        each("containers/a/container.toml", &[(line, &[&want])]);
        // And what the message says helps; so does a grant that nobody needs.
        let lap = format!("lab = \"a\"\n[grants]\na = [\"{grant}\", \"/unused\"]");
        World::new().with("lap.toml", lap).container("a", line).says(&[]);
    }
    // A grant is for one container, and for a path downwards.
    let lap = "lab = \"a\"\n[grants]\na = [\"/srv/files\"]\nfilse = [\"everything\"]";
    let world = World::new().with("lap.toml", lap).container("a", "volumes = [\"/srv:/x\", \"/srv/files/x:/y\"]");
    world.container("files", "volumes = [\"/srv/files:/x\"]").says(&[
        &format!(
            "containers/a/container.toml:1: volumes[0]: `/srv` is outside `/data/a` and `/env`, {add} `a = [\"/srv\"]` {end}"
        ),
        &format!(
            "containers/files/container.toml:1: volumes[0]: `/srv/files` is outside `/data/files` and `/env`, {add} `files = \
             [\"/srv/files\"]` {end}"
        ),
        "lap.toml:4: grants.filse: `filse` is not a container; did you mean `files`?",
        "lap.toml:4: grants.filse[0]: `everything` is not a grant: write a path of the node or one of `network_mode: host`, \
         `privileged: true`, `cap_add: NAME`, `security_opt: VALUE`",
    ]);
}

#[test]
fn images() {
    World::new()
        .container("base", "scale = 0")
        .container("a", "#")
        .with("containers/a/Dockerfile", "# a\nFROM infra/bsae\nCOPY --from=infra/zzzzzz x y\nFROM infra/base:1.0\n")
        .container("b", "#")
        .with("containers/b/Dockerfile", "FROM $X\n")
        .says(&[
            "containers/a/Dockerfile:2: `bsae` is not a container; did you mean `base`?",
            "containers/a/Dockerfile:3: `zzzzzz` is not a container: `infra/` is for directories in `containers`",
            "containers/a/Dockerfile:4: images of this lab have no tags: write `infra/base`",
            "containers/b/Dockerfile:1: `X` has no value here: write `ARG X=…` before the first FROM, or `build.args`",
        ]);
    World::new()
        .container("a", "#")
        .with("containers/a/Dockerfile", "FROM scratch\nCOPY --from=infra/b x y\n")
        .container("b", "#")
        .with("containers/b/Dockerfile", "FROM infra/a\n")
        .says(&["containers/a/Dockerfile:2: a cycle: `a` → `b` → `a`: one of them needs another base image"]);
    World::new()
        .container("a", "[build]\nwith_lap = true\nrootfs = { suite = \"sid\" }")
        .with("containers/a/lap", "x")
        .with("containers/a/rootfs.tar", "x")
        .says(&[
            "containers/a/container.toml:2: build.with_lap: puts `lap` into the context, which contains `lap` already: rename \
             that file",
            "containers/a/container.toml:3: build.rootfs: puts `rootfs.tar` into the context, which contains `rootfs.tar` already: rename that file",
        ]);
}

#[test]
fn as_an_error() {
    let world = World::new().with("lap.toml", "lab = \"A\"\nx = 1");
    let error = lap_base::Error::from(super::load(world.dir.path(), None).unwrap_err());
    assert_eq!(error.kind, lap_base::Kind::Config);
    assert!(error.message.starts_with("the workspace has 2 problems:\nlap.toml:1: lab: "), "{error}");
    let world = World::new().with("lap.toml", "lab = \"A\"");
    let error = lap_base::Error::from(super::load(world.dir.path(), None).unwrap_err());
    assert!(error.message.starts_with("the workspace has 1 problem:\nlap.toml:1: lab: "), "{error}");
}
