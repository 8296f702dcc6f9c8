use lap_snapshots::Filesystem;

use super::*;

#[path = "../../../../crates/snapshots/src/tests/pool.rs"]
mod pool;

/// After the exchange, the record says "committed" and is on the disk: so must the exchange be. The record's file system is another.
#[test]
fn an_exchange_is_on_the_disk_before_the_release_is() {
    for filesystem in Filesystem::ALL {
        for (back, was) in [(false, true), (true, true), (false, false), (true, false)] {
            let pool = pool::slow(filesystem);
            let home = pool.path().join("home");
            let (ready, place) = (home.join("staged/secrets.web"), home.join("secrets/web"));
            durable::create_dir_all(&ready).unwrap();
            durable::write_file(&ready.join("key"), b"new", 0o600).unwrap();
            if was {
                durable::create_dir_all(&place).unwrap();
                durable::write_file(&place.join("key"), b"old", 0o600).unwrap();
            }
            let new = inode(&ready).unwrap().unwrap();
            put_one(&ready, &place, new, false).unwrap();
            if back {
                put_one(&ready, &place, new, true).unwrap();
            }
            pool::keep(&pool::image(&pool));
            pool::comes_back(&pool);
            let read = || fs::read_to_string(place.join("key")).unwrap_or_default();
            let wanted = if back { if was { "old" } else { "" } } else { "new" };
            assert_eq!(read(), wanted, "{filesystem}, back {back}, was there {was}");
            // Each side is told by the inode as before.
            put_one(&ready, &place, new, back).unwrap();
            assert_eq!(read(), wanted, "{filesystem}, back {back}, was there {was}: once more");
            put_one(&ready, &place, new, !back).unwrap();
            assert_ne!(read(), wanted, "{filesystem}, back {back}, was there {was}: the other way");
        }
    }
}
