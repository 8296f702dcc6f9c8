//! How long a test takes, for the table at the end of `scripts/test`: stable cargo does not tell it.

use std::{fs::File, io::Write, thread, time::Instant};

/// Appends the seconds since it was made, and the test's name, to the file in `LAP_TEST_TIMES` when it is dropped.
pub struct Timed(Instant);

impl Timed {
    pub fn begin() -> Self {
        Self(Instant::now())
    }
}

impl Drop for Timed {
    fn drop(&mut self) {
        let Some(path) = std::env::var_os("LAP_TEST_TIMES") else { return };
        // libtest calls a test's thread as the test.
        let line = format!("{:.1}\t{}\n", self.0.elapsed().as_secs_f64(), thread::current().name().unwrap_or("?"));
        // One write, so that the lines of two tests do not mix. A panic in a `drop` would hide the test's own.
        if let Err(error) =
            File::options().create(true).append(true).open(&path).and_then(|mut file| file.write_all(line.as_bytes()))
        {
            eprintln!("cannot write to {}: {error}", path.display());
        }
    }
}
