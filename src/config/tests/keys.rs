//! Single files: keys, types, values. One row a mistake.

use super::each;

#[test]
fn lap_toml() {
    each(
        "lap.toml",
        &[
            ("# nothing\n", &["1: lab: missing: write e.g. `lab = \"office\"`"]),
            ("lab = \"a\"\nlap = 1", &["2: lap: unknown key; did you mean `lab`?"]),
            (
                "lab = \"a\"\nzzzzzz = 1",
                &[
                    "2: zzzzzz: unknown key: known are `lab`, `default`, `network`, `operators`, `grants`, `hosts`, `pcs`, `dns`, `snapshot`, `repositories`, `copies`, `promote`",
                ],
            ),
            ("lab = 5", &["1: lab: expected a string, found the number `5`: write e.g. `lab = \"office\"`"]),
            (
                "lab = \"A\"",
                &["1: lab: `A` is not a name: write lower-case letters, digits and hyphens between them, e.g. `a`"],
            ),
            ("lab = \"a\"\ndefault = \"tets\"", &["2: default: `tets` is not an environment; did you mean `test`?"]),
            ("lab = \"a\"\ndefault = \"x\"", &["2: default: `x` is not an environment: write one of `prod`, `test`"]),
            (
                "lab = \"a\"\n[network]\nsubnet = \"10.0.0.0\"",
                &["3: network.subnet: `10.0.0.0` is not a subnet: write ADDRESS/PREFIX, e.g. `192.168.0.0/24`"],
            ),
            ("lab = \"a\"\n[network]\nsubnets = 1", &["3: network.subnets: unknown key; did you mean `subnet`?"]),
            (
                "lab = \"a\"\nnetwork = \"10.0.0.0/8\"",
                &["2: network: expected a table, found the string `10.0.0.0/8`: write e.g. `network = { subnet = \
                   \"192.168.0.0/24\" }`"],
            ),
            (
                "lab = \"a\"\n[operators]\nAnna = \"ssh-dss x\"",
                &[
                    "3: operators.Anna: `Anna` is not a name: write lower-case letters, digits and hyphens between them, \
                     e.g. `anna`",
                    "3: operators.Anna: `ssh-dss` is not a type of public key: write the line of a `.pub` file, e.g. \
                     `ssh-ed25519 AAAA… anna`",
                ],
            ),
            ("lab = \"a\"\n[grants]\ngti = []", &["3: grants.gti: `gti` is not a container: remove it"]),
            ("lab = \"a\"\n[hosts]\nx = \".1\"", &["3: hosts.x: `.1` is the router's address: write `.2` to `.254`"]),
            (
                "lab = \"a\"\n[pcs]\nanna = \".31\"",
                &["3: pcs.anna: `anna` is not a pc's name: write `<first>-<last>[-<specifier>]`, e.g. `anna-meier`"],
            ),
            (
                "lab = \"a\"\n[snapshot]\nevery = \"10s\"\nkeep = { hourly = -1, yearly = 1 }",
                &[
                    "3: snapshot.every: `10s` is too short: one minute is the minimum",
                    "4: snapshot.keep.hourly: `-1` is not in the range: write a number from 0 to 100000",
                    "4: snapshot.keep.yearly: unknown key: known are `last`, `hourly`, `daily`, `weekly`, `monthly`",
                ],
            ),
            (
                "lab = \"a\"\n[copies]\nevery = \"1d\"\nread = \"0%\"\nkeep = { yearly = 1 }",
                &[
                    "2: copies: there is no repository: write one under `[repositories]`",
                    "3: copies.every: there are no scheduled snapshots to copy: write `[snapshot] every`",
                    "4: copies.read: `0%` is not a share: write a percentage, e.g. `10%`",
                    "4: copies.read: sets how much a verification reads: write `verify`, too, e.g. `verify = \"7d\"`",
                    "5: copies.keep.yearly: unknown key: known are `last`, `hourly`, `daily`, `weekly`, `monthly`",
                ],
            ),
            (
                "lab = \"a\"\n[snapshot]\nevery = \"2h\"\n[repositories]\nnas = \"/srv/lap\"\n[copies]\nevery = \"1h\"\nverify = \"daily\"",
                &[
                    "7: copies.every: shorter than the interval of snapshots: write at least the value of `[snapshot] every`",
                    "8: copies.verify: `daily` is not a time: write e.g. `7d`, `12h` or `30m`",
                ],
            ),
            (
                "lab = \"a\"\n[repositories]\noffice = \"backup\"\n[promote]\nsettle = \"2h\"\nkeep = 0\nkeep_failed = \"2h\"\nkept = 3",
                &[
                    "3: repositories.office: `backup` is not the location of a repository: write a path (`/srv/backup/lap`), \
                     `sftp:user@host:/srv/lap` or `s3:host/bucket/folder`",
                    "5: promote.settle: `2h` is too long: one hour is the maximum",
                    "6: promote.keep: `0` is not in the range: write a number from 1 to 100000",
                    "7: promote.keep_failed: `2h` is not a number of days: write e.g. `14d`",
                    "8: promote.kept: unknown key: known are `settle`, `max_outage`, `keep`, `keep_failed`",
                ],
            ),
        ],
    );
}

