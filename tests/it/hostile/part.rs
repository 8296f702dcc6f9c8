//! `lap restore --file` in the data of a container that changes it at the same time.

use std::{fs, os::unix::fs::symlink};

use lap_base::Kind;
use lap_snapshots::RestoreStep;

use super::{
    all_of, control,
    pool::{names, on_each},
    swap, while_swapping,
};

/// Between the check and the exchange, the directory becomes a link to git's hooks.
#[test]
fn a_directory_that_becomes_a_link_before_the_exchange_takes_nothing_elsewhere() {
    on_each(|pool| {
        let (before, first) = (all_of(&pool.git()), pool.take().unwrap());
        fs::write(pool.web().join("dir/update"), "new").unwrap();
        symlink("../git/hooks", pool.web().join("link")).unwrap();
        for step in [RestoreStep::Prepare, RestoreStep::Stop, RestoreStep::Switch] {
            let web = pool.web();
            let attack = move |at| {
                if at == step {
                    swap(&web.join("dir"), &web.join("link"));
                }
            };
            assert_eq!(pool.part(&first.id, "web/dir/update", attack).unwrap_err().kind, Kind::Refused, "{step:?}");
            assert_eq!(all_of(&pool.git()), before, "{step:?}");
            // Everything is as it was, and nothing is pending.
            assert_eq!(pool.recover().unwrap(), None, "{step:?}");
            assert!(!pool.data().join(".lap-restore").exists(), "{step:?}");
            swap(&pool.web().join("dir"), &pool.web().join("link"));
            assert_eq!(fs::read_to_string(pool.web().join("dir/update")).unwrap(), "new");
        }
        // Without the attack it comes back.
        pool.part(&first.id, "web/dir/update", |_| {}).unwrap();
        assert_eq!(fs::read_to_string(pool.web().join("dir/update")).unwrap(), "web's own");

        let copy = pool.data().join("copy");
        fs::write(&copy, "web's own").unwrap();
        let attack = || swap(&pool.web().join("dir"), &pool.web().join("link"));
        assert!(control::put(&pool.data(), "web/dir/update", &copy, attack).unwrap());
        assert_ne!(all_of(&pool.git()), before, "the attack works without the protection");
    });
}

/// After the exchange, the container moves the directory away: what was there before is kept all the same.
#[test]
fn a_directory_that_goes_after_the_exchange_loses_nothing() {
    on_each(|pool| {
        let first = pool.take().unwrap();
        fs::write(pool.web().join("dir/update"), "new").unwrap();
        let web = pool.web();
        let attack = move |at| {
            if at == RestoreStep::Start || at == RestoreStep::Keep {
                let _ = fs::rename(web.join("dir"), web.join("away"));
            }
        };
        let kept = pool.part(&first.id, "web/dir/update", attack).unwrap();
        assert_eq!(fs::read_to_string(pool.of(&kept.id).join("web/dir/update")).unwrap(), "new");
        assert_eq!(fs::read_to_string(pool.web().join("away/update")).unwrap(), "web's own");
        assert_eq!(pool.recover().unwrap(), None);
    });
}

#[test]
fn what_is_exchanged_all_the_time_leads_a_restore_nowhere() {
    on_each(|pool| {
        let (before, first) = (all_of(&pool.git()), pool.take().unwrap());
        symlink("../git/hooks", pool.web().join("link")).unwrap();
        let pairs = [[pool.web().join("dir"), pool.web().join("link")]];
        while_swapping(&pairs, || {
            for _ in 0..12 {
                if let Err(error) = pool.part(&first.id, "web/dir/update", |_| {}) {
                    assert!(matches!(error.kind, Kind::Refused | Kind::Usage), "{error}");
                }
                assert_eq!(pool.recover().unwrap(), None);
            }
        });
        assert_eq!(all_of(&pool.git()), before);
        // The counter of snapshots is there if one of them came so far.
        let left: Vec<String> = names(&pool.state()).into_iter().filter(|name| name != "snapshot-order.json").collect();
        assert_eq!(left, [""; 0], "no record is left");
    });
}
