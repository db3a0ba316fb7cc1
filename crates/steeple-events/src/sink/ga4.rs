use http::StatusCode;
use serde_json::{Map, Value, json};
use steeple_export::{Answer, DropReason, Endpoint, HttpOptions, InDoubt, Protocol, Reason, Request, Response};
use steeple_scrub::{Scrubbed, Scrubber};

use super::http::{endpoint, reached, start_with};
use crate::{BuildError, Consent, IntoOutlet, Outgoing, Outlet, SinkContext, Takes, Tracked, settling::Feeding};

/// Sends events to Google Analytics 4 by the Measurement Protocol.
///
/// Only events of visitors with a `_ga` cookie are sent: GA4 takes every other client id for a new user. One request
/// holds one client's events, so that up to 32 requests are under way at once.
///
/// GA4 answers 204 to whatever it gets, and stores what it can use. [`validate`](Self::validate) sends events to the
/// validation server instead, which reports their problems and stores none.
///
/// # Source
/// Google, "Measurement Protocol (Google Analytics 4)": reference, sending events, validating events.
#[derive(Clone)]
#[must_use = "a sink does nothing until events are built with it"]
pub struct Ga4 {
    measurement_id: String,
    api_secret: String,
    endpoint: String,
    validate: bool,
    in_doubt: InDoubt,
    http: HttpOptions,
}

impl std::fmt::Debug for Ga4 {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ga4").field("measurement_id", &self.measurement_id).finish_non_exhaustive()
    }
}

/// Parameters of one event, besides `session_id` and `engagement_time_msec`: GA4 takes 25 in all.
const MAX_PARAMS: usize = 23;
/// Characters of a parameter's value.
const MAX_VALUE: usize = 100;
/// Older events are refused or, by default, moved to another time.
const MAX_AGE_MILLIS: u64 = 72 * 3_600_000;

impl Ga4 {
    /// A web stream, by its measurement id (`G-…`) and an API secret of the Measurement Protocol.
    pub fn new(measurement_id: impl Into<String>, api_secret: impl Into<String>) -> Self {
        Self {
            measurement_id: measurement_id.into(),
            api_secret: api_secret.into(),
            endpoint: "https://www.google-analytics.com".to_owned(),
            validate: false,
            in_doubt: InDoubt::Drop,
            http: HttpOptions::new(),
        }
    }

    /// The scheme and host of Google Analytics, or of a proxy for it. Default: `https://www.google-analytics.com`; for
    /// the European Union's region `https://region1.google-analytics.com`.
    pub fn endpoint(mut self, url: impl Into<String>) -> Self {
        self.endpoint = url.into();
        self
    }

    /// Sends events to the validation server, which stores none and reports the problems of each. For development.
    /// Default: `false`.
    pub fn validate(mut self, validate: bool) -> Self {
        self.validate = validate;
        self
    }
}

impl Ga4 {
    /// What becomes of an event that was sent without an answer: GA4 counts one that comes twice as two. Purchases are sent
    /// again in any case, since GA4 knows them by their transaction. Default: [`InDoubt::Drop`].
    pub fn in_doubt(mut self, in_doubt: InDoubt) -> Self {
        self.in_doubt = in_doubt;
        self
    }

    fn feeding(&self) -> Feeding {
        let is_idempotent =
            |event: &Outgoing| event.ga4_name() == "purchase" && event.properties().contains_key("transaction_id");
        Feeding { in_doubt: self.in_doubt, is_idempotent }
    }
}

reached!(Ga4, "Google Analytics");

