//! `lap node rm`

use std::{fs, process::ExitCode};

use lap_base::error::{Kind, OrError, Result};

use super::{
    super::{common::Changing, confirm::Confirm},
    find::find,
};
use crate::{
    apply::machine::{leave, stock_ssh},
    cli::global::Global,
    report::print::outln,
};

/// Uninstall lap from an existing machine, and remove its node.toml. The data stays on the machine
#[derive(clap::Args, Debug)]
pub struct Args {
    /// A node with `provider = "ssh"`
    node: String,
    #[command(flatten)]
    confirm: Confirm,
    /// Remove the node.toml even if the machine does not answer; nothing changes on the machine
    #[arg(long)]
    gone: bool,
}

impl Args {
    pub fn run(self, global: &Global) -> Result<ExitCode> {
        let workspace = global.workspace()?;
        let node = find(&workspace, &self.node)?;
        stock_ssh(&workspace, &node)?;
        let what = format!("This stops all containers of `{}` and uninstalls lap there.", node.name);
        self.confirm.ask_name(&what, &node.name)?;
        let changing = Changing::default();
        let left = global.work("node rm", &changing, |options| {
            let (workspace, node) = (workspace.clone(), node.clone());
            async move {
                let line = |text: &str| options.events.note(format!("  {text}"));
                leave(&workspace, &node, false, &line).await
            }
        });
        match left {
            Err(error) if self.gone && (error.kind.is_of_node() || error.kind == Kind::Keys) => {
                outln!("{error}: nothing was changed there.");
            }
            left => left?,
        }
        let dir = workspace.lab.root.join("nodes").join(&node.name);
        fs::remove_dir_all(&dir).or_error(Kind::Host, || format!("cannot remove `{}`", dir.display()))?;
        outln!("Removed nodes/{}.", node.name);
        Ok(ExitCode::SUCCESS)
    }
}
