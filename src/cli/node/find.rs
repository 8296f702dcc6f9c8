//! The machine that a command names.

use lap_base::error::{Error, Kind, Result};

use crate::{
    config::{model::Node, problem::guess},
    workspace::Workspace,
};

pub(super) fn find(workspace: &Workspace, name: &str) -> Result<Node> {
    workspace.lab.nodes.get(name).cloned().ok_or_else(|| {
        let known = workspace.lab.nodes.keys().cloned().collect::<Vec<_>>().join("`, `");
        let meant = guess(name, workspace.lab.nodes.keys().map(String::as_str));
        let other = "`lap node list` shows all nodes; `lap node add` adds an existing machine";
        Error::new(Kind::Usage, format!("there is no node `{name}`: the nodes are `{known}`"))
            .hint(meant.unwrap_or_else(|| other.into()))
    })
}
