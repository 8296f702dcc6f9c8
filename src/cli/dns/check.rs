//! `lap dns check`

use std::{net::SocketAddr, process::ExitCode, sync::Arc, time::Duration};

use futures_util::future::join_all;
use lap_base::{
    error::{Error, Kind, Result},
    words::plural,
};
use lap_nameserver::client::{QueryResult, ask_all};
use serde::Serialize;

use super::target::DnsTarget;
use crate::{
    apply::master::Master,
    cli::{
        common::{print_json, runtime},
        global::Global,
    },
    config::model::Environment,
    drivers,
    names::check::{NameDifference, Question, differences, questions},
    report::{
        print::{out, outln},
        table::table,
    },
    wire::protocol::{Request, Response, Vantage},
    workspace::Workspace,
};

/// Ask the DNS servers for every name of the workspace, from this host, from the node and from inside a container
///
/// The command prints only differences. The exit code is 0 if there are none, and otherwise 1.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// Only this environment's server [default: the servers of all running environments]
    environment: Option<String>,
    /// As JSON
    #[arg(long)]
    json: bool,
}

/// One server, asked from one place.
struct Asked {
    /// `host`, `node test`, `infra_git`
    from: String,
    server: Option<SocketAddr>,
    said: Vec<QueryResult>,
}

/// All that was asked of one environment's server.
struct Checked {
    questions: Vec<Question>,
    asked: Vec<Asked>,
    /// Whether there was a container to ask from.
    container: bool,
}

#[derive(Serialize)]
struct Row {
    #[serde(flatten)]
    difference: NameDifference,
    from: String,
    server: String,
}

impl Args {
    pub fn run(self, global: &Global) -> Result<ExitCode> {
        let workspace = global.workspace()?;
        let named = self.environment.as_deref().map(|name| workspace.environment(Some(name))).transpose()?;
        let mut notes = Vec::new();
        let checked = runtime()?.block_on(async {
            let environments = match named {
                Some(environment) => vec![environment.clone()],
                None => running(&workspace, &mut notes).await?,
            };
            let all = join_all(environments.iter().map(|environment| check(&workspace, environment))).await;
            all.into_iter().collect::<Result<Vec<Checked>>>().map(|all| (environments, all))
        });
        let (environments, checked) = checked?;
        for (environment, _) in environments.iter().zip(&checked).filter(|(_, checked)| !checked.container) {
            notes.push(format!(
                "`{}`: no container with a network of its own runs, so there was no query from a container",
                environment.name
            ));
        }
        let rows: Vec<Row> = checked.iter().flat_map(Checked::rows).collect();
        if self.json || global.json() {
            print_json(&rows)?;
        } else {
            print(&checked, &rows, &notes);
        }
        Ok(if rows.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

/// The environments whose master runs; the others get a note.
async fn running(workspace: &Arc<Workspace>, notes: &mut Vec<String>) -> Result<Vec<Environment>> {
    let host = drivers::node::observe(&workspace.lab).await?.facts;
    let mut out = Vec::new();
    for environment in workspace.lab.environments.values() {
        if host.nodes.get(&environment.master).is_some_and(|node| node.running) {
            out.push(environment.clone());
        } else {
            notes.push(format!("`{}` does not run: not checked", environment.name));
        }
    }
    if out.is_empty() {
        return Err(Error::new(Kind::Node, "no environment runs").hint("`lap up` starts one"));
    }
    Ok(out)
}

async fn check(workspace: &Arc<Workspace>, environment: &Environment) -> Result<Checked> {
    let target = DnsTarget::find(workspace, environment).await?;
    let master = Master::connect(workspace.clone(), environment, Duration::from_secs(2)).await?;
    let questions = questions(&target.names);
    let plain: Vec<(String, String)> = questions.iter().map(|q| (q.name.clone(), q.rtype.clone())).collect();
    let (from_host, from_node, from_container) = tokio::join!(
        ask_all(std::slice::from_ref(&target.server), &plain),
        from_agent(&master, Vantage::Node, vec![target.server], &plain),
        from_agent(&master, Vantage::Container, Vec::new(), &plain),
    );
    let mut asked = vec![Asked { from: "host".into(), server: Some(target.server), said: from_host.1 }];
    let (_, server, said) = from_node?;
    asked.push(Asked { from: format!("node {}", environment.master), server: server.or(Some(target.server)), said });
    let (container, server, said) = from_container?;
    let inside = container.is_some();
    asked.extend(container.map(|from| Asked { from, server, said }));
    Ok(Checked { questions, asked, container: inside })
}

type Seen = (Option<String>, Option<SocketAddr>, Vec<QueryResult>);

async fn from_agent(
    master: &Master,
    vantage: Vantage,
    servers: Vec<SocketAddr>,
    questions: &[(String, String)],
) -> Result<Seen> {
    let request = Request::Resolve { vantage, servers, questions: questions.to_vec() };
    match master.node.client.ask(&request, &[]).await {
        Ok(Response::Resolved { container, server, said }) => Ok((container, server, said)),
        Ok(_) => Err(Error::new(
            Kind::Node,
            format!("the agent of `{}` sent an unexpected answer", master.environment.master),
        )),
        Err(error) if error.kind == Kind::Usage => {
            let message =
                format!("the agent of `{}` is of another build and cannot send queries", master.environment.master);
            Err(Error::new(Kind::Node, message).hint(format!("replace it with `lap up {}`", master.environment.name)))
        }
        Err(error) => Err(error),
    }
}

impl Checked {
    fn rows(&self) -> impl Iterator<Item = Row> + '_ {
        self.asked.iter().flat_map(|asked| {
            let server = asked.server.map_or_else(|| "-".to_owned(), |server| server.ip().to_string());
            differences(&self.questions, &asked.said).into_iter().map(move |difference| Row {
                difference,
                from: asked.from.clone(),
                server: server.clone(),
            })
        })
    }
}

fn print(checked: &[Checked], rows: &[Row], notes: &[String]) {
    for note in notes {
        outln!("{note}");
    }
    if !rows.is_empty() {
        let cells: Vec<[String; 6]> = rows
            .iter()
            .map(|row| {
                let NameDifference { name, rtype, wished, got } = row.difference.clone();
                [name, rtype, row.from.clone(), row.server.clone(), wished, got]
            })
            .collect();
        out!("{}", table(["NAME", "TYPE", "FROM", "SERVER", "WISHED", "GOT"], &cells));
        return;
    }
    let names: std::collections::BTreeSet<_> = checked
        .iter()
        .flat_map(|checked| &checked.questions)
        .map(|question| (&question.name, &question.rtype))
        .collect();
    let places =
        if checked.iter().any(|checked| checked.container) { "host, node and container" } else { "host and node" };
    outln!("{} at {}, from {places}: correct", plural(names.len(), "name"), plural(checked.len(), "server"));
}
