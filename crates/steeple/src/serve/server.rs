use std::{convert::Infallible, net::SocketAddr, time::Duration};

use axum::{
    Router,
    extract::{ConnectInfo, Request},
    serve::Listener,
};
use hyper::{body::Incoming, rt::Executor, service::service_fn};
use hyper_util::{rt::TokioIo, server::conn::auto};
use steeple_core::{connection::ObservedIo, count_request_body};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::mpsc,
    task::JoinSet,
    time::timeout,
};
use tower_service::Service;

use super::{ObservedListener, Shutdown};

/// How long what is cut off may take to notice: no time at all, unless it blocks its thread.
const CUT_OFF: Duration = Duration::from_secs(1);

/// The connections of one listener. `axum::serve` would do, but for the end: it lets nobody end what it has begun, and
/// what still goes on when the last line is written has none.
pub(super) struct Server {
    app: Router,
    shutdown: Shutdown,
    connections: JoinSet<()>,
    streams: Streams,
    streams_ended: mpsc::Receiver<Infallible>,
}

impl Server {
    pub(super) fn new(app: Router, shutdown: Shutdown) -> Self {
        let (streams, streams_ended) = mpsc::channel(1);
        // Every handler is made into a route once, here, and not at every request.
        let app = app.with_state(());
        Self { app, shutdown, connections: JoinSet::new(), streams: Streams(streams), streams_ended }
    }

    /// Accepts connections until it is dropped, and the listener with it.
    pub(super) async fn accept(&mut self, listener: TcpListener) -> Infallible {
        let mut listener = ObservedListener::new(listener);
        loop {
            tokio::select! {
                (io, peer) = listener.accept() => self.connect(io, peer),
                // One after the other, so that none is kept longer than it lasts.
                Some(_ended) = self.connections.join_next() => (),
            }
        }
    }

    fn connect(&mut self, io: ObservedIo<TcpStream>, peer: SocketAddr) {
        // A frame of a stream is not kept back until the client has acknowledged the one before it (40 ms).
        let _slower = io.get_ref().set_nodelay(true);
        let connection = io.connection().clone();
        let app = self.app.clone();
        let service = service_fn(move |mut request: Request<Incoming>| {
            request.extensions_mut().insert(ConnectInfo(peer));
            request.extensions_mut().insert(connection.clone());
            app.clone().call(count_request_body(request))
        });
        let (shutdown, streams) = (self.shutdown.clone(), self.streams.clone());
        self.connections.spawn(async move {
            let mut server = auto::Builder::new(streams);
            // What WebSockets over HTTP/2 begin with.
            server.http2().enable_connect_protocol();
            let mut serving = std::pin::pin!(server.serve_connection_with_upgrades(TokioIo::new(io), service));
            // An error is a client that went away, and the exchanges know.
            tokio::select! {
                _result = &mut serving => (),
                () = shutdown.begun() => {
                    serving.as_mut().graceful_shutdown();
                    let _result = serving.await;
                }
            }
        });
    }

    /// Waits until every connection has come to its end.
    pub(super) async fn drained(&mut self) {
        while self.connections.join_next().await.is_some() {}
    }

    /// Ends what still goes on, and waits until every exchange has noticed.
    pub(super) async fn cut_off(mut self) {
        let ended = async {
            self.connections.shutdown().await;
            // Streams of HTTP/2 are tasks of their own, which end with their connection.
            drop(self.streams);
            let _none_left = self.streams_ended.recv().await;
        };
        let _blocked = timeout(CUT_OFF, ended).await;
    }
}

/// Runs the streams of HTTP/2. When every clone is gone, so is every stream.
#[derive(Clone)]
struct Streams(mpsc::Sender<Infallible>);

impl<F: Future<Output: Send> + Send + 'static> Executor<F> for Streams {
    fn execute(&self, stream: F) {
        let alive = self.0.clone();
        tokio::spawn(async move {
            stream.await;
            drop(alive);
        });
    }
}
