//! Mixpanel's profiles of users: `POST /engage`.

use http::StatusCode;
use serde_json::{Map, Value, json};
use steeple_export::{Answer, Endpoint, Protocol, Reason, Request, Response};
use steeple_scrub::{Scrubbed, Scrubber};

use crate::{Outgoing, Tracked, record::Kind};

/// Mixpanel takes 2,000 changes in one request, of at most 1 MB each.
pub(super) const BATCH: (usize, usize) = (1_000, 1_000_000);

/// # Source
/// Mixpanel, "User profiles": `$set`, `$delete`.
pub(super) struct Engage {
    pub(super) scrubber: Scrubber,
    pub(super) endpoint: Endpoint,
    pub(super) token: String,
}

impl Protocol for Engage {
    type Item = Tracked;
    type Ready = Outgoing;

    fn size(item: &Tracked) -> usize {
        item.size()
    }

    fn scrub(&mut self, item: Tracked) -> Scrubbed<Outgoing> {
        item.scrub(&self.scrubber)
    }

    fn encode(&mut self, batch: &[Scrubbed<Outgoing>]) -> Result<Request, Reason> {
        let changes: Vec<_> = batch.iter().filter_map(|event| change(event, &self.token)).collect();
        let body = serde_json::to_vec(&changes).map_err(|_error| Reason::from("the changes are not JSON"))?;
        Ok(Request::post(&self.endpoint).content_type("application/json").body(body).secrets_in_body())
    }

    fn judge(&mut self, response: &Response, _batch: &[Scrubbed<Outgoing>]) -> Answer {
        judge(response)
    }
}

/// A change of a profile. `None`: it has no owner, since the user's id may not leave.
pub(super) fn change(event: &Outgoing, token: &str) -> Option<Value> {
    let user = event.user()?;
    let mut change = json!({"$token": token, "$distinct_id": user, "$ip": "0"});
    let fields = change.as_object_mut()?;
    match event.kind() {
        Kind::PersonSet => {
            // By it, an older change that comes later does not win.
            fields.insert("$time".to_owned(), event.unix_millis().into());
            fields.insert("$set".to_owned(), Value::Object(own(event.properties())));
        }
        Kind::PersonDelete => {
            fields.insert("$delete".to_owned(), "".into());
        }
        Kind::Event => return None,
    }
    Some(change)
}

/// Names that mean something to Mixpanel are not a team's to set, but for those of a person.
fn own(properties: &Map<String, Value>) -> Map<String, Value> {
    let of_a_person = ["$name", "$first_name", "$last_name", "$avatar", "$created", "$timezone"];
    let name = |key: &str| {
        let is_own = !key.starts_with('$') || of_a_person.contains(&key);
        if is_own { key.to_owned() } else { format!("property_{}", key.trim_start_matches('$')) }
    };
    properties.iter().map(|(key, value)| (name(key), value.clone())).collect()
}

/// 200 also where nothing was taken: the body has the result.
fn judge(response: &Response) -> Answer {
    if response.status != StatusCode::OK {
        return Answer::of(response);
    }
    match result(&response.body) {
        Some(1) => Answer::Accepted,
        // The message may repeat sent data.
        Some(_) | None => Answer::Bisect(Reason::from("status 0")),
    }
}

/// What the body of an answer says: a number, or one in `status`.
pub(super) fn result(body: &[u8]) -> Option<u64> {
    let body = serde_json::from_slice::<Value>(body).ok()?;
    body.as_u64().or_else(|| body.get("status")?.as_u64())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sink::test_support::response;

    #[test]
    fn a_200_counts_if_its_body_says_so() {
        let answer = |body: &str| judge(&response(200).with_body(body.to_owned()));
        assert!(matches!(answer("1"), Answer::Accepted));
        assert!(matches!(answer(r#"{"status":1,"error":null}"#), Answer::Accepted));
        assert!(matches!(answer("0"), Answer::Bisect(_)));
        assert!(matches!(answer(r#"{"status":0,"error":"hunter2"}"#), Answer::Bisect(_)));
        assert!(matches!(judge(&response(401)), Answer::Paused(_)));
        assert!(matches!(judge(&response(503)), Answer::Retry { .. }));
    }
}