#[test]
fn dns_of_lap_toml() {
    for (line, want) in [
        (
            "zone = \"Office\"",
            "dns.zone: `Office` is not a name: write lower-case letters, digits and hyphens between them, e.g. `office`",
        ),
        ("zone = \"localhost\"", "dns.zone: the zone `localhost` is reserved: write e.g. `internal`"),
        ("zones = \"internal\"", "dns.zones: unknown key; did you mean `zone`?"),
        (
            "upstreams = [\"9.9.9.9\"]",
            "dns.upstreams: not valid here: write `upstreams` in the environments' `env.toml`",
        ),
        (
            "clients = [\"10.0.0.1/24\"]",
            "dns.clients[0]: `10.0.0.1/24` is an address inside a network: write `10.0.0.0/24`",
        ),
        (
            "clients = \"10.0.0.0/8\"",
            "dns.clients: expected a list, found the string `10.0.0.0/8`: write e.g. `clients = [\"192.168.0.0/24\"]`",
        ),
        (
            "reverse = [\"fd00::/64\"]",
            "dns.reverse[0]: `fd00::/64` has no reverse zone in lap: write an IPv4 network, e.g. `192.168.0.0/24`",
        ),
        (
            "secondaries = [\"ns2\"]",
            "dns.secondaries[0]: `ns2` is not an address: write a DNS server's, e.g. `192.168.0.9` or `192.168.0.9:5353`",
        ),
        (
            "forward = { \"corp.example\" = [] }",
            "dns.forward.\"corp.example\": empty: write the DNS servers of this domain, e.g. `[\"10.0.0.53\"]`",
        ),
        (
            "forward = { \"x.internal\" = [\"10.0.0.53\"] }",
            "dns.forward.\"x.internal\": `x.internal` is in the lab's own zone `internal`: remove it",
        ),
        (
            "forward = { \"a b\" = [\"10.0.0.53\"] }",
            "dns.forward.\"a b\": `a b` is not a name: write lower-case letters, digits and hyphens between them, e.g. `a-b`",
        ),
        (
            "forward = { corp = [\"ns\"] }",
            "dns.forward.corp[0]: `ns` is not an address: write a DNS server's, e.g. `192.168.0.9` or `192.168.0.9:5353`",
        ),
        (
            "records = { \"www.example.com\" = [\"A 10.0.0.1\"] }",
            "dns.records.\"www.example.com\": `www.example.com` is not a name in the zone `internal`: write e.g. `www.internal`",
        ),
        (
            "records = { \"a.*.internal\" = [\"A 10.0.0.1\"] }",
            "dns.records.\"a.*.internal\": `a.*.internal` has `*` in a place other than the first label: write e.g. `*.apps.internal`",
        ),
        (
            "records = { \"a.internal\" = [\"A 10.0.0\"] }",
            "dns.records.\"a.internal\"[0]: `10.0.0` is not the data of a A record: write e.g. `192.168.0.10`",
        ),
        (
            "records = { \"a.internal\" = [\"CNAME b.internal\"] }",
            "dns.records.\"a.internal\"[0]: `b.internal` has no final dot: write `b.internal.`",
        ),
        (
            "records = { \"a.internal\" = [\"SRV 0 0 ldap.internal.\"] }",
            "dns.records.\"a.internal\"[0]: `0 0 ldap.internal.` is not the data of a SRV record: write e.g. `0 0 389 ldap.internal.`",
        ),
        (
            "records = { \"a.internal\" = \"A 10.0.0.1\" }",
            "dns.records.\"a.internal\": expected a list, found the string `A 10.0.0.1`: write e.g. `records = { \"www.internal\" = [\"CNAME git.internal.\"] }`",
        ),
    ] {
        each("lap.toml", &[(&format!("lab = \"a\"\n[dns]\n{line}"), &[&format!("3: {want}")])]);
    }
    let world = super::World::new().with("lap.toml", "lab = \"a\"\n[dns]\nrecords = { \"a.internal\" = [\"SOA x\"] }");
    let said = world.problems();
    assert!(
        said.starts_with("lap.toml:3: dns.records.\"a.internal\"[0]: `SOA` is not a type of record: write one of `A`,"),
        "{said}"
    );
}

