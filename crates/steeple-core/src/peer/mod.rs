//! Who is at the other end of the socket.

mod of;

use std::net::{IpAddr, SocketAddr};

/// The other end of the socket that a request came through: the client, or a proxy in front of the service.
///
/// Servers that set it in none of the ways that [`Peer::of`] knows put it into the extensions of each request, in their
/// accept loop. With the feature `connect-info`, Axum sets it:
/// `router.into_make_service_with_connect_info::<Peer>()`, for TCP and Unix listeners.
///
/// # Examples
/// ```
/// use std::net::SocketAddr;
/// use steeple_core::Peer;
///
/// # let address = SocketAddr::from(([192, 0, 2, 7], 4711));
/// let mut request = http::Request::new(());
/// request.extensions_mut().insert(Peer::Address(address));
/// assert_eq!(Peer::of(request.extensions()).unwrap().address(), Some(address));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Peer {
    /// An address and a port.
    Address(SocketAddr),
    /// Someone on this machine, through a Unix socket, which has no address.
    Unix,
}

impl Peer {
    /// The address and port. `None` for a Unix socket.
    pub fn address(&self) -> Option<SocketAddr> {
        match self {
            Self::Address(address) => Some(*address),
            Self::Unix => None,
        }
    }

    /// The address without its port, IPv4 inside IPv6 as IPv4. `None` for a Unix socket, and for the unspecified address
    /// (`0.0.0.0`, `::`), which belongs to no peer.
    pub fn ip(&self) -> Option<IpAddr> {
        let ip = self.address()?.ip().to_canonical();
        (!ip.is_unspecified()).then_some(ip)
    }
}

impl From<SocketAddr> for Peer {
    fn from(address: SocketAddr) -> Self {
        Self::Address(address)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unspecified_address_has_no_ip() {
        for (text, want) in [
            ("192.0.2.1:80", Some("192.0.2.1")),
            ("[::ffff:192.0.2.1]:80", Some("192.0.2.1")),
            ("0.0.0.0:80", None),
            ("[::]:80", None),
            ("[::ffff:0.0.0.0]:80", None),
        ] {
            let peer = Peer::Address(text.parse().unwrap());
            assert_eq!(peer.ip().map(|ip| ip.to_string()).as_deref(), want, "{text}");
        }
        assert_eq!((Peer::Unix.ip(), Peer::Unix.address()), (None, None));
    }
}
