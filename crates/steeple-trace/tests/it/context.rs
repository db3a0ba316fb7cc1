//! Trace context of callers: who is believed, what the handler sees, what the response says.

use axum::{Router, body::Body, routing::get as on_get};
use http::Request;
use opentelemetry::{
    Context,
    baggage::BaggageExt,
    trace::{SpanId, TraceContextExt, TraceId},
};
use steeple_core::Exchange;
use steeple_trace::{Propagators, ResponseHeader, Sampling, Trace, TraceBuilder, Trust};

use crate::support::{Rig, ask, get};

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const SPAN: &str = "b7ad6b7169203331";

fn called(flags: &str) -> Request<Body> {
    Request::get("/")
        .header("traceparent", format!("00-{TRACE}-{SPAN}-{flags}"))
        .header("tracestate", "vendor=1")
        .header("baggage", "tenant=acme")
        .body(Body::empty())
        .unwrap()
}

fn app(trace: &Trace) -> Router {
    let shows = |exchange: axum::Extension<Exchange>| async move {
        let baggage = Context::current().baggage().get("tenant").map(ToString::to_string).unwrap_or_default();
        format!("{} {} {baggage}", exchange.trace().unwrap().trace_id(), exchange.trace().unwrap().is_sampled())
    };
    Router::new().route("/", on_get(shows)).layer(trace.layer())
}

/// What the exchange said of itself, and its span, if it had one.
async fn serve(builder: TraceBuilder, request: Request<Body>) -> (String, Option<opentelemetry_sdk::trace::SpanData>) {
    let rig = Rig::new(builder);
    let said = ask(&app(&rig.trace), request).await.into_body();
    (said, rig.spans().pop())
}

#[tokio::test]
async fn a_callers_trace_is_continued_with_all_that_it_carries() {
    let (said, span) = serve(Trace::builder(), called("01")).await;
    let span = span.unwrap();
    assert_eq!(said, format!("{TRACE} true acme"));
    assert_eq!(span.span_context.trace_id(), TraceId::from_hex(TRACE).unwrap());
    assert_eq!((span.parent_span_id, span.parent_span_is_remote), (SpanId::from_hex(SPAN).unwrap(), true));
    assert_eq!(span.span_context.trace_state().header(), "vendor=1");
    assert!(span.links.links.is_empty());
}

#[tokio::test]
async fn a_callers_decision_counts_as_far_as_it_is_trusted() {
    let one_percent = || Trace::builder().sampling(Sampling::ratio(1e-9).parent_based());
    let all = || Trace::builder().sampling(Sampling::always_on().parent_based());
    assert!(serve(one_percent(), called("01")).await.1.is_some(), "trusted: its trace is whole");
    assert!(serve(all(), called("00")).await.1.is_none(), "trusted: it was not sampled");
    assert!(serve(one_percent().trust(Trust::Ids), called("01")).await.1.is_none(), "cannot spend our money");
    let (said, span) = serve(all().trust(Trust::Ids), called("00")).await;
    assert!(span.is_some(), "cannot hide");
    assert_eq!(said, format!("{TRACE} true acme"));
}

#[tokio::test]
async fn a_stranger_gets_a_new_trace_with_a_link() {
    let (said, span) = serve(Trace::builder().trust(Trust::Nothing), called("00")).await;
    let span = span.unwrap();
    assert_ne!(span.span_context.trace_id(), TraceId::from_hex(TRACE).unwrap());
    assert_eq!(span.parent_span_id, SpanId::INVALID);
    assert_eq!(span.span_context.trace_state().header(), "");
    assert!(said.ends_with("true "), "no baggage of strangers: {said}");
    assert_eq!(span.links.links.len(), 1);
    let link = &span.links.links[0].span_context;
    assert_eq!((link.trace_id(), link.span_id()), (TraceId::from_hex(TRACE).unwrap(), SpanId::from_hex(SPAN).unwrap()));
}

