//! A stock registry on loopback, and images in it that curl has put there.

use std::{
    fs,
    net::{SocketAddr, TcpStream},
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use lap::{
    keys::Keys,
    registry::{Digest, RegistryClient},
};
use lap_base::secret::Secret;
use lap_base::testing::loopback::own_place;
use ring::rand::{SecureRandom, SystemRandom};
use time::OffsetDateTime;

use super::wire::Wire;
use crate::{
    live::lab::{Ran, run},
    times::Timed,
};

const IMAGE: &str = "application/vnd.docker.distribution.manifest.v2+json";
const INDEX: &str = "application/vnd.docker.distribution.manifest.list.v2+json";

/// Keys of a lab with `test` and `prod`.
pub struct Authority {
    keys: Keys,
    root: tempfile::TempDir,
    _timed: Timed,
}

impl Authority {
    pub fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        let environments = ["test".to_owned(), "prod".to_owned()];
        let keys = Keys::create(root.path(), "office", "internal", &environments).unwrap().keys;
        Self { keys, root, _timed: Timed::begin() }
    }
}

impl Authority {
    /// `lap:<password>` of the user who may write to the registry of an environment.
    pub fn login(&self, environment: &str) -> String {
        format!("lap:{}", self.keys.registry_password(environment).unwrap().expose())
    }
}

/// A registry that runs, at its door for writing.
pub struct Stock {
    pub dir: tempfile::TempDir,
    at: SocketAddr,
    environment: &'static str,
    authority: String,
    login: String,
    root: PathBuf,
    child: Child,
}

/// Another process on the data of a [`Stock`].
pub struct Door {
    at: SocketAddr,
    child: Child,
}

impl Drop for Door {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The settings of a door of this repository's registry.
pub fn settings(door: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("containers/registry").join(door);
    fs::read_to_string(path).unwrap()
}

impl Stock {
    pub fn start(authority: &Authority, environment: &'static str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let now = OffsetDateTime::now_utc();
        let leaf = authority.keys.issue(environment, &["localhost".into()], &[], now).unwrap();
        fs::write(dir.path().join("tls.crt"), &leaf.chain).unwrap();
        fs::write(dir.path().join("tls.key"), leaf.key.expose()).unwrap();
        let htpasswd = authority.keys.registry_htpasswd(environment).unwrap();
        fs::write(dir.path().join("registry.htpasswd"), htpasswd.expose()).unwrap();
        fs::create_dir(dir.path().join("data")).unwrap();
        let root = authority.root.path().join(".lap/keys/root.crt");
        let issuing = authority.keys.issuing_certificate(environment).unwrap().to_owned();
        let at = own_place();
        write_settings(dir.path(), "write.yml", &settings("write.yml"), at);
        let child = spawn(dir.path(), "write.yml", at);
        Self { dir, at, environment, authority: issuing, login: authority.login(environment), root, child }
    }

    /// Another door to the same data, with these settings.
    pub fn door(&self, name: &str, settings: &str) -> Door {
        let at = own_place();
        write_settings(self.dir.path(), name, settings, at);
        Door { at, child: spawn(self.dir.path(), name, at) }
    }

    /// The status that a request to a door gets; `None`: to the one for writing.
    pub fn status_at(&self, door: Option<&Door>, login: Option<&str>, method: &str, path: &str) -> String {
        let at = door.map_or(self.at, |door| door.at);
        let url = format!("https://localhost:{}/v2/{path}", at.port());
        let mut more = vec!["--request", method, "--output", "/dev/null", "--write-out", "%{http_code}"];
        if method == "HEAD" {
            more.push("--head");
        }
        more.extend(login.iter().flat_map(|login| ["--user", login]));
        self.plain_curl(at, &url, &more).ok()
    }

    /// Where it keeps everything.
    pub fn data(&self) -> PathBuf {
        self.dir.path().join("data/docker/registry/v2")
    }

    /// Kills it.
    pub fn stop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    pub fn again(&mut self) {
        self.child = spawn(self.dir.path(), "write.yml", self.at);
    }

    /// A client over this wire.
    pub fn client(&self, wire: &Arc<Wire>) -> RegistryClient {
        self.client_trusting(wire, &self.authority)
    }

