use std::{collections::HashMap, time::Duration};

use opentelemetry_http::hyper::HyperClient;
use opentelemetry_otlp::{
    Compression, Protocol as Wire, RetryPolicy, SpanExporter, WithExportConfig, WithHttpConfig, WithTonicConfig,
    tonic_types::metadata::MetadataMap,
};

use crate::{BuildError, Otlp, Protocol};

/// Makes the exporter, inside of the runtime that will drive it.
pub(crate) fn exporter(otlp: &Otlp) -> Result<SpanExporter, BuildError> {
    // What is retried, the protocol says; all attempts together end at the timeout.
    let retries = RetryPolicy::recommended()
        .with_max_retries(8)
        .with_initial_delay(Duration::from_millis(200))
        .with_max_delay(Duration::from_secs(5));
    let built = match otlp.protocol {
        Protocol::HttpProtobuf => {
            let mut builder = SpanExporter::builder()
                .with_http()
                .with_protocol(Wire::HttpBinary)
                .with_endpoint(otlp.address())
                .with_timeout(otlp.timeout)
                .with_headers(otlp.headers.iter().cloned().collect::<HashMap<_, _>>())
                .with_retry_policy(retries);
            builder = if otlp.address().starts_with("https:") {
                builder.with_http_client(tls_client(otlp.timeout)?)
            } else {
                builder.with_http_client(HyperClient::with_default_connector(otlp.timeout, None))
            };
            if otlp.gzip {
                builder = builder.with_compression(Compression::Gzip);
            }
            builder.build()
        }
        Protocol::Grpc => {
            let headers: http::HeaderMap =
                (&otlp.headers.iter().cloned().collect::<HashMap<_, _>>()).try_into().map_err(BuildError::exporter)?;
            let mut builder = SpanExporter::builder()
                .with_tonic()
                .with_endpoint(otlp.address())
                .with_timeout(otlp.timeout)
                .with_metadata(MetadataMap::from_headers(headers))
                .with_retry_policy(retries);
            #[cfg(feature = "otlp-tls")]
            if otlp.address().starts_with("https:") {
                // By default the exporter knows no authority at all.
                use opentelemetry_otlp::tonic_types::transport::ClientTlsConfig;
                builder = builder.with_tls_config(ClientTlsConfig::new().with_native_roots());
            }
            if otlp.gzip {
                builder = builder.with_compression(Compression::Gzip);
            }
            builder.build()
        }
    };
    built.map_err(BuildError::exporter)
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