impl IntoOutlet for Ga4 {
    fn into_outlet(self: Box<Self>, context: &SinkContext) -> Result<Outlet, BuildError> {
        let plain =
            |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b));
        if !plain(&self.measurement_id) {
            return Err(BuildError::setting("ga4.measurement_id", "an id such as `G-ABC123`"));
        }
        if !plain(&self.api_secret) {
            return Err(BuildError::setting("ga4.api_secret", "letters, digits, `-` and `_`"));
        }
        let url = format!(
            "{}{}/mp/collect?measurement_id={}&api_secret={}",
            self.endpoint.trim_end_matches('/'),
            if self.validate { "/debug" } else { "" },
            self.measurement_id,
            self.api_secret,
        );
        let collect = endpoint("ga4.endpoint", &url)?;
        let feeding = self.feeding();
        let (scrubber, url, validate) = (context.scrubber.clone(), collect.clone(), self.validate);
        // One client's events make one request, and nothing says that the next event is of the same client.
        let pipeline = start_with(self.http, context, "ga4", &collect, (1, 130_000), feeding, move || Collect {
            scrubber: scrubber.clone(),
            endpoint: url.clone(),
            validate,
        })?;
        Ok(Outlet::new(pipeline, Takes::GoogleAnalytics))
    }
}

pub(super) struct Collect {
    pub(super) scrubber: Scrubber,
    pub(super) endpoint: Endpoint,
    pub(super) validate: bool,
}

impl Protocol for Collect {
    type Item = Tracked;
    type Ready = Outgoing;
    const IN_FLIGHT: usize = 32;

    fn size(item: &Tracked) -> usize {
        item.size()
    }

    fn scrub(&mut self, item: Tracked) -> Scrubbed<Outgoing> {
        item.scrub(&self.scrubber)
    }

    fn admit(&mut self, event: &Outgoing) -> Result<(), DropReason> {
        super::in_window(event, |now, at| now.saturating_sub(at) <= MAX_AGE_MILLIS)
    }

    fn encode(&mut self, batch: &[Scrubbed<Outgoing>]) -> Result<Request, Reason> {
        let [event] = batch else { return Err(Reason::from("one event a request")) };
        let body = document(event, self.validate).ok_or(Reason::from("an event without a client id"))?;
        let body = serde_json::to_vec(&body).map_err(|_error| Reason::from("the event is not JSON"))?;
        Ok(Request::post(&self.endpoint).content_type("application/json").body(body))
    }

    fn judge(&mut self, response: &Response, _batch: &[Scrubbed<Outgoing>]) -> Answer {
        if self.validate { judge_validation(response) } else { Answer::of(response) }
    }
}

pub(super) fn document(event: &Outgoing, validate: bool) -> Option<Value> {
    let visitor = event.visitor()?;
    let mut params = Map::new();
    for (key, value) in event.properties() {
        if params.len() >= MAX_PARAMS {
            break;
        }
        if let (Some(key), Some(value)) = (param_name(key), param_value(value)) {
            params.insert(key.to_owned(), value);
        }
    }
    if let Some(session) = visitor.session_id() {
        params.insert("session_id".to_owned(), session.into());
    }
    // Without it, an event is in no report of engagement and not in Realtime.
    params.insert("engagement_time_msec".to_owned(), 1.into());
    let mut body = json!({
        "client_id": visitor.client_id()?,
        "timestamp_micros": event.unix_millis().saturating_mul(1_000),
        "events": [{"name": event.ga4_name(), "params": params}],
    });
    let fields = body.as_object_mut()?;
    if let Some(user) = event.user() {
        fields.insert("user_id".to_owned(), cut(user, 256).into());
    }
    match event.consent() {
        Consent::Granted => {
            fields.insert("consent".to_owned(), json!({"ad_user_data": "GRANTED", "ad_personalization": "GRANTED"}));
        }
        Consent::Denied => {
            fields.insert("consent".to_owned(), json!({"ad_user_data": "DENIED", "ad_personalization": "DENIED"}));
        }
        // GA4 then takes what the page's own tag knows.
        Consent::NotDenied => (),
    }
    if validate {
        fields.insert("validation_behavior".to_owned(), "ENFORCE_RECOMMENDATIONS".into());
    }
    Some(body)
}

