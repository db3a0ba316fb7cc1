use std::net::IpAddr;

use http::{HeaderMap, HeaderName};
use steeple_core::Peer;

use super::{
    TrustedProxies,
    node::parse_node,
    proxies::Trust,
    walk::{forwarded, x_forwarded_for},
};

/// Which header the proxies write. **One**: a second one is what a client sent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Forwarding {
    /// `X-Forwarded-For`, to which each proxy appends.
    #[default]
    XForwardedFor,
    /// `Forwarded` of RFC 7239, to which each proxy appends.
    Forwarded,
    /// A header with one address that the proxy next to us sets, and takes away from what clients send:
    /// `X-Real-IP`, `CF-Connecting-IP`, `True-Client-IP`, `Fly-Client-IP`, `CloudFront-Viewer-Address` and the like.
    Single(HeaderName),
}

impl From<HeaderName> for Forwarding {
    /// The way in which the header of this name is written.
    fn from(name: HeaderName) -> Self {
        match name.as_str() {
            "x-forwarded-for" => Self::XForwardedFor,
            "forwarded" => Self::Forwarded,
            _ => Self::Single(name),
        }
    }
}

/// Finds the client's address. See the [module docs](crate::address).
///
/// One for logs, metrics, errors and whatever else asks. Cost: with no proxies none; else one pass over the right end
/// of the header, at most 32 entries and 2 KB of it. Never allocates.
///
/// # Examples
/// ```
/// use http::{HeaderMap, HeaderValue};
/// use steeple_user::{AddressResolver, Peer};
///
/// let resolver = AddressResolver::new("10.0.0.0/8".parse()?);
/// let mut headers = HeaderMap::new();
/// // The client claimed 1.1.1.1; the first proxy saw it at 203.0.113.9, the second one saw the first one.
/// headers.insert("x-forwarded-for", HeaderValue::from_static("1.1.1.1, 203.0.113.9, 10.0.0.2"));
///
/// let [proxy, stranger] = ["10.0.0.1:80", "198.51.100.1:80"].map(|peer| Peer::Address(peer.parse().unwrap()));
/// assert_eq!(resolver.resolve(Some(proxy), &headers).unwrap().to_string(), "203.0.113.9");
/// assert_eq!(resolver.resolve(Some(stranger), &headers), stranger.ip());
/// # Ok::<(), steeple_user::BuildError>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct AddressResolver {
    proxies: TrustedProxies,
    forwarding: Forwarding,
}

impl AddressResolver {
    /// Takes these proxies' word, in `X-Forwarded-For`.
    pub fn new(proxies: TrustedProxies) -> Self {
        Self { proxies, forwarding: Forwarding::default() }
    }

    /// The header that they write. Default: `X-Forwarded-For`.
    #[must_use]
    pub fn forwarding(mut self, header: impl Into<Forwarding>) -> Self {
        self.forwarding = header.into();
        self
    }

    pub(crate) fn with_proxies(self, proxies: TrustedProxies) -> Self {
        Self { proxies, ..self }
    }

    /// The proxies.
    pub fn proxies(&self) -> &TrustedProxies {
        &self.proxies
    }

    /// The client's address: the first from the right that is not a trusted proxy's.
    ///
    /// When all of them are, the leftmost. When an entry cannot be read (or the caps are reached), the last trusted
    /// hop before it. The peer's own, when that is not a trusted proxy.
    pub fn resolve(&self, peer: Option<Peer>, headers: &HeaderMap) -> Option<IpAddr> {
        let is_trusted = self.proxies.trusts_peer(peer);
        let peer = peer.and_then(|peer| peer.ip());
        if !is_trusted {
            return peer;
        }
        match &self.forwarding {
            Forwarding::XForwardedFor => self.walk(peer, x_forwarded_for(headers)),
            Forwarding::Forwarded => self.walk(peer, forwarded(headers)),
            Forwarding::Single(name) => single(headers, name).or(peer),
        }
    }

    fn walk(&self, peer: Option<IpAddr>, mut hops: impl Iterator<Item = Option<IpAddr>>) -> Option<IpAddr> {
        match self.proxies.0 {
            Trust::Peers { .. } => {
                let mut last = peer;
                for hop in hops {
                    let Some(address) = hop else { return last };
                    last = Some(address);
                    if !self.proxies.contains(address) {
                        return last;
                    }
                }
                last
            }
            Trust::Count(others) => hops.nth(others.into()).flatten().or(peer),
        }
    }
}

/// The header's address, if there is one line of it.
fn single(headers: &HeaderMap, name: &HeaderName) -> Option<IpAddr> {
    let mut lines = headers.get_all(name).iter();
    let (line, None) = (lines.next()?.as_bytes().trim_ascii(), lines.next()) else { return None };
    if name == "cloudfront-viewer-address" {
        // Always with a port, and IPv6 without brackets.
        let colon = line.iter().rposition(|byte| *byte == b':')?;
        return parse_node(line.get(..colon)?);
    }
    parse_node(line)
}
