//! Users who are to be forgotten by Elasticsearch or `OpenSearch`: `_delete_by_query` over the data stream.

use std::time::Instant;

use http::{HeaderValue, header::AUTHORIZATION};
use serde_json::{Value, json};
use steeple_export::{Answer, Client, Endpoint, EndpointError, Exporter, Reason, Request};
use steeple_scrub::{Scrubbed, Scrubber};

use crate::{Outgoing, Tracked};

/// Users of one request.
pub(super) const BATCH: (usize, usize) = (100, 100_000);

/// Deletes the stored data of users: documents with their id as `user.id`.
///
/// # Source
/// Elasticsearch, "Delete by query API", "Refresh API": recently stored documents are not found before a refresh.
pub(super) struct Erasures {
    pub(super) client: Client,
    pub(super) scrubber: Scrubber,
    pub(super) refresh: Endpoint,
    pub(super) delete: Endpoint,
    pub(super) api_key: Option<HeaderValue>,
}

/// Where to send the two requests for a data stream.
pub(super) fn endpoints(server: &Endpoint, stream: &str) -> Result<(Endpoint, Endpoint), EndpointError> {
    let refresh = server.join(&format!("{stream}/_refresh"))?;
    // A document that changes meanwhile does not keep the others.
    let delete = server.join(&format!("{stream}/_delete_by_query?conflicts=proceed&refresh=true"))?;
    Ok((refresh, delete))
}

impl Erasures {
    fn request(&self, to: &Endpoint) -> Request {
        let request = Request::post(to).content_type("application/json");
        match &self.api_key {
            Some(key) => request.header(AUTHORIZATION, key.clone()),
            None => request,
        }
    }

    /// `Ok` if the documents were deleted, or if the stream does not exist.
    async fn ask(&self, request: Request, deadline: Instant) -> Result<Value, Answer> {
        let response = self.client.send(request, deadline).await?;
        if response.status == http::StatusCode::NOT_FOUND {
            return Ok(Value::Null);
        }
        let answer = Answer::of(&response);
        if answer != Answer::Accepted {
            return Err(answer);
        }
        Ok(serde_json::from_slice(&response.body).unwrap_or_default())
    }

    async fn erase(&self, users: &[&str], deadline: Instant) -> Result<(), Answer> {
        self.ask(self.request(&self.refresh), deadline).await?;
        // By the mapping of ECS `user.id` is a keyword; by a dynamic mapping it has one beside it.
        let fields = ["user.id", "user.id.keyword"];
        let any: Vec<_> = fields.iter().map(|field| json!({"terms": {*field: users}})).collect();
        let query = json!({"query": {"bool": {"should": any, "minimum_should_match": 1}}});
        let answer = self.ask(self.request(&self.delete).body(query.to_string()), deadline).await?;
        let failed = answer.get("failures").and_then(Value::as_array).is_some_and(|failures| !failures.is_empty());
        let is_whole = !failed && answer.get("timed_out") != Some(&Value::Bool(true));
        if is_whole {
            return Ok(());
        }
        // The failures may repeat stored data.
        Err(Answer::retry(steeple_export::DropReason::Unavailable, "not everything could be deleted"))
    }
}

impl Exporter for Erasures {
    type Item = Tracked;
    type Ready = Outgoing;

    fn size(item: &Tracked) -> usize {
        item.size()
    }

    fn scrub(&mut self, item: Tracked) -> Scrubbed<Outgoing> {
        item.scrub(&self.scrubber)
    }

    async fn export(&mut self, batch: &[Scrubbed<Outgoing>], deadline: Instant) -> Answer {
        // An id that may not leave is in no document either.
        let users: Vec<_> = batch.iter().filter_map(|event| event.user()).collect();
        if users.is_empty() {
            return Answer::Accepted;
        }
        let erased = self.erase(&users, deadline).await;
        match erased {
            Ok(()) => Answer::Accepted,
            // To delete twice is to delete.
            Err(Answer::InDoubt(why)) => Answer::retry(steeple_export::DropReason::Network, why),
            Err(answer) => answer,
        }
    }

    fn prepare(&mut self, _batch: &[Scrubbed<Outgoing>]) -> Result<(), Reason> {
        Ok(())
    }
}
