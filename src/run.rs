//! Runs a command line: chooses the mode of output, reads the arguments, calls a
//! verb, and turns its result into an exit code.

use std::ffi::OsString;
use std::io;
use std::process::ExitCode;
use std::sync::mpsc;
use std::time::Duration;

use anyhow::Result;
use clap::error::ErrorKind;
use clap::{CommandFactory as _, Parser as _};
use uuid::Uuid;

use crate::cli::{Cli, Command, Common, Preview, Selected, Verb};
use crate::cluster::Scope;
use crate::completion::{CandidateKind, Typed};
use crate::config::{Environment, Named, Overrides, Reach, Selection};
use crate::output::log::Verbosity;
use crate::output::{ProgressMode, Reporter, Terminal};
use crate::preview::rbac::Subject;
use crate::preview::start::{self, Extent};
use crate::preview::status::{Show, Watch};
use crate::preview::stop::{self, NotFound, Patience};
use crate::preview::{Selector, Standing, unless_interrupted};
use crate::problem::{ErrorReport, Exit, Problem};
use crate::{agent, cli, cluster, completion, config, keeper, output, preview, session};

/// Runs the command line `arguments`, program name first.
pub fn run(arguments: impl Iterator<Item = OsString>) -> ExitCode {
    let environment = Environment::of_process();
    let mode = match mode(&environment) {
        Ok(mode) => mode,
        Err(error) => return ended(ProgressMode::Plain, Err(error)),
    };
    report_bugs(mode);
    let arguments: Vec<OsString> = arguments.collect();
    match arguments.get(1).and_then(|word| word.to_str()) {
        Some("agent") => return within_pod(&arguments[1..]),
        Some("keeper") => return keeper(&environment),
        Some("candidates") => return candidates(&arguments[2..], environment),
        _ => {}
    }
    let mode = match logging(&environment, mode) {
        Ok(mode) => mode,
        Err(error) => return ended(mode, Err(error)),
    };
    match Cli::try_parse_from(arguments) {
        Ok(cli) => dispatch(cli, &environment, mode),
        Err(error) => refused(&error, mode),
    }
}

/// Runs `mirrord agent`, the program in a target's pod. Help and completions
/// leave it out.
fn within_pod(arguments: &[OsString]) -> ExitCode {
    // A panic ends one connection, not the agent.
    let _ = std::panic::take_hook();
    match agent::arguments::Agent::try_parse_from(arguments) {
        // The agent's own error is in its log.
        Ok(arguments) if arguments.command.is_none() => {
            agent::run(arguments).map_or_else(|error| exit_code(&error), |()| ExitCode::SUCCESS)
        }
        Ok(arguments) => ended(ProgressMode::Plain, agent::run(arguments)),
        Err(error) => refused(&error, ProgressMode::Plain),
    }
}

/// Runs `mirrord keeper`, the program in the pod of an environment's root, which
/// Kubernetes starts. It never exits 0: a pod that succeeds completes the Job and
/// ends the environment.
fn keeper(environment: &Environment) -> ExitCode {
    let _ = std::panic::take_hook();
    let result = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let result = result
        .map_err(Into::into)
        .and_then(|runtime| runtime.block_on(keeper::run(environment.text(session::ASSIGNMENT))));
    // The error is in the keeper's log.
    result.map_or_else(|error| exit_code(&error), |()| ExitCode::from(Exit::Bug as u8))
}

fn exit_code(error: &anyhow::Error) -> ExitCode {
    ExitCode::from(ErrorReport::of(error).exit as u8)
}

/// How long a shell waits for candidates at most.
const COMPLETION: Duration = Duration::from_secs(2);

/// Runs `mirrord candidates`, which completion scripts call. It prints no errors,
/// because they would appear in the line that the user is typing. A thread of its
/// own asks the cluster: a kubeconfig's credential plugin may block for long.
fn candidates(arguments: &[OsString], environment: Environment) -> ExitCode {
    let words: Vec<String> = arguments.iter().map(|word| word.to_string_lossy().into_owned()).collect();
    let Some(wanted) = words.first().and_then(|word| CandidateKind::of(word)) else {
        return ExitCode::SUCCESS;
    };
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        let mut typed = Typed::of(&words[1..]);
        // The shell owns standard input.
        typed.flags.config_file = typed.flags.config_file.filter(|path| path.as_os_str() != "-");
        let selection =
            Selection::resolve(&typed.flags, &environment, Named::Otherwise, Uuid::new_v4()).ok()?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().ok()?;
        let candidates =
            runtime.block_on(completion::candidates::candidates(&selection, wanted, typed.is_of_sessions));
        sender.send(candidates.ok()?).ok()
    });
    if let Ok(candidates) = receiver.recv_timeout(COMPLETION) {
        // A shell that has closed the pipe needs no candidates.
        let _ = output::lines(&candidates);
    }
    ExitCode::SUCCESS
}

