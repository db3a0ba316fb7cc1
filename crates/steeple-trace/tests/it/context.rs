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
    assert!(serve(all(), called("00")).await.1.is_none(), "trusted: it said no");
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
    assert!(!serve(builder, called("01")).await.0.starts_with(TRACE), "a peer that is not known is no friend");
}

#[tokio::test]
async fn the_peers_address_comes_from_axum_or_from_the_connection() {
    let builder = || Trace::builder().trust(Trust::Nothing).trust_from("10.0.0.0/8", Trust::Full);
    let friend: std::net::SocketAddr = "10.0.0.1:9".parse().unwrap();
    let mut request = called("01");
    request.extensions_mut().insert(axum::extract::ConnectInfo(friend));
    assert!(serve(builder(), request).await.0.starts_with(TRACE));
    let mut request = called("01");
    request.extensions_mut().insert(steeple_core::connection::Connection::new(Some(friend)));
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
async fn the_response_says_which_trace_it_was_sampled_or_not() {
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
