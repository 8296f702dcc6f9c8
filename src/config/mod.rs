//! Reads a workspace: `lap.toml`, `nodes/`, `containers/`, `env/`.

pub mod model;
