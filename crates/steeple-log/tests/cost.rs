//! What a line costs on the path of a request: with a browser's headers, a query, a route, a user and an address.

#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a test that cannot go on fails, and says what it found")]

use std::{
    convert::Infallible,
    future::{Future, ready},
    io,
    pin::pin,
    task::{Context, Poll, Waker},
    time::Duration,
};

use http::{Request, Response};
use http_body::Body;
use steeple_core::{Exchange, ObserveLayer, Observer, RequestIds, Text, User, test_util::ScriptedBody};
use steeple_log::{Format, Log, LogGuard};
use tower::{Layer, Service, service_fn};

type Answer = Result<Response<ScriptedBody>, Infallible>;

fn browser() -> Request<String> {
    Request::get("/users/42?tab=orders&page=2&sort=date")
        .header("host", "shop.example.org")
        .header(
            "user-agent",
            "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36",
        )
        .header("accept", "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8")
        .header("accept-encoding", "gzip, deflate, br, zstd")
        .header("accept-language", "en-US,en;q=0.9,de;q=0.8")
        .header("cookie", "session=0123456789abcdef0123456789abcdef; theme=dark")
        .header("referer", "https://shop.example.org/users")
        .header("sec-fetch-mode", "navigate")
        .body(String::new())
        .unwrap()
}

/// As a router, a user layer and a handler would tell the exchange.
fn answer(request: &Request<String>, user: &User) -> Response<ScriptedBody> {
    if let Some(exchange) = request.extensions().get::<Exchange>() {
        exchange.report_route(Text::from_static("/users/{id}"));
        exchange.set_user(user.clone());
        exchange.set_client_address([192, 0, 2, 77].into());
    }
    Response::new(ScriptedBody::default().admitting_its_end())
}

/// A service behind a layer, called again and again in this thread.
fn caller<O: Observer>(observer: O) -> impl FnMut(Request<String>) {
    let user = User::new("u-42");
    let handler = service_fn(move |request: Request<String>| ready(Answer::Ok(answer(&request, &user))));
    let mut service = ObserveLayer::new(observer).layer(handler);
    move |request| {
        let mut cx = Context::from_waker(Waker::noop());
        let Poll::Ready(Ok(response)) = pin!(service.call(request)).poll(&mut cx) else { unreachable!("it is ready") };
        let body = pin!(response.into_body());
        assert!(body.is_end_stream());
    }
}

/// Allocations of a request when everything is warm.
fn allocations<O: Observer>(observer: O) -> u64 {
    let mut call = caller(observer);
    for _ in 0..16 {
        call(browser());
    }
    let request = browser();
    allocation_counter::measure(|| call(request)).count_total
}

fn log(format: Format) -> LogGuard {
    let logging = Log::builder().service_name("shop").service_version("1.2.3").without_console();
    logging.writer(io::sink(), format).build().unwrap()
}

#[test]
fn a_line_allocates_nothing() {
    let bare = allocations(());
    let ids = allocations(RequestIds::new());
    println!("a watched exchange allocates {bare} times, with a request id {ids} times");
    for format in [Format::Json, Format::Ecs] {
        let guard = log(format);
        let with_line = allocations((RequestIds::new(), guard.log()));
        println!("with its line as {format:?}: {with_line} times");
        assert_eq!(with_line, ids, "{format:?}");
        assert!(guard.flush(Duration::from_secs(10)));
        assert_eq!(guard.dropped(), 0);
    }
}

#[test]
fn a_line_that_the_filter_stops_allocates_nothing_either() {
    let guard = Log::builder().level("error").without_console().writer(io::sink(), Format::Json).build().unwrap();
    assert_eq!(allocations((RequestIds::new(), guard.log())), allocations(RequestIds::new()));
    assert_eq!(allocations((RequestIds::new(), steeple_log::Log::default())), allocations(RequestIds::new()));
}
