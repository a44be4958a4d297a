//! The test application: an HTTP service that says who it is, what it received,
//! its environment and its mounted files.
//!
//! `GET /` answers one line, `NAME VERSION on POD`. `GET /echo` answers JSON:
//! `{name, version, pod, method, path, headers, body, environment}`; `GET
//! /file/PATH` the bytes of a file, 404 where there is none. The version is what
//! the image's file `/version` says: stable or preview differ by image alone.
//!
//! Two versions misbehave: `crash` prints its last words and exits with 1,
//! `slow` never listens.
#![expect(
    clippy::print_stderr,
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test application, not the product: its log is stderr, its answer to trouble a crash"
)]

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::env;
use std::net::SocketAddr;
use std::process::ExitCode;

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

fn version() -> String {
    let version = std::fs::read_to_string("/version").unwrap_or_else(|_| "unversioned".to_owned());
    version.trim().to_owned()
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match version().as_str() {
        "crash" => {
            eprintln!("cannot reach the warehouse: connection refused");
            return ExitCode::FAILURE;
        }
        "slow" => std::future::pending().await,
        _ => {}
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
    let version = version();
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