#[test]
fn another_zone() {
    let lap = "lab = \"a\"\n[dns]\nzone = \"lab.example.org\"\nrecords = { \"www.lab.example.org\" = [\"cname git.lab.example.org.\"] }\n";
    let world = super::World::new().with("lap.toml", lap).container("git", "names = [\"git.lab.example.org\"]");
    let lab = world.load();
    assert_eq!(lab.dns.zone, "lab.example.org");
    assert_eq!(lab.dns.records, [("www.lab.example.org".into(), "CNAME".into(), "git.lab.example.org.".into())]);
    world.container("git", "names = [\"git.internal\"]").says(&[
        "containers/git/container.toml:1: names[0]: `git.internal` is not a name in the zone `lab.example.org`: write e.g. \
         `git.lab.example.org`",
    ]);
}

#[test]
fn env_toml() {
    each(
        "env/test/env.toml",
        &[
            ("descripton = 1", &["1: descripton: unknown key; did you mean `description`?"]),
            (
                "upstreams = [\"9.9.9.9\", \"quad9\", 9]",
                &[
                    "1: upstreams[1]: `quad9` is not an address: write a DNS server's, e.g. `9.9.9.9`",
                    "1: upstreams[2]: expected a string, found the number `9`: write e.g. `upstreams = [\"9.9.9.9\"]`",
                ],
            ),
            (
                "promote_from = \"stage\"",
                &["1: promote_from: `stage` is not an environment: write one of `prod`, `test`"],
            ),
        ],
    );
}

