//! The envelope that OTLP has for each signal: resource, scopes, items. Items are encoded when they are scrubbed, so that a
//! batch that is split or sent again is not encoded again.

use opentelemetry::InstrumentationScope;
use opentelemetry_proto::tonic::{common::v1 as common, resource::v1::Resource as ResourceMessage};
use opentelemetry_sdk::Resource;
use prost::{
    Message,
    encoding::{WireType, encode_key, encode_varint},
};
use steeple_scrub::Scrubbed;

use crate::scrub::Bounds;

/// Fields of the messages around the items. The same for spans, log records and metrics.
mod tag {
    /// Of `Export…ServiceRequest`.
    pub(super) const RESOURCE_ITEMS: u32 = 1;
    /// Of `Resource…`.
    pub(super) const RESOURCE: u32 = 1;
    /// Of `Resource…`.
    pub(super) const SCOPE_ITEMS: u32 = 2;
    /// Of `Scope…`.
    pub(super) const SCOPE: u32 = 1;
    /// Of `Scope…`.
    pub(super) const ITEMS: u32 = 2;
    /// Of `Scope…`.
    pub(super) const SCHEMA_URL: u32 = 3;
}

/// An item as it is sent.
#[derive(Debug, PartialEq)]
pub(crate) struct Encoded {
    /// Its scope: the fields of `Scope…` without the items.
    scope: Box<[u8]>,
    /// The item's message.
    item: Box<[u8]>,
}

impl Encoded {
    pub(crate) fn new(scope: &InstrumentationScope, item: &impl Message) -> Self {
        let mut fields = Vec::new();
        push(&mut fields, tag::SCOPE, &common::InstrumentationScope::from((scope, None)).encode_to_vec());
        if let Some(schema) = scope.schema_url() {
            push(&mut fields, tag::SCHEMA_URL, schema.as_bytes());
        }
        Self { scope: fields.into_boxed_slice(), item: item.encode_to_vec().into_boxed_slice() }
    }

    /// With a scope that has a name alone.
    pub(crate) fn named(scope: String, item: &impl Message) -> Self {
        let scope = common::InstrumentationScope { name: scope, ..common::InstrumentationScope::default() };
        let mut fields = Vec::new();
        push(&mut fields, tag::SCOPE, &scope.encode_to_vec());
        Self { scope: fields.into_boxed_slice(), item: item.encode_to_vec().into_boxed_slice() }
    }
}

/// The resource as it is in each request.
pub(crate) fn resource(resource: &Resource, bounds: &Bounds) -> Box<[u8]> {
    let attribute = |(key, value): (&opentelemetry::Key, &opentelemetry::Value)| {
        let mut attribute = opentelemetry::KeyValue::new(key.clone(), value.clone());
        bounds.attribute(&mut attribute);
        common::KeyValue {
            key: attribute.key.as_str().to_owned(),
            value: Some(attribute.value.into()),
            ..common::KeyValue::default()
        }
    };
    let attributes = resource.iter().map(attribute).collect();
    let message = ResourceMessage { attributes, ..ResourceMessage::default() };
    let mut field = Vec::new();
    push(&mut field, tag::RESOURCE, &message.encode_to_vec());
    field.into_boxed_slice()
}

/// The request for a batch. Items of one scope are together, in their order.
pub(crate) fn request(resource: &[u8], batch: &[Scrubbed<Encoded>]) -> Vec<u8> {
    let mut scopes: Vec<(&[u8], Vec<&Encoded>)> = Vec::new();
    for item in batch {
        match scopes.iter_mut().find(|(scope, _)| **scope == *item.scope) {
            Some((_, items)) => items.push(item),
            None => scopes.push((&item.scope, vec![item])),
        }
    }
    let mut of_resource = resource.to_vec();
    for (scope, items) in scopes {
        let mut of_scope = scope.to_vec();
        for item in items {
            push(&mut of_scope, tag::ITEMS, &item.item);
        }
        push(&mut of_resource, tag::SCOPE_ITEMS, &of_scope);
    }
    let mut request = Vec::with_capacity(of_resource.len().saturating_add(8));
    push(&mut request, tag::RESOURCE_ITEMS, &of_resource);
    request
}

fn push(out: &mut Vec<u8>, tag: u32, bytes: &[u8]) {
    encode_key(tag, WireType::LengthDelimited, out);
    encode_varint(bytes.len() as u64, out);
    out.extend_from_slice(bytes);
}

#[cfg(test)]
mod tests {
    use opentelemetry::KeyValue;
    use opentelemetry_proto::tonic::{collector::trace::v1::ExportTraceServiceRequest, trace::v1::Span};
    use steeple_scrub::Scrubber;

    use super::*;

    #[test]
    fn a_request_reads_back_as_what_went_in_grouped_by_scope() {
        let bounds = Bounds { scrubber: Scrubber::default(), max_value: 100, max_attributes: 128, kept: None };
        let of_process = Resource::builder_empty()
            .with_attributes([KeyValue::new("service.name", "board"), KeyValue::new("db.password", "hunter2")])
            .build();
        let scope = |name: &'static str| {
            InstrumentationScope::builder(name).with_version("1").with_schema_url("https://schema.example").build()
        };
        let span = |name: &str| Span { name: name.to_owned(), ..Span::default() };
        let ready = |item| Scrubber::default().scrub_with(item, |_, _| ());
        let batch = [
            ready(Encoded::new(&scope("a"), &span("1"))),
            ready(Encoded::named("b".to_owned(), &span("2"))),
            ready(Encoded::new(&scope("a"), &span("3"))),
        ];
        let bytes = request(&resource(&of_process, &bounds), &batch);
        let read = ExportTraceServiceRequest::decode(&bytes[..]).unwrap();
        let [resource] = &read.resource_spans[..] else { panic!("{read:?}") };
        let text = format!("{:?}", resource.resource);
        assert!(text.contains("board") && text.contains("db.password") && !text.contains("hunter2"), "{text}");
        let scopes: Vec<_> = resource
            .scope_spans
            .iter()
            .map(|spans| {
                let scope = spans.scope.as_ref().unwrap();
                let names: Vec<_> = spans.spans.iter().map(|span| span.name.as_str()).collect();
                (scope.name.as_str(), scope.version.as_str(), spans.schema_url.as_str(), names)
            })
            .collect();
        assert_eq!(scopes, [("a", "1", "https://schema.example", vec!["1", "3"]), ("b", "", "", vec!["2"])]);
    }
}
