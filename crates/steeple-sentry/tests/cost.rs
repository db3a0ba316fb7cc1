//! What an exchange pays: nothing while nothing happens, and little when something does.

#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a test fails by panicking, and prints what it measured")]

mod common;

use std::{convert::Infallible, num::NonZeroUsize, sync::Arc, time::Duration};

use common::{DSN, Receiver};
use futures_util::FutureExt;
use http::{Request, Response, StatusCode};
use http_body_util::BodyExt;
use sentry_core::{Envelope, Transport};
use steeple_core::{End, Exchange, ObserveLayer, Observer};
use steeple_sentry::{DropReason, Sentry, SentryBuilder, breadcrumb};
use tower::{Layer, Service, ServiceExt};

/// Watches and does nothing: what core itself costs.
struct Idle;

impl Observer for Idle {
    type State = ();

    fn on_request(&self, _: &Exchange, _: &mut http::request::Parts) -> Option<()> {
        Some(())
    }

    fn on_end(&self, (): (), _: &Exchange, _: &End) {}
}

type Body = http_body_util::Full<bytes::Bytes>;

/// A head as hyper makes it: all of it slices of the one buffer that it was read into.
fn head() -> http::request::Parts {
    let parts = [
        "/users/7?page=2",
        "test/1.0",
        "*/*",
        "shop.example",
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    ];
    let mut rest = bytes::BytesMut::from(&*parts.concat());
    let mut parts = parts.into_iter().map(|part| rest.split_to(part.len()).freeze());
    let mut head = Request::new(()).into_parts().0;
    head.uri = http::Uri::from_maybe_shared(parts.next().unwrap()).unwrap();
    for (name, value) in ["user-agent", "accept", "host", "traceparent"].into_iter().zip(parts) {
        head.headers.insert(name, http::HeaderValue::from_maybe_shared(value).unwrap());
    }
    head
}

/// Serves one request on this thread, from its head to the last byte of its answer.
fn exchange<O: Observer>(layer: &ObserveLayer<O>, handler: fn() -> StatusCode) {
    let service = tower::service_fn(move |_: Request<Body>| async move {
        tokio::task::yield_now().await;
        Ok::<_, Infallible>(Response::builder().status(handler()).body(Body::from("fine")).unwrap())
    });
    let mut service = layer.layer(service);
    let request = Request::from_parts(head(), Body::default());
    let answered = async {
        let answer = service.ready().await.unwrap().call(request).await.unwrap();
        answer.into_body().collect().await.unwrap();
    };
    let mut answered = Box::pin(answered);
    while answered.as_mut().now_or_never().is_none() {}
}

fn allocations<O: Observer>(layer: &ObserveLayer<O>, handler: fn() -> StatusCode) -> u64 {
    for _ in 0..8 {
        exchange(layer, handler);
    }
    allocation_counter::measure(|| (0..100).for_each(|_| exchange(layer, handler))).count_total
}

#[test]
fn an_exchange_in_which_nothing_happens_allocates_nothing_more() {
    let receiver = Receiver::with(|options| options.release("shop@1").traces_sample_rate(0.0));
    let bare = allocations(&ObserveLayer::new(Idle), || StatusCode::OK);
    let watched = allocations(&receiver.sentry.layer(), || StatusCode::OK);
    println!("allocations of 100 exchanges: {bare} bare, {watched} watched");
    assert_eq!(watched, bare);
}

#[test]
fn a_breadcrumb_costs_what_the_readme_says() {
    let receiver = Receiver::new();
    let bare = allocations(&ObserveLayer::new(Idle), || StatusCode::OK);
    let stepped = allocations(&receiver.sentry.layer(), || {
        breadcrumb("step", "one");
        StatusCode::OK
    });
    let measured = (stepped - bare) / 100;
    let row = "| an exchange with one breadcrumb | ";
    let said = include_str!("../README.md").lines().find_map(|line| line.strip_prefix(row)).unwrap();
    assert_eq!(said, format!("{measured} allocations |"));
}

#[test]
fn an_exchange_that_left_steps_is_not_served_by_a_used_hub_and_one_that_did_not_is() {
    let receiver = Receiver::new();
    let bare = allocations(&ObserveLayer::new(Idle), || StatusCode::OK);
    let stepped = allocations(&receiver.sentry.layer(), || {
        breadcrumb("step", "one");
        StatusCode::OK
    });
    println!("allocations of an exchange with a breadcrumb: {}", (stepped - bare) / 100);
    assert!(stepped > bare);
    let watched = allocations(&receiver.sentry.layer(), || StatusCode::OK);
    assert_eq!(watched, bare, "the next ones are for nothing again");
}

