//! Tests of the comparison of two states.

use super::*;

#[test]
fn differences_are_listed_file_by_file() {
    on_each(lists_differences);
}

fn lists_differences(pool: Pool) {
    let odd = std::ffi::OsStr::new("new\nline");
    pool.write("git/stays", "x");
    pool.write("git/goes", "x");
    pool.write("git/turns", "x");
    pool.write("dns/deep/one", "x");
    let first = pool.take();
    let data = pool.path().join("data");
    pool.write("git/one", "longer than before");
    fs::remove_file(data.join("git/goes")).unwrap();
    fs::remove_file(data.join("git/turns")).unwrap();
    pool.write("git/turns/into", "a directory");
    fs::remove_dir_all(data.join("dns")).unwrap();
    fs::write(data.join("git").join(odd), "x").unwrap();
    let old = pool.path().join("snapshots").join(first.id.to_string()).join("data");
    let list: Vec<_> = diff(&pool.path(), &old, &data)
        .unwrap()
        .into_iter()
        .map(|d| format!("{:?} {}", d.change, d.path.to_string_lossy()))
        .collect();
    assert_eq!(
        list,
        [
            "Removed dns/deep/one",
            "Removed git/goes",
            "Added git/new\nline",
            "Changed git/one",
            "Removed git/turns",
            "Added git/turns/into",
        ]
    );
    assert!(diff(&pool.path(), &old, &old).unwrap().is_empty());
}

#[test]
fn an_unchanged_file_with_another_inode_is_no_difference() {
    on_each(lists_no_difference);
}

fn lists_no_difference(pool: Pool) {
    let data = pool.path().join("data");
    pool.write("git/content", "same size");
    pool.write("git/rights", "x");
    pool.write("git/attribute", "x");
    pool.write("git/stays", "x");
    std::os::unix::fs::symlink("one", data.join("git/link")).unwrap();
    let first = pool.take();
    let old = pool.path().join("snapshots").join(first.id.to_string()).join("data");
    only(&pool, &first.id, &["git"], &["git"], &mut Fake::up()).unwrap();
    assert!(diff(&pool.path(), &old, &data).unwrap().is_empty(), "other inodes, but the same files");
    // The file has the same size and time as before, but other content.
    let time = fs::metadata(data.join("git/content")).unwrap().modified().unwrap();
    pool.write("git/content", "SAME SIZE");
    fs::File::options().write(true).open(data.join("git/content")).unwrap().set_modified(time).unwrap();
    sh("chmod", &["600", data.join("git/rights").to_str().unwrap()]);
    xattr::set(data.join("git/attribute"), "user.x", b"y").unwrap();
    let list: Vec<_> =
        diff(&pool.path(), &old, &data).unwrap().into_iter().map(|d| d.path.display().to_string()).collect();
    assert_eq!(list, ["git/attribute", "git/content", "git/rights"]);
}
