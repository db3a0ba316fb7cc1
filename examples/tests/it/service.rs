//! A task board on a free port, and a client for it.

use std::{net::SocketAddr, path::Path};

use axum::{Router, body::Body};
use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper_util::{
    client::legacy::{self, connect::HttpConnector},
    rt::TokioExecutor,
};
use serde_json::{Value, json};
use steeple::Steeple;
use steeple_examples::taskboard::{App, proto::task_board_client::TaskBoardClient, router, watch};
use tokio::{net::TcpListener, task::JoinHandle};

pub(crate) type HttpClient = legacy::Client<HttpConnector, Body>;

pub(crate) struct Service {
    pub(crate) address: SocketAddr,
    pub(crate) app: App,
    pub(crate) http1: HttpClient,
    pub(crate) http2: HttpClient,
    serving: JoinHandle<std::io::Result<()>>,
}

impl Service {
    pub(crate) async fn start() -> Self {
        Self::start_with(None, |router| router).await
    }

    pub(crate) async fn start_with(db: Option<&Path>, layers: impl FnOnce(Router) -> Router) -> Self {
        let app = App::open(db).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let steeple = watch(&app, Steeple::builder().without_log_setup()).build().unwrap();
        let router = layers(router(app.clone()).merge(steeple.routes())).layer(steeple.layer());
        let stop = app.shutdown().clone();
        let serving =
            tokio::spawn(async move { steeple.serve_until(listener, router, async move { stop.begun().await }).await });
        let http1 = legacy::Client::builder(TokioExecutor::new()).build(HttpConnector::new());
        let http2 = legacy::Client::builder(TokioExecutor::new()).http2_only(true).build(HttpConnector::new());
        Self { address, app, http1, http2, serving }
    }

    pub(crate) async fn stop(self) {
        self.app.shutdown().begin();
        self.serving.await.unwrap().unwrap();
    }

    pub(crate) fn request(&self, method: &str, path: &str) -> Request<Body> {
        let uri = format!("http://{}{path}", self.address);
        Request::builder().method(Method::from_bytes(method.as_bytes()).unwrap()).uri(uri).body(Body::empty()).unwrap()
    }

    pub(crate) async fn get(&self, path: &str) -> Response<Incoming> {
        self.http1.request(self.request("GET", path)).await.unwrap()
    }

    /// Status and JSON body, with a body when there is one to send.
    pub(crate) async fn json(
        &self,
        client: &HttpClient,
        method: &str,
        path: &str,
        token: Option<&str>,
        body: Option<Value>,
    ) -> (StatusCode, Value) {
        let mut request = self.request(method, path);
        if let Some(token) = token {
            request.headers_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
        }
        if let Some(body) = body {
            request.headers_mut().insert("content-type", "application/json".parse().unwrap());
            *request.body_mut() = Body::from(body.to_string());
        }
        let response = client.request(request).await.unwrap();
        (response.status(), serde_json::from_slice(&read(response).await).unwrap())
    }

    pub(crate) async fn post(&self, path: &str, token: Option<&str>, body: Value) -> (StatusCode, Value) {
        self.json(&self.http1, "POST", path, token, Some(body)).await
    }

    /// A user with a session: their token.
    pub(crate) async fn sign_in(&self, email: &str) -> String {
        let (status, _) =
            self.post("/api/users", None, json!({ "email": email, "name": "Ada", "source": "web" })).await;
        assert_eq!(status, 201);
        let (status, session) = self.post("/api/sessions", None, json!({ "email": email, "method": "password" })).await;
        assert_eq!(status, 201);
        session["token"].as_str().unwrap().to_owned()
    }

    /// A project with so many tasks, and a token to change it.
    pub(crate) async fn project(&self, tasks: usize) -> (i64, String) {
        let token = self.sign_in("ada@example.com").await;
        let (status, project) =
            self.post("/api/projects", Some(&token), json!({ "name": "Steeple", "type": "team" })).await;
        assert_eq!(status, 201);
        let id = project["id"].as_i64().unwrap();
        for number in 1..=tasks {
            let path = format!("/api/projects/{id}/tasks");
            let (status, _) = self.post(&path, Some(&token), json!({ "title": format!("Task {number}") })).await;
            assert_eq!(status, 201);
        }
        (id, token)
    }

    pub(crate) fn grpc(&self) -> TaskBoardClient<legacy::Client<HttpConnector, tonic::body::Body>> {
        let client = legacy::Client::builder(TokioExecutor::new()).http2_only(true).build(HttpConnector::new());
        TaskBoardClient::with_origin(client, format!("http://{}", self.address).parse().unwrap())
    }
}

pub(crate) async fn read(response: Response<Incoming>) -> Bytes {
    response.into_body().collect().await.unwrap().to_bytes()
}

pub(crate) async fn text(response: Response<Incoming>) -> String {
    String::from_utf8(read(response).await.to_vec()).unwrap()
}
