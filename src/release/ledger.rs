//! What was done to an environment's release, by whom, and how it ended: a line of JSON each, only ever added to, each with the hash of
//! the one before. Whoever changes or removes a line breaks the chain; whoever cuts the end off does not, so the newest hash is printed
//! with each promotion.

use std::{
    collections::BTreeMap,
    fs::{self, OpenOptions},
    io::{Read, Seek, SeekFrom, Write},
    os::unix::fs::OpenOptionsExt,
    path::Path,
};

use lap_base::{
    durable,
    error::{Error, Kind, OrError, Result},
    state::{self, State, Unreadable},
};
use lap_snapshots::Id;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::order::{Outage, Verb};

/// One switch, from its beginning to its end.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LedgerEntry {
    /// From 1.
    pub number: u64,
    /// The lock's number under which it was done: never the same again.
    pub fence: u64,
    /// Unix seconds.
    pub began: i64,
    pub ended: i64,
    /// `anna@notebook`
    pub by: String,
    pub verb: Verb,
    /// The environment it was tested in.
    pub from: Option<String>,
    pub release: u64,
    pub commit: String,
    /// The image of each container, by digest.
    pub images: BTreeMap<String, String>,
    /// The data before it.
    pub before: Option<Id>,
    /// Checks that passed.
    pub checks: u64,
    /// The longest that a service was away, in milliseconds, as the agent measured it on the node: from the moment the old container no
    /// longer answered until the new one answered, or the old one again. Entries of an earlier lap count from the first stop.
    pub away: Option<u64>,
    /// The same as the operator's machine measured it; empty where it did not watch.
    pub outage: Vec<Outage>,
    pub result: SwitchOutcome,
    /// Hash of the line before; of the first: empty.
    pub previous: String,
}

/// How it ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SwitchOutcome {
    /// The release runs.
    Done,
    /// What ran before runs again.
    TakenBack {
        why: String,
        /// What the failed release left.
        failed: Option<Id>,
    },
}

/// All entries, the oldest first; a last line that was cut by a crash is none.
///
/// # Errors
/// The file cannot be read, or an entry is not as it was written.
pub fn read(path: &Path) -> Result<Vec<LedgerEntry>> {
    let (entries, chain) = read_all(path);
    chain?;
    Ok(entries)
}

/// Checks the chain; gives the number of entries and the newest one's hash.
///
/// # Errors
/// The first entry that is not as it was written.
pub fn verify(path: &Path) -> Result<(usize, String)> {
    let (entries, chain) = read_all(path);
    Ok((entries.len(), chain?))
}

/// The newest entry, and its hash.
///
/// # Errors
/// The file cannot be read, or has none.
pub fn newest(path: &Path) -> Result<(LedgerEntry, String)> {
    let last = lines(path)?.pop();
    let (entry, hash) = last.ok_or_else(|| Error::new(Kind::Refused, "the ledger has no entry"))?;
    let entry = entry.map_err(|why| Error::new(Kind::Refused, format!("the newest entry of the ledger: {why}")))?;
    Ok((entry, hash))
}

/// All entries that can be read, for those who only show them; and the newest one's hash, or the first entry that is not as it was
/// written. Nothing is decided by the entries of a damaged ledger.
pub fn read_all(path: &Path) -> (Vec<LedgerEntry>, Result<String, Unreadable>) {
    let all = match lines(path) {
        Ok(all) => all,
        Err(unreadable) => return (Vec::new(), Err(unreadable.hint(COMPARE))),
    };
    let broken = |why| Unreadable::new(path, why).hint(COMPARE);
    let (mut entries, mut previous, mut chain) = (Vec::new(), String::new(), Ok(()));
    for (at, (entry, hash)) in all.into_iter().enumerate() {
        let number = at + 1;
        match entry {
            Ok(entry) => {
                if entry.number != number as u64 || entry.previous != previous {
                    chain =
                        chain.and_then(|()| Err(broken(format!("entry {number} does not follow the previous one"))));
                }
                entries.push(entry);
            }
            Err(why) => chain = chain.and_then(|()| Err(broken(format!("entry {number}: {why}")))),
        }
        previous = hash;
    }
    (entries, chain.map(|()| previous))
}

/// What to do about a damaged one.
const COMPARE: &str = "lines were changed or removed: compare the ledger with the one in a copy of a snapshot (`state/ledger.jsonl`), and replace it";

