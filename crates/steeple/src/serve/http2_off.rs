//! HTTP/1.1 alone: the Cargo feature `http2` is off.

use std::sync::atomic::{AtomicBool, Ordering};

use hyper_util::server::conn::auto::Builder;

use crate::options::Connections;

/// There is nothing to configure. Where another crate turns HTTP/2 on in `hyper-util`, its defaults apply.
pub(super) fn configure<E>(_server: &mut Builder<E>, options: &Connections) {
    let _of_http2 = (options.keep_alive_interval, options.keep_alive_timeout);
}

/// A client began with HTTP/2. Said once: what it speaks does not change with its next attempt.
#[cold]
pub(super) fn began() {
    static WARNED: AtomicBool = AtomicBool::new(false);
    if !WARNED.swap(true, Ordering::Relaxed) {
        tracing::warn!(
            target: "steeple::start",
            "a client began with HTTP/2, which `serve` speaks with the feature `http2` of the crate `steeple`"
        );
    }
}
