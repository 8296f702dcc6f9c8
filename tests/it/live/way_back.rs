//! The way back always arrives: nobody runs a second command, whatever is in its way for a while.

use super::{
    lab::{Lab, run, until, until_or},
    promote::{change_two, in_prod, prod, says, until_healthy},
    working::Working,
};

/// `two` with a port, and a web server behind it that answers for `grace` more seconds once it is told to stop.
fn serving(name: &str, grace: u32) -> Lab {
    let lab = Lab::two_environments(name);
    for tool in ["httpd", "nc"] {
        std::os::unix::fs::symlink("busybox", lab.root.join("containers/one/tools/bin").join(tool)).unwrap();
    }
    lab.edit("containers/two/container.toml", "depends_on", "ports = [\"8181:80\"]\ndepends_on");
    serve(&lab, "two", grace);
    lab
}

fn serve(lab: &Lab, text: &str, grace: u32) {
    let command = format!("trap 'sleep {grace}; exit' TERM; httpd -p 80 -h /; sleep infinity & wait");
    lab.write(
        "containers/two/Dockerfile",
        &format!("FROM infra/one\nRUN echo {text} > /say\nCMD [\"/bin/sh\", \"-c\", \"{command}\"]\n"),
    );
    lab.commit();
}

fn promoting(lab: &Lab) -> Working {
    lab.start(&["promote", "--yes", "--settle", "1s"])
}

fn restart_prod(lab: &Lab) {
    run("docker", &["kill", &lab.node("prod")]).ok();
    run("docker", &["start", &lab.node("prod")]).ok();
}

/// What `lap status` says when it ends well.
fn runs(lab: &Lab) -> String {
    until_or(
        || lab.lap(&["status", "prod"]).code == 0,
        || {
            let log = run("docker", &["logs", "--tail", "30", &lab.node("prod")]);
            format!("{:?}\n{}", lab.lap(&["status", "prod"]), log.err)
        },
    );
    says(lab, "two")
}

/// The last line of the ledger.
fn newest(lab: &Lab) -> serde_json::Value {
    let list: serde_json::Value = serde_json::from_str(&lab.lap(&["release", "ledger", "--json"]).ok()).unwrap();
    list.as_array().unwrap().last().unwrap().clone()
}

/// Docker is killed while it starts the new container: it has written down the port by then, and takes it again for nobody.
#[test]
fn a_port_that_a_killed_docker_holds_for_nobody() {
    let lab = serving("back-port", 0);
    lab.lap(&["up", "--all"]).ok();
    serve(&lab, "two, new", 0);
    lab.lap(&["up"]).ok();
    // The next container that is made does not get further than its network.
    let runc = "#!/bin/sh\ncase \" $* \" in *\" create \"*) mv /hang /hangs 2>/dev/null && sleep 600 ;; esac\nexec /usr/sbin/runc \"$@\"\n";
    prod(&lab, "test -x /usr/sbin/runc");
    prod(&lab, &format!("cat >/usr/local/sbin/runc <<'end'\n{runc}end\nchmod +x /usr/local/sbin/runc"));
    lab.on_node("prod", &["sh", "-c", "echo 'pause start `two`' >/run/lap/die-at"]).ok();
    let mut promoting = promoting(&lab);
    promoting.until_reached(&lab, "prod", "start `two`");
    prod(&lab, "touch /hang; rm /run/lap/reached");
    promoting.until("it hangs", || lab.on_node("prod", &["test", "-e", "/hangs"]).code == 0);
    restart_prod(&lab);
    assert_eq!(runs(&lab), "two");
    assert_ne!(promoting.end().code, 0);
    let address = lab.address("prod");
    until("it answers", || std::net::TcpStream::connect((address.as_str(), 8181)).is_ok());
    lab.lap(&["promote", "--yes", "--settle", "1s"]).ok();
    assert_eq!(runs(&lab), "two, new");
}

/// Something else has the port for a while: the agent says so, tries again, and arrives when the port is free.
#[test]
fn the_agent_tries_again_by_itself() {
    let lab = serving("back-again", 0);
    lab.lap(&["up", "--all"]).ok();
    change_two(&lab, "ends", &in_prod("exit 3"));
    for boot in [false, true] {
        let step = "take back: start the old containers";
        lab.on_node("prod", &["sh", "-c", &format!("echo 'pause {step}' >/run/lap/die-at")]).ok();
        let mut promoting = promoting(&lab);
        promoting.until_reached(&lab, "prod", step);
        if boot {
            // After the next boot the port is taken before the agent gets there.
            lab.on_node("prod", &["sh", "-c", &format!("echo 'pause {step}' >/run/lap/die-at")]).ok();
            // The mark of the first pause outlives the node, and the agent must not go on when it is removed.
            lab.on_node("prod", &["pkill", "-STOP", "-f", "lap agent run"]).ok();
            prod(&lab, "rm /run/lap/reached");
            restart_prod(&lab);
            until("it goes back again", || lab.on_node("prod", &["test", "-e", "/run/lap/reached"]).code == 0);
        }
        run("docker", &["exec", "--detach", &lab.node("prod"), "perl", "-e", LISTENER]).ok();
        until("the port is taken", || lab.on_node("prod", &["test", "-e", "/taken"]).code == 0);
        prod(&lab, "rm /run/lap/reached");
        let said = promoting.end().err;
        assert!(boot || said.contains("the agent tries again until"), "{said}");
        let status = || lab.lap(&["status", "prod"]);
        until_or(
            || {
                let status = status();
                status.code == 7 && status.err.contains("failed attempt") && status.err.contains("`two`")
            },
            || format!("{:?}", status()),
        );
        // Whoever looks at it sees it end.
        let watching = lab.start(&["promote", "--resume", "--to", "prod"]);
        prod(&lab, "rm /taken");
        let said = watching.end().fails(7);
        assert!(said.contains("was taken back"), "{said}");
        until_healthy(&lab);
        assert_eq!(says(&lab, "two"), "two");
        lab.lap(&["release", "ledger", "verify"]).ok();
    }
}

/// Listens as long as `/taken` is there.
const LISTENER: &str = "
    use IO::Socket::INET;
    my $socket = IO::Socket::INET->new(LocalPort => 8181, Listen => 5, ReuseAddr => 1) or die;
    open(my $file, '>', '/taken') and close $file;
    select(undef, undef, undef, 0.1) while -e '/taken';
";

/// The old container answers for seconds after it was told to stop: its users do not feel these.
#[test]
fn what_is_recorded_is_what_users_felt() {
    let lab = serving("back-away", 4);
    lab.lap(&["up", "--all"]).ok();
    serve(&lab, "two, new", 4);
    lab.lap(&["up"]).ok();
    let measured = |what: &str| {
        let entry = newest(&lab);
        let away = entry["away"].as_u64().unwrap_or_else(|| panic!("{what}: nothing was measured: {entry}"));
        // Whoever stood by asked the same port.
        let felt = entry["outage"][0]["gap"].as_u64().unwrap_or_else(|| panic!("{what}: nothing was felt: {entry}"));
        // With the grace period it would be more by that.
        assert!(away > 0 && away < felt + 4000, "{what}: {away} ms for the agent, {felt} ms from outside: {entry}");
    };
    lab.lap(&["promote", "--yes", "--settle", "1s"]).ok();
    measured("a promotion");
    lab.lap(&["rollback", "--yes", "--settle", "1s"]).ok();
    measured("a roll-back");
    change_two(&lab, "ends", &in_prod("exit 3"));
    lab.lap(&["promote", "--yes", "--settle", "1s"]).fails(7);
    measured("one that was taken back");
}
