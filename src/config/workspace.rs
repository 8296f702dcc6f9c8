//! All files of a workspace, read, before the checks that they fit together.

use std::{collections::BTreeMap, rc::Rc};

use super::{
    dockerfile::Dockerfile,
    file::SourceFile,
    model::{Environment, Rootfs},
    read::{ParsedFile, container::ContainerFile, lap::LapFile, node::NodeFile},
};

/// Everything that was read, before it is found to fit together.
pub struct WorkspaceFiles {
    pub lap: ParsedFile<LapFile>,
    pub rootfs: ParsedFile<Rootfs>,
    pub environments: BTreeMap<String, ParsedFile<Environment>>,
    pub nodes: BTreeMap<String, ParsedFile<NodeFile>>,
    pub containers: BTreeMap<String, ParsedFile<ContainerFile>>,
    /// By container; those that could be read.
    pub dockerfiles: BTreeMap<String, (Rc<SourceFile>, Dockerfile)>,
}
