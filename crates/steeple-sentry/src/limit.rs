//! Cuts texts where they are captured, so that waiting events are as bounded as sent ones.
//!
//! Sentry shows at most 8,192 characters of a message: an event that waits for its exchange, or in the queue, need not hold
//! much more. Twice that is kept, so that the scrubber, which comes later, sees a secret at the cut as a whole.

use std::{collections::BTreeMap, sync::Arc};

use sentry_core::{
    BeforeCallback, Envelope,
    protocol::{Breadcrumb, EnvelopeItem, Event, Exception, ItemContainer, LogAttribute, Map, Request, User, Value},
};
use steeple_core::text;

/// Most bytes of a message, of an error's text or of all texts of a structured value.
const MAX_TEXT: usize = 16 * 1024;

/// Most bytes of a breadcrumb's message, and of its data. A hundred of them may wait with an exchange.
const MAX_CRUMB: usize = 4 * 1024;

/// Most bytes of a tag, a name or a part of a user. Sentry takes 200 characters of most of them.
const MAX_NAME: usize = 1024;

/// Cuts breadcrumbs, then calls the former callback.
pub(crate) fn breadcrumbs(then: Option<BeforeCallback<Breadcrumb>>) -> BeforeCallback<Breadcrumb> {
    Arc::new(move |mut one| {
        breadcrumb(&mut one);
        match &then {
            Some(then) => then(one),
            None => Some(one),
        }
    })
}

/// Cuts the texts of an envelope's items. One of raw bytes stays as it is.
pub(crate) fn envelope(envelope: Envelope) -> Envelope {
    if envelope.items().next().is_none() {
        return envelope;
    }
    let mut out = Envelope::new().with_headers(envelope.headers().clone());
    for mut one in envelope.into_items() {
        item(&mut one);
        out.add_item(one);
    }
    out
}

fn item(item: &mut EnvelopeItem) {
    if let EnvelopeItem::Event(one) = item {
        event(one);
    } else if let EnvelopeItem::Transaction(one) = item {
        optional(&mut one.name, MAX_NAME);
        one.request.iter_mut().for_each(request);
        one.user.iter_mut().for_each(user);
        tags(&mut one.tags);
        values(&mut one.extra, MAX_TEXT);
        for span in &mut one.spans {
            optional(&mut span.description, MAX_TEXT);
            tags(&mut span.tags);
            values(&mut span.data, MAX_TEXT);
        }
    } else if let EnvelopeItem::ItemContainer(ItemContainer::Logs(logs)) = item {
        for log in logs {
            string(&mut log.body, MAX_TEXT);
            let mut room = MAX_TEXT;
            log.attributes.values_mut().for_each(|LogAttribute(one)| value(one, &mut room));
        }
    }
}

/// Cuts the texts of an event.
pub(crate) fn event(event: &mut Event<'_>) {
    optional(&mut event.message, MAX_TEXT);
    optional(&mut event.transaction, MAX_NAME);
    optional(&mut event.culprit, MAX_NAME);
    optional(&mut event.logger, MAX_NAME);
    if let Some(entry) = &mut event.logentry {
        string(&mut entry.message, MAX_TEXT);
        let mut room = MAX_TEXT;
        entry.params.iter_mut().for_each(|one| value(one, &mut room));
    }
    event.exception.values.iter_mut().for_each(exception);
    event.breadcrumbs.values.iter_mut().for_each(breadcrumb);
    event.request.iter_mut().for_each(request);
    event.user.iter_mut().for_each(user);
    tags(&mut event.tags);
    values(&mut event.extra, MAX_TEXT);
}

fn exception(exception: &mut Exception) {
    string(&mut exception.ty, MAX_NAME);
    optional(&mut exception.value, MAX_TEXT);
}

fn breadcrumb(breadcrumb: &mut Breadcrumb) {
    optional(&mut breadcrumb.message, MAX_CRUMB);
    optional(&mut breadcrumb.category, MAX_NAME);
    values(&mut breadcrumb.data, MAX_CRUMB);
}

fn request(request: &mut Request) {
    optional(&mut request.data, MAX_TEXT);
    optional(&mut request.query_string, MAX_TEXT);
    optional(&mut request.cookies, MAX_TEXT);
    request.headers.values_mut().for_each(|header| string(header, MAX_CRUMB));
}