#[test]
fn node_toml() {
    let good = "environment = \"test\"\nrole = \"worker\"\n";
    let rows: &[(&str, &[&str])] = &[
        ("environment = \"test\"", &["1: role: missing: write e.g. `role = \"master\"`"]),
        ("role = \"worker\"", &["1: environment: missing: write e.g. `environment = \"test\"`"]),
        (
            "environment = \"test\"\nrole = \"boss\"",
            &["2: role: `boss` is not a role: write `master`, `worker`, `data`, `builder` or `backup`"],
        ),
        ("environment = \"test\"\nrole = \"workr\"", &["2: role: `workr` is not a role; did you mean `worker`?"]),
        (
            "environment = \"tst\"\nrole = \"worker\"",
            &["1: environment: `tst` is not an environment; did you mean `test`?"],
        ),
    ];
    each("nodes/extra/node.toml", rows);
    for (line, want) in [
        ("provider = \"local\"", "provider: `local` is not supported yet: use `docker`, `vagrant` or `ssh`"),
        ("provider = \"aws\"", "provider: `aws` is not a provider: write `docker`, `vagrant` or `ssh`"),
        (
            "ssh = { destination = \"-oProxyCommand=x\" }",
            "ssh.destination: `-oProxyCommand=x` is not a machine: write what `ssh` takes, e.g. `admin@server`, \
             `ssh://admin@server:2222`, or a name of `~/.ssh/config`",
        ),
        (
            "vm = { hypervisor = \"vmware\" }",
            "vm.hypervisor: `vmware` is not a hypervisor: write `libvirt` or `virtualbox`",
        ),
        (
            "vm = { bridge = \"--x\" }",
            "vm.bridge: `--x` is not a bridge: write its name, e.g. `br0` (`ip link` lists them)",
        ),
        (
            "vm = { box = \"https://x/y.box\" }",
            "vm.box: `https://x/y.box` is not a box: write its name, e.g. `debian/bookworm64`",
        ),
        ("vm = { box = \"lap/0123\" }", "vm.box: `lap/0123` is a box that lap makes: remove `box`"),
        ("vm = { box_version = \"12\" }", "vm.box_version: is the version of `box`: write `box`, too"),
        (
            "vm = { box = \"a/b\", box_version = \">= 1\" }",
            "vm.box_version: `>= 1` is not a version: write one of the box's, e.g. `12.20250126.1`",
        ),
        (
            "vm = { hypervisor = \"virtualbox\", box = \"a/b\" }",
            "vm.box: a third-party box needs libvirt: remove `box` to use lap's own box",
        ),
        (
            "ssh = { destination = \"x\", device = \"sdb\" }",
            "ssh.device: `sdb` is not a device: write its path, e.g. `/dev/disk/by-id/…`",
        ),
        ("address = \"ten\"", "address: `ten` is not an address: write an offset such as `.10`, or a full address"),
        (
            "address = \"10.0.0.10\"",
            "address: `10.0.0.10` needs a `subnet` under `[network]` in lap.toml: write one there, or write an offset such as \
             `.10` here",
        ),
        ("publish = \"eth0\"", "publish: `eth0` is not an address of this host: write e.g. `192.168.0.2`"),
        ("cpus = 0", "cpus: `0` is not a number of CPUs: write 0.01 to 1024, e.g. `0.5` or `2`"),
        ("cpus = nan", "cpus: `NaN` is not a number of CPUs: write 0.01 to 1024, e.g. `0.5` or `2`"),
        ("cpus = \"2\"", "cpus: expected a number, found the string `2`: write e.g. `cpus = 2`"),
        ("memory = \"4 GB\"", "memory: `4 GB` is not a size: write a whole number and a unit, e.g. `512m` or `4g`"),
        ("memory = 1", "memory: too small: write `256m` or more"),
        ("filesystem = \"zfs\"", "filesystem: `zfs` is not a file system for a pool: write `btrfs`, `xfs` or `ext4`"),
        ("disk = \"256m\"\nfilesystem = \"xfs\"", "disk: too small for xfs: write `300m` or more"),
        ("disk = -1", "disk: `-1` is not in the range: write a number from 0 to 9223372036854775807"),
    ] {
        each("nodes/extra/node.toml", &[(&format!("{good}{line}"), &[&format!("3: {want}")])]);
    }
    each(
        "nodes/extra/node.toml",
        &[(
            "environment = \"test\"\nrole = \"worker\"\nprovider = \"ssh\"",
            &[
                "1: address: a machine needs an address of its own: write a full address, e.g. `192.168.57.10`",
                "1: ssh: missing: write the destination of the machine, e.g. `ssh = { destination = \"admin@server\" }`",
            ],
        )],
    );
    // Its address need not be in the lab's subnet, nor need there be one.
    let there = "environment = \"test\"\nrole = \"worker\"\nprovider = \"ssh\"\naddress = \"198.51.100.7\"\n[ssh]\n\
                 destination = \"x\"";
    each("nodes/extra/node.toml", &[(there, &[])]);
    let machine = "environment = \"test\"\nrole = \"worker\"\nprovider = \"vagrant\"\naddress = \"192.168.57.12\"\n\
                   cpus = 1\n[vm]\nhypervisor = \"virtualbox\"\nbridge = \"enp3s0: Ethernet\"";
    each("nodes/extra/node.toml", &[(machine, &[])]);
    let publish = "environment = \"test\"\nrole = \"worker\"\nprovider = \"vagrant\"\naddress = \"192.168.57.12\"\n\
                   publish = \"127.0.0.1\"";
    let want = "5: publish: lap does not publish ports of a virtual machine: use `[vm] bridge` to put it into the office network";
    each("nodes/extra/node.toml", &[(publish, &[want])]);
    each(
        "nodes/test/node.toml",
        &[(
            "environment = \"test\"\nrole = \"master\"",
            &["1: address: missing: a master needs a fixed address, write e.g. `address = \".10\"`"],
        )],
    );
}

