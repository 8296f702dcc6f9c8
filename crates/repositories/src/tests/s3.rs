//! Tests with an S3 server (moto), which stock restic uses too.

use std::{
    net::{SocketAddr, TcpStream},
    process::{Child, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

use lap_base::testing::loopback::own_place;
use rusty_s3::Credentials;

use super::*;
use crate::{location::Location, s3::S3, storage::Storage};

const KEY: &str = "key";
const SECRET: &str = "secret";

struct Server {
    child: Child,
    at: SocketAddr,
}

impl Server {
    fn start() -> Self {
        let at = own_place();
        // The path at which scripts/setup installs it.
        let here = std::env::home_dir().unwrap().join(".cache/lap/moto/bin/moto_server");
        let mut command = Command::new(if here.exists() { here } else { "moto_server".into() });
        command
            .args(["-H", &at.ip().to_string(), "-p", &at.port().to_string()])
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let child = command.spawn().expect("moto_server, which scripts/setup installs");
        let server = Self { child, at };
        let began = Instant::now();
        while TcpStream::connect(at).is_err() {
            assert!(began.elapsed() < Duration::from_secs(180), "moto does not come up");
            sleep(Duration::from_millis(100));
        }
        server
    }

    fn endpoint(&self) -> String {
        format!("http://{}", self.at)
    }

    fn storage(&self, folder: &str) -> Arc<dyn Storage> {
        let credentials = Credentials::new(KEY, SECRET);
        Arc::new(S3::with(credentials, "us-east-1".into(), &self.endpoint(), "backup", folder).unwrap())
    }

    /// Runs stock restic on the repository. It must succeed. Returns its output.
    fn restic(&self, arguments: &[&str]) -> String {
        let output = Command::new("restic")
            .args(["--no-cache", "--repo", &format!("s3:{}/backup/lab", self.endpoint())])
            .args(arguments)
            .env("RESTIC_PASSWORD", "pw")
            .env("AWS_ACCESS_KEY_ID", KEY)
            .env("AWS_SECRET_ACCESS_KEY", SECRET)
            .output()
            .unwrap();
        let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "restic {arguments:?}: {out}{err}");
        format!("{out}{err}")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_copy_over_s3_is_fetched_without_a_difference() {
    let server = Server::start();
    let empty = server.storage("lab");
    assert_eq!(empty.list_root().unwrap(), None, "the bucket does not exist yet");
    assert!(!Repository::is_there(&empty, "office").unwrap());
    let office = Office::with(|_| server.storage("lab"));
    office.copies_and_fetches_a_large_file(|| {
        assert!(server.restic(&["snapshots"]).contains("lap:test"));
        assert!(server.restic(&["check", "--read-data"]).contains("no errors were found"));
    });

    let missing = RepositoryFile::new(Folder::Data, &"ab".repeat(32)).unwrap();
    assert_eq!(office.storage.read(&missing, None).unwrap_err().kind(), io::ErrorKind::NotFound);
    office.storage.remove(&missing).unwrap();
    let (file, size) = office.storage.list(Folder::Data).unwrap().remove(0);
    assert_eq!(office.storage.read(&file, Some((size - 1, 2))).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    assert_eq!(office.storage.read(&file, Some((1, 3))).unwrap(), office.storage.read(&file, None).unwrap()[1..4]);
    office.storage.write(&file, &[Bytes::from_static(b"another")]).unwrap();
    assert_eq!(office.storage.read(&file, None).unwrap().len() as u64, size, "an existing file is not changed");
    assert!(office.storage.list_root().unwrap().unwrap().contains(&"config".into()));
    // Another folder of the bucket is another location.
    assert_eq!(server.storage("lab2").list_root().unwrap().unwrap(), [""; 0]);
    assert!(server.storage("").list_root().unwrap().unwrap().contains(&"lab".into()));
}

#[test]
fn a_list_of_more_than_one_page_is_complete() {
    let server = Server::start();
    let storage = server.storage("lab");
    storage.make().unwrap();
    storage.make().unwrap();
    let file = |n: u32| RepositoryFile::new(Folder::Data, &format!("{n:064x}")).unwrap();
    (0..1050).for_each(|n| storage.write(&file(n), &[Bytes::from_static(b"x")]).unwrap());
    let listed = storage.list(Folder::Data).unwrap();
    assert_eq!((listed.len(), listed.iter().all(|(_, size)| *size == 1)), (1050, true));
    assert!(storage.list(Folder::Locks).unwrap().is_empty());
}

#[test]
fn an_unreachable_server_gives_one_sentence() {
    let nobody = own_place();
    let place: Location = format!("s3:http://{nobody}/bucket").parse().unwrap();
    let Location::S3 { endpoint, bucket, folder } = place else { panic!() };
    let storage = S3::with(Credentials::new(KEY, SECRET), "x".into(), &endpoint, &bucket, &folder).unwrap();
    let error = storage.list_root().unwrap_err().to_string();
    assert!(error.starts_with(&format!("cannot reach the S3 server {nobody}: ")), "{error}");
}
