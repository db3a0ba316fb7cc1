//! A service on a loopback socket, served by hyper: HTTP/1.1 and HTTP/2 on one port, upgrades included. Each request
//! has its [`Connection`] among its extensions.

use std::{error::Error, net::SocketAddr};

use http::{Request, Response};
use http_body::Body;
use hyper::body::Incoming;
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
    service::TowerToHyperService,
};
use steeple_core::connection::{Connection, ObservedIo};
use tokio::{
    net::TcpListener,
    task::{JoinHandle, JoinSet},
};
use tower::{Service, ServiceExt};

/// A server on a free port of 127.0.0.1. Dropping it closes the port and every connection.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    task: JoinHandle<()>,
}

impl Server {
    /// Serves until dropped.
    pub async fn start<S, B>(service: S) -> Self
    where
        S: Service<Request<Incoming>, Response = Response<B>> + Clone + Send + 'static,
        S::Future: Send,
        S::Error: Into<Box<dyn Error + Send + Sync>>,
        B: Body + Send + 'static,
        B::Data: Send,
        B::Error: Into<Box<dyn Error + Send + Sync>>,
    {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a free port");
        let address = listener.local_addr().expect("a bound socket has an address");
        let task = tokio::spawn(async move {
            // Dropped with this task, and every connection with it.
            let mut connections = JoinSet::new();
            loop {
                let (stream, peer) = listener.accept().await.expect("accepting goes on");
                let connection = Connection::new(Some(peer.into()));
                let stream = TokioIo::new(ObservedIo::new(stream, connection.clone()));
                let service = service.clone().map_request(move |mut request: Request<Incoming>| {
                    request.extensions_mut().insert(connection.clone());
                    request
                });
                let service = TowerToHyperService::new(service);
                connections.spawn(async move {
                    let server = auto::Builder::new(TokioExecutor::new());
                    // An error is a client that went away or a service that failed: what the tests are about.
                    let _how_it_ended = server.serve_connection_with_upgrades(stream, service).await;
                });
                while connections.try_join_next().is_some() {}
            }
        });
        Self { address, task }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}
