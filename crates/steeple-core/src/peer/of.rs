//! Where servers put the peer.

#[cfg(feature = "connect-info")]
use std::net::SocketAddr;

use http::Extensions;

use super::Peer;

impl Peer {
    /// The peer of a request, if the server has set it.
    ///
    /// Looks for a [`Peer`], then (each behind its feature) Axum's `ConnectInfo` of a `SocketAddr` or a [`Peer`]
    /// (`connect-info`), a [`Connection`](crate::connection::Connection) (`connection`), and tonic's `TcpConnectInfo` and
    /// `UdsConnectInfo` (`tonic`).
    pub fn of(extensions: &Extensions) -> Option<Self> {
        let peer: Option<Self> = None;
        let peer = peer.or_else(|| extensions.get::<Self>().copied());
        #[cfg(feature = "connect-info")]
        let peer = peer.or_else(|| {
            use axum::extract::ConnectInfo;
            let address = extensions.get::<ConnectInfo<SocketAddr>>().map(|info| Self::Address(info.0));
            address.or_else(|| Some(extensions.get::<ConnectInfo<Self>>()?.0))
        });
        #[cfg(feature = "connection")]
        let peer = peer.or_else(|| extensions.get::<crate::connection::Connection>()?.peer());
        #[cfg(feature = "tonic")]
        let peer = peer.or_else(|| {
            let info = extensions.get::<tonic::transport::server::TcpConnectInfo>()?;
            info.remote_addr().map(Self::Address)
        });
        #[cfg(all(feature = "tonic", unix))]
        let peer = peer.or_else(|| extensions.get::<tonic::transport::server::UdsConnectInfo>().map(|_| Self::Unix));
        peer
    }
}
