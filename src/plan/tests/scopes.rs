//! Parts of an environment: `lap start test git`, `lap restart`, `lap image build`.

use super::World;

fn names(names: &[&str]) -> std::collections::BTreeSet<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

#[test]
fn only_some_with_what_they_depend_on() {
    let mut world = World::new();
    world.only = names(&["git"]);
    world.plans(&[
        "0 set who may log in (not set yet)",
        "1 install the lab's certificates (missing)",
        "2 set the names (there are none)",
        "3 install the environment's files (missing)",
        "4 install the secrets of `git` (missing)",
        "5 build `base` (there is no image of it)",
        "6 build `dns` (`base` is built) after 5",
        "7 build `git` (`base` is built) after 5",
        "8 start `dns` (it does not exist) after 1 2 3 6",
        "9 wait until `dns` is healthy (it starts) after 8",
        "10 start `git` (it does not exist) after 1 2 3 4 7 9",
        "11 wait until `git` is healthy (it starts) after 10",
    ]);
    // The others' faults are not touched, nor is a stranger removed, nor anything recorded.
    let mut world = World::settled().without_container("registry");
    world.desired.commit = "c2".into();
    world
        .node
        .containers
        .push(crate::wire::protocol::ContainerFact { name: "old".into(), ..world.node.containers[0].clone() });
    world.only = names(&["git"]);
    world.plans(&[]);
}

#[test]
fn again() {
    let mut world = World::settled();
    world.again = names(&["git"]);
    world.only = names(&["git"]);
    world.plans(&["0 replace `git` (requested)", "1 wait until `git` is healthy (it starts) after 0"]);
    let mut world = World::settled().release();
    world.again = names(&["base", "dns", "git", "registry"]);
    world.plans(&[
        "0 replace `registry` (requested)",
        "1 wait until `registry` is healthy (it starts) after 0",
        "2 replace `dns` (requested)",
        "3 wait until `dns` is healthy (it starts) after 2",
        "4 replace `git` (requested) after 1 3",
        "5 wait until `git` is healthy (it starts) after 4",
    ]);
}

#[test]
fn images_only() {
    let mut world = World::new();
    world.start = false;
    world.plans(&[
        "0 build `base` (there is no image of it)",
        "1 build `dns` (`base` is built) after 0",
        "2 build `git` (`base` is built) after 0",
        "3 build `registry` (`base` is built) after 0",
    ]);
    world.only = names(&["git"]);
    world.plans(&[
        "0 build `base` (there is no image of it)",
        "1 build `dns` (`base` is built) after 0",
        "2 build `git` (`base` is built) after 0",
    ]);
    let mut world = World::settled();
    world.start = false;
    world.plans(&[]);
    // What is only built can be asked for by its name.
    let mut world = World::new();
    world.start = false;
    world.only = names(&["base"]);
    world.plans(&["0 build `base` (there is no image of it)"]);
}