fn user(user: &mut User) {
    optional(&mut user.id, MAX_NAME);
    optional(&mut user.email, MAX_NAME);
    optional(&mut user.username, MAX_NAME);
    values(&mut user.other, MAX_NAME);
}

fn tags(tags: &mut BTreeMap<String, String>) {
    for tag in tags.values_mut() {
        string(tag, MAX_NAME);
    }
}

fn values(values: &mut Map<String, Value>, max: usize) {
    let mut room = max;
    for one in values.values_mut() {
        value(one, &mut room);
    }
}

/// Cuts all texts of a value together to the rest of `room`. Without recursion: no depth overflows the stack.
fn value(value: &mut Value, room: &mut usize) {
    let mut open = vec![value];
    while let Some(value) = open.pop() {
        match value {
            Value::Null | Value::Bool(_) | Value::Number(_) => (),
            Value::String(text) => {
                string(text, *room);
                *room = room.saturating_sub(text.len());
            }
            Value::Array(values) => {
                // Each takes memory, even without text.
                values.truncate(room.div_euclid(size_of::<Value>()));
                open.extend(values);
            }
            Value::Object(map) => open.extend(map.values_mut()),
        }
    }
}

fn optional(text: &mut Option<String>, max: usize) {
    if let Some(text) = text {
        string(text, max);
    }
}

/// In a new, shorter allocation.
fn string(text: &mut String, max: usize) {
    if text.len() > max {
        *text = text::cut(text, max).to_owned();
    }
}

#[cfg(test)]
mod tests {
    use sentry_core::protocol::{Log, Transaction};
    use serde_json::json;

    use super::*;
    use crate::job::Job;

    const LONG: usize = 2_000_000;

    #[track_caller]
    fn is_cut(envelope: Envelope) {
        let size = Job { envelope: self::envelope(envelope), user_is_approved: false, late: None }.size();
        assert!(size < 100_000, "{size} bytes");
    }

    #[test]
    fn whatever_a_client_can_make_long_is_cut() {
        let text = || "ü".repeat(LONG / 2);
        let event = |change: &dyn Fn(&mut Event<'static>)| {
            let mut event = Event::default();
            change(&mut event);
            is_cut(event.into());
        };
        event(&|event| event.message = Some(text()));
        event(&|event| event.transaction = Some(text()));
        event(&|event| event.exception.values.push(Exception { value: Some(text()), ..Exception::default() }));
        event(&|event| event.breadcrumbs.values.push(Breadcrumb { message: Some(text()), ..Breadcrumb::default() }));
        event(&|event| {
            event.extra.insert("a".to_owned(), json!({ "b": [{ "c": text() }, text()] }));
        });
        event(&|event| {
            event.tags.insert("a".to_owned(), text());
        });
        event(&|event| event.user = Some(User { id: Some(text()), email: Some(text()), ..User::default() }));
        event(&|event| event.request = Some(Request { query_string: Some(text()), ..Request::default() }));
        is_cut(Transaction { name: Some(text()), ..Transaction::default() }.into());
    }

    #[test]
    fn logs_and_breadcrumbs_are_cut() {
        let mut log: Log = serde_json::from_value(json!({
            "level": "info", "body": "x".repeat(LONG), "timestamp": 1.0,
            "attributes": { "a": { "value": "x".repeat(LONG), "type": "string" } },
        }))
        .unwrap();
        let mut items: EnvelopeItem = vec![log.clone()].into();
        item(&mut items);
        if let EnvelopeItem::ItemContainer(ItemContainer::Logs(logs)) = items {
            log = logs.into_iter().next().unwrap();
        }
        assert_eq!(log.body.len(), MAX_TEXT);
        assert_eq!(log.attributes["a"].0.as_str().map(str::len), Some(MAX_TEXT));
        let crumb = Breadcrumb { message: Some("x".repeat(LONG)), ..Breadcrumb::default() };
        let cut = breadcrumbs(None)(crumb).unwrap();
        assert_eq!(cut.message.map(|message| message.len()), Some(MAX_CRUMB));
    }

    #[test]
    fn what_is_short_stays_as_it_is() {
        let mut event = Event { message: Some("could not save".to_owned()), ..Event::default() };
        event.extra.insert("a".to_owned(), json!({ "b": [1, "c", null] }));
        let cut = envelope(event.clone().into());
        assert_eq!(cut.event(), Some(&event));
    }
}
