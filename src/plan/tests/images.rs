//! What is built, pulled, pushed and loaded.

use super::World;
use crate::config::model::Rootfs;

#[test]
fn a_changed_image_is_built_and_its_container_replaced() {
    World::settled().changed("git").plans(&[
        "0 build `git` (its files changed)",
        "1 replace `git` (its image changed) after 0",
        "2 wait until `git` is healthy (it starts) after 1",
        "3 push `git` (it is not in the registry) after 0",
        "4 record what runs (another commit) after 0 1 2 3",
    ]);
}

#[test]
fn a_changed_base_changes_all_that_stands_on_it() {
    World::settled().changed("base").plans(&[
        "0 build `base` (its files changed)",
        "1 build `dns` (`base` is built) after 0",
        "2 build `git` (`base` is built) after 0",
        "3 build `registry` (`base` is built) after 0",
        "4 replace `registry` (its image changed) after 3",
        "5 wait until `registry` is healthy (it starts) after 4",
        "6 replace `dns` (its image changed) after 1",
        "7 wait until `dns` is healthy (it starts) after 6",
        "8 replace `git` (its image changed) after 2 5 7",
        "9 wait until `git` is healthy (it starts) after 8",
        "10 push `base` (it is not in the registry) after 0 5",
        "11 push `dns` (it is not in the registry) after 1 5 10",
        "12 push `git` (it is not in the registry) after 2 5 10",
        "13 push `registry` (it is not in the registry) after 3 5 10",
        "14 save the image of `registry` (its image changed) after 3",
        "15 record what runs (another commit) after 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14",
    ]);
}

#[test]
fn a_changed_registry_is_saved_again() {
    World::settled().changed("registry").plans(&[
        "0 build `registry` (its files changed)",
        "1 replace `registry` (its image changed) after 0",
        "2 wait until `registry` is healthy (it starts) after 1",
        "3 push `registry` (it is not in the registry) after 0 2",
        "4 save the image of `registry` (its image changed) after 0",
        "5 record what runs (another commit) after 0 1 2 3 4",
    ]);
}

#[test]
fn a_parent_is_built_only_for_somebody() {
    // `base` is gone, but all that stands on it is there.
    World::settled().without_image("base").plans(&[]);
    World::settled().without_image("base").without_image("git").plans(&[
        "0 build `base` (there is no image of it)",
        "1 build `git` (`base` is built) after 0",
        "2 replace `git` (its image changed) after 1",
        "3 wait until `git` is healthy (it starts) after 2",
        "4 push `base` (it is not in the registry) after 0",
        "5 push `git` (it is not in the registry) after 1 4",
        "6 record what runs (it changed) after 0 1 2 3 4 5",
    ]);
}

#[test]
fn a_root_file_system_is_made_before_what_it_is_in() {
    let mut world = World::settled().changed("base");
    world.missing_rootfs.insert("base".into(), Rootfs { suite: "bookworm".into(), ..Rootfs::default() });
    let plan = super::text(&world.up());
    assert!(plan.starts_with("0 make the root file system of `base` (not in the cache)\n1 build `base` (its files changed) after 0\n2 build `dns` (`base` is built) after 1\n"), "{plan}");
    // Nobody needs it.
    let mut world = World::settled();
    world.missing_rootfs.insert("base".into(), Rootfs::default());
    world.plans(&[]);
}

#[test]
fn what_is_not_in_the_registry_is_pushed() {
    let mut world = World::settled();
    // What a person pushed under another name is not there for lap.
    for image in &mut world.node.images {
        image.digests = vec!["localhost:5000/team/thing@sha256:0".into()];
    }
    world.plans(&[
        "0 push `base` (it is not in the registry)",
        "1 push `dns` (it is not in the registry) after 0",
        "2 push `git` (it is not in the registry) after 0",
        "3 push `registry` (it is not in the registry) after 0",
        "4 record what runs (it changed) after 0 1 2 3",
    ]);
    let mut world = World::settled();
    world.node.installed.remove("images/registry.tar");
    world.plans(&["0 save the image of `registry` (missing)"]);
}

#[test]
fn without_a_registry_nothing_is_pushed() {
    let mut world = World::new();
    world.desired.containers.remove("registry");
    world.desired.images.remove("registry");
    let plan = super::text(&world.up());
    assert!(!plan.contains("push") && !plan.contains("save") && plan.contains("start `git`"), "{plan}");
}

