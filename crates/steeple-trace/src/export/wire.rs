//! How a request of OTLP travels: as `http/protobuf`, or as one message of gRPC.

use std::{io::Write, sync::Arc};

use flate2::{Compression, write::GzEncoder};
use http::{HeaderMap, HeaderName, HeaderValue, header};
use opentelemetry_sdk::Resource;
use steeple_export::{Answer, Client, ClientBuilder, Endpoint, Reason, Request, Response};
use steeple_scrub::Scrubbed;

use super::{
    Encoded, answer,
    payload::{self, request},
};
use crate::{
    BuildError, Otlp, Protocol,
    otlp::{Signal, header_value},
    scrub::Bounds,
};

/// A way to a receiver.
#[derive(Clone, Debug)]
pub(crate) struct Wire {
    endpoint: Endpoint,
    headers: Arc<HeaderMap>,
    protocol: Protocol,
    gzip: bool,
    resource: Arc<[u8]>,
}

impl Wire {
    pub(crate) fn new(otlp: &Otlp, signal: Signal, of_process: &Resource, bounds: &Bounds) -> Result<Self, BuildError> {
        let mut endpoint = Endpoint::parse(&otlp.url(signal)).map_err(BuildError::exporter)?;
        if otlp.protocol == Protocol::Grpc {
            endpoint = endpoint.join(signal.method()).map_err(BuildError::exporter)?;
        }
        let mut headers = HeaderMap::new();
        for (name, value) in &otlp.headers {
            let name: HeaderName = name.parse().map_err(BuildError::exporter)?;
            // The error does not show the value.
            let value = header_value(value).ok_or_else(|| {
                BuildError::exporter(format!("the value of the header `{name}` is not one line of ASCII text"))
            })?;
            headers.insert(name, value);
        }
        let resource = Arc::from(payload::resource(of_process, bounds));
        Ok(Self { endpoint, headers: Arc::new(headers), protocol: otlp.protocol, gzip: otlp.gzip, resource })
    }

    pub(crate) fn request(&self, batch: &[Scrubbed<Encoded>]) -> Result<Request, Reason> {
        let message = request(&self.resource, batch);
        let mut sent = Request::post(&self.endpoint);
        for (name, value) in &*self.headers {
            sent = sent.header(name.clone(), value.clone());
        }
        Ok(match self.protocol {
            Protocol::HttpProtobuf => {
                let sent = sent.content_type("application/x-protobuf").body(message);
                if self.gzip { sent.gzip() } else { sent }
            }
            Protocol::Grpc => {
                let mut sent = sent.content_type("application/grpc").http2();
                sent = sent.header(header::TE, HeaderValue::from_static("trailers"));
                if self.gzip {
                    sent = sent.header(HeaderName::from_static("grpc-encoding"), HeaderValue::from_static("gzip"));
                }
                sent.body(framed(&message, self.gzip)?)
            }
        })
    }

    pub(crate) fn judge(&self, response: &Response, items: usize) -> Answer {
        match self.protocol {
            Protocol::HttpProtobuf => answer::of_http(response, items),
            Protocol::Grpc => answer::of_grpc(response, items),
        }
    }
}

/// A message with the prefix that gRPC puts before it: whether it is compressed, and its length.
fn framed(message: &[u8], gzip: bool) -> Result<Vec<u8>, Reason> {
    let compressed;
    let message = if gzip {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(message).map_err(|error| Reason::of_error(&error))?;
        compressed = encoder.finish().map_err(|error| Reason::of_error(&error))?;
        &compressed
    } else {
        message
    };
    let length = u32::try_from(message.len()).map_err(|_too_long| Reason::from("a message of more than 4 GiB"))?;
    let mut frame = Vec::with_capacity(message.len().saturating_add(5));
    frame.push(u8::from(gzip));
    frame.extend_from_slice(&length.to_be_bytes());
    frame.extend_from_slice(message);
    Ok(frame)
}

/// The client for a receiver.
pub(crate) fn client(otlp: &Otlp, http: &ClientBuilder, wire: &Wire) -> Result<Client, BuildError> {
    let mut client = Client::builder().max_response_bytes(64 << 10);
    if let Some(file) = &otlp.ca_file {
        client = client.ca_file(file);
    }
    let client = client.or(http).build().map_err(BuildError::exporter)?;
    client.check(&wire.endpoint).map_err(BuildError::exporter)?;
    Ok(client)
}