#[tokio::test]
async fn trust_goes_by_the_peers_address() {
    let builder = Trace::builder()
        .trust(Trust::Nothing)
        .trust_from("10.0.0.0/8", Trust::Full)
        .peer(|request| request.headers.get("x-test-peer")?.to_str().ok()?.parse().ok());
    let from = |peer: &str| {
        let mut request = called("01");
        request.headers_mut().insert("x-test-peer", peer.parse().unwrap());
        request
    };
    assert!(serve(builder.clone(), from("10.1.2.3:1")).await.0.starts_with(TRACE));
    assert!(!serve(builder.clone(), from("192.0.2.1:1")).await.0.starts_with(TRACE));
    assert!(!serve(builder, called("01")).await.0.starts_with(TRACE), "an unknown peer is not trusted");
}

#[tokio::test]
async fn the_peers_address_comes_from_axum_or_from_the_connection() {
    let builder = || Trace::builder().trust(Trust::Nothing).trust_from("10.0.0.0/8", Trust::Full);
    let friend: std::net::SocketAddr = "10.0.0.1:9".parse().unwrap();
    let mut request = called("01");
    request.extensions_mut().insert(axum::extract::ConnectInfo(friend));
    assert!(serve(builder(), request).await.0.starts_with(TRACE));
    let mut request = called("01");
    request.extensions_mut().insert(steeple_core::connection::Connection::new(Some(friend.into())));
    assert!(serve(builder(), request).await.0.starts_with(TRACE));
}

#[tokio::test]
async fn invalid_headers_start_a_new_trace() {
    for bad in ["", "00-zz", &format!("00-{TRACE}-{SPAN}-01-more"), &format!("00-{}-{SPAN}-01", "0".repeat(32))] {
        let request =
            Request::get("/").header("traceparent", bad).header("tracestate", "a=1").body(Body::empty()).unwrap();
        let span = serve(Trace::builder(), request).await.1.unwrap();
        assert_eq!((span.parent_span_id, span.span_context.trace_state().header().as_str()), (SpanId::INVALID, ""));
    }
}

#[tokio::test]
async fn b3_is_read_when_it_is_asked_for() {
    let request = || Request::get("/").header("b3", format!("{TRACE}-{SPAN}-1")).body(Body::empty()).unwrap();
    assert!(!serve(Trace::builder(), request()).await.0.starts_with(TRACE));
    assert!(serve(Trace::builder().propagators(Propagators::default().b3()), request()).await.0.starts_with(TRACE));
}

#[tokio::test]
async fn the_response_has_its_trace_sampled_or_not() {
    for (header, sampling) in [
        (ResponseHeader::TraceResponse, Sampling::always_on()),
        (ResponseHeader::TraceResponse, Sampling::always_off()),
        (ResponseHeader::ServerTiming, Sampling::always_on()),
    ] {
        let flag = if sampling == Sampling::always_on() { "03" } else { "02" };
        let rig = Rig::new(Trace::builder().sampling(sampling).response_header(header));
        let response = ask(&app(&rig.trace), get("/")).await;
        let trace = response.body().split(' ').next().unwrap().to_owned();
        let (name, want) = match header {
            ResponseHeader::TraceResponse => ("traceresponse", format!("00-{trace}-")),
            ResponseHeader::ServerTiming | _ => ("server-timing", format!("traceparent;desc=\"00-{trace}-")),
        };
        let value = response.headers()[name].to_str().unwrap();
        assert!(value.starts_with(&want) && value.trim_end_matches('"').ends_with(flag), "{value}");
    }
    let rig = Rig::new(Trace::builder());
    let response = ask(&app(&rig.trace), get("/")).await;
    assert!(!response.headers().contains_key("traceresponse"));
}

#[tokio::test]
async fn ids_that_are_on_log_lines_already_become_the_spans() {
    struct Early;
    impl steeple_core::Observer for Early {
        type State = ();
        fn on_request(&self, exchange: &Exchange, request: &mut http::request::Parts) -> Option<()> {
            exchange.trace_or_continue(&request.headers);
            None
        }
        fn on_end(&self, (): (), _: &Exchange, _: &steeple_core::End) {}
    }
    let rig = Rig::new(Trace::builder());
    let app = app(&rig.trace).layer(steeple_core::ObserveLayer::new((Early,)));
    let said = ask(&app, get("/")).await.into_body();
    assert!(said.starts_with(&rig.span().span_context.trace_id().to_string()));
}

