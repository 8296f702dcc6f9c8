//! Runs the fuzz targets with a mutator of this crate, with the same input each time, for a few seconds.

use super::packet::{A, ANY, CNAME, MX, NONE, TXT, Update, question, record, wire};
use crate::server::fuzzing;

/// The generator xorshift.
struct Random(u64);

impl Random {
    fn below(&mut self, below: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % below.max(1) as u64) as usize
    }

    /// Returns a seed with some bytes changed, removed or inserted, or with a part of another seed.
    fn mutate(&mut self, seeds: &[Vec<u8>]) -> Vec<u8> {
        let mut out = seeds[self.below(seeds.len())].clone();
        for _ in 0..=self.below(4) {
            let at = self.below(out.len());
            match self.below(6) {
                0 => out.truncate(at),
                1 => out.insert(at, self.below(256) as u8),
                2 if !out.is_empty() => drop(out.remove(at)),
                3 => {
                    let other = &seeds[self.below(seeds.len())];
                    let from = self.below(other.len());
                    out.splice(at..at, other[from..].iter().copied());
                }
                _ if !out.is_empty() => {
                    let interesting = [0, 1, 63, 64, 127, 192, 255, self.below(256) as u8];
                    out[at] = interesting[self.below(interesting.len())];
                }
                _ => {}
            }
        }
        out
    }
}

/// Returns the number of rounds. `LAP_FUZZ=100` multiplies it by 100.
fn rounds(few: usize) -> usize {
    few * std::env::var("LAP_FUZZ").map_or(1, |times| times.parse().expect("LAP_FUZZ is a number"))
}

fn packets() -> Vec<Vec<u8>> {
    let update = Update::of("internal")
        .needs("a.pc.internal", A, ANY, &[])
        .needs("b.pc.internal", ANY, NONE, &[])
        .add("b.pc.internal", A, 60, &[10, 0, 0, 2])
        .add("c.pc.internal", CNAME, 60, b"\x01x\xc0\x0c")
        .add("m.pc.internal", MX, 60, b"\x00\x01\xc0\x0c")
        .add("t.pc.internal", TXT, 60, b"\x02hi")
        .add("n.pc.internal", 35, 60, b"\x00\x01\x00\x01\x01U\x00\x00\x01a\x00")
        .remove("a.pc.internal", A, &[10, 0, 0, 1])
        .remove_all("a.pc.internal", ANY);
    let mut incremental = question(&wire("internal"), 251);
    incremental[9] = 1;
    incremental.extend(record(&wire("internal"), 6, 1, 0, &[0; 22]));
    let mut with_edns = question(&wire("x.wild.internal"), A);
    with_edns[11] = 1;
    with_edns.extend(record(b"\0", 41, 1232, 0, &[]));
    let messages = [
        question(&wire("git.internal"), A),
        question(&wire("www.example.com"), A),
        question(&wire("internal"), 252),
        update.bytes(),
        incremental,
        with_edns,
    ];
    // Each message in each variant (see `fuzzing::packet`).
    messages.iter().flat_map(|m| (0..8).map(|how| [&[how][..], m].concat())).collect()
}

#[test]
fn mutated_messages_cause_no_panic() {
    let (seeds, mut random) = (packets(), Random(0x9e37_79b9_7f4a_7c15));
    seeds.iter().for_each(|seed| fuzzing::packet(seed));
    for _ in 0..rounds(20_000) {
        fuzzing::packet(&random.mutate(&seeds));
    }
}

fn journals() -> Vec<Vec<u8>> {
    let zone = wire("internal");
    let named = |kind: u8, rest: &[u8]| [&[kind, zone.len() as u8][..], &zone, rest].concat();
    let record = |n: u8| record(&wire(&format!("n{n}.internal")), A, 1, 60, &[10, 0, 0, n]);
    let gone = record(1);
    let change = [&[0, 0, 0, 7, 0, 0, 0, 8][..], &(gone.len() as u32).to_be_bytes(), &gone, &record(2)].concat();
    let bodies = [
        named(1, &[0, 0, 0, 7, 1, 2, 3, 4, 5, 6, 7, 8]),
        [&[2][..], &record(1)].concat(),
        named(3, &change),
        named(4, &[0, 1, 0, 0, 0, 1, 0, 0, 0, 0]),
        [&[5][..], &[0; 18]].concat(),
    ];
    let all: Vec<u8> = bodies.iter().flat_map(|body| [&[body.len() as u8][..], body].concat()).collect();
    (0..4).map(|how| [&[how][..], &all].concat()).collect()
}

#[test]
fn mutated_journals_can_be_opened() {
    let (seeds, mut random) = (journals(), Random(0x2545_f491_4f6c_dd1d));
    for round in 0..rounds(200) {
        let dir = tempfile::tempdir().unwrap();
        let data = seeds.get(round).cloned().unwrap_or_else(|| random.mutate(&seeds));
        fuzzing::journal(dir.path(), &data);
    }
}
