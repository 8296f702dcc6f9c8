//! The TSIG keys that a DNS server is given, and lap's own key for it.

use lap_base::Result;
use lap_nameserver::keys::KeyFile;

use super::{
    dns::{DnsKey, admin, admin_name, read_all, retire, write_new},
    files,
    store::Keys,
};

impl Keys {
    /// What the DNS server of `environment` is given, in a lab with this zone: its keys and nobody else's. `default`: the
    /// environment of keys that do not say theirs.
    pub fn dns_file(&self, environment: &str, default: &str, zone: &str) -> KeyFile {
        let own = self.dns().iter().filter(|key| key.environment().unwrap_or(default) == environment);
        KeyFile { keys: own.map(|key| key.entry_in(zone)).collect() }
    }

    /// lap's own key for the server of `environment`: the one there is, or, in a store that was made before each had its own,
    /// a new one.
    ///
    /// # Errors
    /// [`lap_base::error::Kind::Host`] when the disk refuses.
    pub fn dns_admin(&self, environment: &str, zone: &str) -> Result<DnsKey> {
        let name = admin_name(environment);
        if let Some(key) = self.dns().iter().find(|key| key.name() == name) {
            return Ok(key.clone());
        }
        let dir = self.directory();
        let _lock = files::lock(dir.parent().unwrap_or(dir))?;
        let key = match read_all(dir)?.into_iter().find(|key| key.name() == name) {
            Some(key) => key,
            None => {
                let key = admin(environment, zone)?;
                write_new(dir, &key)?;
                key
            }
        };
        retire(dir)?;
        Ok(key)
    }
}
