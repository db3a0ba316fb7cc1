use std::{net::IpAddr, str::FromStr};

use ipnet::{IpNet, Ipv4Net};
use steeple_core::Peer;

use crate::{BuildError, error::Kind};

/// The proxies in front of the service: those whose word on the client is taken.
///
/// Read from text: addresses, networks, `loopback`, `private` and `unix` (every peer of a Unix socket), separated
/// by commas; or, alone, their number. Default: none.
///
/// With a **number**, any peer counts as a proxy: only right if the service can be reached through them alone, and
/// if every request passes the same number of them.
///
/// # Examples
/// ```
/// use steeple_user::TrustedProxies;
///
/// let proxies: TrustedProxies = "loopback, 10.0.0.0/8, 2001:db8::7".parse()?;
/// assert!(proxies.contains("10.1.2.3".parse().unwrap()));
/// assert!(!proxies.contains("192.0.2.1".parse().unwrap()));
///
/// let error = "10.0.0.0/8, everybody".parse::<TrustedProxies>().unwrap_err();
/// assert!(error.to_string().starts_with("\"everybody\" is not a trusted proxy: expected addresses"));
/// # Ok::<(), steeple_user::BuildError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrustedProxies(pub(super) Trust);

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Trust {
    Peers {
        networks: Box<[IpNet]>,
        unix: bool,
    },
    /// How many, less one.
    Count(u8),
}

const LOOPBACK: [&str; 2] = ["127.0.0.0/8", "::1/128"];

/// RFC 1918 and RFC 4193.
const PRIVATE: [&str; 4] = ["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7"];

impl TrustedProxies {
    /// No proxies: forwarding headers are ignored.
    pub fn none() -> Self {
        Self(Trust::Peers { networks: Box::default(), unix: false })
    }

    /// This many proxies, on the way of every request; 0 is [`none`](Self::none).
    ///
    /// # Errors
    /// [`BuildError::is_proxies`] when there are more than 32.
    pub fn count(proxies: u8) -> Result<Self, BuildError> {
        match proxies.checked_sub(1) {
            None => Ok(Self::none()),
            Some(others) if usize::from(proxies) <= super::walk::MAX_ENTRIES => Ok(Self(Trust::Count(others))),
            Some(_) => Err(BuildError::new(Kind::TooManyProxies { count: proxies.to_string() })),
        }
    }

    /// Whether this is the address of one of them. A number of proxies has no addresses.
    pub fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        match &self.0 {
            Trust::Peers { networks, .. } => networks.iter().any(|network| network.contains(&address)),
            Trust::Count(_) => false,
        }
    }

    /// Whether this peer's headers are believed: it is one of them, or their number is known.
    pub fn trusts_peer(&self, peer: Option<Peer>) -> bool {
        match &self.0 {
            Trust::Peers { unix, .. } => match peer {
                Some(Peer::Unix) => *unix,
                Some(peer) => peer.ip().is_some_and(|address| self.contains(address)),
                None => false,
            },
            Trust::Count(_) => true,
        }
    }

    /// Whether the list is empty.
    pub fn is_none(&self) -> bool {
        match &self.0 {
            Trust::Peers { networks, unix } => networks.is_empty() && !unix,
            Trust::Count(_) => false,
        }
    }
}

impl Default for TrustedProxies {
    fn default() -> Self {
        Self::none()
    }
}

impl FromStr for TrustedProxies {
    type Err = BuildError;

    fn from_str(text: &str) -> Result<Self, BuildError> {
        let text = text.trim();
        if text.is_empty() {
            return Ok(Self::none());
        }
        if text.bytes().all(|byte| byte.is_ascii_digit()) {
            return match text.parse() {
                Ok(count) => Self::count(count),
                Err(_) => Err(BuildError::new(Kind::TooManyProxies { count: text.chars().take(40).collect() })),
            };
        }
        let (mut networks, mut unix) = (Vec::new(), false);
        for entry in text.split(',').map(str::trim) {
            match entry {
                "loopback" => networks.extend(LOOPBACK.iter().filter_map(|network| parse_network(network))),
                "unix" => unix = true,
                "private" => networks.extend(PRIVATE.iter().filter_map(|network| parse_network(network))),
                _ => networks.push(
                    parse_network(entry)
                        .ok_or_else(|| BuildError::new(Kind::Proxy { entry: entry.chars().take(100).collect() }))?,
                ),
            }
        }
        Ok(Self(Trust::Peers { networks: networks.into(), unix }))
    }
}

