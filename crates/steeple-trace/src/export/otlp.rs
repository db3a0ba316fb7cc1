use std::{collections::HashMap, time::Duration};

use opentelemetry_http::hyper::HyperClient;
use opentelemetry_otlp::{
    Compression, LogExporter, Protocol as Wire, RetryPolicy, SpanExporter, WithExportConfig, WithHttpConfig,
    WithTonicConfig, tonic_types::metadata::MetadataMap,
};

use crate::{BuildError, Otlp, Protocol, otlp::Signal};

/// Makes the exporter of spans, inside of the runtime that will drive it.
pub(crate) fn span_exporter(otlp: &Otlp) -> Result<SpanExporter, BuildError> {
    let address = otlp.address(Signal::Traces);
    let built = match otlp.protocol {
        Protocol::HttpProtobuf => over_http(SpanExporter::builder().with_http(), otlp, address)?.build(),
        Protocol::Grpc => over_grpc(SpanExporter::builder().with_tonic(), otlp, address)?.build(),
    };
    built.map_err(BuildError::exporter)
}

/// Makes the exporter of log records, inside of the runtime that will drive it.
pub(crate) fn log_exporter(otlp: &Otlp) -> Result<LogExporter, BuildError> {
    let address = otlp.address(Signal::Logs);
    let built = match otlp.protocol {
        Protocol::HttpProtobuf => over_http(LogExporter::builder().with_http(), otlp, address)?.build(),
        Protocol::Grpc => over_grpc(LogExporter::builder().with_tonic(), otlp, address)?.build(),
    };
    built.map_err(BuildError::exporter)
}

/// What is retried, the protocol says; all attempts together end at the timeout.
fn retries() -> RetryPolicy {
    RetryPolicy::recommended()
        .with_max_retries(8)
        .with_initial_delay(Duration::from_millis(200))
        .with_max_delay(Duration::from_secs(5))
}

fn over_http<B: WithExportConfig + WithHttpConfig>(builder: B, otlp: &Otlp, address: &str) -> Result<B, BuildError> {
    let mut builder = builder
        .with_protocol(Wire::HttpBinary)
        .with_endpoint(address)
        .with_timeout(otlp.timeout)
        .with_headers(otlp.headers.iter().cloned().collect::<HashMap<_, _>>())
        .with_retry_policy(retries());
    builder = if address.starts_with("https:") {
        builder.with_http_client(tls_client(otlp.timeout)?)
    } else {
        builder.with_http_client(HyperClient::with_default_connector(otlp.timeout, None))
    };
    Ok(if otlp.gzip { builder.with_compression(Compression::Gzip) } else { builder })
}

fn over_grpc<B: WithExportConfig + WithTonicConfig>(builder: B, otlp: &Otlp, address: &str) -> Result<B, BuildError> {
    let headers: http::HeaderMap =
        (&otlp.headers.iter().cloned().collect::<HashMap<_, _>>()).try_into().map_err(BuildError::exporter)?;
    let mut builder = builder
        .with_endpoint(address)
        .with_timeout(otlp.timeout)
        .with_metadata(MetadataMap::from_headers(headers))
        .with_retry_policy(retries());
    #[cfg(feature = "otlp-tls")]
    if !address.starts_with("http:") {
        // An address without a scheme is one for TLS too. By default the exporter knows no authority at all.
        use opentelemetry_otlp::tonic_types::transport::ClientTlsConfig;
        builder = builder.with_tls_config(ClientTlsConfig::new().with_native_roots());
    }
    if otlp.gzip {
        builder = builder.with_compression(Compression::Gzip);
    }
    Ok(builder)
}

#[cfg(feature = "otlp-tls")]
fn tls_client(timeout: Duration) -> Result<impl opentelemetry_http::HttpClient + 'static, BuildError> {
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    let connector = hyper_rustls::HttpsConnectorBuilder::new()
        .with_provider_and_native_roots(provider)
        .map_err(BuildError::exporter)?
        .https_only()
        .enable_http1()
        .build();
    Ok(HyperClient::new(connector, timeout, None))
}

#[cfg(not(feature = "otlp-tls"))]
fn tls_client(_timeout: Duration) -> Result<HyperClient, BuildError> {
    Err(BuildError::exporter("`https` needs the feature `otlp-tls`"))
}
