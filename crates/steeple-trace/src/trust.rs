//! Whose trace context is believed.

use std::net::IpAddr;

use ipnet::IpNet;

use crate::BuildError;

/// How far a caller's trace context is believed.
///
/// At an edge that strangers reach, `sampled=00` hides an attacker and `sampled=01` spends your money.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Trust {
    /// The caller's trace is continued and its decision on sampling holds (with a parent-based sampling).
    #[default]
    Full,
    /// The caller's trace is continued, sampled by our own rule.
    Ids,
    /// A new trace, linked to the caller's span. The caller's `tracestate` and `baggage` are dropped.
    Nothing,
}

/// Trust by the address at the other end of the socket.
#[derive(Clone, Debug, Default)]
pub(crate) struct TrustPolicy {
    networks: Vec<(String, Trust)>,
    parsed: Vec<(IpNet, Trust)>,
    otherwise: Trust,
}

impl TrustPolicy {
    pub(crate) fn otherwise(&mut self, trust: Trust) {
        self.otherwise = trust;
    }

    pub(crate) fn network(&mut self, network: String, trust: Trust) {
        self.networks.push((network, trust));
    }

    /// Reads the networks that were named.
    pub(crate) fn check(&mut self) -> Result<(), BuildError> {
        self.parsed = self
            .networks
            .iter()
            .map(|(text, trust)| {
                let network = text.parse().ok().or_else(|| Some(IpNet::from(text.parse::<IpAddr>().ok()?)));
                network.map(|network| (network, *trust)).ok_or_else(|| {
                    BuildError::setting(
                        "trust_from",
                        text.clone(),
                        "an address (`10.0.0.7`) or a network (`10.0.0.0/8`)",
                    )
                })
            })
            .collect::<Result<_, _>>()?;
        Ok(())
    }

    /// The first network that holds the peer decides. Without networks, the peer is not asked for.
    #[inline]
    pub(crate) fn of(&self, peer: impl FnOnce() -> Option<IpAddr>) -> Trust {
        if self.parsed.is_empty() { self.otherwise } else { self.of_peer(peer()) }
    }

    fn of_peer(&self, peer: Option<IpAddr>) -> Trust {
        let found = peer
            .map(|peer| peer.to_canonical())
            .and_then(|peer| self.parsed.iter().find(|(network, _)| network.contains(&peer)).map(|(_, trust)| *trust));
        found.unwrap_or(self.otherwise)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_network_that_holds_the_peer_decides() {
        let mut policy = TrustPolicy::default();
        policy.otherwise(Trust::Nothing);
        policy.network("10.1.0.0/16".to_owned(), Trust::Ids);
        policy.network("10.0.0.0/8".to_owned(), Trust::Full);
        policy.network("::1".to_owned(), Trust::Full);
        policy.check().unwrap();
        let of = |text: &str| policy.of(|| text.parse().ok());
        assert_eq!(of("10.1.2.3"), Trust::Ids);
        assert_eq!(of("::ffff:10.2.0.1"), Trust::Full);
        assert_eq!(of("::1"), Trust::Full);
        assert_eq!((of("192.0.2.1"), of("not known")), (Trust::Nothing, Trust::Nothing));
        policy.network("10.0.0.0/33".to_owned(), Trust::Full);
        assert!(policy.check().unwrap_err().is_setting());
    }
}
