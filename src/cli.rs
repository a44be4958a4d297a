//! The command line: clap types and help, nothing else. `config` decides what the
//! values mean.
#![expect(missing_docs, reason = "the help texts say it: a comment on a field becomes its help")]

pub mod manual;

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueHint};
use clap_complete::Shell;

use crate::config::scalar::timeout;
use crate::kubernetes_names::{is_namespace, is_object_name};
use crate::output::format::{ListFormat, ObjectFormat};
use crate::session::{Key, Ttl};
use crate::workload::Target;

/// Where `-f` without a value looks, as mirrord's own tools do
pub(crate) const DEFAULT_FILE: &str = "./.mirrord/mirrord.json";

/// Preview environments in any Kubernetes namespace, with nothing installed first and nothing left behind
#[derive(Debug, Parser)]
#[command(name = "mirrord", version, propagate_version = false, max_term_width = 100)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Start, look at and stop preview environments
    ///
    /// An environment is a copy of a live workload's pod with your image, in the same namespace, kept out of
    /// every Service. It ends when its time is over, or with `mirrord preview stop`.
    ///
    /// `MIRRORD_PROGRESS_MODE` chooses how progress is written: `standard` (spinners), `simple` (plain lines), `json`
    /// (one object a line, on both streams) or `off`.
    ///
    /// Exit codes: 0 done, 1 could not, 2 usage or configuration, 3 not found, 4 not allowed, 5 timed out, 6 the
    /// preview pod failed, 7 routing not proven, 70 a bug in mirrord, 130 interrupted.
    Preview(Box<Preview>),
    /// Print the completion script for a shell
    Completions {
        /// The shell
        shell: Shell,
    },
    /// Print the manual page
    Man,
}

#[derive(Debug, Args)]
pub struct Preview {
    #[command(flatten)]
    pub common: Common,
    #[command(subcommand)]
    pub verb: Verb,
}

#[derive(Debug, Args)]
pub struct Common {
    /// The environment's key
    ///
    /// Your name for the environment: a branch, a pull request. Also `MIRRORD_KEY`, or `key` in the file.
    /// Without one, `start` generates a key.
    #[arg(short, long, global = true, value_name = "KEY")]
    pub key: Option<Key>,
    /// Read mirrord.json; `-` reads standard input
    ///
    /// Without a value, ./.mirrord/mirrord.json. Also `MIRRORD_CONFIG_FILE`. Without either, no file is read.
    #[arg(short = 'f', long, global = true, value_name = "FILE", num_args = 0..=1, default_missing_value = DEFAULT_FILE, value_hint = ValueHint::FilePath)]
    pub config_file: Option<PathBuf>,
    /// The kubeconfig's context
    ///
    /// Also `MIRRORD_KUBE_CONTEXT`, or `kube_context` in the file.
    #[arg(long, global = true, value_name = "NAME")]
    pub context: Option<String>,
    /// The kubeconfig to use
    ///
    /// Also `MIRRORD_KUBECONFIG`, or `kubeconfig` in the file; else the one that kubectl finds.
    #[arg(long, global = true, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub kubeconfig: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Start an environment, or replace the one with the same key and target
    Start(Start),
    /// Show environments
    Status(Status),
    /// Stop environments and wait until they are gone
    Stop(Stop),
    /// Change the remaining lifetime of running environments
    Extend(Extend),
    /// Check whether `start` would succeed, without creating anything
    Doctor(Doctor),
    /// Print the roles that an admin can apply once, for users who may not create roles
    Rbac(Rbac),
}

#[derive(Debug, Args)]
pub struct Start {
    /// The image to run in place of the target's
    ///
    /// Also `MIRRORD_PREVIEW_IMAGE`, or `feature.preview.image` in the file.
    #[arg(short, long, value_name = "IMAGE")]
    pub image: Option<String>,
    /// The live workload to copy, as in `deployment/shop` or `deployment/shop/container/web`
    ///
    /// Also `MIRRORD_IMPERSONATED_TARGET`, or `target` in the file.
    #[arg(short, long, value_name = "KIND/NAME")]
    pub target: Option<Target>,
    /// The target's namespace
    ///
    /// Also `MIRRORD_TARGET_NAMESPACE`, or `target.namespace` in the file; else the context's.
    #[arg(short, long, visible_alias = "target-namespace", value_name = "NAME")]
    pub namespace: Option<String>,
    /// How long it lives once it is ready: minutes, a duration like `90s` or `2h`, or `infinite` [default: 60]
    ///
    /// Also `MIRRORD_PREVIEW_TTL_MINS` and `MIRRORD_PREVIEW_TTL_SECS`, or `feature.preview.ttl_mins` and `ttl_secs`
    /// in the file.
    #[arg(long, value_name = "TIME")]
    pub ttl: Option<Ttl>,
    /// How long to wait until it is ready: seconds, or a duration like `5m` [default: 60]
    ///
    /// The time in which an image is being pulled does not count. Also `MIRRORD_PREVIEW_CREATION_TIMEOUT_SECS`,
    /// or `feature.preview.creation_timeout_secs` in the file.
    #[arg(long, value_name = "TIME", value_parser = timeout)]
    pub timeout: Option<Duration>,
    /// Do not wait until it is ready; the time to live starts now
    #[arg(long)]
    pub no_wait: bool,
    /// Create nothing; with `-o`, print what would be created
    #[arg(long)]
    pub dry_run: bool,
    /// Print the objects
    #[arg(short, long, value_name = "FORMAT")]
    pub output: Option<ObjectFormat>,
    /// Accepted without effect: an environment is always replaced
    #[arg(long, hide = true)]
    pub force: bool,
}

