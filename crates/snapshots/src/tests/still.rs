//! Tests of snapshots on file systems without snapshots.

use std::{os::unix::fs::MetadataExt, time::Duration};

use super::{pool::unmount, *};

const PLAIN: [Filesystem; 2] = [Filesystem::Xfs, Filesystem::Ext4];
/// The age at which the time of a file can be trusted, with a reserve.
const OLD: Duration = Duration::from_millis(150);

fn age() {
    std::thread::sleep(OLD);
}

/// Returns everything that a file system stores about the files in a directory, except the properties of the inode
/// itself.
fn all(directory: &Path) -> String {
    let find = "cd \"$1\" && find . -printf '%P %M %U %G %s %T@ %l\\n' | sort && find . -type f -print0 | sort -z | xargs -0 sha256sum \
                && getfattr -R -h -d -m - --absolute-names . | sort && find . -samefile ./git/plain | sort";
    let output = Command::new("sh").args(["-c", find, "sh"]).arg(directory).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Makes one of each kind of file.
fn furnish(pool: &Pool) {
    let data = pool.path().join("data");
    let make = "cd \"$1\"/git && printf x >plain && ln plain link && mkdir sub && ln plain sub/link && ln -s plain soft && mkfifo fifo \
                && truncate -s 5M hole && printf end >>hole && printf x >\"$(printf 'odd\\n\\377')\" && setfattr -n user.a -v b plain \
                && setfattr -n user.d -v e sub && chmod 2751 sub && mknod null c 1 3 && touch -h -d '2001-02-03 04:05:06.7' soft \
                && setfattr -n system.posix_acl_access -v 0x0200000001000600ffffffff020004000004000004000400ffffffff10000400ffffffff20000000ffffffff one \
                && chown 1234:2345 plain sub && chmod 6751 plain && touch -d '2001-02-03 04:05:06.789' plain sub fifo";
    sh("sh", &["-c", make, "sh", data.to_str().unwrap()]);
}

#[test]
fn a_snapshot_has_all_attributes_of_the_present_data() {
    for filesystem in PLAIN {
        let pool = Pool::on(filesystem);
        furnish(&pool);
        let _listens = std::os::unix::net::UnixListener::bind(pool.path().join("data/git/socket")).unwrap();
        let data = pool.path().join("data");
        let first = pool.take();
        assert_eq!(all(&crate::meta::data(&pool.path(), &first.id)), all(&data), "{filesystem}");
        age();
        // An unchanged file is a hard link. A changed file is not, and no file is shared with the present data.
        pool.write("git/one", "changed");
        let second = pool.take();
        let place = |meta: &Meta, name: &str| crate::meta::data(&pool.path(), &meta.id).join("git").join(name);
        let inode = |path: &Path| fs::symlink_metadata(path).unwrap().ino();
        assert_eq!(all(&crate::meta::data(&pool.path(), &second.id)), all(&data), "{filesystem}");
        // These files were too new at the first snapshot, so their times could not be trusted.
        let third = pool.take();
        assert_eq!(all(&crate::meta::data(&pool.path(), &third.id)), all(&data), "{filesystem}");
        for name in ["plain", "hole", "sub/link"] {
            assert_eq!(inode(&place(&second, name)), inode(&place(&third, name)), "{filesystem}: {name}");
            assert_ne!(inode(&place(&third, name)), inode(&data.join("git").join(name)), "{filesystem}: {name}");
        }
        assert_ne!(inode(&place(&first, "one")), inode(&place(&third, "one")));
        assert!(fs::metadata(place(&third, "hole")).unwrap().blocks() < 100, "{filesystem}: the hole has been filled");
        assert_eq!((pool.of(&first, "git/one").as_str(), pool.of(&third, "git/one").as_str()), ("old", "changed"));
        // A restore shares no file with the snapshot, so a change of the present data does not change the snapshot.
        let before = all(&crate::meta::data(&pool.path(), &third.id));
        pool.restore(&third.id, &mut Fake::up()).unwrap();
        assert_eq!(all(&data), before, "{filesystem}");
        for name in ["plain", "hole", "one"] {
            assert_ne!(inode(&place(&third, name)), inode(&data.join("git").join(name)), "{filesystem}: {name}");
        }
        fs::write(data.join("git/plain"), "in place").unwrap();
        assert_eq!(all(&crate::meta::data(&pool.path(), &third.id)), before, "{filesystem}");
        // The next snapshot recognizes the restored files.
        age();
        let fourth = pool.take();
        assert_eq!(all(&crate::meta::data(&pool.path(), &fourth.id)), all(&data), "{filesystem}");
        assert_eq!(inode(&place(&third, "hole")), inode(&place(&fourth, "hole")), "{filesystem}");
        assert_ne!(inode(&place(&third, "plain")), inode(&place(&fourth, "plain")), "{filesystem}");
        // A snapshot whose files others share can be removed.
        for meta in [&third, &first, &fourth] {
            crate::sweep::remove(&pool.path(), &meta.id).unwrap();
        }
        let fifth = pool.take();
        assert_eq!(all(&crate::meta::data(&pool.path(), &fifth.id)), all(&data), "{filesystem}");
        assert_eq!(pool.left_over(), [""; 0]);
    }
}

#[test]
fn a_file_that_changes_during_the_copy_has_its_state_at_the_freeze() {
    for filesystem in PLAIN {
        let pool = Pool::on(filesystem);
        for name in ["git/changes", "git/goes", "git/moves", "git/turns", "git/stays"] {
            pool.write(name, "before");
        }
        age();
        let data = pool.path().join("data/git");
        let (place, patience) = (data.clone(), None);
        let meanwhile: Box<dyn FnOnce()> = Box::new(move || {
            // The size and the modification time are the same as before. Only the change time differs.
            let time = fs::metadata(place.join("changes")).unwrap().modified().unwrap();
            fs::write(place.join("changes"), "BEFORE").unwrap();
            fs::File::options().write(true).open(place.join("changes")).unwrap().set_modified(time).unwrap();
            fs::remove_file(place.join("goes")).unwrap();
            fs::rename(place.join("moves"), place.join("moved")).unwrap();
            fs::remove_file(place.join("turns")).unwrap();
            fs::create_dir(place.join("turns")).unwrap();
            fs::write(place.join("turns/new"), "new").unwrap();
        });
        let mut world = Fake { meanwhile: Some(meanwhile), patience, ..Fake::up() };
        let meta = pool.take_at(1_795_254_312, &mut world).unwrap();
        assert_eq!(world.did, STEPS);
        assert!(!world.paused);
        assert!(
            diff(&pool.path(), &crate::meta::data(&pool.path(), &meta.id), &pool.path().join("data"))
                .unwrap()
                .is_empty(),
            "{filesystem}"
        );
        let of = |name: &str| pool.of(&meta, name);
        assert_eq!(["git/changes", "git/goes", "git/moved", "git/stays"].map(of), ["BEFORE", "", "before", "before"]);
        // The change has the same clock tick as the snapshot, so the next snapshot must not trust its time.
        for text in ["one", "two"] {
            pool.write("git/stays", text);
            let meta = pool.take();
            assert_eq!(pool.of(&meta, "git/stays"), text);
        }
    }
}

/// The write goes to a mapped page that is dirty already, so no time changes.
#[test]
fn a_change_through_a_mapped_page_is_not_missed() {
    for filesystem in PLAIN {
        let pool = Pool::on(filesystem);
        let path = pool.path().join("data/git/mapped");
        let script = "import mmap,sys\nf=open(sys.argv[1],'w+b');f.truncate(8192)\nm=mmap.mmap(f.fileno(),8192)\n\
                      for line in sys.stdin:\n m[0:3]=line.strip().encode();print('done',flush=True)\n";
        let mut child = Command::new("python3")
            .args(["-c", script])
            .arg(&path)
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let mut to = child.stdin.take().unwrap();
        let mut from = std::io::BufReader::new(child.stdout.take().unwrap());
        let mut say = |text: &str| {
            use std::io::{BufRead, Write};
            writeln!(to, "{text}").unwrap();
            from.read_line(&mut String::new()).unwrap();
        };
        for text in ["one", "two", "six", "ten"] {
            say("old");
            age();
            pool.take();
            say(text);
            let meta = pool.take();
            assert_eq!(&pool.of(&meta, "git/mapped")[..3], text, "{filesystem}");
        }
        drop(to);
        child.wait().unwrap();
    }
}

#[test]
fn a_snapshot_killed_at_each_step_is_not_listed_and_leaves_nothing_frozen() {
    quiet();
    for filesystem in PLAIN {
        let pool = Pool::on(filesystem);
        let first = pool.take();
        for step in STEPS {
            pool.write("git/one", step);
            let mut world = Fake { die_taking: Some(step.to_owned()), ..Fake::up() };
            let killed = catch_unwind(AssertUnwindSafe(|| pool.take_at(1_795_254_400, &mut world).map(drop)));
            assert!(killed.is_err_and(|e| e.is::<Killed>()), "{step}");
            // The containers are unfrozen even if only the thread ends.
            assert!(!world.paused, "{step}");
            assert_eq!(list(&pool.path()).unwrap().len(), 1, "{step}");
            sweep(&pool.path(), &BTreeSet::new()).unwrap();
            assert_eq!(pool.left_over(), [""; 0], "{step}");
            let meta = pool.take_at(1_795_254_400, &mut Fake::up()).unwrap();
            assert_eq!((pool.of(&first, "git/one").as_str(), pool.of(&meta, "git/one").as_str()), ("old", step));
            crate::sweep::remove(&pool.path(), &meta.id).unwrap();
        }
    }
}

#[test]
fn a_freeze_above_the_limit_is_refused() {
    for filesystem in PLAIN {
        let pool = Pool::on(filesystem);
        let mut world = Fake { patience: Some(Duration::ZERO), ..Fake::up() };
        let refused = pool.take_at(1_795_254_312, &mut world).unwrap_err();
        assert_eq!(refused.message, "no snapshot was taken: containers would be frozen for longer than 0.0 ms");
        assert!(!world.paused && list(&pool.path()).unwrap().is_empty());
        assert_eq!(pool.left_over(), [""; 0]);
        world.patience = Some(Duration::from_secs(60));
        pool.take_at(1_795_254_312, &mut world).unwrap();
    }
}

#[test]
fn the_size_of_a_snapshot_has_a_shared_and_an_own_part() {
    let pool = Pool::on(Filesystem::Ext4);
    fs::write(pool.path().join("data/git/big"), vec![7; 1 << 20]).unwrap();
    age();
    let first = pool.take();
    fs::write(pool.path().join("data/git/more"), vec![7; 2 << 20]).unwrap();
    age();
    let second = pool.take();
    let usage = |meta: &Meta| volume::usage(&crate::meta::data(&pool.path(), &meta.id)).unwrap();
    let near = |is: u64, wanted: u64| is >= wanted && is < wanted + (64 << 10);
    let ((own, total), (own2, total2)) = (usage(&first), usage(&second));
    assert!(near(own, 0) && near(total, 1 << 20), "{own} {total}");
    assert!(near(own2, 2 << 20) && near(total2, 3 << 20), "{own2} {total2}");
    crate::sweep::remove(&pool.path(), &first.id).unwrap();
    assert!(near(usage(&second).0, 3 << 20));
}

#[test]
fn a_mount_inside_the_data_is_an_error() {
    let pool = Pool::on(Filesystem::Ext4);
    let inside = pool.path().join("data/git/inside");
    fs::create_dir(&inside).unwrap();
    sh("mount", &["-t", "tmpfs", "tmpfs", inside.to_str().unwrap()]);
    let refused = pool.take_at(1_795_254_312, &mut Nobody).unwrap_err();
    assert_eq!(refused.message, "`git/inside` is another file system, which a snapshot does not contain");
    unmount(&inside);
    pool.take();
}
