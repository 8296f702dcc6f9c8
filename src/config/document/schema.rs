//! The known keys of a table, each with an example: the one list that the reader, the "did you mean", the messages on
//! wrong types and the test of the commented examples share.

/// A known key and an example of its value in TOML.
#[derive(Clone, Copy, Debug)]
pub struct SchemaKey {
    pub name: &'static str,
    pub example: &'static str,
}

/// The keys of one table.
pub type SchemaKeys = &'static [SchemaKey];

/// What a table may hold.
#[derive(Clone, Copy, Debug)]
pub struct Schema {
    pub keys: SchemaKeys,
    /// Keys that are known but not taken, each with the reason and the way out.
    pub refused: &'static [(&'static str, &'static str)],
}

/// Shorthand for the lists below.
pub const fn key(name: &'static str, example: &'static str) -> SchemaKey {
    SchemaKey { name, example }
}
