//! `lap keys`: made, listed, moved; and what a workspace without them says.

use std::fs;

use crate::workspace::Workspace;

const MISSING: &str = "error: this workspace has no keys\nhint: run `lap keys import FILE` (from a colleague's `lap keys export`)\nhint: or `lap keys new` for a new lab\n";

#[test]
fn without_keys_the_next_step_is_said() {
    let workspace = Workspace::small();
    let before = workspace.everything();
    for line in ["up", "up --dry-run", "keys list", "keys export /nowhere/x", "keys trust --dry-run"] {
        workspace.lap(line.split(' ')).fails(9, MISSING);
    }
    assert_eq!(workspace.everything(), before);
}

#[test]
fn made_once_and_only_ours_to_read() {
    let workspace = Workspace::small();
    workspace
        .lap(["keys", "new"])
        .code(0)
        .prints("Made 17 key files in .lap/keys. `lap keys export FILE` keeps a copy in another place.\n")
        .says("");
    for (path, mode) in workspace.everything() {
        let Some(path) = path.strip_prefix("office/.lap/keys") else { continue };
        let want = if workspace.root().join(format!(".lap/keys{path}")).is_dir() { "0700" } else { "0600" };
        assert_eq!(mode, want, ".lap/keys{path}");
    }
    assert_eq!(fs::read_to_string(workspace.root().join(".lap/.gitignore")).unwrap(), "*\n");
    let admin = fs::read(workspace.root().join(".lap/keys/admin")).unwrap();
    workspace.lap(["keys", "new"]).code(0).prints("Nothing to do: all keys exist.\n");
    assert_eq!(fs::read(workspace.root().join(".lap/keys/admin")).unwrap(), admin);
}

#[test]
fn listed_with_fingerprints() {
    let workspace = Workspace::with_keys();
    let table = workspace.lap(["keys", "list"]).code(0).stdout;
    let names: Vec<&str> = table.lines().filter_map(|line| line.split("  ").next()).collect();
    assert_eq!(
        names,
        [
            "KEY",
            "admin",
            "root.crt",
            "prod/issuing.crt",
            "test/issuing.crt",
            "dns/lap-admin-prod",
            "dns/lap-admin-test"
        ]
    );
    let json: serde_json::Value =
        serde_json::from_str(&workspace.lap(["keys", "list", "--json"]).code(0).stdout).unwrap();
    let fingerprint = json[0]["fingerprint"].as_str().unwrap();
    assert!(fingerprint.starts_with("SHA256:") && table.contains(fingerprint), "{json}");
}

#[test]
fn moved_under_a_passphrase() {
    let here = Workspace::with_keys()
        .with("../passphrase", "correct horse battery staple\n")
        .with("../wrong", "not at all right\n");
    let export = ["keys", "export", "../lab.age", "--passphrase-file", "../passphrase"];
    here.lap(export)
        .code(0)
        .prints("All keys are in `../lab.age`. Use `lap keys import` in another checkout to install them.\n")
        .says("");
    assert_eq!(here.mode("../lab.age"), "0600");
    // What is there is never overwritten.
    here.lap(export).fails(10, "error: `../lab.age` exists already\nhint: choose another name, or remove it first\n");

    let there = Workspace::small()
        .with("../lab.age", fs::read(here.path("lab.age")).unwrap())
        .with("../passphrase", "correct horse battery staple\n");
    let import = ["keys", "import", "../lab.age"];
    there.lap(import).fails(2, "error: a passphrase is needed, and there is no terminal to type it\nhint: use `--passphrase-file FILE`, or set `LAP_PASSPHRASE_FILE`\n");
    let wrong = here.path("wrong").display().to_string();
    let before = there.everything();
    there
        .lap(["keys", "import", "../lab.age", "--passphrase-file", &wrong])
        .fails(9, "error: the passphrase does not open `../lab.age`\n");
    assert_eq!(there.everything(), before);
    let there = there.variable("LAP_PASSPHRASE_FILE", "../passphrase");
    there.lap(import).code(0).prints("Imported 17 key files.\n");
    there.lap(import).code(0).prints("Nothing to do: these keys exist already.\n");
    assert_eq!(there.lap(["keys", "list"]).stdout, here.lap(["keys", "list"]).stdout);
    assert_eq!(there.mode(".lap/keys"), "0700");
    assert_eq!(there.mode(".lap/keys/prod/issuing.key"), "0600");
}

#[test]
fn other_keys_are_never_replaced() {
    let here = Workspace::with_keys().with("../passphrase", "correct horse battery staple\n");
    let here = here.variable("LAP_PASSPHRASE_FILE", "../passphrase");
    here.lap(["keys", "export", "../lab.age"]).code(0);
    let there = Workspace::with_keys()
        .with("../lab.age", fs::read(here.path("lab.age")).unwrap())
        .with("../passphrase", "correct horse battery staple\n")
        .variable("LAP_PASSPHRASE_FILE", "../passphrase");
    let before = there.lap(["keys", "list"]).stdout;
    there.lap(["keys", "import", "../lab.age"]).fails(10, "error: this workspace has other keys than `../lab.age`: `admin`, `admin.pub`, `dns/lap-admin-prod.json`, `dns/lap-admin-test.json`, `prod/issuing.crt`, `prod/issuing.key`, `prod/registry.password`, `prod/repository.password`, `prod/upload.password`, `repository.password`, `root.crt`, `root.key`, `test/issuing.crt`, `test/issuing.key`, `test/registry.password`, `test/repository.password`, `test/upload.password`\nhint: if you no longer need the present keys, move `[dir]/office/.lap/keys` away first\n");
    assert_eq!(there.lap(["keys", "list"]).stdout, before);
    // A file that is no export, and one that is not there.
    there.lap(["keys", "import", "lap.toml"]).fails(
        9,
        "error: `lap.toml` is not a usable key export: it is not an age file\nhint: ask your colleague for a new `lap keys export`\n",
    );
    there
        .lap(["keys", "import", "nothing.age"])
        .fails(9, "error: cannot read `nothing.age`: No such file or directory (os error 2)\n");
}
