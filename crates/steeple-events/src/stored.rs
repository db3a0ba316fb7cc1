//! An event as a row of the store: everything that sinks need, scrubbed, as JSON.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use steeple_core::{RequestId, TraceContext};
use steeple_export::store::NewRow;
use steeple_scrub::Scrubbed;

use crate::{
    Class, Consent, Visitor,
    record::{Content, Context, Kind, Names, Record, Restored},
};

#[derive(Serialize, Deserialize)]
struct Stored<'a> {
    name: &'a str,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    new_relic: Option<&'a str>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ga4: Option<&'a str>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    mixpanel: Option<String>,
    #[serde(default, skip_serializing_if = "Kind::is_event")]
    kind: Kind,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    request_id: Option<&'a str>,
    /// Trace id and span id, and whether the trace is recorded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    trace: Option<(String, String, bool)>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    route: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    user: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    client_id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    session_id: Option<String>,
    #[serde(default, skip_serializing_if = "is_default")]
    consent: u8,
    properties: Map<String, Value>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks like this")]
fn is_default(consent: &u8) -> bool {
    *consent == 0
}

const fn consent_to(consent: Consent) -> u8 {
    match consent {
        Consent::NotDenied => 0,
        Consent::Granted => 1,
        Consent::Denied => 2,
    }
}

const fn consent_from(consent: u8) -> Consent {
    match consent {
        0 => Consent::NotDenied,
        1 => Consent::Granted,
        // What a later version wrote is taken for the stricter one.
        _ => Consent::Denied,
    }
}

/// The row of an event. `key`: what it is erased by.
pub(crate) fn row(record: &Record, scrubbed: Content, key: Option<Box<[u8]>>) -> Option<NewRow> {
    let context = &record.context;
    let visitor = context.visitor.as_deref();
    let name = record.names.name();
    let other = |other| Some(other).filter(|other| *other != name);
    let body = Stored {
        name,
        new_relic: other(record.names.new_relic()),
        ga4: other(record.names.ga4()),
        // A `&str` could not hold an escape: event names of Mixpanel's may have any character.
        mixpanel: other(record.names.mixpanel()).map(str::to_owned),
        kind: record.kind,
        request_id: context.request_id.as_ref().map(RequestId::as_str),
        trace: context
            .trace
            .as_ref()
            .map(|trace| (trace.trace_id().to_string(), trace.span_id().to_string(), trace.is_sampled())),
        route: context.route.as_ref().map(|route| route.as_str().to_owned()),
        user: scrubbed.user,
        client_id: visitor.and_then(Visitor::client_id).map(str::to_owned),
        session_id: visitor.and_then(Visitor::session_id).map(str::to_owned),
        consent: consent_to(visitor.map_or_else(Consent::default, |visitor| visitor.consent)),
        properties: scrubbed.properties,
    };
    let body = serde_json::to_string(&body).ok()?;
    Some(NewRow {
        id: record.id.as_str().into(),
        at: record.at,
        key,
        class: record.class as u8,
        // Its properties and its user went through the scrubber: `Content`.
        body: Scrubbed::from_application(body.into()),
    })
}

/// The class of the event that a row holds.
pub(crate) fn class(row: &NewRow) -> Class {
    Class::ALL.get(usize::from(row.class)).copied().unwrap_or(Class::Revenue)
}

/// The name of the event that a row holds.
pub(crate) fn name(row: &NewRow) -> Option<String> {
    serde_json::from_str::<Stored<'_>>(&row.body).ok().map(|stored| stored.name.to_owned())
}

/// The event that a row holds. `None`: it was written by something else.
pub(crate) fn record(row: &NewRow) -> Option<Record> {
    let stored: Stored<'_> = serde_json::from_str(&row.body).ok()?;
    let name: Arc<str> = stored.name.into();
    let shared = |name: Option<&str>| name.map(Arc::<str>::from);
    let names = match (stored.new_relic, stored.ga4, stored.mixpanel.as_deref()) {
        (None, None, None) => Names::Dynamic(name),
        (new_relic, ga4, mixpanel) => Names::Stored {
            new_relic: shared(new_relic).unwrap_or_else(|| Arc::clone(&name)),
            ga4: shared(ga4).unwrap_or_else(|| Arc::clone(&name)),
            mixpanel: shared(mixpanel).unwrap_or_else(|| Arc::clone(&name)),
            name,
        },
    };
    let consent = consent_from(stored.consent);
    let visitor =
        Visitor { client_id: stored.client_id.map(Into::into), session_id: stored.session_id.map(Into::into), consent };
    let trace = stored.trace.and_then(|(trace_id, span_id, sampled)| {
        let trace_id = u128::from_str_radix(&trace_id, 16).ok()?.to_be_bytes();
        TraceContext::from_ids(trace_id, u64::from_str_radix(&span_id, 16).ok()?.to_be_bytes(), sampled)
    });
    let context = Context {
        request_id: stored.request_id.and_then(|id| RequestId::parse(id.as_bytes())),
        trace,
        route: stored.route.map(Into::into),
        user: None,
        visitor: (visitor != Visitor::default()).then(|| Arc::new(visitor)),
    };
    let class = class(row);
    Some(Record::restored(Restored {
        id: RequestId::parse(row.id.as_bytes())?,
        at: row.at,
        names,
        kind: stored.kind,
        class,
        context,
        properties: stored.properties,
        user: stored.user,
    }))
}
