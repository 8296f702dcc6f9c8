//! The arguments of `lap snapshot copy`.

/// What `lap snapshot copy` is given.
#[derive(clap::Args, Debug)]
pub struct CopyArgs {
    /// The environment [default: `default` in lap.toml]
    pub(super) environment: Option<String>,
    /// This snapshot; its copy then stays until you remove it by name [default: the newest, kept by the rules of lap.toml]
    #[arg(long, value_name = "SNAPSHOT")]
    pub(super) snapshot: Option<String>,
    /// A repository of lap.toml, a path of this machine, `sftp:user@host:path` or `s3:host/bucket/folder` [default: the only
    /// one of lap.toml]
    #[arg(long, value_name = "REPOSITORY")]
    pub(super) to: Option<String>,
    /// Only what is due by `[copies]` in lap.toml: copy, remove, verify; in all repositories of lap.toml
    #[arg(long, conflicts_with = "snapshot")]
    pub(super) due: bool,
    /// With `--due`, every environment that has a node
    #[arg(long, requires = "due", conflicts_with = "environment")]
    pub(super) all: bool,
}
