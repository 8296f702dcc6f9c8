//! Certificates of authorities that end soon.

use lap_base::Result;
use time::OffsetDateTime;

use super::{authority::AHEAD, certificate, maker, store::Keys};

/// A certificate of an authority that ends within a year.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ending {
    /// The file, relative to the store.
    pub file: String,
    pub at: OffsetDateTime,
}

impl Ending {
    /// What is wrong, for `lap status` and `lap doctor`.
    pub fn sentence(&self, now: OffsetDateTime) -> String {
        let verb = if self.at < now { "ended" } else { "ends" };
        format!("the certificate `.lap/keys/{}` {verb} on {}", self.file, self.at.date())
    }
}

impl Keys {
    /// The environments whose issuing authority can sign names of another environment in `zone`: an earlier version made it, or the other environment
    /// is new.
    pub fn too_wide(&self, zone: &str) -> Vec<&str> {
        let all: Vec<String> = self.environments().map(str::to_owned).collect();
        let wide = |name: &&str| {
            self.issuing(name).is_ok_and(|issuing| !maker::excludes(issuing, &maker::others(&all, name), zone))
        };
        self.environments().filter(wide).collect()
    }

    /// The certificates of the root and of the issuing authorities that end within a year.
    ///
    /// # Errors
    /// [`lap_base::Kind::Keys`] when a certificate cannot be read.
    pub fn ending(&self, now: OffsetDateTime) -> Result<Vec<Ending>> {
        let mut all = vec![("root.crt".to_owned(), self.root_certificate())];
        for name in self.environments() {
            all.push((format!("{name}/issuing.crt"), self.issuing_certificate(name)?));
        }
        let ends = all.into_iter().map(|(file, pem)| Ok(Ending { file, at: certificate::end(pem)? }));
        let near = |ending: &Result<Ending>| ending.as_ref().map_or(true, |ending| ending.at - now < AHEAD);
        ends.filter(near).collect()
    }
}
