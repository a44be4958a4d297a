//! The life of an environment: its end by deadline and by `stop`, replacement,
//! interruption.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt as _;
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, BufReader};

use crate::support::{screen, until, with_shop};

async fn kill(child: &tokio::process::Child, signal: &str) {
    let id = child.id().unwrap().to_string();
    let sent = tokio::process::Command::new("kill").args([signal, &id]).status().await.unwrap();
    assert!(sent.success());
}

#[tokio::test]
#[ignore = "needs a cluster: tests/run"]
async fn kubernetes_ends_an_environment_within_5_s_of_its_deadline_with_nothing_of_ours_alive() {
    with_shop("deadline", |world| async move {
        let before = world.objects().await;
        let screen = world.start("deployment/shop", "short", &["--ttl", "20s"]).await.success();
        let expiry: Timestamp = screen.info("expires").split(' ').next().unwrap().parse().unwrap();
        let left = expiry.duration_since(Timestamp::now()).as_secs();
        assert!((15..=20).contains(&left), "{left} s are left");
        until("an empty list", || async {
            (world.preview_pods("").await.is_empty() && world.objects().await == before).then_some(())
        })
        .await;
        let late = Timestamp::now().duration_since(expiry);
        assert!(late.as_secs() <= 5, "gone {late} after the deadline");
        assert!(late.as_secs() >= -1, "gone {late} before the deadline");
    })
    .await;
}

#[tokio::test]
#[ignore = "needs a cluster: tests/run"]
async fn an_infinite_environment_has_no_deadline_once_it_is_ready() {
    with_shop("infinite", |world| async move {
        let screen = world.start("deployment/shop", "for-ever", &["--ttl", "infinite"]).await.success();
        assert_eq!(screen.info("expires"), "never");
        let jobs: Api<Job> = world.api();
        let root = jobs.list(&ListParams::default()).await.unwrap().items.remove(0);
        assert_eq!(root.spec.unwrap().active_deadline_seconds, None);
        let status =
            world.mirrord(&["preview", "status", "-k", "for-ever", "-n", &world.namespace]).await.success();
        assert!(status.stdout.contains(" infinite "), "{status:#?}");
    })
    .await;
}

#[tokio::test]
#[ignore = "needs a cluster: tests/run"]
async fn status_says_whether_the_target_has_changed_since_it_was_copied() {
    with_shop("since", |world| async move {
        world.start("deployment/shop", "pr-1", &[]).await.success();
        let copy = || {
            let world = world.clone();
            async move {
                let arguments = ["preview", "status", "-n", &world.namespace, "-o"];
                let document = world.mirrord(&[&arguments[..], &["json"]].concat()).await.success();
                let table = world.mirrord(&[&arguments[..], &["wide"]].concat()).await.success();
                let item = serde_json::from_str::<Value>(&document.stdout).unwrap()["items"][0].clone();
                for field in ["copy", "owner"] {
                    assert!(table.stdout.contains(item[field].as_str().unwrap()), "{item} {table:#?}");
                }
                item["copy"].as_str().unwrap().to_owned()
            }
        };
        let shop = world.api::<Deployment>();
        let change = |patch: Value| {
            let shop = shop.clone();
            async move { shop.patch("shop", &PatchParams::default(), &Patch::Merge(patch)).await.unwrap() }
        };
        assert_eq!(copy().await, "current");
        change(json!({"spec": {"replicas": 1}, "metadata": {"labels": {"team": "checkout"}}})).await;
        assert_eq!(copy().await, "current");
        change(json!({"spec": {"template": {"metadata": {"annotations": {"restarted": "now"}}}}})).await;
        assert_eq!(copy().await, "outdated");
        shop.delete("shop", &DeleteParams::default()).await.unwrap();
        assert_eq!(copy().await, "orphaned");
    })
    .await;
}