#[tokio::test]
async fn others_see_the_ids_of_an_exchange_that_is_not_sampled_if_asked_for() {
    for shown in [false, true] {
        let builder = Trace::builder().sampling(Sampling::always_off());
        let rig = Rig::new(if shown { builder.show_unsampled() } else { builder });
        let app = Router::new()
            .route(
                "/",
                on_get(|| async {
                    let current = Context::current().span().span_context().clone();
                    format!("{} {}", current.is_valid(), current.is_sampled())
                }),
            )
            .layer(rig.trace.layer());
        assert_eq!(ask(&app, get("/")).await.body(), &format!("{shown} false"));
        assert!(!Context::current().span().span_context().is_valid());
    }
}

/// A service with B3 alone, in this form; answers with the headers of the call that it makes.
async fn b3_through(builder: TraceBuilder, headers: &[(&'static str, &str)]) -> (http::HeaderMap, usize) {
    let rig = Rig::new(builder);
    let client = rig.trace.client_layer();
    let sent = std::sync::Arc::new(std::sync::Mutex::new(http::HeaderMap::new()));
    let seen = std::sync::Arc::clone(&sent);
    let handler = move || async move {
        let other = tower::service_fn(move |request: Request<Body>| {
            *seen.lock().unwrap() = request.headers().clone();
            async { Ok::<_, std::convert::Infallible>(http::Response::new(Body::empty())) }
        });
        let client = tower::Layer::layer(&client, other);
        let call = Request::get("http://other.example/").body(Body::empty()).unwrap();
        tower::ServiceExt::oneshot(client, call).await.unwrap();
    };
    let app = Router::new().route("/", on_get(handler)).layer(rig.trace.layer());
    let mut request = get("/");
    for (name, value) in headers {
        request.headers_mut().insert(*name, value.parse().unwrap());
    }
    ask(&app, request).await;
    let headers = sent.lock().unwrap().clone();
    (headers, rig.spans().len())
}

#[tokio::test]
async fn b3s_debug_flag_is_passed_on_and_makes_a_trace_sampled() {
    let single = || Trace::builder().propagators(Propagators::none().b3());
    let multi = || Trace::builder().propagators(Propagators::none().b3_multi());
    let never = Sampling::always_off().parent_based();
    let one = [("b3", format!("{TRACE}-{SPAN}-d"))];
    let several = [("x-b3-traceid", TRACE), ("x-b3-spanid", SPAN), ("x-b3-flags", "1")];
    let one = [(one[0].0, one[0].1.as_str())];
    for headers in [&one[..], &several] {
        let (sent, spans) = b3_through(single().sampling(never.clone()), headers).await;
        let value = sent["b3"].to_str().unwrap();
        assert!(value.starts_with(TRACE) && value.ends_with("-d") && !value.contains(SPAN), "{value}");
        assert_eq!(spans, 2, "recorded, though nothing else is");
        let (sent, _) = b3_through(multi().sampling(never.clone()), headers).await;
        assert_eq!((sent["x-b3-flags"].to_str().unwrap(), sent["x-b3-traceid"].to_str().unwrap()), ("1", TRACE));
        assert!(!sent.contains_key("x-b3-sampled") && !sent.contains_key("x-b3-parentspanid"), "{sent:?}");
        // Who may not decide may not force anybody further on either.
        let (sent, spans) = b3_through(single().sampling(Sampling::always_off()).trust(Trust::Ids), headers).await;
        assert!(sent["b3"].to_str().unwrap().ends_with("-0") && spans == 0, "{sent:?}");
    }
}

#[tokio::test]
async fn an_invalid_b3_header_leaves_the_word_to_the_others() {
    let headers = [("b3", "garbage"), ("x-b3-traceid", TRACE), ("x-b3-spanid", SPAN), ("x-b3-sampled", "0")];
    let (sent, spans) = b3_through(Trace::builder().propagators(Propagators::none().b3()), &headers).await;
    let value = sent["b3"].to_str().unwrap();
    assert!(value.starts_with(TRACE) && value.ends_with("-0"), "{value}");
    assert_eq!(spans, 0, "its caller did not sample");
    for alone in [("b3", "0"), ("x-b3-sampled", "0")] {
        let (sent, spans) = b3_through(Trace::builder().propagators(Propagators::none().b3()), &[alone]).await;
        assert!(sent["b3"].to_str().unwrap().ends_with("-0") && spans == 0, "{sent:?}");
    }
}