/// A parameter's name that GA4 takes. It ignores the others, so that they are not sent.
fn param_name(name: &str) -> Option<&str> {
    let own = ["_", "firebase_", "ga_", "google_", "gtag."];
    let valid = name.len() <= 40
        && name.bytes().next().is_some_and(|byte| byte.is_ascii_alphabetic())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    (valid && !own.iter().any(|prefix| name.starts_with(prefix))).then_some(name)
}

fn param_value(value: &Value) -> Option<Value> {
    match value {
        Value::String(text) => Some(cut(text, MAX_VALUE).into()),
        Value::Number(_) => Some(value.clone()),
        Value::Bool(yes) => Some(if *yes { "true" } else { "false" }.into()),
        // `items` alone may nest, and no preset has them.
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

/// At most this many characters.
fn cut(text: &str, max: usize) -> &str {
    text.char_indices().nth(max).and_then(|(end, _)| text.get(..end)).unwrap_or(text)
}

/// The validation server lists problems. The descriptions may repeat the event's data: paths and codes are kept.
fn judge_validation(response: &Response) -> Answer {
    let body: Value = serde_json::from_slice(&response.body).unwrap_or_default();
    let Some(messages) =
        body.get("validationMessages").and_then(Value::as_array).filter(|_| response.status == StatusCode::OK)
    else {
        return Answer::of(response);
    };
    if messages.is_empty() {
        return Answer::Accepted;
    }
    let text = |message: &Value, key| message.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    let problems: Vec<_> =
        messages.iter().map(|m| format!("{} {}", text(m, "validationCode"), text(m, "fieldPath"))).collect();
    Answer::Rejected { cause: DropReason::Rejected, why: Reason::scrub(&problems.join(", ")) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sink::test_support::{outgoing, outgoing_of_visitor, response};

    #[test]
    fn an_event_is_written_as_ga4_wants_it() {
        let properties = json!({"method": "email", "new": true, "deep": {"a": 1}, "_own": 1, "long": "é".repeat(150)});
        let event = outgoing_of_visitor("sign_up", &properties, Some("u-1"), "_ga=GA1.1.12.34; _ga_X=GS2.1.s56$o1");
        let body = document(&event, false).unwrap();
        assert_eq!((&body["client_id"], &body["user_id"]), (&json!("12.34"), &json!("u-1")));
        assert_eq!(body["timestamp_micros"], event.unix_millis() * 1_000);
        let params = &body["events"][0]["params"];
        assert_eq!(
            (&params["method"], &params["new"], &params["session_id"]),
            (&json!("email"), &json!("true"), &json!("56"))
        );
        assert_eq!((params.get("deep"), params.get("_own")), (None, None));
        assert_eq!(params["long"].as_str().unwrap().chars().count(), MAX_VALUE);
        assert_eq!(body.get("consent"), None);
    }

    #[test]
    fn at_most_25_parameters_are_sent() {
        let properties = (0..40).map(|n| (format!("p{n}"), json!(n))).collect::<Map<_, _>>();
        let event = outgoing_of_visitor("sign_up", &properties.into(), None, "_ga=GA1.1.12.34; _ga_X=GS1.1.56.1");
        assert_eq!(document(&event, false).unwrap()["events"][0]["params"].as_object().unwrap().len(), 25);
    }

    #[test]
    fn an_event_without_a_client_id_is_not_sent() {
        assert_eq!(document(&outgoing("sign_up", &json!({}), Some("u-1")), false), None);
    }

    #[test]
    fn the_validation_server_is_understood() {
        let answer = |body: &Value| judge_validation(&response(200).with_body(body.to_string()));
        assert!(matches!(answer(&json!({"validationMessages": []})), Answer::Accepted));
        let refused = answer(&json!({"validationMessages": [
            {"fieldPath": "events.params", "description": "hunter2", "validationCode": "NAME_RESERVED"}]}));
        let Answer::Rejected { why, .. } = refused else { panic!("{refused:?}") };
        assert_eq!(why.to_string(), "NAME_RESERVED events.params");
    }
}