#[tokio::test]
#[ignore = "needs a cluster: tests/run"]
async fn environments_of_another_version_are_listed_extended_and_stopped() {
    with_shop("skew", |world| async move {
        let key = world.namespace.as_str();
        world.start("deployment/shop", key, &[]).await.success();
        // A later version writes more fields, and some of them in another form.
        let jobs: Api<Job> = world.api();
        let root = jobs.list(&ListParams::default()).await.unwrap().items.remove(0).name_any();
        let newer = json!({"metadata": {
            "labels": {"preview.mirrord.io/ttl": "a-while", "preview.mirrord.io/tier": "gold"},
            "annotations": {
                "preview.mirrord.io/target": "queue/orders", "preview.mirrord.io/clock": "{\"tick\":1}",
                "preview.mirrord.io/traffic": "{\"mode\":\"teleport\"}", "preview.mirrord.io/planned-at": "later",
            },
        }});
        jobs.patch(&root, &PatchParams::default(), &Patch::Merge(newer)).await.unwrap();
        for everywhere in [&["-n", key][..], &["-A"]] {
            let arguments = [&["preview", "status", "-k", key, "-o", "wide"], everywhere].concat();
            let table = world.mirrord(&arguments).await.success();
            assert!(table.stdout.contains("queue/orders") && table.stdout.contains("ready"), "{table:#?}");
        }
        world.mirrord(&["preview", "extend", "-n", key, "-k", key, "--ttl", "2h"]).await.success();
        let table = world.mirrord(&["preview", "status", "-n", key]).await.success();
        assert!(table.stdout.contains(" 1h 59m "), "{table:#?}");
        world.mirrord(&["preview", "stop", "-A", "-k", key]).await.success();
        assert!(jobs.list(&ListParams::default()).await.unwrap().items.is_empty());
    })
    .await;
}

#[tokio::test]
#[ignore = "needs a cluster: tests/run"]
async fn status_reads_whole_objects_only_if_a_row_is_unclear() {
    with_shop("glance", |world| async move {
        let asked = || async {
            let status = ["preview", "status", "-n", &world.namespace];
            let screen = world.mirrord_with(&[("MIRRORD_LOG", "info")], &status).await.success();
            let lines: Vec<String> =
                screen.stderr.lines().filter(|line| line.contains(": GET ")).map(str::to_owned).collect();
            (screen.stdout.clone(), lines)
        };
        assert_eq!(asked().await.1.len(), 3, "nothing there needs a closer look");
        world.start("deployment/shop", "pr-1", &["--ttl", "30m"]).await.success();
        let (table, calls) = asked().await;
        assert!(table.contains("ready") && table.contains(" 29m 5"), "{table}");
        assert_eq!(calls.len(), 3, "the version, roots, pods: {calls:#?}");

        // Another client shortens the deadline without updating the root's annotation.
        let jobs: Api<Job> = world.api();
        let root = jobs.list(&ListParams::default()).await.unwrap().items.remove(0).name_any();
        let shorter = Patch::Merge(json!({"spec": {"activeDeadlineSeconds": 600}}));
        jobs.patch(&root, &PatchParams::default(), &shorter).await.unwrap();
        let (table, calls) = asked().await;
        assert!(table.contains(" 9m "), "{table}");
        assert_eq!(calls.len(), 4, "{calls:#?}");
    })
    .await;
}

#[tokio::test]
#[ignore = "needs a cluster: tests/run"]
async fn stop_leaves_the_namespace_as_start_found_it() {
    with_shop("stop", |world| async move {
        let before = world.objects().await;
        // The key is stopped in every namespace below, so no other test may use it.
        let key = world.namespace.as_str();
        world.start("deployment/shop", key, &["--ttl", "5"]).await.success();
        assert_ne!(world.objects().await, before);
        // The public Action stops by key alone, in any namespace.
        let stopped = world.mirrord(&["preview", "stop", "--key", key]).await;
        let stopped = stopped.success();
        assert!(
            stopped
                .stderr
                .contains(&format!("removed: {key} on deployment/shop in namespace {}", world.namespace)),
            "{stopped:#?}"
        );
        assert_eq!(world.objects().await, before);
        world
            .mirrord(&["preview", "stop", "--key", key, "-n", &world.namespace])
            .await
            .failure(3, &[format!("there is no environment with key `{key}`").as_str()]);
        world
            .mirrord(&["preview", "stop", "--key", key, "-n", &world.namespace, "--ignore-not-found"])
            .await
            .success();
    })
    .await;
}

