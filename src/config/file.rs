//! A file of the workspace that was read.

/// A text file of the workspace.
#[derive(Debug)]
pub struct SourceFile {
    /// Relative to the workspace, with `/`.
    pub path: String,
    pub text: String,
}
