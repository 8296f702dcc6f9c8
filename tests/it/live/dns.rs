//! The name server of a lab: asked from everywhere, given keys, changed.

use std::{
    fs,
    io::Write,
    process::{Command, Stdio},
    time::Instant,
};

use super::lab::{Lab, run, until_or};

/// The file that the server in its container sees.
fn keys_inside(lab: &Lab) -> String {
    let pid = lab.on_node("test", &["docker", "inspect", "--format", "{{.State.Pid}}", "infra_dns"]).ok();
    lab.on_node("test", &["cat", &format!("/proc/{}/root/run/secrets/dns/keys.json", pid.trim())]).ok()
}

fn started(lab: &Lab) -> String {
    lab.on_node("test", &["docker", "inspect", "--format", "{{.Id}} {{.State.StartedAt}}", "infra_dns"]).ok()
}

#[test]
fn names_are_checked_and_keys_come_and_go() {
    let lab = Lab::with_dns("dns");
    let text = fs::read_to_string(lab.root.join("lap.toml")).unwrap();
    let hosts: String = (0..1000).map(|i| format!("h{i} = \"10.250.{}.{}\"\n", i / 250, 2 + i % 250)).collect();
    lab.write("lap.toml", &format!("{text}[hosts]\n{hosts}"));
    lab.lap(&["up"]).ok();
    let began = Instant::now();
    let all = lab.lap(&["dns", "check"]).ok();
    let took = began.elapsed();
    assert!(all.ends_with(" names at 1 server, from host, node and container: correct\n"), "{all}");
    // The addresses' reverse records are asked for, too.
    assert!(all.starts_with("20"), "{all}");
    println!("{took:?}: {all}");
    let since = started(&lab);

    // A name that is only written yet.
    let text = fs::read_to_string(lab.root.join("lap.toml")).unwrap();
    lab.write("lap.toml", &format!("{text}[dns.records]\n\"www.internal\" = [\"CNAME one.internal.\"]\n"));
    let said = lab.lap(&["dns", "check", "test"]);
    assert_eq!(said.code, 1, "{said:?}");
    let rows: Vec<&str> = said.out.lines().collect();
    assert_eq!(rows.len(), 4, "{said:?}");
    assert!(rows[0].starts_with("NAME           TYPE   FROM"), "{said:?}");
    for (row, from) in rows[1..].iter().zip(["host ", "node test ", "infra_"]) {
        assert!(
            row.starts_with(&format!("www.internal.  CNAME  {from}")) && row.ends_with("one.internal.  NXDOMAIN"),
            "{said:?}"
        );
    }

    // A key is there at once, for the server and for nobody else, and nothing is started anew.
    assert!(keys_inside(&lab).contains("\"lap-admin-test\""));
    let said = lab.lap(&["dns", "key", "new", "dhcp", "--update", "*.pc.internal"]).ok();
    assert!(said.ends_with("The change is active on the DNS server of `test`.\n"), "{said}");
    assert!(keys_inside(&lab).contains("\"dhcp\""));
    let mode = lab.on_node("test", &["stat", "--format", "%a", "/var/lib/lap/secrets/dns/keys.json"]).ok();
    assert_eq!(mode.trim(), "600");
    let plan = lab.lap(&["up", "--dry-run"]).ok();
    assert!(!plan.contains("the keys of `dns`"), "{plan}");
    lab.lap(&["dns", "key", "rm", "--yes", "dhcp"]).ok();
    assert!(!keys_inside(&lab).contains("\"dhcp\""));
    assert_eq!(started(&lab), since);
}

/// Everything in another zone than `internal`: names, certificates, the server's own health check.
#[test]
fn another_zone() {
    let lab = Lab::with_dns("zone");
    let text = fs::read_to_string(lab.root.join("lap.toml")).unwrap();
    lab.write("lap.toml", &format!("{text}[dns]\nzone = \"lab.example\"\n"));
    lab.edit("containers/one/container.toml", "one.internal", "one.lab.example");
    let said = lab.lap(&["up"]).fails(9);
    assert!(said.contains("are for `internal` and the names below it, and its zone is `lab.example`"), "{said}");
    fs::remove_dir_all(lab.root.join(".lap/keys")).unwrap();
    lab.lap(&["keys", "new"]).ok();
    lab.lap(&["up"]).ok();
    lab.healthy();
    let all = lab.lap(&["dns", "check"]).ok();
    assert!(all.ends_with("from host, node and container: correct\n"), "{all}");
    let server = format!("@{}", lab.address("test"));
    assert_eq!(run("dig", &["+short", &server, "one.test.lab.example"]).ok().trim(), lab.address("test"));
}