/// The progress mode: `MIRRORD_PROGRESS_MODE`, or the default for this terminal.
fn mode(environment: &Environment) -> Result<ProgressMode> {
    let terminal =
        Terminal::of_process(environment.text("TERM").as_deref(), environment.text("CI").as_deref());
    let chosen = environment.text("MIRRORD_PROGRESS_MODE").map(|text| {
        text.parse().map_err(|why| {
            config::wrong(format!("`MIRRORD_PROGRESS_MODE` holds `{text}`, which cannot be used"))
                .because_of(why)
        })
    });
    Ok(ProgressMode::fitting(chosen.transpose()?, terminal))
}

/// Starts the log if `MIRRORD_LOG` is set. Progress is then plain, because a
/// spinner would overwrite the log.
fn logging(environment: &Environment, mode: ProgressMode) -> Result<ProgressMode> {
    let Some(text) = environment.text("MIRRORD_LOG") else { return Ok(mode) };
    let verbosity: Verbosity = text.parse().map_err(|why: String| {
        config::wrong(format!("`MIRRORD_LOG` holds `{text}`, which cannot be used")).because_of(why)
    })?;
    for part in &verbosity.foreign {
        Reporter::quiet(mode).warning(&format!(
            "`{part}` in `MIRRORD_LOG` is ignored: only `kube_client` and `kube_runtime` can be logged"
        ));
    }
    verbosity.begin(mode);
    Ok(if mode == ProgressMode::Standard { ProgressMode::Plain } else { mode })
}

/// Prints help or the version if the user asked for it; anything else is a usage
/// error.
fn refused(error: &clap::Error, mode: ProgressMode) -> ExitCode {
    if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) {
        return ended(mode, output::data(&error.render().to_string()).map_err(Into::into));
    }
    if mode != ProgressMode::Json {
        // clap colours its own message where the terminal has colours.
        let _ = error.print();
        return ExitCode::from(Exit::Usage as u8);
    }
    let text = error.render().to_string();
    // The text is help, without an error's prefix.
    if error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        output::usage(text.trim_end());
        return ExitCode::from(Exit::Usage as u8);
    }
    let text = text.strip_prefix("error: ").unwrap_or(&text).trim_end().to_owned();
    ended(mode, Err(Problem::new(text).exit(Exit::Usage).into()))
}

fn dispatch(cli: Cli, environment: &Environment, mode: ProgressMode) -> ExitCode {
    match cli.command {
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), session::MIRRORD, &mut script);
            let script = completion::scripts::wired(shell, &String::from_utf8_lossy(&script));
            ended(mode, output::data(&script).map_err(Into::into))
        }
        Command::Man => {
            let page = cli::manual::page().map_err(Into::into);
            ended(mode, page.and_then(|page| Ok(output::data(&String::from_utf8_lossy(&page))?)))
        }
        Command::Preview(preview) => {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            match runtime {
                Ok(runtime) => {
                    let code = runtime.block_on(verb(*preview, environment, mode));
                    // A name lookup that is never answered must not delay the prompt.
                    runtime.shutdown_background();
                    code
                }
                Err(error) => ended(mode, Err(error.into())),
            }
        }
    }
}

async fn verb(preview: Preview, environment: &Environment, mode: ProgressMode) -> ExitCode {
    let Preview { common, verb } = preview;
    let name = match verb {
        Verb::Start(_) => "mirrord preview start",
        Verb::Status(_) => "mirrord preview status",
        Verb::Stop(_) => "mirrord preview stop",
        Verb::Extend(_) => "mirrord preview extend",
        Verb::Doctor(_) => "mirrord preview doctor",
        Verb::Rbac(_) => "mirrord preview rbac",
    };
    // These verbs print data, without a progress tree around it.
    let reporter = match verb {
        Verb::Status(_) | Verb::Rbac(_) => Reporter::quiet(mode),
        _ => Reporter::new(mode, name),
    };
    match Box::pin(call(common, verb, environment, &reporter)).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            let report = ErrorReport::of(&error);
            reporter.problem(&report);
            ExitCode::from(report.exit as u8)
        }
    }
}