#[test]
fn a_release_is_never_built() {
    World::settled().release().plans(&[]);
    World::settled().release().without_container("git").without_image("git").plans(&[
        "0 pull `git` (it is not on the node)",
        "1 start `git` (it does not exist) after 0",
        "2 wait until `git` is healthy (it starts) after 1",
    ]);
    // Its registry is gone, too: that one's image is in a file on the node.
    World::settled()
        .release()
        .without_container("git")
        .without_image("git")
        .without_container("registry")
        .without_image("registry")
        .plans(&[
            "0 load the image of `registry` (it is not on the node)",
            "1 start `registry` (it does not exist) after 0",
            "2 wait until `registry` is healthy (it starts) after 1",
            "3 pull `git` (it is not on the node) after 2",
            "4 start `git` (it does not exist) after 3",
            "5 wait until `git` is healthy (it starts) after 4",
        ]);
    // The node was emptied, but its files are there.
    let mut world = World::settled().release();
    world.node.images.clear();
    world.node.containers.clear();
    world.plans(&[
        "0 load the image of `registry` (it is not on the node)",
        "1 start `registry` (it does not exist) after 0",
        "2 wait until `registry` is healthy (it starts) after 1",
        "3 pull `dns` (it is not on the node) after 2",
        "4 start `dns` (it does not exist) after 3",
        "5 wait until `dns` is healthy (it starts) after 4",
        "6 pull `git` (it is not on the node) after 2",
        "7 start `git` (it does not exist) after 5 6",
        "8 wait until `git` is healthy (it starts) after 7",
    ]);
}

#[test]
fn a_builder_makes_them_and_the_node_takes_them() {
    World::settled().with_builder(&[]).plans(&[]);
    World::settled().changed("git").with_builder(&["base"]).plans(&[
        "0 build `git` on `maker` (there is no image of it)",
        "1 send the image of `git` from `maker` (it is not on the node) after 0",
        "2 replace `git` (its image changed) after 1",
        "3 wait until `git` is healthy (it starts) after 2",
        "4 push `git` (it is not in the registry) after 1",
        "5 record what runs (another commit) after 0 1 2 3 4",
    ]);
}

#[test]
fn a_builder_that_is_new_makes_what_the_image_stands_on_for_itself() {
    World::settled().changed("git").with_builder(&[]).plans(&[
        "0 build `base` on `maker` (there is no image of it)",
        "1 build `git` on `maker` (`base` is built) after 0",
        "2 send the image of `git` from `maker` (it is not on the node) after 0 1",
        "3 replace `git` (its image changed) after 2",
        "4 wait until `git` is healthy (it starts) after 3",
        "5 push `git` (it is not in the registry) after 2",
        "6 record what runs (another commit) after 0 1 2 3 4 5",
    ]);
}

#[test]
fn what_the_builder_has_is_only_brought() {
    // As after a kill between the two.
    let world = World::settled().changed("base").with_builder(&["base", "dns", "git", "registry"]);
    let plan = world.up();
    let first = &super::text(&plan).lines().next().unwrap().to_owned();
    assert_eq!(first, "0 send 4 images from `maker` (they are not on the node)");
    assert!(!super::text(&plan).contains("build `"), "{}", super::text(&plan));
    super::in_order(&plan);
}

#[test]
fn what_checks_run_in_is_on_the_node_although_nothing_runs_from_it() {
    // A release takes it from its registry, whether `dns` itself is started or runs already.
    World::settled().release().checks_in("dns", "base").plans(&[]);
    World::settled()
        .release()
        .checks_in("dns", "base")
        .without_image("base")
        .plans(&["0 pull `base` (it is not on the node)"]);
    let mut world = World::settled().release().checks_in("dns", "base");
    world.node.images.clear();
    world.node.containers.clear();
    let plan = super::text(&world.up());
    assert!(plan.contains("pull `base` (it is not on the node) after 2\n"), "{plan}");
    super::in_order(&world.up());
    // A working tree builds it, on its own node or on a builder.
    World::settled().checks_in("dns", "base").without_image("base").plans(&[
        "0 build `base` (there is no image of it)",
        "1 push `base` (it is not in the registry) after 0",
        "2 record what runs (it changed) after 0 1",
    ]);
    World::settled().checks_in("dns", "base").without_image("base").with_builder(&["base"]).plans(&[
        "0 send the image of `base` from `maker` (it is not on the node)",
        "1 push `base` (it is not in the registry) after 0",
        "2 record what runs (it changed) after 0 1",
    ]);
    // The checks of what is left alone are left alone.
    let mut world = World::settled().release().checks_in("dns", "base").without_image("base");
    world.only = ["registry".to_owned()].into();
    world.plans(&[]);
}
