use std::{
    convert::Infallible,
    io,
    net::SocketAddr,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    task::{Context, Poll},
};

use axum::{
    Router,
    extract::{ConnectInfo, Request},
};
use http::{Method, Uri};
use hyper::{body::Incoming, rt::Executor, service::service_fn};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::conn::auto,
};
use pin_project_lite::pin_project;
use steeple_core::{Exchange, connection::ObservedIo, count_request_body};
use steeple_scrub::Scrubber;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    sync::mpsc,
    task::JoinSet,
    time::{sleep, timeout},
};
use tower_service::Service;

use super::{
    App, http2,
    listener::{Listener, Stream},
};
use crate::{options::Connections, shutdown::Shutdown};

/// What an HTTP/2 connection begins with.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// The connections of one listener. `axum::serve` would do, but for the end: it cannot end what it has begun, and
/// what still goes on when the last line is written has no line.
pub(super) struct Server {
    app: Router,
    options: Connections,
    closing: Shutdown,
    connections: JoinSet<()>,
    streams: Streams,
    streams_ended: mpsc::Receiver<Infallible>,
    passed: Arc<Passed>,
}

impl Server {
    /// With a scrubber, a request that no layer of Steeple's has seen is a warning.
    pub(super) fn new(App(app): App, options: Connections, scrubber: Option<Scrubber>) -> Self {
        let (streams, streams_ended) = mpsc::channel(1);
        Self {
            app,
            options,
            closing: Shutdown::default(),
            connections: JoinSet::new(),
            streams: Streams(streams),
            streams_ended,
            passed: Arc::new(Passed {
                is_reported: AtomicBool::new(scrubber.is_none()),
                scrubber: scrubber.unwrap_or_default(),
            }),
        }
    }

    /// Accepts connections until it is dropped.
    pub(super) async fn accept(&mut self, listener: &Listener) -> Infallible {
        loop {
            tokio::select! {
                (io, peer) = listener.accept(self.options.accept_pause) => self.connect(io, peer),
                // One after the other, so that none is kept longer than it lasts.
                Some(_ended) = self.connections.join_next() => (),
            }
        }
    }

    fn connect(&mut self, io: ObservedIo<Stream>, peer: Option<SocketAddr>) {
        let connection = io.connection().clone();
        let begun = Arc::new(Begun::default());
        let io = TokioIo::new(Counting { io, begun: Arc::clone(&begun) });
        let app = self.app.clone();
        let (requested, passed) = (Arc::clone(&begun), Arc::clone(&self.passed));
        let service = service_fn(move |mut request: Request<Incoming>| {
            requested.request();
            if let Some(peer) = peer {
                request.extensions_mut().insert(ConnectInfo(peer));
            }
            request.extensions_mut().insert(connection.clone());
            let request = count_request_body(request);
            let watched = Passed::watch(&passed, &request);
            let answering = app.clone().call(request);
            async move {
                let answer = answering.await;
                if let Some(watched) = watched {
                    watched.check();
                }
                answer
            }
        });
        let (closing, streams, options) = (self.closing.clone(), self.streams.clone(), self.options);
        self.connections.spawn(async move {
            let mut server = auto::Builder::new(streams);
            server.http1().timer(TokioTimer::new()).header_read_timeout(options.header_read_timeout);
            http2::configure(&mut server, &options);
            let mut serving = std::pin::pin!(server.serve_connection_with_upgrades(io, service));
            // hyper limits the time for a head once it knows the protocol. Until then this does.
            let mut silent = std::pin::pin!(async {
                sleep(options.header_read_timeout).await;
                if begun.has_begun() {
                    std::future::pending::<()>().await;
                }
            });
            // An error is a client that went away, and the exchanges know.
            tokio::select! {
                _result = &mut serving => (),
                () = &mut silent => (),
                () = closing.begun() => {
                    serving.as_mut().graceful_shutdown();
                    tokio::select! {
                        _result = serving => (),
                        () = silent => (),
                    }
                }
            }
        });
    }

    /// Lets every connection end with the request that it serves.
    pub(super) fn close(&self) {
        self.closing.begin();
    }

    /// Waits until every connection has ended.
    pub(super) async fn drained(&mut self) {
        while self.connections.join_next().await.is_some() {}
    }

    /// Ends what still goes on, and waits until every exchange has noticed: no time at all, unless one blocks its thread.
    pub(super) async fn cut_off(mut self) {
        let limit = self.options.cut_off_timeout;
        let ended = async {
            self.connections.shutdown().await;
            // Streams of HTTP/2 are separate tasks, which end with their connection.
            drop(self.streams);
            let _none_left = self.streams_ended.recv().await;
        };
        let _blocked = timeout(limit, ended).await;
    }
}

/// Notices a request that was answered where the layer did not see it.
struct Passed {
    scrubber: Scrubber,
    is_reported: AtomicBool,
}

/// A request before it is answered.
struct Watched {
    method: Method,
    uri: Uri,
    exchange: Exchange,
    passed: Arc<Passed>,
}

impl Passed {
    /// `None`: there was one already.
    fn watch<B>(this: &Arc<Self>, request: &Request<B>) -> Option<Watched> {
        if this.is_reported.load(Ordering::Relaxed) {
            return None;
        }
        Some(Watched {
            method: request.method().clone(),
            uri: request.uri().clone(),
            exchange: request.extensions().get::<Exchange>()?.clone(),
            passed: Arc::clone(this),
        })
    }

    #[cold]
    fn report(&self, method: &Method, uri: &Uri) {
        let path = uri.path();
        // Routes of Steeple's own leave no traces either way.
        let is_own = ["/metrics", "/healthz", "/readyz"].contains(&path) || path.starts_with("/steeple");
        if is_own || self.is_reported.swap(true, Ordering::Relaxed) {
            return;
        }
        let path = self.scrubber.text(path);
        tracing::warn!(
            target: "steeple::start",
            "{method} {path} was answered where Steeple's layer did not see it: the route was added after \
             `.layer(steeple.layer())`, or a layer around it answered; Steeple's goes last"
        );
    }
}

impl Watched {
    /// It is answered.
    fn check(&self) {
        if !self.exchange.is_observed() {
            self.passed.report(&self.method, &self.uri);
        }
    }
}

/// Whether a connection has shown what it speaks.
#[derive(Debug, Default)]
struct Begun {
    bytes: AtomicUsize,
    request: AtomicBool,
}

impl Begun {
    fn request(&self) {
        if !self.request.load(Ordering::Relaxed) {
            self.request.store(true, Ordering::Relaxed);
        }
    }

    fn has_begun(&self) -> bool {
        self.request.load(Ordering::Relaxed) || self.bytes.load(Ordering::Relaxed) >= PREFACE.len()
    }
}

pin_project! {
    /// Counts the first bytes that a client sends.
    struct Counting {
        #[pin]
        io: ObservedIo<Stream>,
        begun: Arc<Begun>,
    }
}

impl AsyncRead for Counting {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.project();
        let before = buffer.filled().len();
        let read = this.io.poll_read(cx, buffer);
        let bytes = this.begun.bytes.load(Ordering::Relaxed);
        if bytes < PREFACE.len() {
            let more = buffer.filled().get(before..).unwrap_or_default();
            this.begun.bytes.store(bytes.saturating_add(more.len()), Ordering::Relaxed);
            if bytes == 0 && more.starts_with(PREFACE) {
                http2::began();
            }
        }
        read
    }
}

impl AsyncWrite for Counting {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.project().io.poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.project().io.poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.project().io.poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.project().io.poll_shutdown(cx)
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
