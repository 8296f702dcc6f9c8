//! `lap dns`: keys, and what is said where no server runs.

use std::{fs, os::unix::fs::PermissionsExt};

use crate::workspace::{NO_DOCKER, Workspace};

fn not_there(name: &str) -> String {
    format!(
        "Run `lap up {name}` to install it on `{name}` (Docker does not answer at `{NO_DOCKER}`, where `DOCKER_HOST` points).\n"
    )
}

#[test]
fn a_key_is_made_listed_and_removed() {
    let workspace = Workspace::with_keys();
    let made = "Made the key `dhcp` of `test`: may update `*.pc.internal`, `*.in-addr.arpa`, its names expire after 1h.\n\
                Other programs can read it from `.lap/dns/dhcp.key` (0600), in the format of `tsig-keygen`:\n  \
                nsupdate -k .lap/dns/dhcp.key\n  \
                include \"[dir]/office/.lap/dns/dhcp.key\";    # in named.conf or dhcpd.conf; on another machine, include a copy\n";
    let new =
        ["dns", "key", "new", "DHCP", "--update", "*.pc.internal", "--update", "*.in-addr.arpa", "--expire", "60m"];
    workspace.lap(new).code(0).prints(&format!("{made}{}", not_there("test")));
    assert_eq!([workspace.mode(".lap/dns/dhcp.key"), workspace.mode(".lap/keys/dns/dhcp.json")], ["0600", "0600"]);
    assert_eq!(workspace.mode(".lap/dns"), "0700");
    let list = "KEY             ENVIRONMENT  ALGORITHM    UPDATE                        TRANSFER  EXPIRE\n\
                dhcp            test         hmac-sha256  *.pc.internal *.in-addr.arpa  -         1h\n\
                lap-admin-prod  prod         hmac-sha256  *.internal *.in-addr.arpa     yes       -\n\
                lap-admin-test  test         hmac-sha256  *.internal *.in-addr.arpa     yes       -\n";
    workspace.lap(["dns", "key", "list"]).code(0).prints(list);
    workspace
        .lap(new)
        .fails(10, "error: there is a key `dhcp` already\nhint: remove it first with `lap dns key rm dhcp`\n");
    let secret = fs::read_to_string(workspace.root().join(".lap/dns/dhcp.key")).unwrap();
    assert!(secret.starts_with("key \"dhcp\" {\n\talgorithm hmac-sha256;\n\tsecret \""), "{secret}");
    workspace
        .lap(["dns", "key", "rm", "--yes", "dhcp"])
        .code(0)
        .prints(&format!("Removed the key `dhcp`.\n{}", not_there("test")));
    assert!(!workspace.root().join(".lap/dns/dhcp.key").exists());
    workspace
        .lap(["dns", "key", "rm", "--yes", "dhcp"])
        .fails(2, "error: there is no key `dhcp`\nhint: `lap dns key list` shows the existing ones\n");
}

#[test]
fn a_key_is_of_one_environment() {
    let stock = "key \"ns2\" { algorithm hmac-sha256; secret \"c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0c2U=\"; };\n";
    let workspace = Workspace::with_keys().with("../stock", stock);
    let said = workspace.lap(["dns", "key", "new", "prod", "dhcp", "--transfer"]).code(0).stdout;
    assert!(said.starts_with("Made the key `dhcp` of `prod`: may transfer the zones.\n"), "{said}");
    assert!(said.ends_with(&not_there("prod")) && !said.contains(&not_there("test")), "{said}");
    // Its name is taken in the whole lab.
    workspace
        .lap(["dns", "key", "new", "dhcp"])
        .fails(10, "error: there is a key `dhcp` already\nhint: remove it first with `lap dns key rm dhcp`\n");
    let said = workspace.lap(["dns", "key", "new", "prod", "--from", "../stock"]).code(0).stdout;
    assert!(said.starts_with("Made the key `ns2` of `prod`: no rights.\n"), "{said}");
    // A file of an earlier version does not say whose it is.
    let old = "{\"name\":\"old\",\"algorithm\":\"hmac-sha256\",\"secret\":\"c2VjcmV0c2VjcmV0c2VjcmV0\"}";
    let path = workspace.root().join(".lap/keys/dns/old.json");
    fs::write(&path, old).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    let list = workspace.lap(["dns", "key", "list"]).code(0).stdout;
    let rows: Vec<Vec<&str>> = list.lines().map(|line| line.split_whitespace().take(2).collect()).collect();
    assert_eq!(rows[1..3], [["dhcp", "prod"], ["lap-admin-prod", "prod"]]);
    assert_eq!(rows[3..], [["lap-admin-test", "test"], ["ns2", "prod"], ["old", "test"]]);
    workspace
        .lap(["dns", "key", "rm", "--yes", "dhcp"])
        .code(0)
        .prints(&format!("Removed the key `dhcp`.\n{}", not_there("prod")));
    // That one was brought to all.
    let both = not_there("prod") + &not_there("test");
    workspace.lap(["dns", "key", "rm", "--yes", "old"]).code(0).prints(&format!("Removed the key `old`.\n{both}"));
}

