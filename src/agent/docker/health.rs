//! Asks a container's own check, now and not at Docker's next interval.

use std::time::{Duration, Instant};

use bollard::{
    Docker,
    exec::StartExecResults,
    models::{ContainerInspectResponse, ExecConfig},
    query_parameters::{InspectContainerOptions, LogsOptionsBuilder},
};
use futures_util::StreamExt;
use lap_base::error::{Error, Kind, OrError, Result};
use tokio::io::AsyncWriteExt;

use crate::agent::system::node_config::address;

/// Between two checks of a container that is starting.
const BETWEEN: Duration = Duration::from_millis(100);
/// A check that takes longer says nothing useful.
const PATIENCE: Duration = Duration::from_secs(10);
/// As often as this it may fall over before it is given up.
const FALLS: i64 = 3;

/// What a check said.
pub struct HealthResult {
    /// It ended with 0.
    pub passed: bool,
    /// The end of what it printed.
    pub said: String,
}

/// Runs the check of a container once. One without a check passes while it runs.
///
/// # Errors
/// Docker does not answer, or there is no such container.
pub async fn check(docker: &Docker, container: &str) -> Result<HealthResult> {
    let facts = inspect(docker, container).await?;
    run_check(docker, container, &facts).await
}

/// Waits until the check of `infra_<name>` passes.
///
/// # Errors
/// [`Kind::Unhealthy`]: it fell over, or the time is up; with the last words of the check and of the container.
pub async fn await_healthy(docker: &Docker, name: &str, patience: Duration) -> Result<()> {
    let container = format!("infra_{name}");
    let until = Instant::now() + patience;
    // Docker reports 0 while a container runs: the code is what it said after the last fall.
    let mut code = None;
    loop {
        let facts = inspect(docker, &container).await?;
        let state = facts.state.as_ref();
        if let Some(state) = state.filter(|state| state.running != Some(true) || state.restarting == Some(true)) {
            code = state.exit_code;
        }
        let fell = facts.restart_count.unwrap_or_default() >= FALLS;
        let ended = state.is_some_and(|s| s.running != Some(true) && s.restarting != Some(true));
        if let Some(code) = code.filter(|_| fell || ended) {
            let said = last_words(docker, &container).await;
            return Err(Error::new(Kind::Unhealthy, format!("`{name}` ended with exit code {code}{said}"))
                .hint(format!("`lap logs {}` shows its whole output", address(name))));
        }
        let checked = run_check(docker, &container, &facts).await?;
        if checked.passed {
            return Ok(());
        }
        if Instant::now() > until {
            let said = last_words(docker, &container).await;
            let check = if checked.said.is_empty() { String::new() } else { format!("\n  check: {}", checked.said) };
            return Err(Error::new(
                Kind::Unhealthy,
                format!("`{name}` is not healthy after {} s{check}{said}", patience.as_secs()),
            )
            .hint(format!("`lap logs {}` shows its whole output", address(name))));
        }
        tokio::time::sleep(BETWEEN).await;
    }
}

async fn inspect(docker: &Docker, container: &str) -> Result<ContainerInspectResponse> {
    docker
        .inspect_container(container, None::<InspectContainerOptions>)
        .await
        .or_error(Kind::Node, || format!("cannot look at `{container}`"))
}

async fn run_check(docker: &Docker, container: &str, facts: &ContainerInspectResponse) -> Result<HealthResult> {
    let running = facts.state.as_ref().and_then(|state| state.running) == Some(true);
    let test = facts.config.as_ref().and_then(|c| c.healthcheck.as_ref()).and_then(|h| h.test.clone());
    let command = match test.as_deref() {
        _ if !running => return Ok(HealthResult { passed: false, said: "it does not run".into() }),
        Some([kind, rest @ ..]) if kind == "CMD" => rest.to_vec(),
        Some([kind, rest @ ..]) if kind == "CMD-SHELL" => [&["/bin/sh".to_owned(), "-c".to_owned()], rest].concat(),
        _ => return Ok(HealthResult { passed: true, said: String::new() }),
    };
    let asked = tokio::time::timeout(PATIENCE, exec(docker, container, command)).await;
    // A container that just ended refuses the exec: that is an answer, too.
    Ok(match asked {
        Ok(Ok(checked)) => checked,
        Ok(Err(error)) => HealthResult { passed: false, said: error.message },
        Err(_) => HealthResult { passed: false, said: format!("no answer within {} s", PATIENCE.as_secs()) },
    })
}