/// Which environments to select, and where to look for them
#[derive(Debug, Args)]
pub struct Selected {
    /// Select the environments whose key matches; `*` also crosses `/`
    #[arg(long, value_name = "PATTERN", value_parser = pattern)]
    pub glob: Option<glob::Pattern>,
    /// Select environments on this target only
    #[arg(short, long, value_name = "KIND/NAME")]
    pub target: Option<Target>,
    /// Look in this namespace only
    ///
    /// Without it: in every namespace, or in the context's namespace if you may not list all of them. `stop` and
    /// `extend` then refuse to act on environments in several namespaces.
    #[arg(
        short,
        long,
        visible_alias = "target-namespace",
        value_name = "NAME",
        conflicts_with = "all_namespaces"
    )]
    pub namespace: Option<String>,
    /// Look in every namespace
    #[arg(short = 'A', long)]
    pub all_namespaces: bool,
}

#[derive(Debug, Args)]
pub struct Status {
    #[command(flatten)]
    pub selected: Selected,
    /// Show starts that failed because of the preview pod; each is kept for 15 minutes
    #[arg(long)]
    pub failed: bool,
    /// The output format
    #[arg(short, long, value_name = "FORMAT", default_value = "table")]
    pub output: ListFormat,
    /// Print again after each change, until interrupted
    #[arg(short, long)]
    pub watch: bool,
}

#[derive(Debug, Args)]
pub struct Stop {
    #[command(flatten)]
    pub selected: Selected,
    /// Succeed if there is nothing to stop
    #[arg(long)]
    pub ignore_not_found: bool,
    /// Do not wait until everything is gone
    #[arg(long)]
    pub no_wait: bool,
}

#[derive(Debug, Args)]
pub struct Extend {
    #[command(flatten)]
    pub selected: Selected,
    /// How long they live from now: minutes, a duration like `90s` or `2h`, or `infinite`
    #[arg(long, value_name = "TIME", required = true)]
    pub ttl: Ttl,
}

#[derive(Debug, Args)]
pub struct Doctor {
    /// The live workload to copy, as in `deployment/shop`
    #[arg(short, long, value_name = "KIND/NAME")]
    pub target: Option<Target>,
    /// The target's namespace
    #[arg(short, long, visible_alias = "target-namespace", value_name = "NAME")]
    pub namespace: Option<String>,
}

#[derive(Debug, Args)]
pub struct Rbac {
    /// The namespace of the targets; else the context's
    #[arg(short, long, visible_alias = "target-namespace", value_name = "NAME")]
    pub namespace: Option<String>,
    /// Bind the users' Role to this user
    #[arg(long, value_name = "NAME", group = "subject", value_parser = subject)]
    pub user: Option<String>,
    /// Bind it to this group of users
    #[arg(long, value_name = "NAME", group = "subject", value_parser = subject)]
    pub group: Option<String>,
    /// Bind it to this ServiceAccount, as in `ci` or `runners/ci`
    #[arg(long, value_name = "[NAMESPACE/]NAME", group = "subject", value_parser = account)]
    pub service_account: Option<String>,
}

/// The name of a user or a group; its form depends on the cluster's authentication.
fn subject(text: &str) -> Result<String, String> {
    if text.trim().is_empty() || text.chars().any(char::is_control) {
        return Err("a name may not be empty, nor contain control characters".to_owned());
    }
    Ok(text.to_owned())
}

fn account(text: &str) -> Result<String, String> {
    let (namespace, name) =
        text.split_once('/').map_or((None, text), |(namespace, name)| (Some(namespace), name));
    if is_object_name(name) && namespace.is_none_or(is_namespace) {
        return Ok(text.to_owned());
    }
    Err("a ServiceAccount is `<name>` or `<namespace>/<name>`, in lower-case letters, digits and `-`"
        .to_owned())
}

fn pattern(text: &str) -> Result<glob::Pattern, String> {
    if text.is_empty() {
        return Err("a pattern may not be empty; `*` matches every key".to_owned());
    }
    glob::Pattern::new(text).map_err(|error| format!("{} at position {}", error.msg, error.pos))
}