#[tokio::test]
#[ignore = "needs a cluster: tests/run"]
async fn one_key_holds_two_targets_and_stop_can_take_one_of_them() {
    with_shop("targets", |world| async move {
        world.deploy("cart", &json!({"spec": {"replicas": 1}})).await;
        for target in ["deployment/shop", "deployment/cart"] {
            world.start(target, "feat/login", &["--ttl", "5"]).await.success();
        }
        let rows = |text: &str| text.lines().filter(|line| line.starts_with("feat/login")).count();
        let status = world.mirrord(&["preview", "status", "-n", &world.namespace]).await.success();
        assert_eq!(rows(&status.stdout), 2, "{status:#?}");
        world
            .mirrord(&[
                "preview",
                "stop",
                "-k",
                "feat/login",
                "-t",
                "deployment/cart",
                "-n",
                &world.namespace,
            ])
            .await
            .success();
        let status =
            world.mirrord(&["preview", "status", "-k", "feat/login", "-n", &world.namespace]).await.success();
        assert_eq!(rows(&status.stdout), 1, "{status:#?}");
        assert!(status.stdout.contains("deployment/shop"), "{status:#?}");
        world.mirrord(&["preview", "stop", "--glob", "feat*", "-n", &world.namespace]).await.success();
        assert!(world.preview_pods("").await.is_empty());
    })
    .await;
}

