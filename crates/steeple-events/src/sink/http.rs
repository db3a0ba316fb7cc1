use http::HeaderValue;
use steeple_export::{Endpoint, Http, HttpOptions, Pipeline, Protocol};

use crate::{BuildError, Outgoing, SinkContext, Tracked, settling::Feeding};

/// Starts the pipeline of a sink over HTTP. `batch` is the most events and bytes of one request.
///
/// # Errors
/// When the client cannot be made, does not reach such an endpoint (plain HTTP beyond this machine), or no thread starts.
pub fn start<P, F>(
    http: HttpOptions,
    context: &SinkContext,
    name: &'static str,
    endpoint: &Endpoint,
    batch: (usize, usize),
    make: F,
) -> Result<Pipeline<Tracked>, BuildError>
where
    P: Protocol<Item = Tracked, Ready = Outgoing>,
    F: FnMut() -> P + Send + 'static,
{
    start_with(http, context, name, endpoint, batch, Feeding::default(), make)
}

pub(super) fn start_with<P, F>(
    http: HttpOptions,
    context: &SinkContext,
    name: &'static str,
    endpoint: &Endpoint,
    batch: (usize, usize),
    feeding: Feeding,
    mut make: F,
) -> Result<Pipeline<Tracked>, BuildError>
where
    P: Protocol<Item = Tracked, Ready = Outgoing>,
    F: FnMut() -> P + Send + 'static,
{
    let http = http.http_or(context.http());
    // Items on disk are tried for as long as the receiver accepts them.
    let http = if context.is_durable() { http.patient() } else { http };
    let client = http.client_for(endpoint).map_err(|error| BuildError::sink(name, error))?;
    let (items, bytes) = batch;
    let pipeline = http.pipeline(name).batch_bytes(bytes);
    context.pipeline_with(name, pipeline, items, feeding, move || Ok(Http::new(client.clone(), make())))
}

/// The same for deliveries of several requests.
#[cfg(feature = "elasticsearch")]
pub(super) fn start_exporter<E, F>(
    http: HttpOptions,
    context: &SinkContext,
    name: &'static str,
    endpoint: &Endpoint,
    (items, bytes): (usize, usize),
    mut make: F,
) -> Result<Pipeline<Tracked>, BuildError>
where
    E: steeple_export::Exporter<Item = Tracked, Ready = Outgoing>,
    F: FnMut(steeple_export::Client) -> E + Send + 'static,
{
    let http = http.http_or(context.http());
    let http = if context.is_durable() { http.patient() } else { http };
    let client = http.client_for(endpoint).map_err(|error| BuildError::sink(name, error))?;
    let pipeline = http.pipeline(name).batch_bytes(bytes);
    context.pipeline(name, pipeline, items, move || Ok(make(client.clone())))
}

/// An endpoint from a URL that was configured.
///
/// # Errors
/// When it is not a URL. What it holds is not shown.
pub fn endpoint(setting: &'static str, url: &str) -> Result<Endpoint, BuildError> {
    Endpoint::parse(url).map_err(|_unusable| BuildError::setting(setting, "a URL such as `https://example.org/path`"))
}

/// A header's value that is a key: it is not shown anywhere.
///
/// # Errors
/// When it cannot be the value of a header.
pub fn secret(setting: &'static str, value: &str) -> Result<HeaderValue, BuildError> {
    let mut value = HeaderValue::from_str(value)
        .map_err(|_invalid| BuildError::setting(setting, "a key without line breaks and other control characters"))?;
    value.set_sensitive(true);
    Ok(value)
}

/// The settings that every sink of a vendor has.
macro_rules! vendor {
    ($sink:ident, $vendor:literal, $region:ident, $default:literal) => {
        impl $sink {
            #[doc = concat!("Where the data lives at ", $vendor, ". Default: [`", $default, "`](", stringify!($region), ").")]
            pub fn region(mut self, region: $region) -> Self {
                self.region = region;
                self
            }

            #[doc = concat!("The scheme and host of ", $vendor, ", or of a proxy for it. Default: the region's.")]
            pub fn endpoint(mut self, url: impl Into<String>) -> Self {
                self.endpoint = Some(url.into());
                self
            }
        }
        $crate::sink::http::reached!($sink, $vendor);
    };
}

/// The setting that every sink over HTTP has.
macro_rules! reached {
    ($sink:ident, $vendor:literal) => {
        impl $sink {
            #[doc = concat!("Changes how ", $vendor, " is reached, and how much may wait for it.")]
            pub fn http(
                mut self,
                change: impl FnOnce(steeple_export::HttpOptions) -> steeple_export::HttpOptions,
            ) -> Self {
                self.http = change(self.http);
                self
            }
        }
    };
}

pub(super) use {reached, vendor};
