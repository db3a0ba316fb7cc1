//! Serves a router over HTTP/1.1 and h2c on one port, until it is told to stop.

use std::{io, net::SocketAddr, time::Duration};

use axum::{Router, serve::ListenerExt};
use tokio::net::TcpListener;

use super::Shutdown;

/// How long open requests may take once the end has begun.
const GRACE: Duration = Duration::from_secs(5);

/// Serves `router` on `listener` until `stop` begins, then lets open requests finish for at most 5 s.
///
/// Handlers find the client's address in `ConnectInfo<SocketAddr>`.
///
/// # Errors
/// When the listener fails for good.
pub async fn serve(listener: TcpListener, router: Router, stop: Shutdown) -> io::Result<()> {
    let listener = listener.tap_io(|stream| {
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "small answers may be slow");
        }
    });
    let begun = {
        let stop = stop.clone();
        async move { stop.begun().await }
    };
    let service = router.into_make_service_with_connect_info::<SocketAddr>();
    let deadline = async {
        stop.begun().await;
        tokio::time::sleep(GRACE).await;
    };
    tokio::select! {
        ended = async { axum::serve(listener, service).with_graceful_shutdown(begun).await } => ended,
        () = deadline => {
            tracing::warn!(grace_seconds = GRACE.as_secs(), "requests still open were cut off");
            Ok(())
        }
    }
}
