use std::{sync::Arc, time::Duration};

use http::StatusCode;
use serde_json::{Map, Value, json};
use steeple_export::{Answer, Endpoint, HttpOptions, Protocol, Reason, Request, Response, Verdict};
use steeple_scrub::{Scrubbed, Scrubber};

use super::{
    http::{endpoint, start, vendor},
    people,
};
use crate::{BuildError, IntoOutlet, Outgoing, Outlet, Service, SinkContext, Takes, Tracked};

/// Sends events to Mixpanel: `POST /import?strict=1`, which reports each event that it refuses, takes events of any age
/// and keeps one of those that come twice; or `POST /track`, see [`api`](Self::api). What is known of users
/// ([`Events::person`](crate::Events::person)) goes to `POST /engage`.
///
/// # Source
/// Mixpanel, "Import events", "Track event", "Event deduplication" and "Ingestion API authentication".
#[derive(Clone, Debug)]
#[must_use = "a sink does nothing until events are built with it"]
pub struct Mixpanel {
    token: Secret,
    region: MixpanelRegion,
    api: MixpanelApi,
    endpoint: Option<String>,
    http: HttpOptions,
}

/// By which of Mixpanel's interfaces events go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum MixpanelApi {
    /// `POST /import?strict=1`: events of any age; those that are refused are named. The default.
    #[default]
    Import,
    /// `POST /track?verbose=1`, as Mixpanel's own clients for servers do: events of the last five days. Older ones go to `/import`.
    Track,
}

/// A token. `Debug` does not show it.
#[derive(Clone)]
struct Secret(String);

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret([redacted])")
    }
}

/// Where a Mixpanel project's data lives. With the wrong region, Mixpanel accepts events and shows none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum MixpanelRegion {
    /// `api.mixpanel.com`. The default.
    #[default]
    Us,
    /// `api-eu.mixpanel.com`.
    Eu,
    /// `api-in.mixpanel.com`.
    In,
}

impl MixpanelRegion {
    const fn host(self) -> &'static str {
        match self {
            Self::Us => "https://api.mixpanel.com",
            Self::Eu => "https://api-eu.mixpanel.com",
            Self::In => "https://api-in.mixpanel.com",
        }
    }
}

impl Mixpanel {
    /// A project, by its token.
    pub fn new(token: impl Into<String>) -> Self {
        Self {
            token: Secret(token.into()),
            region: MixpanelRegion::default(),
            api: MixpanelApi::default(),
            endpoint: None,
            http: HttpOptions::new(),
        }
    }

    /// By which interface events go. Default: [`MixpanelApi::Import`].
    pub fn api(mut self, api: MixpanelApi) -> Self {
        self.api = api;
        self
    }
}

vendor!(Mixpanel, "Mixpanel", MixpanelRegion, "Us");

/// Mixpanel takes 2,000 events and 2 MB in one request.
const BATCH: (usize, usize) = (2_000, 2_000_000);

/// `/track` takes events of the last five days; an hour of it is for the way there.
const MAX_TRACK_AGE: Duration = Duration::from_secs(5 * 86_400 - 3_600);

impl IntoOutlet for Mixpanel {
    fn into_outlet(self: Box<Self>, context: &SinkContext) -> Result<Outlet, BuildError> {
        if self.token.0.is_empty() || !self.token.0.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
            return Err(BuildError::setting("mixpanel.token", "a project token: letters and digits"));
        }
        let host = self.endpoint.as_deref().unwrap_or(self.region.host()).trim_end_matches('/');
        let (scheme, host) = host.split_once("://").unwrap_or(("https", host));
        // The token is the user of Basic authentication, and the password is empty.
        let import = endpoint("mixpanel.endpoint", &format!("{scheme}://{}:@{host}/import?strict=1", self.token.0))?;
        let engage = endpoint("mixpanel.endpoint", &format!("{scheme}://{host}/engage?verbose=1"))?;
        let track = match self.api {
            MixpanelApi::Import => None,
            MixpanelApi::Track => {
                let url = format!("{scheme}://{host}/track?verbose=1&ip=0");
                Some(Track { endpoint: endpoint("mixpanel.endpoint", &url)?, token: self.token.0.clone() })
            }
        };
        let (sink, url, token) = (context.clone(), engage.clone(), self.token.0);
        let people = start(self.http.clone(), context, "mixpanel_people", &engage, people::BATCH, move || {
            people::Engage { scrubber: sink.scrubber.clone(), endpoint: url.clone(), token: token.clone() }
        })?;
        let (sink, url) = (context.clone(), import.clone());
        let pipeline = start(self.http, context, "mixpanel", &import, BATCH, move || Import {
            scrubber: sink.scrubber.clone(),
            service: Arc::clone(&sink.service),
            endpoint: url.clone(),
            track: track.clone(),
        })?;
        Ok(Outlet::new(pipeline, Takes::Analytics).beside(Outlet::new(people, Takes::People)))
    }
}

