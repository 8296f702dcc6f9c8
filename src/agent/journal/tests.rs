use super::*;

fn holder() -> Holder {
    Holder { who: "anna@notebook".into(), verb: "up".into(), pid: 7 }
}

#[test]
fn an_operation_that_ends_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let mut journal = Journal::open(dir.path(), 1).unwrap();
    journal.begin(1, holder(), 10).unwrap();
    journal.note(1, Note::Step("run git".into()), 11).unwrap();
    assert_eq!(journal.unfinished(), None, "still open, so not unfinished");
    journal.note(1, Note::End(Ok(())), 12).unwrap();
    journal.lost(1, 13).unwrap();
    assert_eq!(journal.unfinished(), None);
}

#[test]
fn a_holder_that_goes_away_leaves_its_step() {
    let dir = tempfile::tempdir().unwrap();
    let mut journal = Journal::open(dir.path(), 1).unwrap();
    journal.begin(1, holder(), 10).unwrap();
    journal.note(1, Note::Step("run git".into()), 11).unwrap();
    journal.lost(1, 12).unwrap();
    let want = Unfinished { holder: holder(), since: 10, step: Some("run git".into()), error: None };
    assert_eq!(journal.unfinished(), Some(&want));
}

/// The power goes at every byte of the journal: it opens, and never calls a lost operation a good one.
#[test]
fn cut_anywhere_it_opens() {
    let dir = tempfile::tempdir().unwrap();
    {
        let mut journal = Journal::open(dir.path(), 1).unwrap();
        journal.begin(1, holder(), 10).unwrap();
        journal.note(1, Note::Step("run git".into()), 11).unwrap();
        journal.note(1, Note::End(Ok(())), 12).unwrap();
    }
    let path = dir.path().join("journal.jsonl");
    let whole = fs::read(&path).unwrap();
    let begun = whole.iter().position(|&b| b == b'\n').unwrap();
    for cut in 0..whole.len() {
        fs::write(&path, &whole[..cut]).unwrap();
        let journal = Journal::open(dir.path(), 20).unwrap();
        assert_eq!(journal.unfinished().is_some(), cut > begun, "cut at {cut}");
        let again = Journal::open(dir.path(), 21).unwrap();
        assert_eq!(again.unfinished(), journal.unfinished(), "cut at {cut}, opened twice");
    }
}

fn lines(dir: &Path) -> Vec<JournalLine> {
    lines::read(&fs::read(dir.join("journal.jsonl")).unwrap()).lines
}

/// A small disk of its own, which a test can fill.
struct Disk(tempfile::TempDir);

impl Disk {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let flags = nix::mount::MsFlags::empty();
        nix::mount::mount(Some("tmpfs"), dir.path(), Some("tmpfs"), flags, Some("size=256k")).unwrap();
        Self(dir)
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    /// Leaves no room at all.
    fn fill(&self) {
        let mut file = File::create(self.path().join("fill")).unwrap();
        while file.write_all(&[7; 4096]).is_ok() {}
    }

    fn empty(&self) {
        fs::remove_file(self.path().join("fill")).unwrap();
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = nix::mount::umount2(self.path(), nix::mount::MntFlags::MNT_DETACH);
    }
}

fn step(text: &str) -> Note {
    Note::Step(text.into())
}

/// The disk fills up in the middle of a line. With room again, every line that was acknowledged is there, and so is the next.
#[test]
fn a_full_disk_costs_no_other_line() {
    let disk = Disk::new();
    let mut journal = Journal::open(disk.path(), 1).unwrap();
    journal.begin(1, holder(), 10).unwrap();
    disk.fill();
    let mut acknowledged = vec![];
    let failed = (0..200).find(|n| {
        let text = format!("step {n} {}", "x".repeat(100));
        let written = journal.note(1, step(&text), 11);
        if written.is_ok() {
            acknowledged.push(text);
        }
        written.is_err()
    });
    assert!(failed.is_some() && !acknowledged.is_empty(), "the disk was not full: {failed:?}");
    disk.empty();
    journal.note(1, step("with room"), 12).unwrap();
    acknowledged.push("with room".into());

    let text = fs::read(disk.path().join("journal.jsonl")).unwrap();
    assert_eq!(lines::read(&text).damaged, 0, "nothing torn stays");
    let steps: Vec<_> = lines(disk.path())
        .into_iter()
        .filter_map(|line| if let JournalEvent::Note(Note::Step(step)) = line.what { Some(step) } else { None })
        .collect();
    assert_eq!(steps, acknowledged);
}