    pub fn client_trusting(&self, wire: &Arc<Wire>, authority: &str) -> RegistryClient {
        let name = format!("the registry of `{}`", self.environment);
        let client = RegistryClient::new(name, "localhost", authority, wire.dial(self.environment, self.at)).unwrap();
        let (user, password) = self.login.split_once(':').unwrap();
        client.with_login(user, &Secret::new(password.to_owned())).unwrap()
    }

    pub fn authority(&self) -> &str {
        &self.authority
    }

    /// curl on a path below `/v2/`.
    pub fn curl(&self, path: &str, more: &[&str]) -> Ran {
        let url = format!("https://localhost:{}/v2/{path}", self.at.port());
        self.curl_at(&url, more)
    }

    fn curl_at(&self, url: &str, more: &[&str]) -> Ran {
        self.plain_curl(self.at, url, &[&["--user", &self.login], more].concat())
    }

    fn plain_curl(&self, at: SocketAddr, url: &str, more: &[&str]) -> Ran {
        let root = self.root.display().to_string();
        // The name that its certificate says, at the address it has.
        let place = format!("localhost:{}:{}", at.port(), at.ip());
        let mut arguments = vec!["--silent", "--show-error", "--http1.1", "--cacert", &root, "--resolve", &place, url];
        arguments.extend(more);
        run("curl", &arguments)
    }

    /// The status of what is at a path below `/v2/`.
    pub fn status(&self, path: &str) -> String {
        let accept = format!("Accept: {IMAGE}, {INDEX}");
        self.curl(path, &["--head", "--output", "/dev/null", "--write-out", "%{http_code}", "--header", &accept]).ok()
    }

    /// Begins an upload; gives its path below `/v2/`.
    pub fn upload(&self, repository: &str) -> String {
        let begun = self.curl(&format!("{repository}/blobs/uploads/"), &["--request", "POST", "--include"]).ok();
        let location = begun.lines().find_map(|line| line.strip_prefix("Location: /v2/")).expect("a location");
        location.trim().to_owned()
    }

    /// Puts a blob there.
    pub fn blob(&self, repository: &str, bytes: &[u8]) -> Digest {
        let digest = Digest::of(bytes);
        let url = format!("https://localhost:{}/v2/{}&digest={digest}", self.at.port(), self.upload(repository));
        let file = self.dir.path().join("blob");
        fs::write(&file, bytes).unwrap();
        let kind = "Content-Type: application/octet-stream";
        let status = self
            .curl_at(
                &url,
                &["--upload-file", &file.display().to_string(), "--header", kind, "--write-out", "%{http_code}"],
            )
            .ok();
        assert!(status.ends_with("201"), "{status}");
        digest
    }

    /// Puts an image of these layers there, with a config of its own; gives its digest.
    pub fn image(&self, repository: &str, layers: &[&[u8]]) -> String {
        let parts: Vec<(Digest, usize)> =
            layers.iter().map(|layer| (self.blob(repository, layer), layer.len())).collect();
        let config = format!("{{\"of\":\"{repository}\",\"layers\":{}}}", parts.len());
        let named = self.blob(repository, config.as_bytes());
        self.manifest(repository, IMAGE, &manifest(&parts, (&named, config.len())))
    }

    /// Names an image of a layer that may be there or not, as a push does at its end; gives its digest and what the registry says.
    pub fn name_one(&self, repository: &str, layer: &Digest, size: usize) -> (String, String) {
        let config = format!("{{\"only\":\"{layer}\"}}");
        let named = self.blob(repository, config.as_bytes());
        self.try_manifest(repository, IMAGE, &manifest(&[(layer.clone(), size)], (&named, config.len())))
    }

    /// Puts an index of these images there.
    pub fn index(&self, repository: &str, images: &[&str]) -> String {
        let size = |digest: &str| self.manifest_of(repository, digest).len();
        let images: Vec<_> = images
            .iter()
            .map(|digest| {
                let platform = serde_json::json!({ "architecture": "amd64", "os": "linux" });
                serde_json::json!({ "mediaType": IMAGE, "size": size(digest), "digest": digest, "platform": platform })
            })
            .collect();
        let index = serde_json::json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": images });
        self.manifest(repository, INDEX, &index)
    }

    fn manifest(&self, repository: &str, kind: &str, value: &serde_json::Value) -> String {
        let (digest, said) = self.try_manifest(repository, kind, value);
        assert!(said.ends_with("201"), "{said}");
        digest
    }

