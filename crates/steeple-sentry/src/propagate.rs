use http::{HeaderMap, HeaderValue};
use sentry_core::Hub;

use crate::bound;

/// Puts the current exchange's trace on a call to another service: `sentry-trace`, `baggage` and `traceparent`.
///
/// A `traceparent` that is there already stays, and so do other vendors' members of `baggage`. What the trace's first service decided
/// goes along unchanged. Outside of an exchange nothing is put. Send it to your own services only.
///
/// # Examples
/// ```
/// # async fn handler() {
/// let mut request = http::Request::get("http://inventory.internal/items").body(()).unwrap();
/// steeple_sentry::propagate(request.headers_mut());
/// # }
/// ```
pub fn propagate(headers: &mut HeaderMap) {
    let Some(link) = bound::current() else { return };
    let slot = link.lock();
    let Some(exchange) = &slot.exchange else { return };
    let trace = slot.head.trace(exchange);
    let sampled = if slot.running.is_some() { Some(true) } else { slot.head.parent_decision() };
    let decision = match sampled {
        Some(true) => "-1",
        Some(false) => "-0",
        None => "",
    };
    let mut put = |name: &'static str, value: String| {
        if let Ok(value) = HeaderValue::try_from(value) {
            headers.insert(name, value);
        }
    };
    put("sentry-trace", format!("{}-{}{decision}", trace.trace_id(), trace.span_id()));
    let mut members: Vec<String> =
        slot.head.sentry_baggage().map(|(key, value)| format!("sentry-{key}={value}")).collect();
    drop(slot);
    if members.is_empty() {
        members.push(format!("sentry-trace_id={}", trace.trace_id()));
        if let Some(client) = Hub::current().client() {
            let options = client.options();
            let dsn = options.dsn.as_ref().map(|dsn| ("public_key", dsn.public_key()));
            let named = [
                dsn,
                options.release.as_deref().map(|it| ("release", it)),
                options.environment.as_deref().map(|it| ("environment", it)),
            ];
            members.extend(
                named
                    .into_iter()
                    .flatten()
                    .map(|(key, value)| format!("sentry-{key}={}", steeple_core::text::percent_encode(value))),
            );
        }
        if let Some(sampled) = sampled {
            members.push(format!("sentry-sampled={sampled}"));
        }
    }
    let others = headers.get_all("baggage").iter().filter_map(|value| value.to_str().ok());
    let others = others
        .flat_map(|value| value.split(','))
        .map(str::trim)
        .filter(|member| !member.is_empty() && !member.starts_with("sentry-"));
    let all: Vec<&str> = others.chain(members.iter().map(String::as_str)).collect();
    let baggage = all.join(",");
    if !headers.contains_key("traceparent")
        && let Ok(value) = HeaderValue::try_from(trace.with_sampled(sampled == Some(true)).traceparent())
    {
        headers.insert("traceparent", value);
    }
    if let Ok(value) = HeaderValue::try_from(baggage) {
        headers.insert("baggage", value);
    }
}
