use std::{fmt, path::PathBuf, str::FromStr, time::Duration};

use crate::BuildError;

/// Where and how spans, or log records, are sent by OTLP. Needs the feature `otlp`, and `tls-ring` or `tls-aws-lc` for
/// `https`.
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
    pub(crate) ca_file: Option<PathBuf>,
}

/// A header's value, sensitive. `None` for line breaks and for everything that is not ASCII, which receivers do not read.
pub(crate) fn header_value(text: &str) -> Option<http::HeaderValue> {
    // `from_str` lets bytes above 127 pass.
    let mut value = http::HeaderValue::from_str(text).ok().filter(|_| text.is_ascii())?;
    value.set_sensitive(true);
    Some(value)
}

/// The kind of data that is sent.
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

    /// The path over HTTP.
    pub(crate) fn path(self) -> &'static str {
        match self {
            Self::Traces => "/v1/traces",
            Self::Logs => "/v1/logs",
        }
    }

    /// The path over gRPC: service and method.
    pub(crate) fn method(self) -> &'static str {
        match self {
            Self::Traces => "/opentelemetry.proto.collector.trace.v1.TraceService/Export",
            Self::Logs => "/opentelemetry.proto.collector.logs.v1.LogsService/Export",
        }
    }
}

/// The transport of OTLP.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Protocol {
    /// `http/protobuf`: to port 4318, unless the endpoint has another.
    #[default]
    HttpProtobuf,
    /// `grpc`: to port 4317, unless the endpoint has another.
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
            ca_file: None,
        }
    }

    /// HTTP or gRPC. Default: HTTP.
    pub fn protocol(mut self, protocol: Protocol) -> Self {
        self.protocol = protocol;
        self
    }

    /// The whole URL, for HTTP with its path: `http://collector:4318/v1/traces`. A user and a password in it become the
    /// header `authorization`. Over gRPC it may lack the scheme, which is `https` then.
    pub fn endpoint(mut self, endpoint: impl Into<String>) -> Self {
        self.endpoint = Some(endpoint.into());
        self
    }

    /// Adds a header to each request, such as an API key.
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// How long one attempt may take. Default: 10 seconds. How long a batch is tried:
    /// [`TraceBuilder::export_timeout`](crate::TraceBuilder::export_timeout).
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Trusts the certificates in this PEM file, in place of the system's.
    pub fn ca_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.ca_file = Some(path.into());
        self
    }

    /// Compresses requests.
    pub fn gzip(mut self) -> Self {
        self.gzip = true;
        self
    }

    /// The URL, given or default.
    pub(crate) fn url(&self, signal: Signal) -> String {
        match (&self.endpoint, self.protocol) {
            (Some(endpoint), Protocol::Grpc) if !endpoint.contains("://") => format!("https://{endpoint}"),
            (Some(endpoint), _) => endpoint.clone(),
            (None, Protocol::HttpProtobuf) => format!("http://localhost:4318{}", signal.path()),
            (None, Protocol::Grpc) => "http://localhost:4317".to_owned(),
        }
    }

    /// The receiver's host and port.
    #[cfg(feature = "otlp")]
    pub(crate) fn receiver(&self, signal: Signal) -> Option<String> {
        let uri: http::Uri = self.url(signal).parse().ok()?;
        let port = uri.port_u16().unwrap_or(if uri.scheme_str() == Some("http") { 80 } else { 443 });
        Some(format!("{}:{port}", uri.host()?))
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
        // So do URLs, before the host and in the query.
        let host = self.endpoint.as_deref().and_then(|url| url.parse::<http::Uri>().ok());
        let host = host.as_ref().and_then(http::Uri::host);
        f.debug_struct("Otlp")
            .field("protocol", &self.protocol)
            .field("host", &host)
            .field("headers", &headers)
            .finish_non_exhaustive()
    }
}
