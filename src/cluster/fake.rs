//! A cluster for unit tests: its API server is a function, or a list of answers.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, OnceLock};

use http_body_util::BodyExt as _;
use jiff::SignedDuration;
use kube::Client;
use kube::client::Body;
use serde_json::{Value, json};

use super::{Cluster, LongLived};

/// One request that was made.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) method: String,
    /// The path, without the query.
    pub(crate) path: String,
    pub(crate) body: Value,
}

/// One answer.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    code: u16,
    body: Value,
}

/// Answers a request; `None` breaks the connection.
type Answering = dyn Fn(&Asked) -> Option<Answer> + Send + Sync;

/// The API server.
#[derive(Clone)]
pub(crate) struct FakeApi {
    answering: Arc<Answering>,
    asked: Arc<Mutex<Vec<Asked>>>,
}

// === impl Answer ===

impl Answer {
    /// An object, or a list.
    pub(crate) fn of(body: Value) -> Self {
        Self { code: 200, body }
    }

    /// A refusal, as the API server words them.
    pub(crate) fn refusal(code: u16, message: &str) -> Self {
        let reason = match code {
            401 => "Unauthorized",
            403 => "Forbidden",
            404 => "NotFound",
            409 => "Conflict",
            _ => "InternalError",
        };
        let body = json!({
            "apiVersion": "v1", "kind": "Status", "status": "Failure", "code": code, "reason": reason, "message": message,
        });
        Self { code, body }
    }
}

// === impl FakeApi ===

impl FakeApi {
    /// Gives these answers, in order; then connections break.
    pub(crate) fn new(answers: impl IntoIterator<Item = Answer>) -> Self {
        let answers: Mutex<VecDeque<Answer>> = Mutex::new(answers.into_iter().collect());
        Self::by(move |_| answers.lock().unwrap().pop_front())
    }

    /// Answers each request by itself.
    pub(crate) fn by(answering: impl Fn(&Asked) -> Option<Answer> + Send + Sync + 'static) -> Self {
        Self { answering: Arc::new(answering), asked: Arc::default() }
    }

    /// A cluster whose API server this is.
    pub(crate) fn cluster(&self) -> Cluster {
        let api = self.clone();
        let service = tower::service_fn(move |request| api.clone().answer(request));
        let config = kube::Config::new("http://cluster.test".parse().unwrap());
        let client = Client::new(service, "default");
        Cluster {
            client: client.clone(),
            default_namespace: "default".to_owned(),
            long_lived: Arc::new(LongLived { config, client: OnceLock::from(client) }),
            ahead: SignedDuration::ZERO,
        }
    }

    /// The requests that were made so far.
    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }

    async fn answer(self, request: http::Request<Body>) -> Result<http::Response<Body>, std::io::Error> {
        let (head, body) = request.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        let asked = Asked {
            method: head.method.to_string(),
            path: head.uri.path().to_owned(),
            body: serde_json::from_slice(&body).unwrap_or_default(),
        };
        self.asked.lock().unwrap().push(asked.clone());
        let Some(Answer { code, body }) = (self.answering)(&asked) else {
            return Err(std::io::Error::other("the API server is gone"));
        };
        Ok(http::Response::builder().status(code).body(Body::from(body.to_string().into_bytes())).unwrap())
    }
}