    fn try_manifest(&self, repository: &str, kind: &str, value: &serde_json::Value) -> (String, String) {
        let text = serde_json::to_string_pretty(value).unwrap();
        let digest = Digest::of(text.as_bytes()).to_string();
        let header = format!("Content-Type: {kind}");
        let arguments =
            ["--request", "PUT", "--data-binary", &text, "--header", &header, "--write-out", "%{http_code}"];
        let said = self.curl(&format!("{repository}/manifests/{digest}"), &arguments).ok();
        (digest, said)
    }

    /// The bytes of a manifest.
    pub fn manifest_of(&self, repository: &str, reference: &str) -> String {
        let accept = format!("Accept: {IMAGE}, {INDEX}");
        self.curl(&format!("{repository}/manifests/{reference}"), &["--fail", "--header", &accept]).ok()
    }

    /// Asserts that an image is there, whole, every byte of it.
    #[track_caller]
    pub fn has_whole(&self, repository: &str, digest: &str) {
        let text = self.manifest_of(repository, digest);
        assert_eq!(Digest::of(text.as_bytes()).to_string(), digest);
        let manifest: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert!(manifest["manifests"].is_array() || manifest["layers"].is_array(), "neither images nor layers: {text}");
        for image in manifest["manifests"].as_array().into_iter().flatten() {
            self.has_whole(repository, image["digest"].as_str().unwrap());
        }
        let config = Some(&manifest["config"]).filter(|config| config.is_object());
        for part in manifest["layers"].as_array().into_iter().flatten().chain(config) {
            let digest = part["digest"].as_str().unwrap();
            let file = self.dir.path().join("got").display().to_string();
            self.curl(&format!("{repository}/blobs/{digest}"), &["--fail", "--output", &file]).ok();
            assert_eq!(Digest::of(&fs::read(&file).unwrap()).to_string(), digest);
        }
    }
}

/// An image's manifest.
fn manifest(layers: &[(Digest, usize)], (config, size): (&Digest, usize)) -> serde_json::Value {
    let layer = "application/vnd.docker.image.rootfs.diff.tar.gzip";
    let parts: Vec<_> = layers
        .iter()
        .map(|(digest, size)| serde_json::json!({ "mediaType": layer, "size": size, "digest": digest }))
        .collect();
    let config = serde_json::json!({ "mediaType": "application/vnd.docker.container.image.v1+json", "size": size, "digest": config });
    serde_json::json!({ "schemaVersion": 2, "mediaType": IMAGE, "config": config, "layers": parts })
}

impl Drop for Stock {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            let log = fs::read_to_string(self.dir.path().join("log")).unwrap_or_default();
            eprintln!("--- the registry of {}\n{log}", self.environment);
        }
    }
}

fn write_settings(dir: &Path, name: &str, settings: &str, at: SocketAddr) {
    let own = dir.display();
    let text = settings
        .replace("rootdirectory: /data", &format!("rootdirectory: {own}/data"))
        .replace("addr: :5000", &format!("addr: {at}"))
        .replace("addr: :5001", &format!("addr: {at}"))
        .replace("/run/service/", &format!("{own}/"));
    fs::write(dir.join(name), text).unwrap();
}

fn spawn(dir: &Path, settings: &str, at: SocketAddr) -> Child {
    let log = fs::OpenOptions::new().create(true).append(true).open(dir.join("log")).unwrap();
    let child = Command::new("docker-registry")
        .args(["serve", settings])
        .current_dir(dir)
        .env("REGISTRY_HTTP_SECRET", "not one")
        .stdin(Stdio::null())
        .stdout(log.try_clone().unwrap())
        .stderr(log)
        .process_group(0)
        .spawn()
        .expect("docker-registry, which `scripts/setup test` installs");
    let until = Instant::now() + Duration::from_secs(180);
    while TcpStream::connect(at).is_err() {
        assert!(
            Instant::now() < until,
            "docker-registry does not come up: {}",
            fs::read_to_string(dir.join("log")).unwrap()
        );
        std::thread::sleep(Duration::from_millis(20));
    }
    child
}

/// So many bytes that no compression makes fewer.
pub fn noise(length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    SystemRandom::new().fill(&mut bytes).unwrap();
    bytes
}
