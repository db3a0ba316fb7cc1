use std::{fmt, str::FromStr, time::Duration};

use crate::{BuildError, NewRelic};

/// Where and how spans, or log records, are sent by OTLP. Needs the feature `otlp`, and `otlp-tls` for `https`.
///
/// # Examples
/// ```
/// use steeple_trace::{Otlp, Protocol};
///
/// let otlp = Otlp::new().protocol(Protocol::Grpc).endpoint("http://127.0.0.1:4317");
/// # let _unused = otlp;
/// ```
///
/// # Source
/// OpenTelemetry specification, protocol exporter; defaults are those of `OTEL_EXPORTER_OTLP_*`.
#[must_use = "options do nothing until a builder gets them"]
#[derive(Clone)]
pub struct Otlp {
    pub(crate) protocol: Protocol,
    endpoint: Option<String>,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) timeout: Duration,
    pub(crate) gzip: bool,
}

/// What is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Signal {
    Traces,
    Logs,
}

impl Signal {
    /// As it stands in variables.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Traces => "TRACES",
            Self::Logs => "LOGS",
        }
    }

    /// Where a receiver takes it over HTTP.
    pub(crate) fn path(self) -> &'static str {
        match self {
            Self::Traces => "/v1/traces",
            Self::Logs => "/v1/logs",
        }
    }
}

/// How OTLP travels.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Protocol {
    /// `http/protobuf`: to port 4318, unless the endpoint says otherwise.
    #[default]
    HttpProtobuf,
    /// `grpc`: to port 4317, unless the endpoint says otherwise.
    Grpc,
}

impl FromStr for Protocol {
    type Err = BuildError;

    fn from_str(text: &str) -> Result<Self, BuildError> {
        match text {
            "http/protobuf" => Ok(Self::HttpProtobuf),
            "grpc" => Ok(Self::Grpc),
            _ => Err(BuildError::setting("OTEL_EXPORTER_OTLP_PROTOCOL", text, "`http/protobuf` or `grpc`")),
        }
    }
}

impl Otlp {
    /// To a collector on this machine, over HTTP.
    pub fn new() -> Self {
        Self {
            protocol: Protocol::default(),
            endpoint: None,
            headers: Vec::new(),
            timeout: Duration::from_secs(10),
            gzip: false,
        }
    }

    /// HTTP or gRPC. Default: HTTP.
    pub fn protocol(mut self, protocol: Protocol) -> Self {
        self.protocol = protocol;
        self
    }

    /// The whole address, for HTTP with its path: `http://collector:4318/v1/traces`.
    pub fn endpoint(mut self, endpoint: impl Into<String>) -> Self {
        self.endpoint = Some(endpoint.into());
        self
    }

    /// Sends a header along, such as an API key.
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// How long one batch may take, retries included. Default: 10 seconds.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Compresses what is sent.
    pub fn gzip(mut self) -> Self {
        self.gzip = true;
        self
    }

    /// The address, given or default.
    pub(crate) fn address(&self, signal: Signal) -> &str {
        match (&self.endpoint, self.protocol, signal) {
            (Some(endpoint), _, _) => endpoint,
            (None, Protocol::HttpProtobuf, Signal::Traces) => "http://localhost:4318/v1/traces",
            (None, Protocol::HttpProtobuf, Signal::Logs) => "http://localhost:4318/v1/logs",
            (None, Protocol::Grpc, _) => "http://localhost:4317",
        }
    }

    /// The receiver's host and port.
    #[cfg(feature = "otlp")]
    pub(crate) fn receiver(&self, signal: Signal) -> Option<String> {
        let uri: http::Uri = self.address(signal).parse().ok()?;
        let port = uri.port_u16().unwrap_or(if uri.scheme_str() == Some("http") { 80 } else { 443 });
        Some(format!("{}:{port}", uri.host()?))
    }

    pub(crate) fn of_new_relic(new_relic: &NewRelic, signal: Signal) -> Self {
        Self::new().endpoint(new_relic.endpoint_of(signal)).header("api-key", new_relic.license_key()).gzip()
    }
}

impl Default for Otlp {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Otlp {
    /// Headers carry keys: their names alone are shown.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let headers: Vec<_> = self.headers.iter().map(|(name, _)| name).collect();
        f.debug_struct("Otlp")
            .field("protocol", &self.protocol)
            .field("endpoint", &self.endpoint)
            .field("headers", &headers)
            .finish_non_exhaustive()
    }
}