async fn exec(docker: &Docker, container: &str, command: Vec<String>) -> Result<HealthResult> {
    exec_told(docker, container, command, |_| {}).await
}

/// Runs a program in a container to its end, as this user of it.
///
/// # Errors
/// Docker does not answer, or the container does not run.
pub async fn exec_as(
    docker: &Docker,
    container: &str,
    user: Option<&str>,
    command: Vec<String>,
) -> Result<HealthResult> {
    exec_whole(docker, container, user, command, None, |_| {}).await
}

/// The same with something to read.
///
/// # Errors
/// Docker does not answer, or the container does not run.
pub async fn exec_fed(
    docker: &Docker,
    container: &str,
    user: &str,
    command: Vec<String>,
    input: &[u8],
) -> Result<HealthResult> {
    exec_whole(docker, container, Some(user), command, Some(input), |_| {}).await
}

/// Runs a program in a container to its end; `begun` is told its Docker id, for whoever may have to end it.
///
/// # Errors
/// Docker does not answer, or the container does not run.
pub async fn exec_told(
    docker: &Docker,
    container: &str,
    command: Vec<String>,
    begun: impl FnOnce(&str),
) -> Result<HealthResult> {
    exec_whole(docker, container, None, command, None, begun).await
}

async fn exec_whole(
    docker: &Docker,
    container: &str,
    user: Option<&str>,
    command: Vec<String>,
    stdin: Option<&[u8]>,
    begun: impl FnOnce(&str),
) -> Result<HealthResult> {
    let what = || format!("cannot run `{}` in `{container}`", command.join(" "));
    let config = ExecConfig {
        cmd: Some(command.clone()),
        user: user.map(str::to_owned),
        attach_stdin: Some(stdin.is_some()),
        attach_stdout: Some(true),
        attach_stderr: Some(true),
        ..ExecConfig::default()
    };
    let exec = docker.create_exec(container, config).await.or_error(Kind::Node, what)?;
    begun(&exec.id);
    let mut said = String::new();
    if let StartExecResults::Attached { mut output, input } =
        docker.start_exec(&exec.id, None).await.or_error(Kind::Node, what)?
    {
        let mut input = input;
        let feed = async {
            // A program that ends before it has read everything says itself why.
            if input.write_all(stdin.unwrap_or_default()).await.is_ok() {
                let _ = input.shutdown().await;
            }
        };
        let hear = async {
            while let Some(Ok(chunk)) = output.next().await {
                said.push_str(&chunk.to_string());
                if said.len() > 4096 {
                    said = said.chars().rev().take(1024).collect::<Vec<_>>().into_iter().rev().collect();
                }
            }
        };
        match stdin {
            Some(_) => tokio::join!(feed, hear).1,
            None => hear.await,
        }
    }
    let ended = docker.inspect_exec(&exec.id).await.or_error(Kind::Node, what)?;
    Ok(HealthResult { passed: ended.exit_code == Some(0), said: said.trim().to_owned() })
}

async fn last_words(docker: &Docker, container: &str) -> String {
    let options = LogsOptionsBuilder::new().stdout(true).stderr(true).tail("5").build();
    let mut lines = docker.logs(container, Some(options));
    let mut said = String::new();
    while let Some(Ok(line)) = lines.next().await {
        said.push_str("\n  | ");
        said.push_str(line.to_string().trim_end());
    }
    said
}
