//! The test application: an HTTP service that says who it is, what it received,
//! its environment and its mounted files.
//!
//! `GET /` answers one line, `NAME VERSION on POD`. `GET /echo` answers JSON:
//! `{name, version, pod, method, path, headers, body, environment}`; `GET
//! /file/PATH` the bytes of a file, 404 where there is none. The version is what
//! the image's file `/version` says: stable or preview differ by image alone.
//!
//! How it misbehaves, for tests, is in its environment too: `SHOP_CRASH` makes
//! it print the value and exit 1 at start, `SHOP_START_AFTER` (seconds) delays
//! listening.
#![expect(
    clippy::print_stderr,
    clippy::unwrap_used,
    clippy::disallowed_methods,
    missing_docs,
    reason = "a test application, not the product: its log is stderr, its answer to trouble a crash"
)]

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::env;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::json;
use tokio::net::TcpListener;

fn variable(name: &str, default: &str) -> String {
    env::var(name).unwrap_or_else(|_| default.to_owned())
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    if let Ok(last_words) = env::var("SHOP_CRASH") {
        eprintln!("{last_words}");
        return ExitCode::FAILURE;
    }
    if let Ok(seconds) = variable("SHOP_START_AFTER", "0").parse() {
        tokio::time::sleep(Duration::from_secs(seconds)).await;
    }
    let address: SocketAddr = variable("SHOP_LISTEN", "0.0.0.0:8080").parse().unwrap();
    let listener = TcpListener::bind(address).await.unwrap();
    eprintln!("{} listens on {address}", variable("SHOP_NAME", "shop"));
    let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()).unwrap();
    loop {
        let stream = tokio::select! {
            accepted = listener.accept() => accepted.unwrap().0,
            _ = terminate.recv() => return ExitCode::SUCCESS,
        };
        tokio::spawn(async move {
            let served = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service_fn(answer))
                .await;
            if let Err(error) = served {
                eprintln!("connection: {error}");
            }
        });
    }
}

async fn answer(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let (name, pod) = (variable("SHOP_NAME", "shop"), variable("HOSTNAME", "?"));
    let version = std::fs::read_to_string("/version").unwrap_or_else(|_| "unversioned".to_owned());
    let version = version.trim();
    let (head, body) = request.into_parts();
    let body = body.collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
    let path = head.uri.path();
    let response = if let Some(file) = path.strip_prefix("/file") {
        match std::fs::read(file) {
            Ok(content) => Response::new(Full::from(content)),
            Err(error) => Response::builder().status(404).body(Full::from(format!("{error}\n"))).unwrap(),
        }
    } else if path == "/echo" {
        let headers: Vec<(String, String)> = head
            .headers
            .iter()
            .map(|(name, value)| (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned()))
            .collect();
        let environment: BTreeMap<String, String> = env::vars().collect();
        let echo = json!({
            "name": name, "version": version, "pod": pod,
            "method": head.method.as_str(), "path": head.uri.to_string(),
            "headers": headers, "body": String::from_utf8_lossy(&body), "environment": environment,
        });
        Response::new(Full::from(format!("{echo}\n")))
    } else {
        Response::new(Full::from(format!("{name} {version} on {pod}\n")))
    };
    Ok(response)
}