/// An address or a network. IPv4 inside IPv6 becomes IPv4, as the addresses that it is compared with do.
fn parse_network(text: &str) -> Option<IpNet> {
    let network = match text.parse::<IpAddr>() {
        Ok(address) => IpNet::from(address),
        Err(_) => text.parse().ok()?,
    };
    let IpNet::V6(v6) = network else { return Some(network) };
    let mapped = v6.addr().to_ipv4_mapped().zip(v6.prefix_len().checked_sub(96));
    Some(mapped.and_then(|(v4, prefix)| Ipv4Net::new(v4, prefix).ok()).map_or(network, IpNet::V4))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, inside: &[&str], outside: &[&str]) {
        let proxies: TrustedProxies = text.parse().unwrap();
        for address in inside {
            assert!(proxies.contains(address.parse().unwrap()), "{address} is in {text}");
        }
        for address in outside {
            assert!(!proxies.contains(address.parse().unwrap()), "{address} is not in {text}");
        }
    }

    #[test]
    fn a_list_holds_addresses_networks_and_names() {
        check("", &[], &["127.0.0.1", "::1"]);
        check("10.0.0.7", &["10.0.0.7", "::ffff:10.0.0.7"], &["10.0.0.8"]);
        check(" 10.0.0.0/8 ,192.0.2.0/24", &["10.9.9.9", "192.0.2.255"], &["11.0.0.0", "192.0.3.0"]);
        check("10.1.2.3/8", &["10.9.9.9"], &["11.0.0.1"]);
        check("loopback", &["127.0.0.1", "127.9.9.9", "::1"], &["10.0.0.1", "::2"]);
        check(
            "private",
            &["10.0.0.1", "172.31.0.1", "192.168.7.7", "fd00::1"],
            &["172.32.0.1", "127.0.0.1", "8.8.8.8"],
        );
        check("2001:db8::/32", &["2001:db8:1::1"], &["2001:db9::1", "10.0.0.1"]);
        check("::ffff:10.0.0.0/104", &["10.1.1.1", "::ffff:10.1.1.1"], &["11.0.0.1"]);
    }

    #[test]
    fn a_unix_socket_is_trusted_where_it_is_listed_and_only_there() {
        let address = Peer::Address("10.0.0.1:80".parse().unwrap());
        for (text, unix, ip) in
            [("unix", true, false), ("10.0.0.0/8, unix", true, true), ("10.0.0.0/8", false, true), ("1", true, true)]
        {
            let proxies: TrustedProxies = text.parse().unwrap();
            assert_eq!(
                (proxies.trusts_peer(Some(Peer::Unix)), proxies.trusts_peer(Some(address))),
                (unix, ip),
                "{text}"
            );
            assert!(!proxies.is_none());
        }
    }

    #[test]
    fn a_number_stands_alone() {
        assert_eq!("2".parse::<TrustedProxies>().unwrap(), TrustedProxies::count(2).unwrap());
        assert_eq!("0".parse::<TrustedProxies>().unwrap(), TrustedProxies::none());
        for bad in ["33", "256", "99999999999999999999", "1,10.0.0.0/8"] {
            assert!(bad.parse::<TrustedProxies>().unwrap_err().is_proxies(), "{bad}");
        }
    }

    #[test]
    fn invalid_proxies_are_rejected_with_their_name() {
        for bad in
            ["10.0.0.0/33", "10.0.0", "*", "all", "10.0.0.1,", "localhost", "10.0.0.1:80", "fe80::1%eth0", "Private"]
        {
            let error = bad.parse::<TrustedProxies>().unwrap_err();
            let culprit = bad.rsplit(',').next().unwrap();
            assert!(error.is_proxies() && error.to_string().starts_with(&format!("{culprit:?} ")), "{error}");
        }
    }
}
