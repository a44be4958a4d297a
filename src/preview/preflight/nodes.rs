//! Reads the kernels of the nodes and the service meshes of the target's pods: the
//! proof of a route may fail because of them.

use crate::cluster::{Cluster, place};
use crate::contract::assignment::{Assignment, Pods};
use crate::output::Reporter;
use crate::session::SESSION;
use crate::words;

/// The oldest kernel with BPF `sk_lookup`, which agents capture with where they can.
const OLDEST_KERNEL: (u32, u32) = (5, 9);

/// Reports the kernels that the target's pods run on, and warns about old ones
/// and about service meshes.
pub(crate) async fn inspect(cluster: &Cluster, assignment: &Assignment, reporter: &Reporter) {
    let namespace = &assignment.namespace;
    let step = reporter.step("looking at the target's pods");
    let pods = match &assignment.pods {
        Pods::Named(name) => cluster.pods_like(namespace, None, Some(name)).await,
        Pods::Labelled(labels) => {
            cluster.pods_like(namespace, Some(&format!("{labels},!{SESSION}")), None).await
        }
    };
    let (mut nodes, mut meshes) = (Vec::new(), Vec::new());
    for (node, found) in pods.iter().map(place) {
        nodes.extend(node);
        meshes.extend(found);
    }
    for list in [&mut nodes, &mut meshes] {
        list.sort_unstable();
        list.dedup();
    }
    let kernels = cluster.kernels(&nodes).await;
    for (node, kernel) in &kernels {
        if is_too_old(kernel) {
            reporter.warning(&format!(
                "node `{node}` has kernel {kernel}, which has no `sk_lookup`: agents there capture with nftables, or not at all"
            ));
        }
    }
    if !meshes.is_empty() {
        reporter.warning(&format!(
            "the target's pods have a service mesh sidecar ({}): `start` checks whether requests get past it",
            words::quoted_list(&meshes)
        ));
    }
    step.done(&match kernels.first() {
        Some((_, kernel)) => format!("{} pods, on nodes with kernel {kernel}", pods.len()),
        None => format!("{} pods; kernel versions unknown: you may not read nodes", pods.len()),
    });
}

fn is_too_old(kernel: &str) -> bool {
    let mut numbers = kernel.split(['.', '-']).map(str::parse::<u32>);
    match (numbers.next(), numbers.next()) {
        (Some(Ok(major)), Some(Ok(minor))) => (major, minor) < OLDEST_KERNEL,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kernel_is_compared_by_its_first_two_numbers() {
        for (kernel, too_old) in [
            ("5.8.0-63-generic", true),
            ("4.18.0-553.el8", true),
            ("5.9", false),
            ("5.10.225-213.878.amzn2", false),
            ("6.18.44", false),
            ("unheard of", false),
        ] {
            assert_eq!(is_too_old(kernel), too_old, "{kernel}");
        }
    }
}