#[tokio::test]
#[ignore = "needs a cluster: tests/run"]
async fn a_second_start_replaces_and_the_new_pods_are_ready_before_the_old_go() {
    with_shop("replace", |world| async move {
        let first = world.start("deployment/shop", "pr-1", &["--ttl", "5"]).await.success();
        let pods: Api<Pod> = world.api();
        let (first_name, second) = (
            first.info("pod"),
            world.starting("deployment/shop", "mirrord-test/shop:preview", &["-k", "pr-1"]),
        );
        let second = tokio::spawn(screen(second));
        // At any time there is a pod whose containers are ready.
        while !second.is_finished() {
            let list = pods.list(&ListParams::default().labels("preview.mirrord.io/key=pr-1")).await.unwrap();
            let ready = list.items.iter().filter(|pod| {
                let status = json!(pod.status);
                pod.metadata.deletion_timestamp.is_none()
                    && status["conditions"].as_array().is_some_and(|conditions| {
                        conditions.iter().any(|condition| {
                            condition["type"] == "ContainersReady" && condition["status"] == "True"
                        })
                    })
            });
            assert!(ready.count() >= 1, "a moment without a ready preview pod");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let second = second.await.unwrap().success();
        assert_ne!(second.info("pod"), first_name);
        let left: Vec<String> =
            world.preview_pods("").await.iter().map(kube::ResourceExt::name_any).collect();
        assert_eq!(left, [second.info("pod")]);
        assert_eq!(world.api::<Job>().list(&ListParams::default()).await.unwrap().items.len(), 1);
    })
    .await;
}

#[tokio::test]
#[ignore = "needs a cluster: tests/run"]
async fn an_interrupted_start_leaves_nothing() {
    with_shop("interrupt", |world| async move {
        let before = world.objects().await;
        for (signal, mode) in [("-INT", "off"), ("-TERM", "off"), ("-INT", "steal"), ("-TERM", "mirror")] {
            // It never becomes ready by itself: the image is the target's, and
            // its start is slower than this test.
            let words = [
                "preview",
                "start",
                "-n",
                &world.namespace,
                "-t",
                "deployment/shop",
                "-i",
                "mirrord-test/shop:slow",
                "-k",
                "pr-1",
            ];
            let mut child = world.spawn(&[("MIRRORD_AGENT_TCP_STEAL_TRAFFIC", mode)], &words);
            let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
            while let Some(line) = lines.next_line().await.unwrap() {
                if line.contains("waiting for preview to be ready") {
                    break;
                }
            }
            kill(&child, signal).await;
            let mut rest = String::new();
            while let Some(line) = lines.next_line().await.unwrap() {
                rest.push_str(&line);
            }
            let status = child.wait().await.unwrap();
            assert_eq!(status.code(), Some(130), "{rest}");
            assert!(rest.contains("interrupted"), "{rest}");
            assert_eq!(world.objects().await, before);
        }
    })
    .await;
}

#[tokio::test]
#[ignore = "needs a cluster: tests/run"]
async fn a_start_killed_outright_is_removed_by_its_own_deadline() {
    with_shop("killed", |world| async move {
        let before = world.objects().await;
        let mut child = world.starting(
            "deployment/shop",
            "mirrord-test/shop:slow",
            &["-k", "pr-1", "--ttl", "3s", "--timeout", "7s"],
        );
        let jobs: Api<Job> = world.api();
        until("the root", || async { jobs.list(&ListParams::default()).await.unwrap().items.pop() }).await;
        child.kill().await.unwrap();
        until("an empty list", || async { (world.objects().await == before).then_some(()) }).await;
    })
    .await;
}

#[tokio::test]
#[ignore = "needs a cluster: tests/run"]
async fn json_mode_with_both_streams_merged_yields_the_key() {
    with_shop("json", |world| async move {
        let file = world.folder.path().join("mirrord.json");
        // As the public Action writes it, extra configuration included.
        let config = json!({
            "target": {"path": "deployment/shop", "namespace": world.namespace},
            "feature": {
                "network": {"incoming": {"mode": "off", "http_filter": {"header_filter": "baggage: .*mirrord-session={{ key }}.*"}}},
                "preview": {"image": "mirrord-test/shop:preview", "ttl_mins": 5},
            },
        });
        tokio::fs::write(&file, config.to_string()).await.unwrap();
        let json = [("MIRRORD_PROGRESS_MODE", "json")];
        // One pipe for both streams, like `$(mirrord … 2>&1)`.
        let script = format!("exec {} preview start -f {} --force 2>&1", env!("CARGO_BIN_EXE_mirrord"), file.display());
        let started = tokio::process::Command::new("sh")
            .args(["-c", &script])
            .env_clear()
            .env("KUBECONFIG", &world.kubeconfig)
            .envs(json)
            .output()
            .await
            .unwrap();
        let merged = String::from_utf8(started.stdout).unwrap();
        assert!(started.status.success() && started.stderr.is_empty(), "{merged}");
        let lines: Vec<Value> = merged.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let names: Vec<&str> = lines.iter().filter(|line| line["type"] == "NewTask").map(|line| line["name"].as_str().unwrap()).collect();
        let at = names.iter().position(|name| name.starts_with("key: ")).unwrap();
        assert!(names[at + 1].starts_with("namespace: ") && names[at + 2].starts_with("pod: preview-session-deployment-shop-"), "{names:?}");
        let key = names[at].strip_prefix("key: ").unwrap();
        assert!(key.len() == 5 && key.bytes().all(|byte| byte.is_ascii_hexdigit()), "{key}");
        let stopped = world.mirrord_with(&json, &["preview", "stop", "--key", key]).await.success();
        for line in format!("{}{}", stopped.stdout, stopped.stderr).lines() {
            serde_json::from_str::<Value>(line).unwrap();
        }
        let again = world.mirrord_with(&json, &["preview", "stop", "--key", key]).await;
        assert_eq!(again.code, Some(3));
        let last: Value = serde_json::from_str(again.stdout.lines().last().unwrap()).unwrap();
        assert_eq!((&last["type"], &last["success"]), (&json!("FinishedTask"), &json!(false)));
    })
    .await;
}

#[tokio::test]
#[ignore = "needs a cluster: tests/run"]
async fn any_printable_key_names_an_environment() {
    with_shop("keys", |world| async move {
        let long = "x".repeat(100);
        for key in ["feat/login", &long, "выпуск 1 🦀", "-dash", "quo'te\"s"] {
            let key_flag = format!("--key={key}");
            let started =
                world.start_image("mirrord-test/shop:preview", &[&key_flag, "--ttl", "5"]).await.success();
            assert_eq!(started.info("key"), key);
            let pod: Pod = world.api().get(&started.info("pod")).await.unwrap();
            assert_eq!(pod.annotations()["preview.mirrord.io/key"], key);
            let status = world
                .mirrord(&["preview", "status", &key_flag, "-n", &world.namespace, "-o", "json"])
                .await
                .success();
            let status: Value = serde_json::from_str(&status.stdout).unwrap();
            assert_eq!(status["items"][0]["key"], key);
            world.mirrord(&["preview", "stop", &key_flag, "-n", &world.namespace]).await.success();
        }
        assert!(world.preview_pods("").await.is_empty());
    })
    .await;
}

#[tokio::test]
#[ignore = "needs a cluster: tests/run"]
async fn several_replicas_are_all_waited_for_and_shown() {
    with_shop("replicas", |world| async move {
        let started = world
            .mirrord_with(
                &[("MIRRORD_PREVIEW_REPLICAS", "3")],
                &[
                    "preview",
                    "start",
                    "-n",
                    &world.namespace,
                    "-t",
                    "deployment/shop",
                    "-i",
                    "mirrord-test/shop:preview",
                    "-k",
                    "pr-1",
                ],
            )
            .await
            .success();
        assert_eq!(started.stderr.matches("    * pod: ").count(), 3);
        let status = world.mirrord(&["preview", "status", "-n", &world.namespace]).await.success();
        assert!(status.stdout.contains(" 3/3 "), "{status:#?}");
    })
    .await;
}

#[tokio::test]
#[ignore = "needs a cluster: tests/run"]
async fn without_waiting_the_time_to_live_counts_from_creation() {
    with_shop("no-wait", |world| async move {
        let started = world.start("deployment/shop", "pr-1", &["--no-wait", "--ttl", "100s"]).await.success();
        let expires = started.info("expires");
        // The API server counts whole seconds, and the command itself takes some.
        assert!(expires.contains("(in 1m 3") || expires.ends_with("(in 1m 40s)"), "{started:#?}");
        until("the preview pod", || async {
            let pods = world.preview_pods("").await;
            pods.first()?.name_any().starts_with(&started.info("pod")).then_some(())
        })
        .await;
        // The second start may still fail, so the first environment serves until it is ready.
        let again = ["--no-wait", "--ttl", "100s", "--timeout", "20"];
        let again = world.start("deployment/shop", "pr-1", &again).await.success();
        assert!(
            again.stderr.contains("serves until the pods that replace it are ready, and ends within 20s"),
            "{again:#?}"
        );
        let left = || async {
            let status = ["preview", "status", "-k", "pr-1", "-n", &world.namespace, "-o", "json"];
            let status: Value = serde_json::from_str(&world.mirrord(&status).await.success().stdout).unwrap();
            let items = status["items"].as_array().unwrap().clone();
            items.iter().map(|item| item["leftSeconds"].as_u64().unwrap()).collect::<Vec<_>>()
        };
        let both = left().await;
        assert_eq!(both.len(), 2);
        assert!(both.iter().min().unwrap() <= &20 && both.iter().max().unwrap() > &80, "{both:?}");
        // A replaced environment cannot be extended.
        let extend = ["preview", "extend", "-k", "pr-1", "-n", &world.namespace, "--ttl", "1h"];
        let extended = world.mirrord(&extend).await.success();
        assert_eq!(extended.stderr.matches("expires: ").count(), 1, "{extended:#?}");
        let both = left().await;
        assert!(both.iter().min().unwrap() <= &20 && both.iter().max().unwrap() > &3500, "{both:?}");
        until("the one that was replaced is gone", || async { (left().await.len() == 1).then_some(()) })
            .await;
    })
    .await;
}

#[tokio::test]
#[ignore = "needs a cluster: tests/run"]
async fn extend_changes_the_remaining_lifetime_without_a_restart() {
    with_shop("extend", |world| async move {
        let started = world.start("deployment/shop", "pr-1", &["--ttl", "2m"]).await.success();
        let uid = world.api::<Pod>().get(&started.info("pod")).await.unwrap().uid();
        let extend = |ttl: &'static str| {
            let world = world.clone();
            async move {
                let arguments = ["preview", "extend", "-k", "pr-1", "-n", &world.namespace, "--ttl", ttl];
                world.mirrord(&arguments).await.success()
            }
        };
        let left = || {
            let world = world.clone();
            async move {
                let arguments = ["preview", "status", "-k", "pr-1", "-n", &world.namespace, "-o", "json"];
                let status = world.mirrord(&arguments).await.success();
                let status: Value = serde_json::from_str(&status.stdout).unwrap();
                status["items"][0]["leftSeconds"].as_u64()
            }
        };
        extend("2h").await;
        assert!((7190..=7200).contains(&left().await.unwrap()), "{:?}", left().await);
        extend("infinite").await;
        assert_eq!(left().await, None);
        let pod: Pod = world.api().get(&started.info("pod")).await.unwrap();
        assert_eq!((pod.uid(), pod.labels()["preview.mirrord.io/ttl"].as_str()), (uid, "infinite"));
        extend("3s").await;
        until("its end", || async { world.preview_pods("").await.is_empty().then_some(()) }).await;
        let arguments = ["preview", "extend", "-k", "pr-1", "-n", &world.namespace, "--ttl", "1h"];
        world
            .mirrord(&arguments)
            .await
            .failure(3, &["could not extend the environment", "there is no environment with key `pr-1`"]);
    })
    .await;
}

