//! A `lap` that works while the test does something else. Its output goes into files, so that it never waits for a reader, and a test that
//! waits in vain can show it.

use std::{
    fs::File,
    io::{Read, Seek},
    process::{Child, Command, Stdio},
    time::Instant,
};

use super::lab::{Lab, PATIENCE, Ran, run};

pub struct Working {
    child: Child,
    out: File,
    err: File,
    /// For messages: how it was called.
    call: String,
}

impl Lab {
    /// Starts `lap` with these arguments, in the workspace.
    pub fn start(&self, arguments: &[&str]) -> Working {
        Working::spawn(&mut self.command(arguments))
    }
}

impl Working {
    pub fn spawn(command: &mut Command) -> Self {
        let (out, err) = (tempfile::tempfile().unwrap(), tempfile::tempfile().unwrap());
        let call = format!("{:?}", command.get_args().collect::<Vec<_>>());
        command.stdin(Stdio::null()).stdout(out.try_clone().unwrap()).stderr(err.try_clone().unwrap());
        Self { child: command.spawn().unwrap(), out, err, call }
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Waits for an event during the work. Fails with the output if the work ends before it.
    #[track_caller]
    pub fn until(&mut self, event: &str, mut is: impl FnMut() -> bool) {
        self.wait(event, |_| is());
    }

    /// Waits until a step with this title begins; for `--progress json`.
    #[track_caller]
    pub fn until_step(&mut self, title: &str) {
        let title = format!("\"title\":\"{title}");
        let begins = |line: &str| line.contains("\"started\"") && line.contains(&title);
        self.wait(&title, |working| working.said().out.lines().any(begins));
    }

    /// Waits until the agent of this node pauses at the step that the test wrote into `/run/lap/die-at`.
    #[track_caller]
    pub fn until_reached(&mut self, lab: &Lab, node: &str, step: &str) {
        self.until(step, || lab.on_node(node, &["test", "-e", "/run/lap/reached"]).code == 0);
    }

    #[track_caller]
    fn wait(&mut self, event: &str, mut is: impl FnMut(&mut Self) -> bool) {
        let begun = Instant::now();
        loop {
            // In this order: the event may come with the end.
            let ended = self.has_ended();
            if is(self) {
                return;
            }
            let why = if ended { "it ended before" } else { "waited in vain for" };
            if ended || begun.elapsed() > PATIENCE {
                let said = self.said();
                panic!("{}: {why} `{event}`: {said:?}", self.call);
            }
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
    }

    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    /// Kills it in the middle of its work. Fails if it ended before.
    #[track_caller]
    pub fn kill(mut self) -> Ran {
        let (ended, said) = (self.has_ended(), self.said());
        assert!(!ended, "{}: it ended before it was killed: {said:?}", self.call);
        self.child.kill().unwrap();
        self.end()
    }

    /// Waits for its end.
    pub fn end(mut self) -> Ran {
        self.child.wait().unwrap();
        self.said()
    }

    /// What it printed so far; the exit code is -1 as long as it has none.
    fn said(&mut self) -> Ran {
        let read = |file: &mut File| {
            let mut bytes = Vec::new();
            file.rewind().unwrap();
            file.read_to_end(&mut bytes).unwrap();
            String::from_utf8_lossy(&bytes).into_owned()
        };
        let code = self.child.try_wait().unwrap().and_then(|status| status.code()).unwrap_or(-1);
        Ran { code, out: read(&mut self.out), err: read(&mut self.err) }
    }
}

/// Has the agent of `node` killed at this step of a command, which must not succeed; `node ` before the step: the node itself.
#[track_caller]
pub fn kill_at(lab: &Lab, node: &str, at: &str, arguments: &[&str]) {
    let ended = killed_at(lab, node, at, arguments);
    assert_ne!(ended.code, 0, "killed at {at}, and it says it is done: {ended:?}");
}

/// The same for a command that may succeed; gives its result.
#[track_caller]
pub fn killed_at(lab: &Lab, node: &str, at: &str, arguments: &[&str]) -> Ran {
    lab.on_node(node, &["sh", "-c", &format!("echo '{at}' >/run/lap/die-at")]).ok();
    let mut working = lab.start(arguments);
    working.until(at, || lab.on_node(node, &["test", "-e", "/run/lap/die-at"]).code != 0);
    if at.starts_with("node ") {
        run("docker", &["kill", &lab.node(node)]).ok();
        run("docker", &["start", &lab.node(node)]).ok();
    }
    working.end()
}

/// A test that fails leaves none behind.
impl Drop for Working {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}
