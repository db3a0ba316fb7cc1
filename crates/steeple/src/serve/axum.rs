//! Axum's routers and listeners.

use std::{
    convert::Infallible,
    future::{Ready, ready},
    io,
    net::SocketAddr,
    task::{Context, Poll},
};

use axum::{
    Router,
    extract::{ConnectInfo, Request},
    serve::{IncomingStream, Listener},
};
use steeple_core::connection::{Connection, ObservedIo};
use tower_service::Service;

use super::App;

impl From<Router> for App {
    fn from(router: Router) -> Self {
        // Every handler is made into a route once, here, and not at every request.
        Self(router.with_state(()))
    }
}

/// A listener whose connections are known to the exchanges on them.
///
/// # Examples
/// ```no_run
/// # async fn run(app: axum::Router) -> std::io::Result<()> {
/// use steeple::serve::{ObservedListener, WithConnections};
///
/// let listener = tokio::net::TcpListener::bind("127.0.0.1:3000").await?;
/// axum::serve(ObservedListener::new(listener), WithConnections::new(app)).await
/// # }
/// ```
#[derive(Debug)]
pub struct ObservedListener<L> {
    inner: L,
}

impl<L: Listener<Addr = SocketAddr>> ObservedListener<L> {
    /// Wraps a listener.
    pub fn new(inner: L) -> Self {
        Self { inner }
    }
}

impl<L: Listener<Addr = SocketAddr>> Listener for ObservedListener<L> {
    type Io = ObservedIo<L::Io>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, SocketAddr) {
        let (io, peer) = self.inner.accept().await;
        (ObservedIo::new(io, Connection::new(Some(peer.into()))), peer)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.inner.local_addr()
    }
}

/// Makes a service for each connection that puts the connection into the extensions of every request:
/// `Connection` for the observers, `ConnectInfo<SocketAddr>` for Axum's extractor.
#[derive(Clone, Debug)]
pub struct WithConnections<S> {
    app: S,
}

impl<S> WithConnections<S> {
    /// Wraps an application, such as an `axum::Router`.
    pub fn new(app: S) -> Self {
        Self { app }
    }
}

impl<S, L> Service<IncomingStream<'_, ObservedListener<L>>> for WithConnections<S>
where
    S: Clone,
    L: Listener<Addr = SocketAddr>,
{
    type Response = WithConnection<S>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, stream: IncomingStream<'_, ObservedListener<L>>) -> Self::Future {
        let connection = stream.io().connection().clone();
        ready(Ok(WithConnection { inner: self.app.clone(), connection, peer: *stream.remote_addr() }))
    }
}

/// The service of one connection. Made by [`WithConnections`].
#[derive(Clone, Debug)]
pub struct WithConnection<S> {
    inner: S,
    connection: Connection,
    peer: SocketAddr,
}

impl<S: Service<Request>> Service<Request> for WithConnection<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request) -> S::Future {
        request.extensions_mut().insert(ConnectInfo(self.peer));
        request.extensions_mut().insert(self.connection.clone());
        self.inner.call(request)
    }
}
