//! The examples' task board on a loopback socket, watched through the facade as its program has it.

use std::{net::SocketAddr, path::Path};

use axum::Router;
use bytes::Bytes;
use http::Method;
use http_body_util::BodyExt;
use serde_json::{Value, json};
use steeple::{Steeple, SteepleBuilder};
use steeple_examples::taskboard::{App, proto::task_board_client::TaskBoardClient, router, watch};
use tokio::{net::TcpListener, task::JoinHandle};
use tonic::transport::Channel;

use crate::{
    client::{Client, Protocol, full},
    grpc::channel,
};

/// A task board that serves until it is told to stop.
#[derive(Debug)]
pub struct Board {
    address: SocketAddr,
    app: App,
    steeple: Steeple,
    serving: JoinHandle<std::io::Result<()>>,
}

impl Board {
    /// Serves, watched with these options.
    pub fn start(options: SteepleBuilder) -> impl Future<Output = Self> {
        Self::start_with(options, |_, router| router)
    }

    /// The same, with more routes.
    pub fn start_with(
        options: SteepleBuilder,
        more: impl FnOnce(&Steeple, Router) -> Router,
    ) -> impl Future<Output = Self> {
        // All options together are too large for the stack of each test.
        Box::pin(Self::start_app(App::open(None).unwrap(), options, more))
    }

    /// Serves the tasks in this database.
    pub fn start_on(database: &Path, options: SteepleBuilder) -> impl Future<Output = Self> {
        Box::pin(Self::start_app(App::open(Some(database)).unwrap(), options, |_, router| router))
    }

    async fn start_app(app: App, options: SteepleBuilder, more: impl FnOnce(&Steeple, Router) -> Router) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a free port");
        let address = listener.local_addr().expect("a bound socket has an address");
        let steeple = watch(&app, options).build().unwrap();
        let router = more(&steeple, router(app.clone())).merge(steeple.routes()).layer(steeple.layer());
        let (stop, server) = (app.shutdown().clone(), steeple.clone());
        let serving =
            tokio::spawn(async move { server.serve_until(listener, router, async move { stop.begun().await }).await });
        Self { address, app, steeple, serving }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What watches it.
    pub fn steeple(&self) -> &Steeple {
        &self.steeple
    }

    /// Asks on a new connection and reads to the end. `None`: the connection broke first.
    pub async fn ask(&self, method: Method, path: &str, token: &str, body: Value) -> Option<(u16, Bytes)> {
        let mut client = Client::connect(Protocol::Http1, self.address).await;
        let mut request = client.request(method, path).header("content-type", "application/json");
        if !token.is_empty() {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let response = client.send(request.body(full(body)).unwrap()).await.ok()?;
        let status = response.status().as_u16();
        Some((status, response.into_body().collect().await.ok()?.to_bytes()))
    }

    /// Gets this path as the user whose cookie this is.
    pub async fn get(&self, path: &str, token: &str) -> Option<(u16, Bytes)> {
        self.ask(Method::GET, path, token, Value::Null).await
    }

    async fn made(&self, path: &str, token: &str, body: Value) -> Value {
        let (status, body) = self.ask(Method::POST, path, token, body).await.expect("an answer");
        assert_eq!(status, 201, "{path}: {body:?}");
        serde_json::from_slice(&body).unwrap()
    }

    /// Makes a user with a session: the user's id and the token.
    pub async fn sign_in(&self) -> (String, String) {
        let user = self.made("/api/users", "", json!({ "email": "ada@example.com", "name": "Ada", "source": "web" }));
        let id = user.await["id"].to_string();
        let session = json!({ "email": "ada@example.com", "method": "password" });
        let session = self.made("/api/sessions", "", session).await;
        (id, session["token"].as_str().unwrap().to_owned())
    }

    /// Makes a project with one task: both have the number 1.
    pub async fn task(&self, token: &str) {
        self.made("/api/projects", token, json!({ "name": "Steeple", "type": "team" })).await;
        self.made("/api/projects/1/tasks", token, json!({ "title": "Ring the bell" })).await;
    }

    /// A gRPC client.
    pub fn grpc(&self) -> TaskBoardClient<Channel> {
        TaskBoardClient::new(channel(self.address))
    }

    /// Ends it as a signal would: it answers what it has begun, then sends and writes all that it knows.
    pub async fn stop(self) {
        self.app.shutdown().begin();
        self.serving.await.unwrap().unwrap();
    }
}

/// A call with a session.
pub fn with_session<T>(message: T, token: &str) -> tonic::Request<T> {
    let mut request = tonic::Request::new(message);
    request.metadata_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
    request
}
