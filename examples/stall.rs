//! How long writers wait (see scripts/bench): one thread writes 4 KiB and calls fsync(2) every millisecond, another writes large and
//! small files as fast as it may. For each line on its input, it prints the longest wait in milliseconds since the line before.
//!
//!     stall DIRECTORY [MIB_PER_SECOND]

use std::{
    fs::{self, File},
    io::{self, Write},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

fn main() -> io::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let directory = PathBuf::from(arguments.next().ok_or_else(|| io::Error::other("which directory?"))?);
    let rate: u64 = arguments.next().and_then(|text| text.parse().ok()).unwrap_or(200);
    fs::create_dir_all(&directory)?;
    let longest = Arc::new(AtomicU64::new(0));
    let file = File::create(directory.join("writer"))?;
    let waited = longest.clone();
    thread::spawn(move || -> io::Result<()> {
        for block in 0.. {
            let begun = Instant::now();
            file.write_all_at(&[1; 4096], block % 256 * 4096)?;
            file.sync_all()?;
            waited.fetch_max(begun.elapsed().as_micros() as u64, Ordering::Relaxed);
            thread::sleep(Duration::from_millis(1));
        }
        Ok(())
    });
    let heavy = directory.clone();
    thread::spawn(move || write_much(&heavy, rate));
    for line in io::stdin().lines() {
        line?;
        let mut out = io::stdout().lock();
        writeln!(out, "{:.1}", longest.swap(0, Ordering::Relaxed) as f64 / 1e3)?;
        out.flush()?;
    }
    Ok(())
}

/// 64 MiB after the other over four files, and 200 small ones after each.
fn write_much(directory: &Path, rate: u64) -> io::Result<()> {
    let piece: Vec<u8> = (0..1_u32 << 20).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    for round in 0.. {
        let mut file = File::create(directory.join(format!("large{}", round % 4)))?;
        for _ in 0..64 {
            let begun = Instant::now();
            file.write_all(&piece)?;
            thread::sleep(Duration::from_micros(1_000_000 / rate).saturating_sub(begun.elapsed()));
        }
        for small in 0..200 {
            fs::write(directory.join(format!("small{small}")), &piece[..3000])?;
        }
    }
    Ok(())
}
