//! The agent as an ephemeral container of live pods: what a keeper will do,
//! done by hand.

use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt as _;
use kube::api::{Api, AttachParams, ListParams, Patch, PatchParams};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};

use crate::support::{World, until, with_shop};

/// Puts an agent beside the containers of a live pod.
async fn attach(world: &World, pod: &str) {
    let pods: Api<Pod> = world.api();
    let agent = json!({"spec": {"ephemeralContainers": [{
        "name": "mirrord-agent", "image": concat!("mirrord:", env!("CARGO_PKG_VERSION")),
        "imagePullPolicy": "IfNotPresent", "args": ["agent"],
        "securityContext": {
            "runAsUser": 0, "runAsNonRoot": false,
            "capabilities": {"drop": ["ALL"], "add": ["BPF", "NET_ADMIN"]},
        },
    }]}});
    pods.patch_ephemeral_containers(pod, &PatchParams::default(), &Patch::Strategic(agent)).await.unwrap();
    until("the agent to run", || async {
        let status = pods.get(pod).await.unwrap().status?.ephemeral_container_statuses?;
        let state = status.first()?.state.clone()?;
        assert!(state.terminated.is_none(), "{state:?}");
        state.running
    })
    .await;
}

/// Says one thing to the agent of a pod, and returns the answer of that type.
async fn say(world: &World, pod: &str, request: &Value, answer: &str) -> Value {
    let pods: Api<Pod> = world.api();
    let parameters = AttachParams::default().container("mirrord-agent").stdin(true).stderr(false);
    let mut bridge = pods.exec(pod, ["/mirrord", "agent", "control"], &parameters).await.unwrap();
    let mut stdin = bridge.stdin().unwrap();
    stdin.write_all(format!("{request}\n").as_bytes()).await.unwrap();
    let mut lines = BufReader::new(bridge.stdout().unwrap()).lines();
    while let Some(line) = lines.next_line().await.unwrap() {
        let reply: Value = serde_json::from_str(&line).unwrap();
        if reply["type"] == answer {
            return reply;
        }
        assert!(reply["type"] == "hello" || reply["type"] == "event", "{reply}");
    }
    panic!("the agent said nothing of {answer}");
}

#[tokio::test]
#[ignore = "needs a cluster: tests/run"]
async fn requests_with_the_key_go_to_the_preview_and_all_others_to_the_live_pods() {
    with_shop("agent", |world| async move {
        if !world.own {
            eprintln!("skipped: the Service's address can be reached from the own cluster's node alone");
            return;
        }
        let started = world.start("deployment/shop", "pr-1", &["--ttl", "5"]).await.success();
        let pods: Api<Pod> = world.api();
        let preview = pods.get(&started.info("pod")).await.unwrap().status.unwrap().pod_ip.unwrap();
        let selector = "app=shop,!preview.mirrord.io/session";
        let live = pods.list(&ListParams::default().labels(selector)).await.unwrap().items;
        let rules = json!({"type": "rules", "rules": {
            "version": 1, "session": "s1", "generation": 1, "key": "pr-1", "since_milliseconds": 1, "lease_seconds": 60,
            "mode": "steal", "ports": [{"port": 8080}], "filter": {"baggage": "pr-1"}, "preview": [preview],
        }});
        for pod in &live {
            attach(&world, &pod.name_any()).await;
            let accepted = say(&world, &pod.name_any(), &rules, "accepted").await;
            assert_eq!(accepted["not_listening"], json!([]), "{accepted}");
        }
        for _ in 0..25 {
            let keyed = world.ask_service_with("shop", "baggage: other=1, mirrord-session=pr-1\r\n").await;
            assert_eq!(keyed, format!("shop preview on {}\n", started.info("pod")));
            for headers in ["", "baggage: mirrord-session=pr-12\r\n"] {
                let answer = world.ask_service_with("shop", headers).await;
                assert!(answer.starts_with("shop stable on shop-"), "{answer}");
            }
        }
        let mut counts = [0, 0];
        for pod in &live {
            let status = say(&world, &pod.name_any(), &json!({"type": "status"}), "status").await;
            assert_eq!(status["method"], "sk_lookup", "{status}");
            for (count, name) in counts.iter_mut().zip(["matched", "passed"]) {
                *count += status["sessions"][0]["counts"][name].as_u64().unwrap();
            }
        }
        assert_eq!(counts[0], 25);
        // The kubelet's probes pass, too.
        assert!(counts[1] >= 50, "{counts:?}");
        for pod in &live {
            say(&world, &pod.name_any(), &json!({"type": "withdraw", "session": "s1"}), "withdrawn").await;
        }
        let answer = world.ask_service_with("shop", "baggage: mirrord-session=pr-1\r\n").await;
        assert!(answer.starts_with("shop stable on shop-"), "{answer}");
    })
    .await;
}