#[test]
fn a_stock_key_is_taken_over() {
    let key = "key \"ns2.internal\" {\n\talgorithm hmac-sha512;\n\tsecret \"c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0c2U=\";\n};\n";
    let workspace = Workspace::with_keys().with("../stock", key).with("../wrong", "key x { secret \"c2VjcmV0\"; };\n");
    let said = workspace.lap(["dns", "key", "new", "--from", "../stock", "--transfer"]).code(0).stdout;
    assert!(said.starts_with("Made the key `ns2.internal` of `test`: may transfer the zones.\n"), "{said}");
    assert_eq!(fs::read_to_string(workspace.root().join(".lap/dns/ns2.internal.key")).unwrap(), key);
    workspace.lap(["dns", "key", "new", "--from", "../wrong"]).fails(
        9,
        "error: `../wrong` is not a usable TSIG key: it does not contain exactly one key\nhint: `tsig-keygen -a hmac-sha256 NAME > FILE` makes one\n",
    );
    // Nobody's output has a secret in it.
    for line in ["dns key list", "keys list", "keys list --json"] {
        assert!(!workspace.lap(line.split(' ')).stdout.contains("c2VjcmV0"), "{line}");
    }
}

#[test]
fn what_is_wrong_is_said_before_anything_is_made() {
    let workspace = Workspace::with_keys();
    let before = workspace.everything();
    for (line, code, text) in [
        ("dns key new a_b", 2, "error: `a_b` is not a key's name: write e.g. `dhcp` or `dhcp.internal`\n"),
        ("dns key new lap-admin", 10, "error: `lap-admin` is lap's own key: choose another name\n"),
        ("dns key new lap-admin-x", 10, "error: `lap-admin-x` is lap's own key: choose another name\n"),
        ("dns key rm --yes lap-admin-test", 10, "error: `lap-admin-test` is lap's own key: `lap dns` needs it\n"),
        (
            "dns key new prod",
            2,
            "error: name the new key for `prod`\nhint: `prod` is the name of an environment: write e.g. `lap dns key new prod dhcp`\n",
        ),
        (
            "dns key new stage dhcp",
            2,
            "error: there is no environment `stage`: the environments are `prod`, `test`\nhint: an environment is a directory in `env/`: see `lap help env.toml`\n",
        ),
        (
            "dns key new x --algorithm hmac-md5",
            2,
            "error: `hmac-md5` is not an algorithm that lap supports: write `hmac-sha256` or `hmac-sha512`\n",
        ),
        (
            "dns key new x --update pc",
            2,
            "error: `--update`: `pc` is not in the zone `internal`: write e.g. `*.pc.internal`, or `*.in-addr.arpa` for reverse records\n",
        ),
        (
            "dns key new x --expire 5",
            2,
            "error: `--expire`: `5` is not a duration: write e.g. `500ms`, `10s` or `1m30s`\n",
        ),
        ("dns add printer A 10.0.0", 2, "error: `10.0.0` is not the data of a A record: write e.g. `192.168.0.10`\n"),
        (
            "dns add www.example.com. A 10.0.0.1",
            2,
            "error: `www.example.com` is not a name in the zone `internal`: write e.g. `www.internal`\n",
        ),
        (
            "dns rm test",
            2,
            "error: name the record to remove from `test`\nhint: `test` is the name of an environment: write `test.internal` for the DNS name\n",
        ),
    ] {
        workspace.lap(line.split(' ')).fails(code, text);
    }
    assert_eq!(workspace.everything(), before);
    Workspace::small().lap(["dns", "key", "new", "x"]).code(9);
}

#[test]
fn without_docker_no_server_can_be_asked() {
    let workspace = Workspace::with_keys();
    let text = format!(
        "error: Docker does not answer at `{NO_DOCKER}`, where `DOCKER_HOST` points\nhint: start it there, or run `unset DOCKER_HOST` to use this machine's Docker\n"
    );
    for line in ["dns list", "dns check", "dns check prod", "dns add printer A 10.0.0.1", "dns rm test printer"] {
        workspace.lap(line.split(' ')).fails(4, &text);
    }
}
