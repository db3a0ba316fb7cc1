//! Nothing of one exchange is on another's event, whatever runs when and where.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::{collections::BTreeSet, io, time::Duration};

use axum::{Router, extract::Path, routing::get as route};
use common::{Receiver, serve};
use http::{Request, StatusCode};
use steeple_core::{Exchange, User};
use steeple_sentry::{Carried, breadcrumb, set_extra, set_tag, set_user};
use tokio::task::yield_now;

const EXCHANGES: usize = 1_000;

/// A handler that leaves its mark at every step, and lets others run in between.
async fn fail_distinctly(Path(id): Path<String>, exchange: Exchange) -> StatusCode {
    set_user(User::new(format!("user-{id}")));
    yield_now().await;
    breadcrumb("step", format!("first-{id}"));
    set_tag("mark", format!("tag-{id}"));
    tokio::time::sleep(Duration::from_millis(fastrand::u64(0..5))).await;
    set_extra("mark", format!("extra-{id}"));
    let inside = id.clone();
    let task = tokio::spawn(Carried::current().future(async move {
        yield_now().await;
        // In a child's own scope: it begins like the handler's and does not reach back into it.
        breadcrumb("step", format!("child-{inside}"));
    }));
    breadcrumb("step", format!("second-{id}"));
    task.await.unwrap();
    exchange.record_error(&io::Error::other(format!("failure-{id}")));
    StatusCode::INTERNAL_SERVER_ERROR
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_a_thousand_at_once_no_event_carries_anothers() {
    let receiver = Receiver::with(|options| options.queue_capacity(2_000.try_into().unwrap()));
    let app = Router::new().route("/fail/{id}", route(fail_distinctly)).layer(receiver.sentry.layer());
    let address = serve(app).await;
    let requests = (0..EXCHANGES).map(|id| {
        tokio::spawn(async move {
            let request = Request::get(format!("/fail/{id}?id={id}")).body(String::new()).unwrap();
            assert_eq!(common::send(address, request).await.unwrap().status(), 500);
        })
    });
    for request in requests.collect::<Vec<_>>() {
        request.await.unwrap();
    }
    let events = receiver.events();
    let mut seen = BTreeSet::new();
    let mut traces = BTreeSet::new();
    for event in &events {
        let id = common::exception(event).1.strip_prefix("failure-").unwrap().to_owned();
        assert_eq!(event.user.as_ref().unwrap().id, Some(format!("user-{id}")));
        let steps: Vec<_> = event.breadcrumbs.iter().filter_map(|step| step.message.clone()).collect();
        assert_eq!(steps, [format!("first-{id}"), format!("second-{id}")]);
        assert_eq!(
            (event.tags["mark"].clone(), &event.extra["mark"]),
            (format!("tag-{id}"), &format!("extra-{id}").into())
        );
        assert_eq!(event.request.as_ref().unwrap().query_string, Some(format!("id={id}")));
        assert_eq!(event.transaction.as_deref(), Some("GET /fail/{id}"));
        assert!(traces.insert(common::trace_id(event)), "a separate trace");
        assert!(seen.insert(id), "each once");
    }
    assert_eq!(seen.len(), EXCHANGES, "lost: {:?}", receiver.sentry.counts());
}

#[tokio::test]
async fn a_quiet_exchange_after_a_loud_one_has_nothing_of_it() {
    let receiver = Receiver::new();
    let app = Router::new()
        .route(
            "/loud",
            route(|| async {
                breadcrumb("step", "loud");
                set_tag("mark", "loud");
                "fine"
            }),
        )
        .route("/status", route(|| async { StatusCode::INTERNAL_SERVER_ERROR }))
        .layer(receiver.sentry.layer());
    let address = serve(app).await;
    for path in ["/status", "/loud", "/status"] {
        common::get(address, path).await.unwrap();
    }
    for event in receiver.events() {
        assert!(event.breadcrumbs.is_empty() && !event.tags.contains_key("mark"), "{event:#?}");
    }
}

#[tokio::test]
async fn the_threads_own_hub_is_back_after_each_poll() {
    let receiver = Receiver::new();
    let before = sentry_core::Hub::current();
    let app = Router::new()
        .route(
            "/",
            route(|| async {
                yield_now().await;
                "fine"
            }),
        )
        .layer(receiver.sentry.layer());
    let address = serve(app).await;
    common::get(address, "/").await.unwrap();
    assert!(std::sync::Arc::ptr_eq(&before, &sentry_core::Hub::current()));
}

#[tokio::test]
async fn tags_of_the_main_scope_are_on_events_once_it_is_renewed() {
    let receiver = Receiver::new();
    let app = Router::new()
        .route("/status", route(|| async { StatusCode::INTERNAL_SERVER_ERROR }))
        .layer(receiver.sentry.layer());
    let address = serve(app).await;
    common::get(address, "/status").await.unwrap();
    assert!(!receiver.event().tags.contains_key("region"));
    sentry_core::Hub::main().configure_scope(|scope| scope.set_tag("region", "eu"));
    receiver.sentry.renew_scope();
    common::get(address, "/status").await.unwrap();
    sentry_core::Hub::main().configure_scope(|scope| scope.remove_tag("region"));
    assert_eq!(receiver.event().tags["region"], "eu");
}
