//! What alerts allocate on the path of a request: nothing where it ends well, and the same whether or not a channel is dead.
#![expect(clippy::unwrap_used, reason = "in a test a panic is the report")]

use std::{
    convert::Infallible,
    future::ready,
    pin::pin,
    task::{Context, Poll, Waker},
    time::Duration,
};

use http::{Request, Response};
use http_body::Body;
use steeple_alerts::{
    Alerts, Rules,
    channel::{Slack, Webhook},
};
use steeple_core::{ObserveLayer, Observer, test_util::ScriptedBody};
use steeple_export::{Health, Retry};
use steeple_metrics::{
    Metrics,
    indicator::{Clock, HistoryOptions},
};
use tower::{Layer, Service, service_fn};

/// A port without a listener.
const DEAD: &str = "http://127.0.0.1:9/hook";

/// Allocations of one request that is answered so, from its head to its end, when everything is warm.
fn allocations(observer: impl Observer, status: u16) -> u64 {
    let mut service = ObserveLayer::new(observer).layer(service_fn(move |_: Request<String>| {
        let body = ScriptedBody::default().admitting_its_end();
        ready(Ok::<_, Infallible>(Response::builder().status(status).body(body).unwrap()))
    }));
    let mut call = |request| {
        let mut cx = Context::from_waker(Waker::noop());
        let Poll::Ready(Ok(response)) = pin!(service.call(request)).poll(&mut cx) else { unreachable!("it is ready") };
        assert!(response.into_body().is_end_stream());
    };
    let request = || Request::get("/users/7").header("host", "shop.example").body(String::new()).unwrap();
    // Past a power of ten: the next message about this group is far away.
    for _ in 0..120 {
        call(request());
    }
    let request = request();
    allocation_counter::measure(|| call(request)).count_total
}

fn metrics() -> Metrics {
    let metrics = Metrics::builder().build().unwrap();
    let clock = Clock::manual(Duration::from_secs(1_795_985_484));
    let _history = metrics.history_with(HistoryOptions::new().clock(clock).without_thread());
    metrics
}

/// Alerts without a channel.
fn quiet(metrics: &Metrics) -> Alerts {
    Alerts::builder().rules(Rules::mission()).errors_per_minute(0).build(metrics).unwrap()
}

/// Alerts whose channels are dead, and have something to send.
fn dead(metrics: &Metrics) -> Alerts {
    let soon = Retry::new().base(Duration::from_millis(5)).cap(Duration::from_millis(20));
    let webhook = Webhook::new(DEAD, "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw");
    let alerts = Alerts::builder()
        .rules(Rules::mission())
        .errors_per_minute(0)
        .channel(Slack::new(DEAD).http(move |http| http.retry(soon).batch_delay(Duration::ZERO)))
        .channel(webhook.http(move |http| http.retry(soon).batch_delay(Duration::ZERO)))
        .build(metrics)
        .unwrap();
    alerts.check("high_cpu_usage", 0.9);
    alerts.check("high_memory_usage", 0.9);
    // Until it is known to be dead.
    for _ in 0..6_000 {
        if alerts.sinks().iter().all(|sink| matches!(sink.stats().health, Health::Failing(_))) {
            return alerts;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    unreachable!("the port is closed");
}

#[test]
fn a_request_that_ends_well_costs_nothing_more_with_alerts_whatever_their_channels_do() {
    for status in [200, 302, 404] {
        let bare = allocations(metrics(), status);
        let of = |alerts: fn(&Metrics) -> Alerts| {
            let metrics = metrics();
            let alerts = alerts(&metrics);
            let observer = alerts.observer();
            allocations((metrics, observer), status)
        };
        assert_eq!((of(quiet), of(dead)), (bare, bare), "{status}");
    }
}

#[test]
fn a_request_that_fails_costs_the_same_whether_or_not_a_channel_is_dead() {
    let of = |alerts: fn(&Metrics) -> Alerts| {
        let metrics = metrics();
        let alerts = alerts(&metrics);
        let cost = allocations((metrics, alerts.observer()), 500);
        (cost, alerts.error_groups()[0].count)
    };
    let ((quiet, counted), (dead, counted_too)) = (of(quiet), of(dead));
    assert_eq!((quiet, counted, counted_too), (dead, 121, 121));
    assert!(quiet > allocations(metrics(), 500), "a failure is remembered: the counter counts");
}
