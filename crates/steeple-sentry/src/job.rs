use sentry_core::{
    Envelope,
    protocol::{Breadcrumb, EnvelopeItem, Event, Exception, Request, Stacktrace, TraceId, Transaction, Value},
};
use steeple_core::{AttributeValue, End, Exchange};

use crate::{context::Context, event, head::Head, limit};

/// One envelope on its way.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) envelope: Envelope,
    /// The e-mail address and the client's address on it are what the privacy policy left, and stay.
    pub(crate) user_is_approved: bool,
    /// What its event does not say yet.
    pub(crate) late: Option<Box<Late>>,
}

/// What is true of every event of an exchange that is over: the helper thread fills it in, the request's does not wait for it.
#[derive(Debug)]
pub(crate) struct Late {
    pub(crate) exchange: Exchange,
    pub(crate) head: Head,
    pub(crate) own_trace: TraceId,
    pub(crate) end: End,
}

impl Late {
    /// `true`: the user on it is what the privacy policy left.
    pub(crate) fn fill(&self, event: &mut Event<'static>, context: &Context) -> bool {
        event::fill_end(event, &self.end);
        let about = event::About {
            exchange: &self.exchange,
            head: &self.head,
            own_trace: self.own_trace,
            elapsed: self.end.duration,
        };
        let user_is_approved = event::fill(event, &about, context);
        limit::event(event);
        user_is_approved
    }

    fn size(&self) -> usize {
        let attribute = |(key, value): &(steeple_core::Text, AttributeValue)| match value {
            AttributeValue::Text(text) => entry(key.as_str(), text.as_str().len()),
            AttributeValue::Int(_) | AttributeValue::Float(_) | AttributeValue::Bool(_) => entry(key.as_str(), 0),
        };
        sum(self.exchange.attributes().iter().map(attribute)).saturating_add(self.head.size())
    }
}

/// What an envelope takes at least: its maps, its contexts, its head.
const BASE: usize = 2048;
const FRAME: usize = 320;
const ENTRY: usize = 128;

impl Job {
    /// How much memory it takes, in bytes; an estimate that counts every text a client can make long.
    pub(crate) fn size(&self) -> usize {
        let late = self.late.as_ref().map_or(0, |late| late.size());
        self.envelope.items().map(item).fold(BASE.saturating_add(late), usize::saturating_add)
    }
}

fn item(item: &EnvelopeItem) -> usize {
    if let EnvelopeItem::Event(event) = item {
        self::event(event)
    } else if let EnvelopeItem::Transaction(transaction) = item {
        self::transaction(transaction)
    } else if let EnvelopeItem::Attachment(attachment) = item {
        attachment.buffer.len()
    } else {
        BASE
    }
}

fn event(event: &Event<'_>) -> usize {
    sum([
        text(event.message.as_ref()),
        text(event.transaction.as_ref()),
        event.logentry.as_ref().map_or(0, |entry| entry.message.len()),
        sum(event.exception.values.iter().map(exception)),
        sum(event.breadcrumbs.values.iter().map(breadcrumb)),
        sum(event.threads.values.iter().map(|thread| frames(thread.stacktrace.as_ref()))),
        frames(event.stacktrace.as_ref()),
        event.request.as_ref().map_or(0, request),
        sum(event.tags.iter().map(|(key, value)| entry(key, value.len()))),
        sum(event.extra.iter().map(|(key, one)| entry(key, value(one)))),
        event.contexts.len().saturating_mul(ENTRY),
    ])
}

fn transaction(transaction: &Transaction<'_>) -> usize {
    let spans = transaction.spans.iter().map(|span| {
        let data = sum(span.data.iter().map(|(key, one)| entry(key, value(one))));
        data.saturating_add(text(span.description.as_ref())).saturating_add(FRAME)
    });
    sum([
        text(transaction.name.as_ref()),
        sum(spans),
        transaction.request.as_ref().map_or(0, request),
        sum(transaction.tags.iter().map(|(key, value)| entry(key, value.len()))),
        sum(transaction.extra.iter().map(|(key, one)| entry(key, value(one)))),
    ])
}

fn exception(exception: &Exception) -> usize {
    text(exception.value.as_ref())
        .saturating_add(frames(exception.stacktrace.as_ref()))
        .saturating_add(frames(exception.raw_stacktrace.as_ref()))
}

fn breadcrumb(crumb: &Breadcrumb) -> usize {
    let data = sum(crumb.data.iter().map(|(key, one)| entry(key, value(one))));
    data.saturating_add(text(crumb.message.as_ref())).saturating_add(ENTRY)
}

fn request(request: &Request) -> usize {
    sum([
        request.url.as_ref().map_or(0, |url| url.as_str().len()),
        text(request.data.as_ref()),
        text(request.query_string.as_ref()),
        text(request.cookies.as_ref()),
        sum(request.headers.iter().map(|(name, value)| entry(name, value.len()))),
        sum(request.env.iter().map(|(name, value)| entry(name, value.len()))),
    ])
}

fn frames(stacktrace: Option<&Stacktrace>) -> usize {
    stacktrace.map_or(0, |stacktrace| stacktrace.frames.len().saturating_mul(FRAME))
}

fn entry(key: &str, value: usize) -> usize {
    key.len().saturating_add(value).saturating_add(ENTRY)
}

/// Without recursion: no depth overflows the stack.
fn value(value: &Value) -> usize {
    let mut open = vec![value];
    let mut size = 0_usize;
    while let Some(value) = open.pop() {
        size = size.saturating_add(match value {
            Value::Null | Value::Bool(_) | Value::Number(_) => 32,
            Value::String(text) => text.len(),
            Value::Array(values) => {
                open.extend(values);
                ENTRY
            }
            Value::Object(map) => {
                open.extend(map.values());
                sum(map.keys().map(|key| entry(key, 0)))
            }
        });
    }
    size
}

fn text(text: Option<&String>) -> usize {
    text.map_or(0, String::len)
}

fn sum(sizes: impl IntoIterator<Item = usize>) -> usize {
    sizes.into_iter().fold(0, usize::saturating_add)
}

#[cfg(test)]
mod tests {
    use sentry_core::protocol::Attachment;

    use super::*;

    #[track_caller]
    fn check(envelope: Envelope) {
        let size = Job { envelope, user_is_approved: false, late: None }.size();
        assert!((1_000_000..1_100_000).contains(&size), "{size}");
    }

    fn event(change: impl FnOnce(&mut Event<'static>, String)) -> Envelope {
        let mut event = Event::default();
        change(&mut event, "x".repeat(1_000_000));
        event.into()
    }

    #[test]
    fn whatever_a_client_can_make_long_counts() {
        check(event(|event, text| event.message = Some(text)));
        check(event(|event, text| {
            event.exception.values.push(Exception { value: Some(text), ..Exception::default() });
        }));
        check(event(|event, text| {
            event.breadcrumbs.values.push(Breadcrumb { message: Some(text), ..Breadcrumb::default() });
        }));
        check(event(|event, text| {
            event.extra.insert("a".to_owned(), serde_json::json!({ "b": [{ "c": text }] }));
        }));
        check(event(|event, text| event.request = Some(Request { query_string: Some(text), ..Request::default() })));
        let mut attached = event(|_, _| {});
        attached.add_item(Attachment { buffer: vec![0; 1_000_000], filename: "a".to_owned(), ..Attachment::default() });
        check(attached);
    }
}