/// The agent starts on a full disk, because it is the agent that makes room there.
#[test]
fn a_full_disk_does_not_keep_the_journal_shut() {
    let disk = Disk::new();
    Journal::open(disk.path(), 1).unwrap().begin(1, holder(), 10).unwrap();
    let path = disk.path().join("journal.jsonl");
    let mut text = fs::read(&path).unwrap();
    // To the end of the last block: one more line has no room.
    let line = text.clone();
    while text.len() + line.len() < 4096 {
        text.extend(&line);
    }
    fs::write(&path, &text).unwrap();
    disk.fill();
    let journal = Journal::open(disk.path(), 20).unwrap();
    assert!(journal.unfinished().is_some(), "the operation is lost also where that could not be written");
}

/// What an earlier build left: a torn line with the next one glued to it, and garbage. Exactly the damaged ones are skipped.
#[test]
fn a_torn_line_takes_no_other_with_it() {
    let dir = tempfile::tempdir().unwrap();
    let mut journal = Journal::open(dir.path(), 1).unwrap();
    journal.begin(1, holder(), 10).unwrap();
    journal.note(1, step("say {\"op\":1} and go on"), 11).unwrap();
    journal.note(1, Note::End(Err("it broke".into())), 12).unwrap();
    drop(journal);
    let path = dir.path().join("journal.jsonl");
    let whole = fs::read(&path).unwrap();
    let want = lines(dir.path());
    let parts: Vec<&[u8]> = whole.split_inclusive(|&b| b == b'\n').collect();
    for cut in 1..parts[1].len() - 1 {
        let glued = [parts[0], &parts[1][..cut], parts[2]].concat();
        let read = lines::read(&glued);
        assert_eq!((read.lines.as_slice(), read.damaged), ([want[0].clone(), want[2].clone()].as_slice(), 1), "{cut}");
    }
    let read = lines::read(&[parts[0], b"\0\0\0\0\n", parts[1], b"nonsense\n\n", parts[2]].concat());
    assert_eq!((read.lines, read.damaged), (want, 2));
}

#[test]
fn what_cannot_be_read_is_not_an_empty_journal() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("journal.jsonl")).unwrap();
    let error = Journal::open(dir.path(), 1).err().unwrap();
    assert!(error.message.starts_with("cannot read `"), "{}", error.message);
}

/// One operation with more notes than the journal holds: the file stays small, and what the operation is stays known.
#[test]
fn it_stays_small_while_it_runs() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("journal.jsonl");
    let mut journal = Journal::open_with(dir.path(), 1, 64 << 10).unwrap();
    journal.begin(1, holder(), 10).unwrap();
    journal.note(1, step("copy"), 11).unwrap();
    for n in 0..3000 {
        journal.note(1, Note::Did(format!("file {n}")), 12).unwrap();
        assert!(fs::metadata(&path).unwrap().len() <= 64 << 10, "{n}");
    }
    assert!(
        matches!(&lines(dir.path()).last().unwrap().what, JournalEvent::Note(Note::Did(text)) if text == "file 2999")
    );
    drop(journal);
    let journal = Journal::open(dir.path(), 20).unwrap();
    let want = Unfinished { holder: holder(), since: 10, step: Some("copy".into()), error: None };
    assert_eq!(journal.unfinished(), Some(&want));
    assert!(!path.with_extension("jsonl.lap-new").exists());
}

/// A rewrite that finds no room leaves the longer file, and the journal goes on in it.
#[test]
fn a_rewrite_without_room_changes_nothing() {
    let disk = Disk::new();
    let path = disk.path().join("journal.jsonl");
    let mut journal = Journal::open_with(disk.path(), 1, 8 << 10).unwrap();
    journal.begin(1, holder(), 10).unwrap();
    // A directory of that name: the new file cannot be made, whatever the disk is like.
    fs::create_dir(path.with_extension("jsonl.lap-new")).unwrap();
    for n in 0..200 {
        journal.note(1, step(&format!("step {n} {}", "x".repeat(100))), 11).unwrap();
    }
    assert_eq!(lines(disk.path()).len(), 201);
    fs::remove_dir(path.with_extension("jsonl.lap-new")).unwrap();
    for n in 0..600 {
        journal.note(1, step(&format!("step {n} {}", "x".repeat(100))), 11).unwrap();
    }
    assert!(fs::metadata(&path).unwrap().len() <= 8 << 10, "the next try shortens it");
}

#[test]
fn one_note_does_not_fill_it() {
    let dir = tempfile::tempdir().unwrap();
    let mut journal = Journal::open(dir.path(), 1).unwrap();
    journal.begin(1, holder(), 10).unwrap();
    journal.note(1, Note::End(Err("ä".repeat(1 << 20))), 11).unwrap();
    assert!(fs::metadata(dir.path().join("journal.jsonl")).unwrap().len() < 16 << 10);
    assert!(journal.unfinished().unwrap().error.as_ref().unwrap().ends_with("ä…"));
}
