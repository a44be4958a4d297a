//! A registry with one image, whose layer takes its time.

use std::net::SocketAddr;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tokio::net::TcpListener;

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

/// The image: a manifest, a configuration and an empty layer.
struct Image {
    manifest: Bytes,
    config: Bytes,
    layer: Bytes,
}

/// Serves an image under any name, its layer after `delay`.
pub(crate) async fn slow(delay: Duration) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    // Else the node would have the layer from the last time.
    let nonce = uuid::Uuid::new_v4();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let answer = service_fn(move |request| answer(request, nonce, delay));
            tokio::spawn(
                hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), answer),
            );
        }
    });
    address
}

async fn answer(
    request: Request<Incoming>,
    nonce: uuid::Uuid,
    delay: Duration,
) -> http::Result<Response<Full<Bytes>>> {
    let image = image(nonce);
    let path = request.uri().path();
    let (kind, body) = if path.contains("/manifests/") {
        (MANIFEST, image.manifest.clone())
    } else if path.ends_with(&digest(&image.layer)) {
        tokio::time::sleep(delay).await;
        ("application/octet-stream", image.layer)
    } else {
        ("application/octet-stream", image.config)
    };
    let response = Response::builder().header("content-type", kind).header("content-length", body.len());
    response.header("docker-content-digest", digest(&image.manifest)).body(Full::new(body))
}

fn image(nonce: uuid::Uuid) -> Image {
    // An empty tar archive is two empty blocks; what comes behind them is not read.
    let mut layer = vec![0; 1024];
    layer.extend(nonce.as_bytes().repeat(32));
    let layer = Bytes::from(layer);
    let config = text(&json!({
        "architecture": "amd64", "os": "linux", "config": {"Entrypoint": ["/none"]},
        "rootfs": {"type": "layers", "diff_ids": [digest(&layer)]},
    }));
    let part = |kind: &str, bytes: &Bytes| json!({"mediaType": format!("application/vnd.oci.image.{kind}"), "size": bytes.len(), "digest": digest(bytes)});
    let manifest = text(&json!({
        "schemaVersion": 2, "mediaType": MANIFEST,
        "config": part("config.v1+json", &config), "layers": [part("layer.v1.tar", &layer)],
    }));
    Image { manifest, config, layer }
}

fn text(value: &Value) -> Bytes {
    value.to_string().into()
}

fn digest(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().fold("sha256:".to_owned(), |text, byte| text + &format!("{byte:02x}"))
}
