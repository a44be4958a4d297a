//! Incidents of pods and keepers: killed processes, unschedulable pods, environments
//! that start and end at random.

use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::{LimitRange, Pod};
use kube::ResourceExt as _;
use kube::api::{Api, DeleteParams, ListParams, PostParams};
use serde_json::{Value, json};

use crate::routing::{lapses, live};
use crate::support::load::Load;
use crate::support::{World, screen, until, with_shop};

pub(crate) const KEYED: &str = "baggage: mirrord-session=pr-1\r\n";

/// Whether the cluster's pods run as processes of this machine.
pub(crate) fn is_own(world: &World) -> bool {
    if !world.own {
        eprintln!("skipped: only the own cluster may be disturbed");
    }
    world.own
}

pub(crate) async fn kill(id: &str) {
    send("-KILL", id).await;
}

async fn send(signal: &str, id: &str) {
    assert!(tokio::process::Command::new("kill").args([signal, id]).status().await.unwrap().success());
}

async fn traffic(world: &World) -> Option<Value> {
    let screen =
        world.mirrord(&["preview", "status", "-n", &world.namespace, "-k", "pr-1", "-o", "json"]).await;
    let mut list: Value = serde_json::from_str(&screen.stdout).ok()?;
    Some(list["items"][0]["traffic"].take())
}

pub(crate) async fn proven(world: &World) {
    until("the proof", || async {
        let traffic = traffic(world).await?;
        (traffic["ready"] == true && traffic["podsProven"] == 2).then_some(())
    })
    .await;
}

/// The process of the agent in a pod, on this machine.
fn agent_of(pod: &Pod) -> Option<String> {
    process_of(pod, b"/mirrord\0agent\0--")
}

/// The process of a pod by the beginning of its command line.
fn process_of(pod: &Pod, begins: &[u8]) -> Option<String> {
    let uid = pod.metadata.uid.clone()?;
    let folders = std::fs::read_dir("/proc").unwrap().flatten();
    folders.map(|folder| folder.path()).find_map(|folder| {
        let command = std::fs::read(folder.join("cmdline")).ok()?;
        let group = std::fs::read_to_string(folder.join("cgroup")).ok()?;
        let is_meant = command.starts_with(begins) && group.contains(&uid);
        is_meant.then(|| folder.file_name().unwrap().to_string_lossy().into_owned())
    })
}

#[tokio::test]
#[ignore = "needs a cluster: tests/run"]
async fn a_killed_agent_is_replaced_and_only_open_requests_fail() {
    with_shop("killed", |world| async move {
        if !is_own(&world) {
            return;
        }
        world.route("steal", "deployment/shop", "pr-1", &["--ttl", "10"]).await.success();
        let pods: Api<Pod> = world.api();
        // First with SIGTERM like Kubernetes, then with SIGKILL like the kernel.
        for (signal, agents) in [("-TERM", 2), ("-KILL", 3)] {
            let keyed = Load::begin(&world, "shop", KEYED, "shop preview", 2).await;
            let others = Load::begin(&world, "shop", "", "shop stable", 3).await;
            for pod in live(&world).await {
                send(signal, &agent_of(&pod).expect("an agent")).await;
                let begun = Instant::now();
                until("another agent", || async {
                    agent_of(&pod)?;
                    let pod = pods.get(&pod.name_any()).await.unwrap();
                    (pod.spec.unwrap().ephemeral_containers.unwrap().len() == agents).then_some(())
                })
                .await;
                proven(&world).await;
                eprintln!("an agent was replaced after {signal}, and proven, in {:.1?}", begun.elapsed());
            }
            let (keyed, others) = (keyed.end().await, others.end().await);
            let what = format!("both agents ended by {signal}");
            eprintln!("{}", keyed.line(&format!("{what}, with the key")));
            // Without an agent the application answers the requests with the key.
            assert!(keyed.wrong.iter().all(|answer| answer.contains("200 shop stable")), "{:?}", keyed.wrong);
            if signal == "-TERM" {
                others.flawless(&format!("{what}, without a key"));
                assert!(keyed.failed.is_empty(), "{:?}", keyed.failed);
            } else {
                eprintln!("{}", others.line(&format!("{what}, without a key")));
                assert!(others.wrong.is_empty(), "{:?}", others.wrong);
                // Each time, one request of each client may have been open.
                assert!(others.failed.len() <= 6, "{:?}", others.failed);
                assert!(keyed.failed.len() <= 4, "{:?}", keyed.failed);
            }
        }
    })
    .await;
}

