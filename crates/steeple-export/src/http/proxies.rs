//! Proxies, by options and by the files that their secrets are from.

use std::{fmt, sync::Arc};

use hyper_util::client::proxy::matcher::Matcher;

use super::Endpoint;
use crate::{
    BuildError,
    secret::{self, Remade},
};

/// The proxies to use. [`from_lookup`](Self::from_lookup) reads `HTTPS_PROXY`, `HTTP_PROXY` and `NO_PROXY`.
#[derive(Clone, Default)]
#[non_exhaustive]
pub struct ProxyOptions {
    /// For `https` endpoints: `http://user:password@proxy:3128`.
    pub https: Option<String>,
    /// For `http` endpoints.
    pub http: Option<String>,
    /// Hosts that are spoken to directly: names, suffixes, addresses, networks, `*`; separated by commas.
    pub no_proxy: Option<String>,
}

impl ProxyOptions {
    /// No proxy.
    pub fn new() -> Self {
        Self::default()
    }

    /// Reads `HTTPS_PROXY`, `HTTP_PROXY` and `NO_PROXY`, or the same names in lower case, through `get`. Connections to this
    /// machine never use a proxy. `None`: none of the three is set.
    pub fn from_lookup(get: impl Fn(&str) -> Option<String>) -> Option<Self> {
        let either =
            |upper: &str, lower: &str| get(upper).or_else(|| get(lower)).filter(|value| !value.trim().is_empty());
        let (https, http) = (either("HTTPS_PROXY", "https_proxy"), either("HTTP_PROXY", "http_proxy"));
        if https.is_none() && http.is_none() {
            return None;
        }
        let direct = either("NO_PROXY", "no_proxy").map(|hosts| format!("{hosts},")).unwrap_or_default();
        Some(Self { https, http, no_proxy: Some(format!("{direct}localhost,127.0.0.0/8,::1")) })
    }

    /// The proxy for `https` endpoints.
    #[must_use]
    pub fn https(mut self, url: impl Into<String>) -> Self {
        self.https = Some(url.into());
        self
    }

    /// The proxy for `http` endpoints.
    #[must_use]
    pub fn http(mut self, url: impl Into<String>) -> Self {
        self.http = Some(url.into());
        self
    }

    /// Hosts that are spoken to directly.
    #[must_use]
    pub fn no_proxy(mut self, hosts: impl Into<String>) -> Self {
        self.no_proxy = Some(hosts.into());
        self
    }
}

impl fmt::Debug for ProxyOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Their URLs hold passwords.
        f.debug_struct("ProxyOptions")
            .field("https", &self.https.is_some())
            .field("http", &self.http.is_some())
            .field("no_proxy", &self.no_proxy)
            .finish()
    }
}

/// The proxies as they are now: a URL with a password may be from a file that has another one since.
pub(super) struct Proxies {
    options: ProxyOptions,
    made: Remade<Made>,
}

pub(super) struct Made {
    /// The URLs with their passwords as they were then.
    urls: [Option<String>; 2],
    pub(super) matcher: Matcher,
}

impl Proxies {
    pub(super) fn new(options: ProxyOptions) -> Result<Self, BuildError> {
        let urls = [options.https.clone(), options.http.clone()];
        let made = Remade::new(Made { urls, matcher: matcher(&options)? });
        Ok(Self { options, made })
    }

    pub(super) fn now(&self) -> Arc<Made> {
        self.made.get(|made| {
            let current = |url: &String| secret::current(url.trim()).map_or_else(|| url.clone(), |url| url.to_string());
            let urls = [&self.options.https, &self.options.http].map(|url| url.as_ref().map(current));
            if urls == made.urls {
                return None;
            }
            let [https, http] = urls.clone();
            // One that cannot be used changes nothing.
            let matcher = matcher(&ProxyOptions { https, http, no_proxy: self.options.no_proxy.clone() }).ok()?;
            Some(Made { urls, matcher })
        })
    }
}

fn matcher(proxies: &ProxyOptions) -> Result<Matcher, BuildError> {
    let mut builder = Matcher::builder();
    let check = |url: &str| {
        // The matcher reads a name alone as `http`, and drops in silence what it cannot read.
        let url = if url.contains("://") { url.to_owned() } else { format!("http://{url}") };
        let endpoint = Endpoint::parse(&url).map_err(|_url| BuildError::setting("a proxy's URL is not valid"))?;
        if endpoint.is_https() {
            return Err(BuildError::setting("a proxy's URL must begin with `http://`"));
        }
        Ok(url)
    };
    if let Some(https) = proxies.https.as_deref().map(str::trim).filter(|url| !url.is_empty()) {
        builder = builder.https(check(https)?);
    }
    if let Some(http) = proxies.http.as_deref().map(str::trim).filter(|url| !url.is_empty()) {
        builder = builder.http(check(http)?);
    }
    if let Some(no) = &proxies.no_proxy {
        builder = builder.no(no.clone());
    }
    Ok(builder.build())
}
