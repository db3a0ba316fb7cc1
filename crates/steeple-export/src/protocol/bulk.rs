//! Elasticsearch's and `OpenSearch`'s `_bulk`: the request's body, and what the answer means for each document.
//!
//! Documents are created with an id, so that a second delivery is a conflict (409), which counts as stored.
//!
//! ```
//! use steeple_export::protocol::bulk::Body;
//!
//! # fn main() -> Result<(), steeple_export::Reason> {
//! let mut body = Body::new();
//! body.create(Some("logs-shop-default"), Some("7f3a"), &serde_json::json!({ "message": "ready" }))?;
//! assert_eq!(
//!     body.as_bytes(),
//!     b"{\"create\":{\"_index\":\"logs-shop-default\",\"_id\":\"7f3a\"}}\n{\"message\":\"ready\"}\n"
//! );
//! # Ok(())
//! # }
//! ```
//!
//! # Source
//! Elasticsearch reference, bulk API.

use std::collections::BTreeMap;

use bytes::Bytes;
use http::StatusCode;
use serde::{Deserialize, Serialize};

use crate::{Answer, Endpoint, EndpointError, Reason, Request, Response, Verdict};

/// The endpoint for bulk requests below a server's URL. The answer holds what [`judge`] reads, and no more.
///
/// # Errors
/// Never for an endpoint that was parsed.
pub fn endpoint(server: &Endpoint) -> Result<Endpoint, EndpointError> {
    server.join("_bulk?filter_path=errors,items.*.status,items.*.error.type,items.*.error.reason")
}

/// Whether this can be the name of a data stream or an index.
///
/// # Source
/// Elasticsearch reference, "Create index", "Path parameters": lower case, at most 255 bytes, none of ``\ / * ? " < > | , #``
/// and spaces, not beginning with `-`, `_` or `+`.
pub fn is_stream_name(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= 255
        && !name.starts_with(['-', '_', '+', '.'])
        && !name
            .contains(|c: char| c.is_uppercase() || c.is_whitespace() || c.is_control() || "\\/*?\"<>|,#:".contains(c))
}

/// A request's body: one line for what to do, one for the document, each time.
#[derive(Debug, Default)]
pub struct Body {
    bytes: Vec<u8>,
}

#[derive(Serialize)]
struct Action<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    create: Option<Target<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    index: Option<Target<'a>>,
}

#[derive(Serialize)]
struct Target<'a> {
    #[serde(rename = "_index", skip_serializing_if = "Option::is_none")]
    index: Option<&'a str>,
    #[serde(rename = "_id", skip_serializing_if = "Option::is_none")]
    id: Option<&'a str>,
}

impl Body {
    /// An empty body.
    pub fn new() -> Self {
        Self::default()
    }

    /// Creates a document, in an index or data stream; without an index, in the one of the URL. With an id it is stored once, however
    /// often it is sent.
    ///
    /// # Errors
    /// The document cannot be written as JSON. Nothing is added then.
    pub fn create(&mut self, index: Option<&str>, id: Option<&str>, document: &impl Serialize) -> Result<(), Reason> {
        self.add(&Action { create: Some(Target { index, id }), index: None }, document)
    }

    /// Puts a document in place of the one with its id.
    ///
    /// # Errors
    /// The document cannot be written as JSON. Nothing is added then.
    pub fn index(&mut self, index: Option<&str>, id: Option<&str>, document: &impl Serialize) -> Result<(), Reason> {
        self.add(&Action { create: None, index: Some(Target { index, id }) }, document)
    }

    fn add(&mut self, action: &Action<'_>, document: &impl Serialize) -> Result<(), Reason> {
        let before = self.bytes.len();
        let mut write = || {
            serde_json::to_writer(&mut self.bytes, action)?;
            self.bytes.push(b'\n');
            let document_at = self.bytes.len();
            serde_json::to_writer(&mut self.bytes, document)?;
            // A document that was JSON already may hold line breaks, which would be read as further documents.
            if let Some(document) = self.bytes.get_mut(document_at..) {
                for byte in document.iter_mut().filter(|byte| matches!(byte, b'\n' | b'\r')) {
                    *byte = b' ';
                }
            }
            self.bytes.push(b'\n');
            Ok(())
        };
        write().map_err(|error: serde_json::Error| {
            self.bytes.truncate(before);
            Reason::of_error(&error)
        })
    }

    /// The bytes so far.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The request, to an endpoint made by [`endpoint`].
    pub fn into_request(self, endpoint: &Endpoint) -> Request {
        Request::post(endpoint).content_type("application/x-ndjson").body(Bytes::from(self.bytes))
    }
}

#[derive(Deserialize)]
struct Reply {
    errors: bool,
    #[serde(default)]
    items: Vec<BTreeMap<String, Item>>,
}

#[derive(Deserialize)]
struct Item {
    status: u16,
    error: Option<Failure>,
}

#[derive(Deserialize)]
struct Failure {
    #[serde(rename = "type")]
    kind: Option<String>,
    reason: Option<String>,
}

