//! A container that fills the disk to its last block, data and metadata: the reserve gives a snapshot and the other containers room.

use std::{
    fs::{self, File},
    io::Write,
    path::Path,
};

use lap::agent::pool::reserve::ReserveFiles;
use lap_snapshots::Filesystem;

use super::pool::{Pool, sh};

const MIB: usize = 1 << 20;

/// Writes until the disk is full, with blocks of this size; gives what could be written.
fn write(path: &Path, block: usize, most: usize) -> usize {
    let Ok(mut file) = File::create(path) else { return 0 };
    let bytes = vec![0x5a; block];
    let mut written = 0;
    while written < most && file.write_all(&bytes).and_then(|()| file.sync_all()).is_ok() {
        written += block;
    }
    written
}

fn to_the_last_block(directory: &Path, name: &str) {
    for (block, more) in [(4 * MIB, ""), (256 << 10, ".small"), (4096, ".page")] {
        write(&directory.join(format!("{name}{more}")), block, usize::MAX);
    }
}

/// To the last block; then with names, which are metadata.
fn fill(pool: &Pool) {
    let web = pool.web();
    to_the_last_block(&web, "big");
    // Where there is no room for a directory, there is none for its names.
    let _ = fs::create_dir_all(web.join("names"));
    let name = |n: u32| web.join("names").join(format!("{n:0>200}"));
    let _ = (0..200_000).try_for_each(|n| File::create(name(n)).map(drop));
    sh("sync", &["--file-system", pool.path().to_str().unwrap()]);
}

fn with_reserve(filesystem: Filesystem, act: impl Fn(&Pool, &ReserveFiles<'_>)) {
    let pool = Pool::on(filesystem);
    let (path, directory) = (pool.path(), pool.path().join("reserve"));
    let reserve = ReserveFiles { pool: &path, directory: &directory };
    let room = reserve.fit(reserve.room().unwrap(), false).unwrap();
    assert!(room.reserve >= room.whole() / 10 * 9, "{room:?}");
    act(&pool, &reserve);
}

#[test]
fn a_full_disk_has_room_for_a_snapshot_and_for_the_others() {
    for filesystem in Filesystem::ALL {
        with_reserve(filesystem, |pool, reserve| {
            fill(pool);
            let other = pool.git().join("new");
            assert_eq!(write(&other, MIB, 4 * MIB), 0, "{filesystem}: without the reserve there is no room");
            let full = reserve.room().unwrap();
            assert!(full.is_low(), "{filesystem}: {full:?}");

            // The container that filled the disk is frozen: the others get half.
            let half = reserve.fit(full, true).unwrap();
            assert!(
                half.reserve < full.reserve * 6 / 10 && half.reserve > full.reserve * 4 / 10,
                "{filesystem}: {half:?}"
            );
            let whole = usize::try_from(full.whole()).unwrap();
            let written = write(&other, MIB / 4, whole / 3);
            assert!(written >= whole / 3, "{filesystem}: {written} of {whole}");
            fs::remove_file(&other).unwrap();
            to_the_last_block(&pool.web(), "again");

            // And a snapshot gets the rest. Where it copies, it needs as much room as the data.
            reserve.shrink(0).unwrap();
            if filesystem == Filesystem::Btrfs {
                for _ in 0..3 {
                    let taken = pool.take().unwrap();
                    assert_eq!(
                        fs::read_to_string(pool.of(&taken.id).join("git/ssh/key")).unwrap(),
                        super::pool::SECRET
                    );
                }
            }
            assert_eq!(reserve.room().unwrap().reserve, 0);
        });
    }
}

#[test]
fn the_reserve_comes_back_when_there_is_room() {
    for filesystem in Filesystem::ALL {
        with_reserve(filesystem, |pool, reserve| {
            let before = reserve.room().unwrap();
            assert_eq!(reserve.fit(before, false).unwrap().reserve, before.reserve, "{filesystem}: nothing changes");
            write(&pool.web().join("big"), 4 * MIB, usize::MAX);
            reserve.shrink(0).unwrap();
            // As a snapshot leaves it: a part comes back, and containers keep as much.
            let part = reserve.fit(reserve.room().unwrap(), false).unwrap();
            assert!(part.reserve > 0 && part.reserve < before.reserve * 6 / 10, "{filesystem}: {part:?}");
            fs::remove_file(pool.web().join("big")).unwrap();
            sh("sync", &["--file-system", pool.path().to_str().unwrap()]);
            let whole = reserve.fit(reserve.room().unwrap(), false).unwrap();
            assert!(whole.reserve >= whole.whole() / 10 * 9, "{filesystem}: {whole:?}");
        });
    }
}