/// Names that are added while the server runs, by lap and by stock `nsupdate`.
#[test]
fn dynamic_names() {
    let lab = Lab::with_dns("dynamic");
    lab.lap(&["up"]).ok();
    let address = lab.address("test");
    let (net, _) = address.rsplit_once('.').unwrap();
    let dig = |arguments: &[&str]| {
        let server = format!("@{address}");
        run("dig", &[&["+short", "+time=20", server.as_str()], arguments].concat()).ok().trim().to_owned()
    };
    let printer = format!("{net}.40");

    let said = lab.lap(&["dns", "add", "printer", "A", &printer, "--ttl", "300"]).ok();
    assert!(said.starts_with(&format!("Added to `test`:\n  printer.internal. 300 A {printer}\n  40.")), "{said}");
    assert_eq!(dig(&["printer.internal"]), printer);
    assert_eq!(dig(&["-x", &printer]), "printer.internal.");
    lab.lap(&["dns", "add", "test", "printer", "TXT", "second floor"]).ok();
    assert_eq!(dig(&["printer.internal", "TXT"]), "\"second floor\"");

    let list = lab.lap(&["dns", "list"]).ok();
    let row = |name: &str, rtype: &str| {
        let found = list.lines().find(|line| {
            let words: Vec<&str> = line.split_whitespace().collect();
            words[0] == name && words[2] == rtype
        });
        found.unwrap_or_else(|| panic!("no {rtype} of {name} in\n{list}")).to_owned()
    };
    assert!(row("printer.internal.", "A").ends_with("dynamic"), "{list}");
    assert!(row("one.internal.", "A").ends_with("workspace"), "{list}");
    assert!(row("internal.", "SOA").ends_with("workspace"), "{list}");
    assert!(
        list.lines()
            .any(|line| line.contains(" PTR ") && line.contains("printer.internal.") && line.ends_with("dynamic"))
    );
    let json: serde_json::Value = serde_json::from_str(&lab.lap(&["dns", "list", "--json"]).ok()).unwrap();
    assert!(json.as_array().unwrap().iter().any(|row| row["name"] == "printer.internal." && row["from"] == "dynamic"));

    // The workspace's names are changed in the workspace.
    for verb in [&["dns", "add", "one", "A", "10.0.0.1"][..], &["dns", "rm", "one"]] {
        let said = lab.lap(verb).fails(10);
        assert!(said.contains("the workspace defines `one.internal.`: change it there"), "{said}");
    }

    // Stock nsupdate, with a key that may do less.
    lab.lap(&["dns", "key", "new", "dhcp", "--update", "*.pc.internal"]).ok();
    let nsupdate = |text: &str| {
        let mut child = Command::new("nsupdate")
            .args(["-k", lab.root.join(".lap/dns/dhcp.key").to_str().unwrap()])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let text = format!("server {address}\nzone internal\n{text}\nsend\n");
        child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    // The server looks for new keys four times a second.
    let add = || nsupdate("update add anna.pc.internal 60 A 10.9.9.9");
    until_or(|| add().0, || add().1);
    assert_eq!(dig(&["anna.pc.internal"]), "10.9.9.9");
    assert!(!nsupdate("update add anna.internal 60 A 10.9.9.9").0);

    assert_eq!(lab.lap(&["dns", "rm", "printer"]).ok(), "Removed from `test`.\n");
    assert!(dig(&["printer.internal"]).is_empty() && dig(&["-x", &printer]).is_empty());
    let said = lab.lap(&["dns", "rm", "printer"]).ok();
    assert_eq!(said, "Nothing to do: `test` has no such record of `printer.internal.`.\n");

    // Records of the workspace come with `up`, and the server stays as it is.
    let since = started(&lab);
    let text = fs::read_to_string(lab.root.join("lap.toml")).unwrap();
    let records = "\"www.internal\" = [\"CNAME one.internal.\"]\n\"*.apps.internal\" = [\"A 10.9.9.8\"]\n\
                   \"_ldap._tcp.internal\" = [\"SRV 0 0 389 one.internal.\"]\n\"t.internal\" = [\"TXT \\\"a b\\\" c\"]\n";
    lab.write("lap.toml", &format!("{text}[dns.records]\n{records}"));
    lab.lap(&["up"]).ok();
    assert_eq!(started(&lab), since);
    assert_eq!(dig(&["any.apps.internal"]), "10.9.9.8");
    let all = lab.lap(&["dns", "check"]).ok();
    assert!(all.ends_with("correct\n"), "{all}");
    assert_eq!(dig(&["anna.pc.internal"]), "10.9.9.9", "what was registered is still there");
}
