//! A new workspace is this repository's own.

use std::{fs, os::unix::fs::PermissionsExt, path::Path};

use super::super::{init, load};

#[test]
fn writes_this_workspace() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path().join("new");
    let written = init(&dir, "office").unwrap();
    assert!(written.iter().all(|path| path.exists()));
    let lab = load(&dir, None).unwrap_or_else(|problems| panic!("{problems}"));
    assert_eq!(lab.name, "office");
    assert_eq!(fs::read_to_string(dir.join(".gitignore")).unwrap(), "/.lap\n");
    assert_eq!(fs::read_to_string(dir.join(".git/HEAD")).unwrap(), "ref: refs/heads/master\n");
    // File by file, with its rights.
    let source = Path::new(env!("CARGO_MANIFEST_DIR"));
    for path in written {
        let path = path.strip_prefix(&dir).unwrap();
        if path == Path::new("lap.toml") || path == Path::new(".gitignore") {
            continue;
        }
        assert_eq!(fs::read(dir.join(path)).unwrap(), fs::read(source.join(path)).unwrap(), "{}", path.display());
        let executable = |root: &Path| fs::metadata(root.join(path)).unwrap().permissions().mode() & 0o100;
        assert_eq!(executable(&dir), executable(source), "{}", path.display());
    }
    let error = init(&dir, "office").unwrap_err();
    assert_eq!(error.message, format!("`{}` is a workspace already: it has a `lap.toml`", dir.display()));
}

#[test]
fn leaves_what_is_there() {
    let outer = tempfile::tempdir().unwrap();
    git2::Repository::init(outer.path()).unwrap();
    let dir = outer.path().join("sub");
    fs::create_dir_all(dir.join("env/test")).unwrap();
    fs::write(dir.join("env/test/env.toml"), "# mine\n").unwrap();
    fs::write(dir.join(".gitignore"), "target").unwrap();
    let written = init(&dir, "x").unwrap();
    assert!(!written.contains(&dir.join("env/test/env.toml")));
    assert_eq!(fs::read_to_string(dir.join("env/test/env.toml")).unwrap(), "# mine\n");
    assert_eq!(fs::read_to_string(dir.join(".gitignore")).unwrap(), "target\n/.lap\n");
    assert!(!dir.join(".git").exists());
}

#[test]
fn says_what_is_in_the_way() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    fs::write(&file, "").unwrap();
    let error = init(&file, "x").unwrap_err();
    assert!(error.message.starts_with(&format!("cannot make the directory `{}`: ", file.display())), "{error}");
    let error = init(dir.path(), "X").unwrap_err();
    assert_eq!(
        error.message,
        "the lab cannot have this name: `X` is not a name: write lower-case letters, digits and hyphens between them, e.g. `x`"
    );
    assert!(!dir.path().join("lap.toml").exists());
}
