//! Writes a repository as an attacker does: the attacker has the key that a node gets, and can add packs, indexes and
//! snapshots. rustic_core and restic never write such entries, so this module writes the files byte by byte.

use bytes::Bytes;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::{
    cipher::Cipher,
    file::{Folder, RepositoryFile},
    open::Repository,
};

/// An entry of a forged directory.
pub enum Entry {
    File(&'static str),
    /// A file with this content.
    Text(&'static str, String),
    Link(&'static str, &'static str),
    Directory(&'static str, Vec<Entry>),
    /// A link with the content of a directory.
    LinkWithEntries(&'static str, &'static str, Vec<Entry>),
    /// A directory that contains itself.
    Endless(&'static str),
    /// A file that contains the same 8 MiB this many times.
    Large(&'static str, usize),
}

/// The content of every forged file.
pub const PAYLOAD: &str = "ssh-ed25519 AAAA attacker\n";

const TIME: &str = "2026-11-30T03:00:00Z";

pub struct Forger<'a> {
    repository: &'a Repository,
    cipher: Cipher,
    data: Vec<(String, Vec<u8>)>,
    trees: Vec<(String, Vec<u8>)>,
}

fn id(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

fn line(value: &Value) -> Vec<u8> {
    let mut text = serde_json::to_vec(value).unwrap();
    text.push(b'\n');
    text
}

fn node(name: &str, kind: &str, more: Value) -> Value {
    let mode = if kind == "dir" { 0x8000_0000_u32 | 0o755 } else { 0o600 };
    let mut node = json!({
        "name": name, "type": kind, "mode": mode, "mtime": TIME, "atime": TIME, "ctime": TIME, "uid": 0, "gid": 0,
        "user": "root", "group": "root", "device_id": 1, "links": 1, "inode": 7, "content": null,
    });
    node.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    node
}

/// Writes a snapshot whose root contains `top`, with these tags and the time `time`. Returns its id in restic.
pub fn forge(repository: &Repository, top: &[Entry], tags: &[&str], time: &str) -> String {
    let cipher = repository.cipher().unwrap();
    let mut forger = Forger { repository, cipher, data: Vec::new(), trees: Vec::new() };
    let root = forger.tree(top);
    let packs = [forger.pack("data"), forger.pack("tree")];
    let index = forger.cipher.seal(&line(&json!({ "packs": packs }))).unwrap();
    forger.put(Folder::Index, index);
    let snapshot = line(&json!({
        "time": time, "tree": root, "paths": ["/lap"], "hostname": "test", "username": "root", "tags": tags,
    }));
    let sealed = forger.cipher.seal(&snapshot).unwrap();
    forger.put(Folder::Snapshots, sealed)
}

impl Forger<'_> {
    fn tree(&mut self, entries: &[Entry]) -> String {
        let mut nodes: Vec<Value> = entries.iter().map(|entry| self.node(entry)).collect();
        nodes.sort_by_key(|node| node["name"].as_str().unwrap().to_owned());
        let text = line(&json!({ "nodes": nodes }));
        let id = id(&text);
        self.trees.push((id.clone(), text));
        id
    }

    fn node(&mut self, entry: &Entry) -> Value {
        match entry {
            Entry::File(name) => self.file(name, PAYLOAD, 1),
            Entry::Text(name, text) => self.file(name, text, 1),
            Entry::Large(name, times) => self.file(name, &"x".repeat(8 << 20), *times),
            Entry::Link(name, to) => node(name, "symlink", json!({ "linktarget": to })),
            Entry::Directory(name, entries) => {
                let subtree = self.tree(entries);
                node(name, "dir", json!({ "subtree": subtree }))
            }
            Entry::LinkWithEntries(name, to, entries) => {
                let subtree = self.tree(entries);
                node(name, "symlink", json!({ "linktarget": to, "subtree": subtree }))
            }
            Entry::Endless(name) => {
                // The index assigns content to an id, and nothing forces it to be correct.
                let own = "ab".repeat(32);
                let node = node(name, "dir", json!({ "subtree": own }));
                self.trees.push((own, line(&json!({ "nodes": [node.clone()] }))));
                node
            }
        }
    }

    fn file(&mut self, name: &str, text: &str, times: usize) -> Value {
        let content = id(text.as_bytes());
        self.data.push((content.clone(), text.as_bytes().to_vec()));
        node(name, "file", json!({ "size": text.len() * times, "content": vec![content; times] }))
    }

    fn pack(&mut self, kind: &str) -> Value {
        let blobs = std::mem::take(if kind == "data" { &mut self.data } else { &mut self.trees });
        let (mut body, mut header, mut listed) = (Vec::new(), Vec::new(), Vec::new());
        for (id, bytes) in blobs {
            let sealed = self.cipher.seal(&bytes).unwrap();
            listed.push(json!({ "id": id, "type": kind, "offset": body.len(), "length": sealed.len() }));
            header.push(u8::from(kind != "data"));
            header.extend(u32::try_from(sealed.len()).unwrap().to_le_bytes());
            header.extend(hex::decode(&id).unwrap());
            body.extend(sealed);
        }
        let header = self.cipher.seal(&header).unwrap();
        let length = u32::try_from(header.len()).unwrap().to_le_bytes();
        let name = self.put(Folder::Data, [&body[..], &header, &length].concat());
        json!({ "id": name, "blobs": listed })
    }

    fn put(&self, folder: Folder, bytes: Vec<u8>) -> String {
        let name = id(&bytes);
        let file = RepositoryFile::new(folder, &name).unwrap();
        self.repository.storage.write(&file, &[Bytes::from(bytes)]).unwrap();
        name
    }
}
