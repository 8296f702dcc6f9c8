//! The keys of a lab, in `<workspace>/.lap/keys/` (directory 0700, files 0600, never in git):
//!
//! ```text
//! admin admin.pub           the SSH key that operates every node
//! root.crt root.key         the lab's own certificate authority; `root.key` may be kept elsewhere between uses
//! repository.password       of the lab's own off-machine repositories
//! recovery.json             seals all of these for whoever has the passphrase, see [`recovery`]
//! hosts/<node>              each node's SSH host key, made before the node boots: no trust on first use
//! dns/<name>.json           TSIG keys, each with its rights and the environment whose server has it; `lap-admin-<env>` may
//!                           change everything there
//! <env>/issuing.crt .key    signs the certificates of one environment's servers
//! <env>/upload.password     of user `lap`, for uploads to artifact and maven
//! <env>/registry.password   of user `lap`, for writing to the registry; it follows from the lab's
//! <env>/repository.password of the environment's off-machine repositories; it follows from the lab's
//! ```
//!
//! Everything derived (netrc, htpasswd, authorized_keys, known_hosts) is made on demand and has no file here.
//! [`transfer`] moves the store between machines, [`trust`] makes a machine trust the lab.

mod authority;
mod certificate;
mod directory;
pub mod dns;
mod ends;
mod files;
mod leaf;
mod maker;
mod passphrase;
mod password;
mod reading;
pub mod recovery;
mod server_keys;
mod ssh;
mod store;
pub mod transfer;
pub mod trust;

pub use certificate::fingerprint as certificate_fingerprint;
pub use ends::Ending;
pub use leaf::{Ends, Leaf, ends_soon, is_for, renewal_reason};
pub use passphrase::{Passphrase, Prompt};
pub use password::UPLOAD_USER;
pub use ssh::{
    SshKey, admitted, authorized, authorized_keys, known_hosts, line as public_line, same_key, ssh_fingerprint,
};
pub use store::{Created, KeyInfo, Keys};
pub use transfer::{Imported, export, import};