pub(super) struct Import {
    pub(super) scrubber: Scrubber,
    pub(super) service: Arc<Service>,
    pub(super) endpoint: Endpoint,
    /// Where recent events go instead.
    pub(super) track: Option<Track>,
}

/// `/track`, and the token that is in each event there.
#[derive(Clone)]
pub(super) struct Track {
    pub(super) endpoint: Endpoint,
    pub(super) token: String,
}

impl Protocol for Import {
    type Item = Tracked;
    type Ready = Outgoing;

    fn size(item: &Tracked) -> usize {
        item.size()
    }

    fn scrub(&mut self, item: Tracked) -> Scrubbed<Outgoing> {
        item.scrub(&self.scrubber)
    }

    fn encode(&mut self, batch: &[Scrubbed<Outgoing>]) -> Result<Request, Reason> {
        let track = self.track.as_ref().filter(|_| batch.iter().all(|event| is_recent(event)));
        let token = track.map(|track| track.token.as_str());
        let events: Vec<_> = batch.iter().map(|event| document(event, &self.service, token)).collect();
        let body = serde_json::to_vec(&events).map_err(|_error| Reason::from("the events are not JSON"))?;
        let request = Request::post(track.map_or(&self.endpoint, |track| &track.endpoint));
        let request = request.content_type("application/json").body(body);
        Ok(if track.is_some() { request } else { request.gzip() })
    }

    fn judge(&mut self, response: &Response, batch: &[Scrubbed<Outgoing>]) -> Answer {
        judge(response, batch.len())
    }
}

/// Values of `distinct_id` that Mixpanel refuses.
const REFUSED_IDS: [&str; 16] = [
    "00000000-0000-0000-0000-000000000000",
    "anon",
    "anonymous",
    "nil",
    "none",
    "null",
    "n/a",
    "na",
    "undefined",
    "unknown",
    "<nil>",
    "0",
    "-1",
    "true",
    "false",
    "[]",
];

/// Whether `/track` takes an event, by the clock as it is and as it was before someone set it.
fn is_recent(event: &Outgoing) -> bool {
    let clocks = [steeple_core::clock::unix_now(), steeple_core::clock::unix_steady()];
    clocks.into_iter().all(|now| now.saturating_sub(Duration::from_millis(event.unix_millis())) < MAX_TRACK_AGE)
}

/// An event. `token`: for `/track`, which has it in each.
pub(super) fn document(event: &Outgoing, service: &Service, token: Option<&str>) -> Value {
    let mut properties = Map::new();
    for (key, value) in event.properties() {
        properties.insert(own_key(key), value.clone());
    }
    for (key, value) in service.attributes() {
        properties.insert(key.to_owned(), value.into());
    }
    for (key, value) in [("request_id", event.request_id()), ("http.route", event.route())] {
        if let Some(value) = value {
            properties.insert(key.to_owned(), value.into());
        }
    }
    if let Some(trace) = event.trace() {
        properties.insert("trace_id".to_owned(), trace.trace_id().to_string().into());
    }
    let user = event.user().filter(|user| !REFUSED_IDS.contains(&user.to_ascii_lowercase().as_str()) && *user != "{}");
    properties.insert("time".to_owned(), event.unix_millis().into());
    properties.insert("$insert_id".to_owned(), event.id().into());
    // An event without a user is kept, and left out of Mixpanel's reports about users.
    properties.insert("distinct_id".to_owned(), user.unwrap_or_default().into());
    if let Some(user) = user {
        properties.insert("$user_id".to_owned(), user.into());
    }
    if let Some(token) = token {
        properties.insert("token".to_owned(), token.into());
    }
    // Otherwise Mixpanel takes this server for the user's place.
    properties.insert("ip".to_owned(), "0".into());
    json!({"event": event.mixpanel_name(), "properties": properties})
}

