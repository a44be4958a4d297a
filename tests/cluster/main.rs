//! Tests on a real Kubernetes. `tests/run` starts the cluster; with
//! `MIRRORD_TEST_KUBECONFIG` the tests run on another one.
#![expect(
    clippy::unwrap_used,
    clippy::print_stderr,
    clippy::disallowed_methods,
    reason = "tests fail by panicking, find the cluster in the environment, and say on failure what they saw"
)]

mod alone;
mod failures;
mod guards;
mod incidents;
mod input;
mod kinds;
mod life;
mod permissions;
mod pods;
mod refusals;
mod registry;
mod routing;
mod screens;
mod support;
mod users;
