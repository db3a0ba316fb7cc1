//! How receivers are reached: the same for every integration that sends over HTTP.

use steeple_export::{Client, ClientBuilder, ProxyOptions, tls};

use super::{lookups, switch};
use crate::{ConfigError, SteepleBuilder, env::Lookup, summary::Unreachable};

/// What an integration starts its client from.
pub(crate) type Http = ClientBuilder;
/// Whether the process gets a default TLS provider.
pub(crate) type Provider = tls::CryptoProvider;

impl SteepleBuilder {
    /// Whether [`build`](Self::build) installs a default TLS provider for the process. Default:
    /// [`Install`](tls::CryptoProvider::Install), if the process has none.
    ///
    /// With two providers among its dependencies, `rustls::ClientConfig::builder()` panics where no default is installed, in
    /// the service's own code as well. A service with its own provider installs it before it builds Steeple, or opts out
    /// here. Steeple's own connections work in all three cases.
    ///
    /// ```
    /// use steeple::export::tls::CryptoProvider;
    ///
    /// # fn main() -> Result<(), steeple::ConfigError> {
    /// let builder = steeple::Steeple::builder_from_env()?.crypto_provider(CryptoProvider::Keep);
    /// # let _unused = builder;
    /// # Ok(())
    /// # }
    /// ```
    pub fn crypto_provider(mut self, choice: tls::CryptoProvider) -> Self {
        self.integrations.reach.provider = choice;
        self
    }
}

/// Proxies for all integrations, certificates and plain HTTP for each.
#[derive(Debug, Default)]
pub(crate) struct Reach {
    of_all: ClientBuilder,
    of_one: Vec<(&'static str, ClientBuilder)>,
    provider: Provider,
    /// Receivers that did not answer at the start.
    pub(crate) unreachable: Unreachable,
}

impl Reach {
    /// Reads `HTTPS_PROXY`, `HTTP_PROXY`, `NO_PROXY`, and `<NAME>_CA_FILE` and `<NAME>_ALLOW_PLAIN_HTTP` for each integration.
    pub(crate) fn from_env(env: &dyn Lookup, names: &[&'static str]) -> Result<Self, ConfigError> {
        let mut of_all = Client::builder();
        if let Some(proxies) = lookups(env, |lookup| ProxyOptions::from_lookup(lookup))? {
            of_all = of_all.proxy(proxies);
        }
        let mut of_one = Vec::new();
        for name in names {
            let upper = name.to_ascii_uppercase();
            let mut client = Client::builder();
            if let Some(path) = env.text(&format!("{upper}_CA_FILE"))? {
                client = client.ca_file(path);
            }
            if switch(env, &format!("{upper}_ALLOW_PLAIN_HTTP"))? {
                client = client.allow_plain_http();
            }
            of_one.push((*name, client));
        }
        Ok(Self { of_all, of_one, ..Self::default() })
    }

    /// What the integration of this name starts its client from.
    pub(crate) fn of(&self, name: &str) -> Http {
        let own = self.of_one.iter().find(|(known, _)| *known == name).map(|(_, client)| client.clone());
        let (unreachable, of) = (self.unreachable.clone(), name.to_owned());
        let client = own.unwrap_or_default().or(&self.of_all);
        client.on_unreachable(move |endpoint, why| {
            report(&unreachable, &format!("{of}: {endpoint} does not answer: {why}"));
        })
    }

    /// Gives the process its TLS provider. The text is for the start summary.
    pub(crate) fn install(&self) -> &'static str {
        tls::install_default_provider(self.provider).as_str()
    }
}

/// Adds a warning to the start summary. Logs it at once if the summary was logged before.
fn report(unreachable: &Unreachable, warning: &str) {
    let mut reports = unreachable.reports();
    if reports.all.iter().any(|known| known == warning) {
        return;
    }
    let is_logged = reports.is_logged;
    reports.all.push(warning.to_owned());
    drop(reports);
    if is_logged {
        tracing::warn!(target: "steeple::start", "{warning}");
    }
}
