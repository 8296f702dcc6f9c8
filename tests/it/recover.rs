//! Repositories without a node: what is made where, and the workspace and its keys out of them, as a user without root's rights, too.

use std::{fs, os::unix::fs::PermissionsExt, process::Command};

use super::workspace::Workspace;

fn with_repository() -> Workspace {
    let workspace = Workspace::with_keys().with("../passphrase", "a good passphrase\n");
    let at = workspace.path("disk/lap").display().to_string();
    fs::create_dir(workspace.path("disk")).unwrap();
    let toml = format!("lab = \"office\"\ndefault = \"test\"\n[repositories]\noffice = \"{at}\"\n");
    workspace.with("lap.toml", toml).variable("LAP_PASSPHRASE_FILE", "../passphrase")
}

#[test]
fn each_environment_gets_a_repository_of_its_own() {
    let workspace = with_repository();
    workspace
        .lap(["repository"])
        .prints("`office` at [dir]/disk/lap: nothing yet; run `lap repository init office` to make the repositories\n");
    workspace.lap(["repository", "init"]).code(0);
    let mut made: Vec<String> = fs::read_dir(workspace.path("disk/lap"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    made.sort();
    assert_eq!(made, ["env-prod", "env-test", "lab"]);
    workspace
        .lap(["repository"])
        .prints("`office` at [dir]/disk/lap: the lab's own repository, and one for each of `prod`, `test`\n");
    workspace.lap(["repository", "init"]).prints("Nothing to do: `office` exists, and has a passphrase.\n");
}

#[test]
fn the_workspace_and_its_keys_come_back_through_the_child() {
    let workspace = with_repository();
    let git = |line: &str| {
        let line =
            format!("git init -q && git add -A && git -c user.name=t -c user.email=t@t commit -qm one && {line}");
        assert!(Command::new("sh").args(["-c", &line]).current_dir(workspace.root()).status().unwrap().success());
    };
    git("git config core.fsmonitor /bin/false && touch .git/info/attributes");
    workspace.lap(["repository", "init"]).code(0);
    let from = workspace.path("disk/lap").display().to_string();
    let whole = |root: &std::path::Path| {
        for file in ["lap.toml", ".lap/keys/admin", ".lap/keys/test/repository.password"] {
            assert_eq!(fs::read(root.join(file)).unwrap(), fs::read(workspace.root().join(file)).unwrap(), "{file}");
        }
        assert!(!root.join(".git/info/attributes").exists());
        assert!(!fs::read_to_string(root.join(".git/config")).unwrap().contains("fsmonitor"));
    };
    let recover = ["recover", "--workspace-only", "--from", &from, "--passphrase-file", "passphrase", "new"];
    workspace.lap_in(".", recover).code(0);
    whole(&workspace.path("new"));

    // In a user namespace, where this one may not change the root directory.
    if !is_root() {
        return;
    }
    let home = tempfile::tempdir().unwrap();
    for (from, to) in [(workspace.path("disk"), "disk"), (workspace.path("passphrase"), "passphrase")] {
        let ended = Command::new("cp").arg("-r").arg(from).arg(home.path().join(to)).status().unwrap();
        assert!(ended.success());
    }
    let lap = home.path().join("lap-binary");
    fs::copy(env!("CARGO_BIN_EXE_lap"), &lap).unwrap();
    fs::set_permissions(&lap, fs::Permissions::from_mode(0o755)).unwrap();
    assert!(Command::new("chown").args(["-R", "65534:65534"]).arg(home.path()).status().unwrap().success());
    let ended = Command::new("setpriv")
        .args(["--reuid", "65534", "--regid", "65534", "--clear-groups", "--"])
        .arg(&lap)
        .args(["recover", "--workspace-only", "--from"])
        .arg(home.path().join("disk/lap"))
        .args(["--passphrase-file", "passphrase", "new"])
        .current_dir(home.path())
        .env("HOME", home.path())
        .output()
        .unwrap();
    assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
    whole(&home.path().join("new"));
}

fn is_root() -> bool {
    let id = Command::new("id").arg("-u").output().unwrap();
    id.stdout == b"0\n"
}