/// Adds an entry, unless the last one is of the same switch; gives its hash. `number` and `previous` are set here.
///
/// # Errors
/// It cannot be written; the ledger is as it was.
pub fn append(path: &Path, mut entry: LedgerEntry) -> Result<String> {
    let what = || format!("cannot write `{}`", path.display());
    let all = lines(path)?;
    if let Some((Ok(last), hash)) = all.last()
        && last.fence == entry.fence
    {
        return Ok(hash.clone());
    }
    entry.number = all.len() as u64 + 1;
    entry.previous = all.last().map(|(_, hash)| hash.clone()).unwrap_or_default();
    let mut line = serde_json::to_vec(&entry).or_error(Kind::Other, what)?;
    let hash = digest(&line);
    line.push(b'\n');
    let mut options = OpenOptions::new();
    let mut file = options
        .create(true)
        .read(true)
        .write(true)
        .truncate(false)
        .mode(0o600)
        .open(path)
        .or_error(Kind::Node, what)?;
    let end = whole(&mut file).or_error(Kind::Node, what)?;
    file.set_len(end).or_error(Kind::Node, what)?;
    file.seek(SeekFrom::Start(end)).or_error(Kind::Node, what)?;
    let written = file.write_all(&line).and_then(|()| file.sync_all());
    // The first entry makes the file, too: its name goes to the disk.
    let named = written.and_then(|()| if all.is_empty() { durable::sync_parent(path) } else { Ok(()) });
    named.or_error(Kind::Node, what)?;
    Ok(hash)
}

/// The length of all lines that are whole.
fn whole(file: &mut fs::File) -> std::io::Result<u64> {
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    Ok(bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at as u64 + 1))
}

fn digest(line: &[u8]) -> String {
    hex::encode(Sha256::digest(line))
}

/// A line's entry, or why there is none, and the line's hash.
type Line = (Result<LedgerEntry, String>, String);

/// Each whole line.
fn lines(path: &Path) -> Result<Vec<Line>, Unreadable> {
    let bytes = match state::bytes(path) {
        State::Absent => return Ok(Vec::new()),
        State::Value(bytes) => bytes,
        State::Unreadable(unreadable) => return Err(unreadable),
    };
    let end = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    let whole = bytes[..end].split_inclusive(|byte| *byte == b'\n').map(|line| &line[..line.len() - 1]);
    Ok(whole.map(|line| (state::parse(line), digest(line))).collect())
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn entry(fence: u64) -> LedgerEntry {
        LedgerEntry {
            number: 0,
            fence,
            began: 1,
            ended: 2,
            by: "anna@notebook".into(),
            verb: Verb::Promote,
            from: Some("test".into()),
            release: fence,
            commit: "abc".into(),
            images: BTreeMap::new(),
            before: None,
            checks: 3,
            away: Some(5),
            outage: Vec::new(),
            result: SwitchOutcome::Done,
            previous: String::new(),
        }
    }

    #[test]
    fn a_chain_that_shows_every_change() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ledger.jsonl");
        assert_eq!(verify(&path).unwrap(), (0, String::new()));
        for fence in [4, 5, 5, 9] {
            append(&path, entry(fence)).unwrap();
        }
        let all = read(&path).unwrap();
        assert_eq!(all.iter().map(|e| (e.number, e.fence)).collect::<Vec<_>>(), [(1, 4), (2, 5), (3, 9)]);
        assert_eq!(verify(&path).unwrap().0, 3);
        let good = fs::read_to_string(&path).unwrap();
        let lines: Vec<&str> = good.lines().collect();
        for bad in [
            good.replace("\"release\":5", "\"release\":6"),
            format!("{}\n{}\n", lines[0], lines[2]),
            format!("{}\n{}\n", lines[1], lines[2]),
            format!("{}\nnothing\n{}\n", lines[0], lines[2]),
        ] {
            fs::write(&path, bad).unwrap();
            assert_eq!(verify(&path).unwrap_err().kind, Kind::Refused);
        }
    }

    /// The power goes at every byte of the last line: what was there is there, and the next entry follows it.
    #[test]
    fn cut_anywhere_it_goes_on() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ledger.jsonl");
        append(&path, entry(1)).unwrap();
        let first = fs::read(&path).unwrap().len();
        append(&path, entry(2)).unwrap();
        let whole = fs::read(&path).unwrap();
        for cut in first..whole.len() {
            fs::write(&path, &whole[..cut]).unwrap();
            assert_eq!(read(&path).unwrap().len(), 1, "cut at {cut}");
            append(&path, entry(2)).unwrap();
            assert_eq!(fs::read(&path).unwrap(), whole, "cut at {cut}");
            verify(&path).unwrap();
        }
    }
}