/// What an answer means for each of the documents.
///
/// | document | verdict |
/// | --- | --- |
/// | 2xx, 409 | stored |
/// | 408, 429, 5xx | retry |
/// | every other one | poison, with the server's type and reason |
///
/// 401, 403 or 404 for every document is about the key or the index, not about the documents: the sink pauses. A 400 for the request as a whole names no document: the batch is halved until it is found. An answer that cannot be read leaves
/// everything in doubt.
pub fn judge(response: &Response) -> Answer {
    if response.status == StatusCode::BAD_REQUEST {
        return Answer::Bisect(response.reason());
    }
    if !response.status.is_success() {
        return Answer::of(response);
    }
    let reply: Reply = match serde_json::from_slice(&response.body) {
        Ok(reply) if !response.is_cut => reply,
        _ => return Answer::InDoubt("the answer is not one to a bulk request".into()),
    };
    if !reply.errors {
        return Answer::Accepted;
    }
    let forbidden = |item: &Item| matches!(item.status, 401 | 403 | 404);
    if !reply.items.is_empty() && reply.items.iter().flat_map(|item| item.values()).all(forbidden) {
        // Not a document is at fault but the index or the key.
        let first = reply.items.into_iter().flat_map(BTreeMap::into_values).next();
        return Answer::Paused(first.map_or_else(|| response.reason(), Item::into_reason));
    }
    let verdicts = reply.items.into_iter().map(|item| match item.into_values().next() {
        Some(item) => item.verdict(),
        None => Verdict::Retry,
    });
    Answer::Items(verdicts.collect())
}

impl Item {
    fn verdict(self) -> Verdict {
        match self.status {
            200..=299 | 409 => Verdict::Stored,
            408 | 429 | 500..=599 => Verdict::Retry,
            _ => Verdict::Poison(self.into_reason()),
        }
    }

    fn into_reason(self) -> Reason {
        let failure = self.error.unwrap_or(Failure { kind: None, reason: None });
        let (kind, reason) = (failure.kind.unwrap_or_default(), failure.reason.unwrap_or_default());
        Reason::scrub(&format!("{} {kind}: {reason}", self.status))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn answer(body: &serde_json::Value) -> Answer {
        judge(&Response::new(StatusCode::OK).with_body(body.to_string()))
    }

    #[test]
    fn names_of_streams_follow_elasticsearchs_rules() {
        for good in ["logs-shop-production", "events", "a1.b_c"] {
            assert!(is_stream_name(good), "{good}");
        }
        for bad in ["", "Logs", "-a", "_a", "+a", ".a", "a/b", "a b", "a*", "a,b", "a#b", "a:b", &"a".repeat(256)] {
            assert!(!is_stream_name(bad), "{bad}");
        }
    }

    #[test]
    fn each_document_has_its_own_verdict() {
        let item = |status: u16| json!({ "create": { "status": status } });
        let refused = json!({ "create": { "status": 400, "error": {
            "type": "document_parsing_exception", "reason": "failed to parse [at], password=hunter2" } } });
        let items =
            [item(201), item(409), item(429), item(503), refused, json!({ "index": { "status": 200 } }), json!({})];
        let Answer::Items(verdicts) = answer(&json!({ "errors": true, "items": items })) else { panic!("no verdicts") };
        assert_eq!(verdicts[..4], [Verdict::Stored, Verdict::Stored, Verdict::Retry, Verdict::Retry]);
        let Verdict::Poison(why) = &verdicts[4] else { panic!("{verdicts:?}") };
        assert_eq!(why.as_str(), "400 document_parsing_exception: failed to parse [at], password=[redacted:key]");
        assert_eq!(verdicts[5..], [Verdict::Stored, Verdict::Retry]);
    }

    #[test]
    fn the_answer_as_a_whole_counts_first() {
        assert_eq!(answer(&json!({ "errors": false, "items": [] })), Answer::Accepted);
        let missing = json!({ "create": { "status": 404, "error": { "type": "index_not_found_exception" } } });
        let Answer::Paused(why) = answer(&json!({ "errors": true, "items": [missing, missing] })) else {
            panic!("goes on")
        };
        assert_eq!(why.as_str(), "404 index_not_found_exception:");
        assert!(matches!(answer(&json!({ "acknowledged": true })), Answer::InDoubt(_)));
        assert!(matches!(judge(&Response::new(StatusCode::BAD_REQUEST)), Answer::Bisect(_)));
        assert!(matches!(judge(&Response::new(StatusCode::UNAUTHORIZED)), Answer::Paused(_)));
        assert_eq!(judge(&Response::new(StatusCode::PAYLOAD_TOO_LARGE)), Answer::TooLarge);
        let mut cut = Response::new(StatusCode::OK).with_body(r#"{"errors":false}"#);
        cut.is_cut = true;
        assert!(matches!(judge(&cut), Answer::InDoubt(_)));
    }

    #[test]
    fn a_document_is_one_line_and_one_that_cannot_be_written_adds_nothing() {
        let raw = serde_json::value::RawValue::from_string("{\n \"a\": 1\r\n}".to_owned()).unwrap();
        let mut body = Body::new();
        body.create(None, Some("a\"b\n"), &raw).unwrap();
        assert_eq!(body.as_bytes(), b"{\"create\":{\"_id\":\"a\\\"b\\n\"}}\n{  \"a\": 1  }\n");
        let before = body.as_bytes().to_vec();
        let unwritable = BTreeMap::from([((1, 2), 3)]);
        assert!(body.index(Some("x"), None, &unwritable).is_err());
        assert_eq!(body.as_bytes(), before);
    }

    #[test]
    fn the_endpoint_keeps_a_prefix_and_asks_for_little() {
        let server = Endpoint::parse("http://elastic:pw@localhost:9200/es/").unwrap();
        let uri = endpoint(&server).unwrap().uri().to_string();
        assert!(uri.starts_with("http://localhost:9200/es/_bulk?filter_path=errors,"), "{uri}");
    }
}
