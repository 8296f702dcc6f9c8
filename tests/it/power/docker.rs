//! A Docker with as much of its API as a switch needs. What it knows is on another disk than the pool: a power cut leaves what it knew at that
//! moment.

use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader, Read, Write},
    os::unix::net::{UnixListener, UnixStream},
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    thread,
};

use serde_json::{Value, json};

#[derive(Clone, Debug, PartialEq)]
pub struct Container {
    pub id: String,
    pub name: String,
    pub image: String,
    pub running: bool,
    labels: BTreeMap<String, String>,
}

/// Hears of all containers when one has changed.
type OnChange = Box<dyn Fn(&[Container]) + Send + Sync>;
/// What a container does when it starts.
type OnStart = Box<dyn Fn(&Container) + Send + Sync>;

#[derive(Default)]
struct State {
    containers: Vec<Container>,
    made: u64,
}

/// The daemon; it answers as long as the process lives.
#[derive(Clone)]
pub struct Docker {
    state: Arc<Mutex<State>>,
    on_change: Arc<OnChange>,
    on_start: Arc<OnStart>,
}

impl Docker {
    /// Listens at `socket`.
    pub fn listen(socket: &Path, on_change: OnChange, on_start: OnStart) -> Self {
        let docker = Self { state: Arc::default(), on_change: Arc::new(on_change), on_start: Arc::new(on_start) };
        let (listener, server) = (UnixListener::bind(socket).unwrap(), docker.clone());
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let server = server.clone();
                thread::spawn(move || while server.answer(&stream).is_some() {});
            }
        });
        docker
    }

    /// A container that runs.
    pub fn run(&self, name: &str, image: &str, labels: BTreeMap<String, String>) {
        self.change(|state| state.make(name, image.to_owned(), labels).running = true);
    }

    /// The containers, by name.
    pub fn containers(&self) -> Vec<Container> {
        let mut all = self.state.lock().unwrap().containers.clone();
        all.sort_by(|a, b| a.name.cmp(&b.name));
        all
    }

    /// Knows what it knew at an earlier moment; what ran runs again.
    pub fn go_back(&self, then: &[Container]) {
        self.state.lock().unwrap().containers = then.to_vec();
    }

    fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let mut state = self.state.lock().unwrap();
        let changed = change(&mut state);
        (self.on_change)(&state.containers);
        changed
    }

    /// Answers one request; `None`: there are no more.
    fn answer(&self, mut stream: &UnixStream) -> Option<()> {
        let mut reader = BufReader::new(stream);
        let mut line = String::new();
        reader.read_line(&mut line).ok().filter(|length| *length > 0)?;
        let mut words = line.split(' ');
        let (method, target) = (words.next()?.to_owned(), words.next()?.to_owned());
        let mut length = 0;
        loop {
            let mut header = String::new();
            reader.read_line(&mut header).ok()?;
            if header.trim().is_empty() {
                break;
            }
            if let Some(value) = header.to_ascii_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse().ok()?;
            }
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body).ok()?;
        let (code, answer) = self.handle(&method, &target, &body);
        let text = if answer.is_null() { String::new() } else { answer.to_string() };
        let head = format!(
            "HTTP/1.1 {code} X\r\nContent-Type: application/json\r\nApi-Version: 1.41\r\nContent-Length: {}\r\n\r\n",
            text.len()
        );
        stream.write_all((head + &text).as_bytes()).ok()
    }

    fn handle(&self, method: &str, target: &str, body: &[u8]) -> (u16, Value) {
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let query = decoded(query);
        let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty() && !part.starts_with("v1.")).collect();
        let name_in_query =
            || query.split('&').find_map(|pair| pair.strip_prefix("name=")).unwrap_or_default().to_owned();
        match (method, parts.as_slice()) {
            (_, ["_ping"]) => (200, json!("OK")),
            ("GET", ["images", .., "json"]) => (200, json!({"Id": "sha256:1"})),
            ("GET", ["containers", "json"]) => (200, self.list(&query)),
            ("POST", ["containers", "create"]) => self.create(&name_in_query(), body),
            (_, ["containers", name, rest @ ..]) => {
                let name = name.to_string();
                if self.find(&name).is_none() {
                    return (404, json!({"message": format!("No such container: {name}")}));
                }
                match (method, rest) {
                    ("GET", ["json"]) => (200, self.inspect(&name)),
                    ("POST", ["stop"]) => self.alter(&name, |container| container.running = false),
                    ("POST", ["start"]) => self.start(&name),
                    ("POST", ["rename"]) => self.alter(&name, |container| container.name = name_in_query()),
                    ("DELETE", []) => {
                        self.change(|state| state.containers.retain(|it| it.name != name && it.id != name));
                        (204, Value::Null)
                    }
                    _ => (500, json!({"message": format!("{method} {target}")})),
                }
            }
            _ => (500, json!({"message": format!("{method} {target}")})),
        }
    }

    fn find(&self, name: &str) -> Option<Container> {
        self.state.lock().unwrap().containers.iter().find(|it| it.name == name || it.id == name).cloned()
    }

    fn alter(&self, name: &str, alter: impl FnOnce(&mut Container)) -> (u16, Value) {
        self.change(|state| state.containers.iter_mut().find(|it| it.name == name || it.id == name).map(alter));
        (204, Value::Null)
    }

    fn start(&self, name: &str) -> (u16, Value) {
        let before = self.find(name).filter(|it| !it.running);
        let started = self.alter(name, |container| container.running = true);
        if let Some(container) = before {
            (self.on_start)(&container);
        }
        started
    }

    fn create(&self, name: &str, body: &[u8]) -> (u16, Value) {
        if self.find(name).is_some() {
            return (409, json!({"message": format!("The container name {name} is already in use")}));
        }
        let body: Value = serde_json::from_slice(body).unwrap();
        let labels = serde_json::from_value(body["Labels"].clone()).unwrap_or_default();
        let image = body["Image"].as_str().unwrap_or_default().to_owned();
        let id = self.change(|state| state.make(name, image, labels).id.clone());
        (201, json!({"Id": id, "Warnings": []}))
    }

    fn list(&self, query: &str) -> Value {
        let all = query.contains("all=true");
        // `filters={"label":["lap.container"]}`
        let wanted: Value = query
            .split('&')
            .find_map(|pair| serde_json::from_str(pair.strip_prefix("filters=")?).ok())
            .unwrap_or(Value::Null);
        let wanted: Vec<String> = serde_json::from_value(wanted["label"].clone()).unwrap_or_default();
        let is_wanted = |container: &&Container| {
            (all || container.running) && wanted.iter().all(|label| container.labels.contains_key(label))
        };
        let fact = |container: &Container| {
            json!({
                "Id": container.id, "Names": [format!("/{}", container.name)], "Image": container.image,
                "Labels": container.labels, "State": if container.running { "running" } else { "exited" },
                "Status": if container.running { "Up 5 seconds" } else { "Exited (0)" }, "Created": 5, "Mounts": [],
            })
        };
        self.containers().iter().filter(is_wanted).map(fact).collect()
    }

    fn inspect(&self, name: &str) -> Value {
        let Some(container) = self.find(name) else { return Value::Null };
        json!({
            "Id": container.id, "Name": format!("/{}", container.name), "RestartCount": 0,
            "Config": {"Image": container.image, "Labels": container.labels},
            "State": {
                "Running": container.running, "Pid": 7, "ExitCode": 0, "StartedAt": "2026-11-20T13:20:33Z",
                "FinishedAt": "2026-11-20T13:20:33Z",
            },
        })
    }
}

impl State {
    fn make(&mut self, name: &str, image: String, labels: BTreeMap<String, String>) -> &mut Container {
        self.made += 1;
        let id = format!("{:064x}", self.made);
        self.containers.push(Container { id, name: name.to_owned(), image, running: false, labels });
        self.containers.last_mut().unwrap()
    }
}

fn decoded(text: &str) -> String {
    let mut out = Vec::new();
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        let digits = (byte == b'%').then(|| [bytes.next(), bytes.next()]);
        let hex = digits.and_then(|digits| {
            let text: String = digits.into_iter().flatten().map(char::from).collect();
            u8::from_str_radix(&text, 16).ok()
        });
        out.push(hex.unwrap_or(byte));
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// Where Docker listens on a node, below its root.
pub fn socket(root: &Path) -> PathBuf {
    root.join("var/run/docker.sock")
}
