//! All files of a workspace, read, before the checks that they fit together.

use std::{collections::BTreeMap, rc::Rc};

use super::{
    dockerfile::Dockerfile,
    file::File,
    model::{Environment, Rootfs},
    read::{Read, container::ContainerFile, lap::LapFile, node::NodeFile},
};

/// Everything that was read, before it is found to fit together.
pub struct WorkspaceFiles {
    pub lap: Read<LapFile>,
    pub rootfs: Read<Rootfs>,
    pub environments: BTreeMap<String, Read<Environment>>,
    pub nodes: BTreeMap<String, Read<NodeFile>>,
    pub containers: BTreeMap<String, Read<ContainerFile>>,
    /// By container; those that could be read.
    pub dockerfiles: BTreeMap<String, (Rc<File>, Dockerfile)>,
}