#[tokio::test]
#[ignore = "needs a cluster: tests/run"]
async fn a_restarted_application_is_captured_as_soon_as_it_listens() {
    with_shop("crashed", |world| async move {
        if !is_own(&world) {
            return;
        }
        world.route("steal", "deployment/shop", "pr-1", &["--ttl", "10"]).await.success();
        let keyed = Load::begin(&world, "shop", KEYED, "shop preview", 2).await;
        let others = Load::begin(&world, "shop", "", "shop stable", 2).await;
        let pods: Api<Pod> = world.api();
        for pod in live(&world).await {
            kill(&process_of(&pod, b"/shop").expect("the application")).await;
            until("the application to be started again", || async {
                let status = pods.get(&pod.name_any()).await.unwrap().status?;
                let restarted = status.container_statuses?.first()?.restart_count > 0;
                let ready = status.conditions?.iter().any(|one| one.type_ == "Ready" && one.status == "True");
                (restarted && ready).then_some(())
            })
            .await;
            proven(&world).await;
        }
        let (keyed, others) = (keyed.end().await, others.end().await);
        eprintln!("{}", keyed.line("both applications crashed, with the key"));
        eprintln!("{}", others.line("both applications crashed, without a key"));
        // Until Kubernetes has noticed, connections to the closed port are refused, as without
        // mirrord, with and without the key.
        assert!(others.wrong.is_empty() && others.unavailable == 0, "{:?}", others.wrong);
        assert_eq!(keyed.unavailable, 0);
        for failed in others.failed.iter().chain(&keyed.failed) {
            assert!(
                failed.contains("refused")
                    || failed.contains("reset")
                    || failed.contains("half an answer: \"\""),
                "{failed}"
            );
        }
        // Capture resumes within 20 ms after the port is open again, in which a request or two
        // may arrive; or an agent was starved of CPU and reports it.
        let most = if lapses(&world).await == 0 { 4 } else { keyed.right / 20 };
        assert!(keyed.wrong.len() <= most, "{:?}", keyed.wrong);
    })
    .await;
}

#[tokio::test]
#[ignore = "needs a cluster: tests/run"]
async fn environments_started_ended_and_killed_at_random_leave_the_namespace_as_it_was() {
    with_shop("random", |world| async move {
        let rounds: u64 =
            std::env::var("MIRRORD_TEST_ROUNDS").ok().and_then(|text| text.parse().ok()).unwrap_or(8);
        let before = world.objects().await;
        let pods: Api<Pod> = world.api();
        let (mut random, mut killed) = (rounds, 0);
        let mut number = |below: u64| {
            // The constants of Knuth's MMIX.
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (random >> 33) % below
        };
        let load =
            if world.own { Some(Load::begin(&world, "shop", "", "shop stable", 1).await) } else { None };
        for round in 0..rounds {
            let mode = ["steal", "mirror"][usize::try_from(number(2)).unwrap()];
            let mut starting = world.routing(mode, "deployment/shop", "pr-1", &["--ttl", "30s"]);
            let action = number(6);
            if action == 0 {
                // The command is killed during the start. The deadline or the stop below cleans up.
                tokio::time::sleep(Duration::from_millis(number(3000))).await;
                starting.kill().await.unwrap();
            } else if action == 3 {
                // The command is interrupted, and cleans up unless it has finished.
                tokio::time::sleep(Duration::from_millis(number(3000))).await;
                if let Some(id) = starting.id() {
                    send(["-INT", "-TERM"][usize::try_from(number(2)).unwrap()], &id.to_string()).await;
                }
                let code = screen(starting).await.code;
                assert!(code == Some(130) || code == Some(0), "{code:?}");
            } else {
                screen(starting).await.success();
            }
            match action {
                // After a dozen agents in a row a pod gets no more.
                4 if world.own && killed < 16 => {
                    for pod in pods.list(&ListParams::default().labels("app=shop")).await.unwrap() {
                        if let Some(agent) = agent_of(&pod) {
                            killed += 1;
                            // It may be terminating already.
                            let _ =
                                tokio::process::Command::new("kill").args(["-KILL", &agent]).output().await;
                        }
                    }
                }
                1 => {
                    let keepers = ListParams::default().labels("preview.mirrord.io/role=keeper");
                    for keeper in pods.list(&keepers).await.unwrap() {
                        let parameters = DeleteParams::default().grace_period(0);
                        let _ = pods.delete(&keeper.name_any(), &parameters).await;
                    }
                }
                2 => {
                    let jobs: Api<k8s_openapi::api::batch::v1::Job> = world.api();
                    for job in jobs.list(&ListParams::default()).await.unwrap() {
                        let _ = jobs.delete(&job.name_any(), &DeleteParams::background()).await;
                    }
                }
                _ => {}
            }
            world
                .mirrord(&["preview", "stop", "-k", "pr-1", "-n", &world.namespace, "--ignore-not-found"])
                .await
                .success();
            until(&format!("round {round} to leave nothing"), || async {
                (world.objects().await == before).then_some(())
            })
            .await;
        }
        if let Some(load) = load {
            let tally = load.end().await;
            eprintln!("{}", tally.line(&format!("{rounds} random rounds, without a key")));
            assert!(tally.wrong.is_empty() && tally.unavailable == 0, "{:?}", tally.wrong);
            // The one request that is open when its agent is killed.
            assert!(tally.failed.len() as u64 <= killed, "{killed} killed: {:?}", tally.failed);
        }
    })
    .await;
}

