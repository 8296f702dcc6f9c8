//! Options of every command.

use std::path::PathBuf;

use clap::ValueEnum;

/// Options of every verb. The help of a verb does not repeat them: `lap help options` explains them once.
#[derive(clap::Args, Clone, Debug)]
pub struct Global {
    /// Search for the workspace from this directory upwards
    #[arg(short = 'C', long, value_name = "DIR", global = true, hide = true)]
    pub(super) directory: Option<PathBuf>,
    /// Use this lab name instead of the one in `lap.toml`
    #[arg(long, env = "LAP_LAB", value_name = "NAME", global = true, hide = true, hide_env_values = true)]
    pub(super) lab: Option<String>,
    /// How progress is shown
    #[arg(long, value_enum, default_value_t = ProgressMode::Auto, value_name = "STYLE", global = true, hide = true)]
    pub(super) progress: ProgressMode,
}

/// How progress is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ProgressMode {
    /// Bars on a terminal, else plain lines
    Auto,
    /// Bars
    Bars,
    /// A line a step
    Plain,
    /// Events as JSON lines on standard output
    Json,
}