#[test]
fn an_absent_observer_costs_nothing() {
    let bare = allocations(&ObserveLayer::new(Idle), || StatusCode::OK);
    let none = SentryBuilder::from_lookup(|_| None).unwrap().map(|options| options.build().unwrap());
    assert_eq!(allocations(&ObserveLayer::new(none), || StatusCode::OK), bare);
    let client = Arc::new(sentry_core::Client::from(sentry_core::ClientOptions::new()));
    let off = Sentry::with_client(client, Sentry::builder(DSN)).unwrap();
    assert_eq!(allocations(&off.layer(), || StatusCode::OK), bare);
}

/// A Sentry that is down: nothing comes back from it.
struct Stuck(std::sync::Mutex<()>);

impl Transport for Stuck {
    fn send_envelope(&self, _: Envelope) {
        drop(self.0.lock());
    }
}

#[test]
fn a_stuck_transport_costs_a_bounded_queue_and_delays_no_request() {
    let stuck = Arc::new(Stuck(std::sync::Mutex::new(())));
    let held = stuck.0.lock().unwrap();
    let options = Sentry::builder(DSN).transport(Arc::clone(&stuck)).queue_capacity(NonZeroUsize::new(10).unwrap());
    let sentry = options.build().unwrap();
    let layer = sentry.layer();
    // The transport returns from nothing before `held` goes: had one of these waited for it, the test would hang.
    for _ in 0..200 {
        exchange(&layer, || StatusCode::INTERNAL_SERVER_ERROR);
    }
    assert!(!sentry.flush(Duration::from_millis(50)), "a deadline is a deadline");
    let lost = sentry.counts().dropped(DropReason::QueueFull);
    assert!((189..=190).contains(&lost), "10 wait, one is with the transport, all others are counted: {lost}");
    drop(held);
    assert!(sentry.flush(Duration::from_mins(1)));
    assert_eq!(sentry.counts().events + sentry.counts().dropped(DropReason::QueueFull), 200);
}

/// Bytes that this thread allocates while a request panics, the first times it does in this process.
fn bytes_of_panics(layer: &ObserveLayer<Sentry>, handler: fn() -> StatusCode) -> Vec<u64> {
    let one = |_| {
        let panics = std::panic::AssertUnwindSafe(|| exchange(layer, handler));
        allocation_counter::measure(|| assert!(std::panic::catch_unwind(panics).is_err())).bytes_total
    };
    (0..20).map(one).collect()
}

#[test]
#[ignore = "run by a_panicking_thread_leaves_its_symbols_to_the_sending_thread"]
fn a_child_that_panics() {
    let receiver = Receiver::new();
    // The hook that prints would resolve the symbols itself.
    std::panic::set_hook(Box::new(|_| {}));
    let _installed = receiver.sentry.clone().install();
    let taken = bytes_of_panics(&receiver.sentry.layer(), || panic!("out of cheese"));
    let events = receiver.events();
    assert_eq!(events.len(), 20);
    let named = |event: &sentry_core::protocol::Event<'_>| {
        let frames = event.exception.last().unwrap().stacktrace.as_ref().unwrap().frames.iter();
        frames.filter_map(|frame| frame.function.as_deref()).any(|name| name.contains("a_child_that_panics"))
    };
    assert!(events.iter().all(named), "the stack is named all the same");
    let first = taken.first().copied().unwrap_or(u64::MAX);
    println!("the first panic allocates {first} bytes on its thread");
    assert!(first < 1 << 20, "{first} bytes: reading the debug information takes 50 MB");
}

#[test]
fn a_panicking_thread_leaves_its_symbols_to_the_sending_thread() {
    // A process in which nothing was resolved yet: who is first pays for reading the debug information.
    let mut child = std::process::Command::new(std::env::current_exe().unwrap());
    child.args(["a_child_that_panics", "--exact", "--ignored", "--nocapture"]);
    let output = child.output().unwrap();
    let printed = String::from_utf8(output.stdout).unwrap();
    println!("{printed}");
    assert!(output.status.success());
}