/// Why a pod has no node.
fn unscheduled(pod: &Pod) -> Option<String> {
    let conditions = pod.status.as_ref()?.conditions.as_ref()?;
    let scheduled = conditions.iter().find(|condition| condition.type_ == "PodScheduled")?;
    scheduled.reason.clone()
}

#[tokio::test]
#[ignore = "needs a cluster: tests/run"]
async fn rules_of_an_unschedulable_keeper_hold_until_their_lease_ends() {
    with_shop("unscheduled", |world| async move {
        if !is_own(&world) {
            return;
        }
        let before = world.objects().await;
        world.route("steal", "deployment/shop", "pr-1", &["--ttl", "10"]).await.success();
        // In this namespace, a pod without its own request needs more disk than any node has.
        let limits: Api<LimitRange> = world.api();
        let limit: LimitRange = serde_json::from_value(json!({
            "metadata": {"name": "nowhere"},
            "spec": {"limits": [{"type": "Container", "defaultRequest": {"ephemeral-storage": "1Ei"}}]}
        }))
        .unwrap();
        limits.create(&PostParams::default(), &limit).await.unwrap();
        let pods: Api<Pod> = world.api();
        let keepers = ListParams::default().labels("preview.mirrord.io/role=keeper");
        let keeper = pods.list(&keepers).await.unwrap().items.remove(0).name_any();
        let begun = Instant::now();
        pods.delete(&keeper, &DeleteParams::default().grace_period(0)).await.unwrap();
        let others = Load::begin(&world, "shop", "", "shop stable", 2).await;
        // A lease is 60 s long and renewed every few seconds.
        let (mut answer, mut lasted, mut in_a_row) = (String::new(), Duration::ZERO, 0);
        // One or two may be due to an agent that was starved of CPU.
        while begun.elapsed() < Duration::from_secs(90) && in_a_row < 20 {
            answer = world.ask_service_with("shop", KEYED).await;
            in_a_row = if answer.starts_with("shop stable") { in_a_row + 1 } else { 0 };
            if in_a_row <= 1 {
                lasted = begun.elapsed();
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let said = world.mirrord(&["preview", "status", "-n", &world.namespace]).await;
        let keeper = pods.list(&keepers).await.unwrap().items.remove(0);
        assert_eq!(unscheduled(&keeper).as_deref(), Some("Unschedulable"));
        limits.delete("nowhere", &DeleteParams::default()).await.unwrap();
        pods.delete(&keeper.name_any(), &DeleteParams::default().grace_period(0)).await.unwrap();
        eprintln!("without a keeper, the key's requests came to the preview for {lasted:.1?}");
        assert!(answer.starts_with("shop stable"), "{answer}");
        assert!((40..90).contains(&lasted.as_secs()), "{lasted:.1?}");
        assert!(!said.success().stdout.contains(" ready "), "a keeper that is away proves nothing");
        until("the preview again", || async {
            world.ask_service_with("shop", KEYED).await.starts_with("shop preview").then_some(())
        })
        .await;
        others.end().await.flawless("without a keeper and with another, without a key");
        world.mirrord(&["preview", "stop", "-k", "pr-1", "-n", &world.namespace]).await.success();
        assert_eq!(world.objects().await, before);
    })
    .await;
}