/// Properties that mean something to Mixpanel are not overwritten by those of an event.
fn own_key(key: &str) -> String {
    let reserved = [
        "token",
        "ip",
        "time",
        "distinct_id",
        "alias",
        "distinct_ids",
        "bucket",
        "request_id",
        "trace_id",
        "http.route",
    ];
    if key.starts_with('$') || key.starts_with("mp_") || reserved.contains(&key) {
        format!("property_{}", key.trim_start_matches('$'))
    } else {
        key.to_owned()
    }
}

fn judge(response: &Response, events: usize) -> Answer {
    // /track answers 200 also where nothing was taken: the body has the result. /import has a text there.
    if response.status == StatusCode::OK && people::result(&response.body) == Some(0) {
        return Answer::Bisect(Reason::from("status 0"));
    }
    if response.status != StatusCode::BAD_REQUEST {
        return Answer::of(response);
    }
    // The valid ones of a batch are stored: the answer lists the others.
    let body: Value = serde_json::from_slice(&response.body).unwrap_or_default();
    let Some(failed) = body.get("failed_records").and_then(Value::as_array) else {
        return Answer::Bisect(Reason::from("400 without a list of events"));
    };
    let mut verdicts: Vec<_> = std::iter::repeat_with(|| Verdict::Stored).take(events).collect();
    for record in failed {
        let place = record.get("index").and_then(Value::as_u64).and_then(|index| usize::try_from(index).ok());
        // The message may repeat the event's data: the field alone is kept.
        let field = record.get("field").and_then(Value::as_str).unwrap_or("an unknown field");
        if let Some(verdict) = place.and_then(|place| verdicts.get_mut(place)) {
            *verdict = Verdict::Poison(Reason::scrub(&format!("invalid {field}")));
        }
    }
    Answer::Items(verdicts)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sink::test_support::{outgoing, response, service};

    #[test]
    fn an_event_is_written_as_mixpanel_wants_it() {
        let event = outgoing("sign_up", &json!({"plan": "pro", "time": 5, "$os": "x"}), Some("u-1"));
        let document = document(&event, &service(), None);
        let properties = &document["properties"];
        assert_eq!(document["event"], "sign_up");
        assert_eq!((&properties["distinct_id"], &properties["$user_id"]), (&json!("u-1"), &json!("u-1")));
        assert_eq!(properties["$insert_id"].as_str().unwrap().len(), 36);
        assert_eq!(properties["time"], event.unix_millis());
        assert_eq!((&properties["ip"], &properties["plan"]), (&json!("0"), &json!("pro")));
        assert_eq!((&properties["property_time"], &properties["property_os"]), (&json!(5), &json!("x")));
        assert_eq!(properties["service.name"], "shop");
    }

    #[test]
    fn users_that_mixpanel_refuses_are_left_out() {
        for user in [None, Some("null"), Some("Anonymous"), Some("0"), Some("{}")] {
            let document = document(&outgoing("login", &json!({}), user), &service(), None);
            assert_eq!(document["properties"]["distinct_id"], "", "{user:?}");
            assert_eq!(document["properties"].get("$user_id"), None, "{user:?}");
        }
    }

    #[test]
    fn a_400_is_a_partial_success() {
        let body = json!({"code": 400, "num_records_imported": 2, "failed_records": [
            {"index": 1, "insert_id": "x", "field": "properties.time", "message": "hunter2"}]});
        let answer = judge(&response(400).with_body(body.to_string()), 3);
        let Answer::Items(verdicts) = answer else { panic!("{answer:?}") };
        assert!(matches!(verdicts[..], [Verdict::Stored, Verdict::Poison(_), Verdict::Stored]), "{verdicts:?}");
        assert!(!format!("{verdicts:?}").contains("hunter2"));
        assert!(matches!(judge(&response(400).with_body("no JSON"), 3), Answer::Bisect(_)));
    }

    #[test]
    fn statuses_are_judged_as_mixpanel_documents_them() {
        assert!(matches!(judge(&response(200).with_body(r#"{"code":200}"#), 3), Answer::Accepted));
        assert!(matches!(judge(&response(200).with_body(r#"{"status":1,"error":null}"#), 3), Answer::Accepted));
        assert!(matches!(judge(&response(200).with_body(r#"{"status":0,"error":"hunter2"}"#), 3), Answer::Bisect(_)));
        assert!(matches!(judge(&response(401), 3), Answer::Paused(_)));
        assert!(matches!(judge(&response(413), 3), Answer::TooLarge));
        assert!(matches!(judge(&response(429), 3), Answer::Retry { .. }));
        assert!(matches!(judge(&response(503), 3), Answer::Retry { .. }));
    }
}
