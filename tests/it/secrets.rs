//! Every secret of the corpus, in every place of a request that it fits and in what a handler says: none gets into the log
//! lines or onto the metrics page.

use std::collections::HashMap;

use axum::{Router, body::Body, extract::Request};
use http::{HeaderName, HeaderValue, StatusCode, Uri, header};
use steeple_core::Exchange;
use steeple_scrub::corpus::{self, Place, Secret};
use steeple_tests::stack::Stack;
use tower::ServiceExt;
use tracing_subscriber::layer::SubscriberExt;

/// What a handler says: an attribute alone, or a text in every way that it can.
#[derive(Clone, Debug)]
enum Told {
    Attribute(String, String),
    Text(String),
}

async fn handler(exchange: Exchange, request: Request) -> StatusCode {
    match request.extensions().get() {
        Some(Told::Attribute(name, value)) => exchange.set_attribute(name.clone(), value.clone()),
        Some(Told::Text(text)) => {
            tracing::info!(note = text, "a line with {text}");
            exchange.set_attribute("note", text.clone());
            exchange.record_error(&std::io::Error::other(text.clone()));
        }
        None => (),
    }
    StatusCode::INTERNAL_SERVER_ERROR
}

/// A request that carries the secret where it belongs, or whose handler is told it.
#[expect(clippy::wildcard_enum_match_arm, reason = "the corpus may grow places that no request has")]
fn request(secret: &Secret, id: &str) -> Option<Request> {
    let text = secret.text.as_str();
    let uri: Uri = if matches!(secret.place, Place::Path | Place::Target) {
        text.parse().ok()?
    } else if secret.place == Place::Query {
        format!("/search?{text}").parse().ok()?
    } else {
        Uri::from_static("/work")
    };
    let mut request = Request::new(Body::empty());
    *request.uri_mut() = uri;
    let value = HeaderValue::from_str(text).ok();
    match secret.place {
        Place::Header => {
            request.headers_mut().insert(HeaderName::from_bytes(secret.name.as_bytes()).ok()?, value?);
        }
        Place::Cookie => {
            request.headers_mut().insert(header::COOKIE, value?);
        }
        Place::Url => {
            request.headers_mut().insert(header::REFERER, value?);
        }
        Place::Field => {
            request.extensions_mut().insert(Told::Attribute(secret.name.clone(), secret.text.clone()));
        }
        Place::Message | Place::Error | Place::Breadcrumb => {
            request.extensions_mut().insert(Told::Text(secret.text.clone()));
            if let Some(value) = value {
                request.headers_mut().insert(header::USER_AGENT, value);
            }
        }
        // Bodies are never captured.
        Place::Form | Place::Json => return None,
        _ => (),
    }
    request.headers_mut().insert("x-request-id", HeaderValue::from_str(id).ok()?);
    Some(request)
}

#[tokio::test]
async fn no_secret_of_the_corpus_is_in_a_log_line_or_on_the_metrics_page() {
    let stack = Stack::new();
    let app: Router = Router::new().fallback(handler).layer(stack.layer());
    let secrets: Vec<_> = corpus::secrets();
    let subscriber = tracing_subscriber::registry().with(stack.log().layer());
    let _scope = tracing::subscriber::set_default(subscriber);
    let mut sent: HashMap<String, &Secret> = HashMap::new();
    for (number, secret) in secrets.iter().enumerate() {
        let id = format!("request-{number:05}");
        if let Some(request) = request(secret, &id) {
            let response = app.clone().oneshot(request).await.unwrap();
            assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
            sent.insert(id, secret);
        }
    }
    let page = stack.metrics().render(None, None);
    let page = String::from_utf8(page.body.to_vec()).unwrap();
    let mut leaked = Vec::new();
    let mut seen = 0_usize;
    for mut line in stack.lines() {
        let id = line["request_id"].as_str().unwrap().to_owned();
        // Ids, times and durations are digits that hold any three sooner or later.
        for noise in ["request_id", "trace_id", "span_id", "timestamp", "duration_ms", "response_head_ms"] {
            line.as_object_mut().map(|line| line.remove(noise));
        }
        seen += usize::from(line["target"] == "steeple::access");
        let secret = sent[&id];
        if secret.leaks_into(&line.to_string()) {
            leaked.push(format!("{secret:?} leaks into {line}"));
        }
    }
    // Three digits are in any page; what has eight characters is in none by chance.
    for secret in sent.values().filter(|secret| secret.secret.chars().count() >= 8) {
        if secret.leaks_into(&page) {
            leaked.push(format!("{secret:?} leaks into the metrics"));
        }
    }
    assert_eq!(seen, sent.len(), "a line for each request");
    assert!(sent.len() > 800, "only {} of {} fit into a request", sent.len(), secrets.len());
    assert!(leaked.is_empty(), "{} leaked: {:#?}", leaked.len(), &leaked[..leaked.len().min(3)]);
}
