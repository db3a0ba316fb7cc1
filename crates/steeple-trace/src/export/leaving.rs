//! The last station before the exporter: secrets out, lengths bounded. Runs on the exporter's thread.

use opentelemetry::{KeyValue, trace::Status};
use opentelemetry_sdk::trace::SpanData;
use steeple_scrub::Scrubbed;

use crate::{attributes::settle, scrub::Bounds};

impl Bounds {
    pub(crate) fn apply(&self, span: SpanData) -> Scrubbed<SpanData> {
        let safe = self.scrubber.scrub_with(span, |_, span| self.scrub(span));
        if let Some(kept) = &self.kept {
            kept.record(&safe);
        }
        safe
    }

    fn scrub(&self, span: &mut SpanData) {
        if let Some(name) = self.changed_name(&span.name) {
            span.name = name.into();
        }
        if let Status::Error { description } = &span.status
            && let Some(description) = self.bounded(self.scrubber.text(description), description)
        {
            span.status = Status::error(description);
        }
        if settle(&self.scrubber, &mut span.attributes) {
            let dropped = span.attributes.len().saturating_sub(self.max_attributes);
            span.attributes.truncate(self.max_attributes);
            span.dropped_attributes_count =
                span.dropped_attributes_count.saturating_add(u32::try_from(dropped).unwrap_or(u32::MAX));
        }
        last_wins(&mut span.attributes);
        span.attributes.iter_mut().for_each(|attribute| self.attribute(attribute));
        for event in &mut span.events.events {
            event.attributes.iter_mut().for_each(|attribute| self.attribute(attribute));
            if let Some(name) = self.changed_name(&event.name) {
                event.name = name.into();
            }
        }
        for link in &mut span.links.links {
            link.attributes.iter_mut().for_each(|attribute| self.attribute(attribute));
        }
    }
}

/// The SDK keeps an attribute that was set twice twice; the protocol does not allow it.
fn last_wins(attributes: &mut Vec<KeyValue>) {
    let mut place = 0;
    while let Some(attribute) = attributes.get(place) {
        let rest = attributes.get(place.saturating_add(1)..).unwrap_or_default();
        if rest.iter().any(|other| other.key == attribute.key) {
            attributes.remove(place);
        } else {
            place = place.saturating_add(1);
        }
    }
}