#[test]
fn container_toml() {
    for (line, want) in [
        ("port = []", "port: unknown key; did you mean `ports`?"),
        ("deploy = {}", "deploy: reserved for services on several nodes, not supported yet: remove it"),
        ("snapshot.before = []", "snapshot.before: empty: write a program, or remove the key"),
        (
            "snapshot.timeout = \"soon\"",
            "snapshot.timeout: `soon` is not a duration: write e.g. `500ms`, `10s` or `1m30s`",
        ),
        ("snapshot.scrub = []", "snapshot.scrub: empty: write a program, or remove the key"),
        ("route = {}", "route: reserved for the ingress, not supported yet: remove it"),
        ("pid = \"host\"", "pid: not supported, because a container sees only its own processes: remove it"),
        ("ipc = \"host\"", "ipc: not supported, because a container's shared memory is its own: remove it"),
        ("image = \"x\"", "image: not supported, because lap builds every image: write `FROM …` in the Dockerfile"),
        ("names = [\"git\"]", "names[0]: `git` is not a name in the zone `internal`: write e.g. `git.internal`"),
        (
            "ports = [\n\"80\", \"99999:22\"]",
            "ports[1]: `99999:22` is not a port: write HOST:CONTAINER, e.g. `2200:22`",
        ),
        ("ports = [80]", "ports[0]: expected a string, found the number `80`: write e.g. `ports = [\"2200:22\"]`"),
        ("ports = \"80\"", "ports: expected a list, found the string `80`: write e.g. `ports = [\"2200:22\"]`"),
        (
            "volumes = [\"x:/y\"]",
            "volumes[0]: `x` is a named volume: lap mounts `/data` for persistent data; write a host path for other volumes",
        ),
        ("volumes = [\"/data/a/../b:/y\"]", "volumes[0]: `/data/a/../b` contains `.` or `..`: write the resolved path"),
        ("tmpfs = [\"run\"]", "tmpfs[0]: `run` is not an absolute path: write e.g. `/srv/files`"),
        (
            "environment = [\"A\"]",
            "environment[0]: `A` has no value: write `KEY=value`, lap reads nothing from your shell",
        ),
        ("environment = { A = true }", "environment.A: the program gets a text: write `\"true\"`"),
        ("environment = { \"a b\" = 1 }", "environment.\"a b\": `a b` is not a variable's name: write e.g. `LANG`"),
        (
            "healthcheck = {}",
            "healthcheck.test: missing: write e.g. `test = [\"CMD-SHELL\", \"curl -fs http://localhost/ >/dev/null\"]`",
        ),
        (
            "healthcheck.test = [\"curl\"]",
            "healthcheck.test: begins with neither `CMD` nor `CMD-SHELL`: write `[\"CMD\", \"program\", \"argument\"]` or `[\"CMD-SHELL\", \"a line for the shell\"]`",
        ),
        (
            "healthcheck.test = [\"CMD-SHELL\", \"a\", \"b\"]",
            "healthcheck.test: `CMD-SHELL` needs exactly one line: write `[\"CMD\", \"program\", \"argument\"]` or `[\"CMD-SHELL\", \"a line for the shell\"]`",
        ),
        (
            "healthcheck = { test = [\"CMD\", \"a\"], interval = \"10\" }",
            "healthcheck.interval: `10` is not a duration: write e.g. `500ms`, `10s` or `1m30s`",
        ),
        (
            "healthcheck = { test = [\"CMD\", \"a\"], timeout = \"0s\" }",
            "healthcheck.timeout: too short: write `1ms` or more, e.g. `5s`",
        ),
        (
            "healthcheck = { test = [\"CMD\", \"a\"], retries = 0 }",
            "healthcheck.retries: `0` is not in the range: write a number from 1 to 1000",
        ),
        ("cap_add = [\"NET_ADMN\"]", "cap_add[0]: `NET_ADMN` is not a capability; did you mean `NET_ADMIN`?"),
        (
            "privileged = \"no\"",
            "privileged: expected `true` or `false`, found the string `no`: write e.g. `privileged = false`",
        ),
        ("mem_limit = \"1m\"", "mem_limit: too small: write `6m` or more"),
        ("pids_limit = 0", "pids_limit: `0` is not in the range: write a number from 1 to 4194304"),
        (
            "data.size = \"much\"",
            "data.size: `much` is not a size: write a whole number and a unit, e.g. `512m` or `4g`",
        ),
        ("data.size = \"1k\"", "data.size: too small: write `1m` or more"),
        ("data = { size = \"1g\", sizes = 1 }", "data.sizes: unknown key; did you mean `size`?"),
        ("[data]", "data.size: missing: write e.g. `size = \"10g\"`"),
        ("cpus = -1.5", "cpus: `-1.5` is not a number of CPUs: write 0.01 to 1024, e.g. `0.5` or `2`"),
        ("user = \"a b\"", "user: `a b` is not a user: write USER or USER:GROUP, e.g. `git` or `1000:1000`"),
        ("network_mode = \"none\"", "network_mode: `none` is not supported: write `bridge` or `host`"),
        ("command = \"sh 'a\"", "command: `sh 'a` has no closing `'`: add it, or write a list of words"),
        ("entrypoint = []", "entrypoint: empty: write a program, or remove the key"),
        (
            "hostname = \"a_b\"",
            "hostname: `a_b` is not a name: write lower-case letters, digits and hyphens between them, e.g. `a-b`",
        ),
        (
            "stop_grace_period = \"1.5s\"",
            "stop_grace_period: `1.5s` is not a duration: write e.g. `500ms`, `10s` or `1m30s`",
        ),
        (
            "stop_signal = \"SIGTREM\"",
            "stop_signal: `SIGTREM` is not a signal that stops a program; did you mean `SIGTERM`?",
        ),
        ("secrets = [\"tls.cert\"]", "secrets[0]: `tls.cert` is not a secret; did you mean `tls.crt`?"),
        (
            "secrets = [\"pass\"]",
            "secrets[0]: `pass` is not a secret: known are `tls.crt`, `tls.key`, `htpasswd`, `registry.htpasswd`, `admin.pub`, `keys.json`",
        ),
        ("scale = 2", "scale: more than one is not supported yet: write `1`, or `0` for a base image of others"),
        ("scale = -1", "scale: `-1` is not in the range: write a number from 0 to 4294967295"),
        (
            "[build]\nports = []",
            "build.ports: unknown key here: `ports` belongs to the file itself, write it above the first `[…]`",
        ),
        ("build.arg = {}", "build.arg: unknown key; did you mean `args`?"),
        ("build.rootfs = {}", "build.rootfs.suite: missing: write e.g. `suite = \"bookworm\"`"),
        ("build.rootfs = { suite = \"--x\" }", "build.rootfs.suite: `--x` is not a suite: write e.g. `bookworm`"),
        (
            "build.rootfs = { suite = \"sid\", variant = \"minbas\" }",
            "build.rootfs.variant: `minbas` is not a variant of mmdebstrap; did you mean `minbase`?",
        ),
        (
            "build.rootfs = { suite = \"sid\", packages = [\"a,b\"] }",
            "build.rootfs.packages[0]: `a,b` is not a package's name: write e.g. `curl`",
        ),
        (
            "build.rootfs = { suite = \"sid\", exclude = [\"x\"] }",
            "build.rootfs.exclude[0]: `x` is not a pattern of paths: write e.g. `/usr/share/man/*`",
        ),
        ("description = \"\\u001b[2J\"", "description: contains the control character `\\u{1b}`: remove it"),
    ] {
        // The line of an element is its own, of all else the key's.
        let number = 1 + line.matches('\n').count();
        each("containers/a/container.toml", &[(line, &[&format!("{number}: {want}")])]);
    }
}

#[test]
fn rootfs_toml() {
    each(
        "nodes/rootfs.toml",
        &[
            ("# nothing", &["1: suite: missing: write e.g. `suite = \"bookworm\"`"]),
            (
                "suite = \"sid\"\npackage = []\npackages = [\"git\",\n\"--x\"]",
                &[
                    "2: package: unknown key; did you mean `packages`?",
                    "4: packages[1]: `--x` is not a package's name: write e.g. `curl`",
                ],
            ),
        ],
    );
}
