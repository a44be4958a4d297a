//! Tests that stop the control plane and the kubelet. They disturb the whole cluster,
//! so they run alone.

use std::path::Path;
use std::time::Duration;

use crate::incidents::{KEYED, is_own, kill, proven};
use crate::routing::lapses;
use crate::support::load::Load;
use crate::support::{World, with_shop};

/// Kills a component of the test cluster, keeps it stopped for a while, and restarts it.
async fn interrupt(world: &World, component: &str, dead: Duration) {
    let state = world.kubeconfig.parent().unwrap();
    let id = tokio::fs::read_to_string(state.join(format!("run/{component}.pid"))).await.unwrap();
    kill(id.trim()).await;
    tokio::time::sleep(dead).await;
    let up = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cluster/up");
    let mended = tokio::process::Command::new(up).output().await.unwrap();
    assert!(mended.status.success(), "{}", String::from_utf8_lossy(&mended.stderr));
}

#[tokio::test]
#[ignore = "needs a cluster: tests/run"]
async fn requests_keep_their_routes_without_an_api_server_and_a_kubelet() {
    with_shop("headless", |world| async move {
        if !is_own(&world) {
            return;
        }
        world.route("steal", "deployment/shop", "pr-1", &["--ttl", "10"]).await.success();
        for (component, dead) in [("kube-apiserver", 30), ("kubelet", 5)] {
            let keyed = Load::begin(&world, "shop", KEYED, "shop preview", 2).await;
            let others = Load::begin(&world, "shop", "", "shop stable", 2).await;
            interrupt(&world, component, Duration::from_secs(dead)).await;
            proven(&world).await;
            others.end().await.flawless(&format!("{component} dead for {dead} s, without a key"));
            let what = format!("{component} dead for {dead} s, with the key");
            keyed.end().await.flawless_but_for_lapses(&what, lapses(&world).await);
        }
        let restarts = world.preview_pods(",preview.mirrord.io/role=keeper").await;
        assert_eq!(restarts.len(), 1);
        world.mirrord(&["preview", "stop", "-k", "pr-1", "-n", &world.namespace]).await.success();
    })
    .await;
}
