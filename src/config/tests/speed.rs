//! Loading takes as long as reading does. How long is said and never fails: another machine may be at something else.

use std::time::Instant;

use super::World;

/// Prints the time it takes; `cargo test --release --lib config::tests::speed -- --nocapture` for real figures.
#[test]
fn a_thousand_containers_on_a_hundred_nodes() {
    let mut world = World::new().container("base", "scale = 0");
    for i in 0..98 {
        let node = format!("environment = \"test\"\nrole = \"worker\"\naddress = \".{}\"\n", 30 + i);
        world = world.with(&format!("nodes/n{i}/node.toml"), node);
    }
    for i in 0..1000 {
        let toml = format!(
            "description = \"made up\"\nnames = [\"c{i}.internal\"]\nports = [\"{}:80\", \"{}:53/udp\"]\n\
             environment = {{ A = \"1\", B = \"2\" }}\ncap_drop = [\"ALL\"]\ncap_add = [\"CHOWN\", \"SETUID\"]\n\
             read_only = true\ntmpfs = [\"/run:size=1m\"]\nmem_limit = \"64m\"\n{}\
             [healthcheck]\ntest = [\"CMD\", \"healthy\"]\ninterval = \"10s\"\n",
            10_000 + i,
            10_000 + i,
            if i > 0 { format!("depends_on = [\"c{}\"]\n", i - 1) } else { String::new() },
        );
        world = world.container(&format!("c{i}"), &toml);
        world = world.with(&format!("containers/c{i}/Dockerfile"), "FROM infra/base\nRUN true\n");
    }
    let mut times: Vec<_> = (0..11)
        .map(|_| {
            let start = Instant::now();
            assert_eq!(world.load().containers.len(), 1001);
            start.elapsed()
        })
        .collect();
    times.sort();
    println!("load: median {:?}, of {:?} to {:?}", times[5], times[0], times[10]);
}
