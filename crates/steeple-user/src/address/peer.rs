use std::net::SocketAddr;

use http::Extensions;

/// The address at the other end of the socket: for servers that tell it in no way of their own.
///
/// Put it into the extensions of each request, in the accept loop.
///
/// # Examples
/// ```
/// use std::net::SocketAddr;
/// use steeple_user::PeerAddress;
///
/// # let peer = SocketAddr::from(([192, 0, 2, 7], 4711));
/// let mut request = http::Request::new(());
/// request.extensions_mut().insert(PeerAddress(peer));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeerAddress(pub SocketAddr);

/// The address at the other end of the socket, if the server told it: a proxy's, where there is one.
///
/// Looks for [`PeerAddress`], then (each behind its feature) Axum's `ConnectInfo<SocketAddr>`, `Connection` of
/// `steeple-core` and Tonic's `TcpConnectInfo`.
pub fn peer_address(extensions: &Extensions) -> Option<SocketAddr> {
    let peer = extensions.get::<PeerAddress>().map(|peer| peer.0);
    #[cfg(feature = "axum")]
    let peer = peer.or_else(|| Some(extensions.get::<axum::extract::ConnectInfo<SocketAddr>>()?.0));
    #[cfg(feature = "connection")]
    let peer = peer.or_else(|| extensions.get::<steeple_core::connection::Connection>()?.peer());
    #[cfg(feature = "tonic")]
    let peer = peer.or_else(|| extensions.get::<tonic::transport::server::TcpConnectInfo>()?.remote_addr());
    peer
}