/// Calls the verb with its arguments.
async fn call(common: Common, verb: Verb, environment: &Environment, reporter: &Reporter) -> Result<()> {
    let Common { key, config_file, context, kubeconfig } = common;
    let flags = Overrides { config_file, key, context, kubeconfig, ..Overrides::default() };
    match verb {
        Verb::Start(arguments) => {
            let cli::Start { image, target, namespace, ttl, timeout, no_wait, dry_run, output, force: _ } =
                arguments;
            let flags = Overrides { target, namespace, image, ttl, timeout, ..flags };
            let extent = match (dry_run, no_wait) {
                (true, _) => Extent::Planned,
                (false, true) => Extent::Created,
                (false, false) => Extent::Ready,
            };
            let options = start::Options { extent, output };
            Box::pin(start::start(&flags, environment, options, reporter)).await
        }
        Verb::Status(cli::Status { selected, failed, output, watch }) => {
            let (selection, mut selector, scope) = select(flags, environment, selected)?;
            selector.standing = if failed { Standing::Failed } else { Standing::Live };
            reporter.warnings(&selection.warnings);
            let watch = if watch { Watch::Changes } else { Watch::Once };
            let show = Show { format: output, watch };
            unless_interrupted(preview::status::status(&selection, &selector, scope, show, reporter)).await
        }
        Verb::Stop(cli::Stop { selected, ignore_not_found, no_wait }) => {
            let (selection, mut selector, scope) = select(flags, environment, selected)?;
            selector.standing = Standing::Either;
            selector.names_something()?;
            reporter.warnings(&selection.warnings);
            let not_found = if ignore_not_found { NotFound::Passes } else { NotFound::Fails };
            let patience = if no_wait { Patience::UntilTold } else { Patience::UntilGone };
            stop::stop(&selection, &selector, scope, not_found, patience, reporter).await
        }
        Verb::Extend(cli::Extend { selected, ttl }) => {
            let (selection, selector, scope) = select(flags, environment, selected)?;
            selector.names_something()?;
            reporter.warnings(&selection.warnings);
            preview::extend::extend(&selection, &selector, scope, ttl, reporter).await
        }
        Verb::Doctor(cli::Doctor { target, namespace }) => {
            let flags = Overrides { target, namespace, ..flags };
            Box::pin(unless_interrupted(preview::doctor::doctor(&flags, environment, reporter))).await
        }
        Verb::Rbac(cli::Rbac { namespace, user, group, service_account }) => {
            let flags = Overrides { namespace, ..flags };
            let selection = Selection::resolve(&flags, environment, Named::Otherwise, Uuid::new_v4())?;
            let namespace = match selection.namespace {
                Some(namespace) => namespace,
                None => cluster::Cluster::namespace(&selection.connection).await.map_err(|error| {
                    // Printing YAML needs no cluster, so the hint is about `-n` and not about the kubeconfig.
                    Problem::new("no namespace is given, and the kubeconfig has none")
                        .because_of(format!("{error:#}"))
                        .hint("pass `-n <namespace>`")
                        .exit(Exit::Usage)
                })?,
            };
            let account = service_account.map(|name| match name.split_once('/') {
                Some((other, name)) => Subject::ServiceAccount(name.to_owned(), Some(other.to_owned())),
                None => Subject::ServiceAccount(name, None),
            });
            let subject = account.or(user.map(Subject::User)).or(group.map(Subject::Group));
            preview::rbac::rbac(&namespace, subject.as_ref(), reporter.mode())
        }
    }
}

/// Which environments the flags select, and where to look for them.
fn select(
    flags: Overrides,
    environment: &Environment,
    selected: Selected,
) -> Result<(Selection, Selector, Scope)> {
    let Selected { glob, target, namespace, all_namespaces } = selected;
    let reach = if all_namespaces { Reach::Everywhere } else { Reach::Named };
    let flags = Overrides { target, namespace, reach, ..flags };
    // clap sees no conflict between a flag before the verb and one behind it.
    if flags.key.is_some() && glob.is_some() {
        return Err(config::wrong("`--key` and `--glob` cannot be used together")
            .hint("pass one of them")
            .into());
    }
    let named = if glob.is_some() { Named::Otherwise } else { Named::ByKey };
    let selection = Selection::resolve(&flags, environment, named, Uuid::new_v4())?;
    let selector = Selector::new(&selection, glob);
    let scope = match &selection.namespace {
        Some(namespace) => Scope::Namespace(namespace.clone()),
        None => Scope::All,
    };
    Ok((selection, selector, scope))
}

/// The exit code of a command without a progress tree; prints its problem.
fn ended(mode: ProgressMode, result: Result<()>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            let report = ErrorReport::of(&error);
            output::problem(mode, &report);
            ExitCode::from(report.exit as u8)
        }
    }
}

/// A reader that has gone away (`| head`) has read what it wanted.
fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}

/// A panic is a bug of ours, and says so in the form of every other problem.
fn report_bugs(mode: ProgressMode) {
    std::panic::set_hook(Box::new(move |panic| {
        let report = ErrorReport::of(
            &Problem::new("this is a bug in mirrord")
                .because_of(panic.to_string())
                .hint("run it again; an environment that was under way ends by itself")
                .exit(Exit::Bug)
                .into(),
        );
        output::problem(mode, &report);
        #[expect(clippy::exit, reason = "a hook cannot return; unwinding would end in a second message")]
        std::process::exit(Exit::Bug.into());
    }));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[ignore = "ends its process: the test below runs it in one of its own"]
    fn a_bug() {
        report_bugs(ProgressMode::Plain);
        panic!("two and two are five");
    }

    #[test]
    fn a_panic_is_told_as_a_bug_of_ours_with_exit_code_70() {
        let output = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "run::tests::a_bug", "--ignored", "--nocapture"])
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(70), "{said}");
        assert!(said.contains("error: this is a bug in mirrord") && said.contains("two and two"), "{said}");
    }
}