#[tokio::test]
#[ignore = "needs a cluster: tests/run"]
async fn status_shows_each_change_while_it_watches() {
    with_shop("watch", |world| async move {
        let arguments = ["preview", "status", "-w", "-k", "pr-1", "-n", &world.namespace];
        let mut watching = world.spawn(&[], &arguments);
        let mut lines = BufReader::new(watching.stdout.take().unwrap()).lines();
        // Reported before there is an environment, and again when it is gone.
        let mut notes = BufReader::new(watching.stderr.take().unwrap()).lines();
        nothing(&mut notes).await;
        world.start("deployment/shop", "pr-1", &["--ttl", "5"]).await.success();
        row_with(&mut lines, " ready ").await;
        world.mirrord(&["preview", "stop", "-k", "pr-1", "-n", &world.namespace]).await.success();
        nothing(&mut notes).await;
        watching.kill().await.unwrap();
    })
    .await;
}

/// Reads up to the environment's row that holds `word`.
async fn row_with(lines: &mut tokio::io::Lines<BufReader<tokio::process::ChildStdout>>, word: &str) {
    let mut before = Vec::new();
    while let Some(line) = lines.next_line().await.unwrap() {
        if line.starts_with("pr-1 ") && line.contains(word) {
            return;
        }
        before.push(line);
    }
    panic!("no {word:?} in {before:#?}");
}

async fn nothing(notes: &mut tokio::io::Lines<BufReader<tokio::process::ChildStderr>>) {
    let note = tokio::time::timeout(crate::support::SOON, notes.next_line()).await.unwrap().unwrap().unwrap();
    assert!(note.starts_with("there is no environment with key `pr-1`"), "{note}");
}
