//! HTTP/2 beside HTTP/1.1.

use std::time::Duration;

use hyper_util::{rt::TokioTimer, server::conn::auto::Builder};

use crate::{SteepleBuilder, options::Connections};

impl SteepleBuilder {
    /// How often an HTTP/2 client of [`serve`](crate::Steeple::serve) is pinged, and how long it may take to answer; then its
    /// connection is closed. Default: 30 and 10 seconds.
    pub fn http2_keep_alive(mut self, interval: Duration, timeout: Duration) -> Self {
        self.connections.keep_alive_interval = interval;
        self.connections.keep_alive_timeout = timeout;
        self
    }
}

pub(super) fn configure<E>(server: &mut Builder<E>, options: &Connections) {
    server
        .http2()
        // What WebSockets over HTTP/2 begin with.
        .enable_connect_protocol()
        .timer(TokioTimer::new())
        .keep_alive_interval(options.keep_alive_interval)
        .keep_alive_timeout(options.keep_alive_timeout);
}

/// A client began with HTTP/2.
pub(super) fn began() {}
