use super::*;

fn pool() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for name in ["state", "snapshots"] {
        fs::create_dir(dir.path().join(name)).unwrap();
    }
    dir
}

fn id(n: i64) -> Id {
    Id::new(n, 1)
}

fn key_of(order: &Order, pool: &Path) -> Key {
    key(Some(order), 0, &id(0), SnapshotCounter::known(pool).as_ref())
}

#[test]
fn each_count_is_assigned_once_whatever_the_clock_is() {
    let dir = pool();
    let pool = dir.path();
    let orders: Vec<Order> = [900, 5, 900, 800].map(|at| next(pool, &id(at)).unwrap()).to_vec();
    assert_eq!(orders.iter().map(|order| order.count).collect::<Vec<_>>(), [1, 2, 3, 4]);
    assert!(orders.is_sorted_by_key(|order| key_of(order, pool)));
    // The names of these snapshots were chosen before.
    assert_eq!(again(pool, &id(5)).unwrap().count, 2);
    assert_eq!(again(pool, &id(6)).unwrap().count, 5);
    // Snapshots of an earlier version are older than all of these, whatever their date is.
    assert!(key(None, i64::MAX, &id(1), SnapshotCounter::known(pool).as_ref()) < key_of(&orders[0], pool));
}

#[test]
fn a_lost_or_damaged_counter_starts_a_newer_line() {
    let dir = pool();
    let (pool, file) = (dir.path(), dir.path().join("state").join(FILE));
    let old: Vec<Order> = (0..9).map(|n| next(pool, &id(n)).unwrap()).collect();
    for spoil in [(|file: &Path| fs::remove_file(file).unwrap()) as fn(&Path), |file| fs::write(file, "{").unwrap()] {
        spoil(&file);
        let new = next(pool, &id(99)).unwrap();
        assert_eq!(new.count, 1);
        assert!(old.iter().all(|old| key_of(old, pool) < key_of(&new, pool)));
        assert!(old.is_sorted_by_key(|order| key_of(order, pool)), "they keep their own order");
    }
    assert_eq!(fs::read(file.with_added_extension("damaged")).unwrap(), b"{");
}

#[test]
fn a_fetched_snapshot_is_never_newer_than_those_of_the_node() {
    let dir = pool();
    let pool = dir.path();
    let own = next(pool, &id(1)).unwrap();
    let claim = |line: &str, count| Some(Order { line: line.into(), count, ran: u64::MAX, generation: Some(u64::MAX) });
    assert_eq!(believed(None, pool, Some(3)), None);
    assert_eq!(believed(claim(&own.line, 1), pool, Some(3)).unwrap().count, 1, "it comes back to its place");
    assert_eq!(believed(claim(&own.line, 2), pool, Some(3)), None, "this node has not taken it");
    assert_eq!(believed(claim("other", u64::MAX), pool, Some(3)), None);
    let other = believed(claim("other", 1 << 50), pool, Some(3)).unwrap();
    assert_eq!(other.generation, Some(3));
    assert!(key_of(&other, pool) < key_of(&own, pool));
    let archive = believed(claim("other", 4), pool, None).unwrap();
    assert!(key_of(&archive, pool) < key_of(&other, pool), "an archive says nothing about its line");
}

#[test]
fn only_running_time_of_the_agent_makes_a_snapshot_older() {
    let order = Order { line: "line".into(), count: 1, ran: 1000, generation: None };
    let moment = |at, ran| Moment { at, line: Some("line".into()), ran };
    assert_eq!(moment(i64::MAX, 1000).age(Some(&order), 0), 0, "the clock jumped ahead");
    assert_eq!(moment(i64::MIN, 1600).age(Some(&order), 0), 600, "the clock jumped back");
    // For a snapshot from before the counter, the clock must show the same time.
    assert_eq!(moment(i64::MAX, 30).age(None, 0), 30);
    assert_eq!(moment(20, 30).age(None, 0), 20);
    assert_eq!(moment(20, 30).age(None, 50), 0);
    assert_eq!(Moment::default().age(Some(&order), 0), 0, "a counter that cannot be read");
}

#[test]
fn the_time_of_a_process_is_counted_once() {
    let dir = pool();
    let pool = dir.path();
    count_time(pool).unwrap();
    assert_eq!(Moment::of(pool, 7).ran, 0);
    let mut counter = SnapshotCounter::known(pool).unwrap();
    counter.ran = 500;
    counter.write(pool).unwrap();
    let order = next(pool, &id(1)).unwrap();
    assert!(order.ran >= 500 && order.line == counter.line, "{order:?}");
    assert!(Moment::of(pool, 7).ran >= order.ran);
}
