use std::{fmt, time::Duration};

use base64::{Engine, engine::general_purpose::STANDARD};
use http::HeaderValue;
use steeple_export::{Client, ClientBuilder, Endpoint};
use steeple_metrics::Names;

use crate::BuildError;

/// The Prometheus that scrapes all instances of the service, for
/// [`DashboardBuilder::prometheus`](crate::DashboardBuilder::prometheus).
///
/// # Examples
/// ```
/// use std::time::Duration;
/// use steeple_dashboard::{Dashboard, PrometheusOptions};
/// use steeple_metrics::Metrics;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let prometheus = PrometheusOptions::new("http://127.0.0.1:9090").job("shop").scrape_interval(Duration::from_secs(30));
/// let dashboard = Dashboard::builder().service("shop").prometheus(prometheus).build(&Metrics::new()?)?;
/// # let _unused = dashboard;
/// # Ok(()) }
/// ```
#[derive(Clone)]
#[must_use = "options do nothing until a dashboard is built with them"]
pub struct PrometheusOptions {
    url: String,
    authorization: Option<String>,
    matchers: Option<String>,
    pub(super) names: Names,
    pub(super) native: bool,
    scrape: Duration,
    pub(super) instance: Option<String>,
    pub(super) query_timeout: Duration,
    pub(super) refresh_timeout: Duration,
    pub(super) retry_after: Duration,
    http: ClientBuilder,
}

impl PrometheusOptions {
    /// The Prometheus at this URL: `https://prometheus.example`. A user and a password in it are sent as basic
    /// authentication. Unencrypted to this machine alone, unless [`http`](Self::http) allows more.
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            authorization: None,
            matchers: None,
            names: Names::Classic,
            native: false,
            scrape: Duration::from_secs(15),
            instance: None,
            query_timeout: Duration::from_secs(2),
            refresh_timeout: Duration::from_secs(10),
            retry_after: Duration::from_secs(5),
            http: Client::builder(),
        }
    }

    /// Sends a bearer token.
    pub fn bearer(mut self, token: impl AsRef<str>) -> Self {
        self.authorization = Some(format!("Bearer {}", token.as_ref()));
        self
    }

    /// Sends a user and a password.
    pub fn basic(mut self, user: impl AsRef<str>, password: impl AsRef<str>) -> Self {
        let pair = format!("{}:{}", user.as_ref(), password.as_ref());
        self.authorization = Some(format!("Basic {}", STANDARD.encode(pair)));
        self
    }

    /// The job that scrapes the service. Default: the name of the service.
    pub fn job(self, job: impl AsRef<str>) -> Self {
        let matchers = format!("job=\"{}\"", escaped(job.as_ref()));
        self.matchers(matchers)
    }

    /// Label matchers of the service's series, as `PromQL` has them, without braces: `job="shop",namespace="prod"`. In place
    /// of [`job`](Self::job).
    pub fn matchers(mut self, matchers: impl Into<String>) -> Self {
        self.matchers = Some(matchers.into());
        self
    }

    /// Which names the metrics have on the server. Default: classic.
    pub fn names(mut self, names: Names) -> Self {
        self.names = names;
        self
    }

    /// Whether the server has native histograms alone. Default: no.
    pub fn native(mut self, native: bool) -> Self {
        self.native = native;
        self
    }

    /// How often the service is scraped: rates are over four times as long. Default: 15 s.
    pub fn scrape_interval(mut self, interval: Duration) -> Self {
        self.scrape = interval;
        self
    }

    /// Which of the instances this process is: its label `instance`, to fill the past of the page from. Default: the one that
    /// there is, if there is one.
    pub fn instance(mut self, instance: impl Into<String>) -> Self {
        self.instance = Some(instance.into());
        self
    }

    /// How long Prometheus may take to be reached, and for each query. Default: 2 seconds.
    pub fn query_timeout(mut self, timeout: Duration) -> Self {
        self.query_timeout = timeout;
        self
    }

    /// How long all queries of a refresh may take together. Default: 10 seconds.
    pub fn refresh_timeout(mut self, timeout: Duration) -> Self {
        self.refresh_timeout = timeout;
        self
    }

    /// How long after a refresh that failed the next one may begin. Default: 5 seconds.
    pub fn retry_after(mut self, pause: Duration) -> Self {
        self.retry_after = pause;
        self
    }

    /// Changes how Prometheus is reached: proxies, certificates, plain HTTP.
    pub fn http(mut self, change: impl FnOnce(ClientBuilder) -> ClientBuilder) -> Self {
        self.http = change(self.http);
        self
    }

    pub(super) fn scrape_seconds(&self) -> u64 {
        self.scrape.as_secs().max(1)
    }

    /// The matchers of the service, and of one instance of it.
    pub(super) fn select(&self, replica: Option<&str>) -> String {
        let all = self.matchers.clone().unwrap_or_default();
        match replica {
            Some(replica) if all.is_empty() => format!("instance=\"{}\"", escaped(replica)),
            Some(replica) => format!("{all},instance=\"{}\"", escaped(replica)),
            None => all,
        }
    }

    pub(crate) fn of_service(mut self, service: &str) -> Self {
        if self.matchers.is_none() {
            self = self.job(service);
        }
        self
    }

    /// How it is reached: the client, the address, the credentials.
    pub(super) fn reach(&self) -> Result<(ClientBuilder, Endpoint, Option<HeaderValue>), BuildError> {
        let endpoint = Endpoint::parse(&self.url).map_err(|_url| {
            BuildError::setting("the URL of Prometheus begins with http:// or https:// and has a host")
        })?;
        let authorization = match &self.authorization {
            Some(text) => {
                let mut value = HeaderValue::try_from(text.as_str())
                    .map_err(|_text| BuildError::setting("the credentials for Prometheus are not valid in a header"))?;
                value.set_sensitive(true);
                Some(value)
            }
            None => None,
        };
        if self.matchers.as_ref().is_some_and(|matchers| matchers.contains(['{', '}'])) {
            return Err(BuildError::setting("the matchers for Prometheus have no braces: job=\"shop\""));
        }
        if self.scrape < Duration::from_secs(1) || self.scrape > Duration::from_secs(600) {
            return Err(BuildError::setting("the scrape interval is from 1 second to 10 minutes"));
        }
        Ok((self.http.clone(), endpoint, authorization))
    }
}

/// A text within quotes.
fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

impl fmt::Debug for PrometheusOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PrometheusOptions")
            .field("has_credentials", &self.authorization.is_some())
            .field("matchers", &self.matchers)
            .field("scrape", &self.scrape)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_cannot_leave_their_quotes() {
        let options = PrometheusOptions::new("http://127.0.0.1:9090").of_service("a\"} or up{b=\"\\");
        assert_eq!(options.select(None), "job=\"a\\\"} or up{b=\\\"\\\\\"");
        let replica = options.job("shop").select(Some("x\"\ny"));
        assert_eq!(replica, "job=\"shop\",instance=\"x\\\"\\ny\"");
    }

    #[test]
    fn credentials_are_not_in_debug_output() {
        let shown = format!("{:?}", PrometheusOptions::new("http://u:hunter22@127.0.0.1").bearer("hunter22"));
        assert!(!shown.contains("hunter22"), "{shown}");
    }
}
