use std::time::Duration;

use axum::{Router, body::Body, http::Request, routing::post};
use http::StatusCode;
use steeple_core::ObserveLayer;
use steeple_events::{
    AtTimeout, Events, HoldResponseLayer,
    preset::{FeatureUsed, UserRegistration},
    sink::NewRelic,
};
use tower::ServiceExt as _;

use crate::outbox::{PATIENCE, nowhere, soon};

fn events(directory: &std::path::Path, timeout: Duration) -> Events {
    Events::builder()
        .directory(directory)
        .receipt_timeout(timeout)
        .sink(NewRelic::new("license", "12345").endpoint(nowhere()).http(soon))
        .build()
        .unwrap()
}

async fn answer(events: &Events, at_timeout: AtTimeout, path: &str) -> StatusCode {
    let (registers, fails) = (events.clone(), events.clone());
    let app = Router::new()
        .route(
            "/users",
            post(async move || {
                registers.track(UserRegistration { source: "ads" });
                registers.track(FeatureUsed { feature: "export" });
                StatusCode::CREATED
            }),
        )
        .route(
            "/conflict",
            post(async move || {
                fails.track(FeatureUsed { feature: "export" });
                StatusCode::CONFLICT
            }),
        )
        .route("/nothing", post(async || StatusCode::NO_CONTENT))
        .route_layer(HoldResponseLayer::new().at_timeout(at_timeout))
        .layer(ObserveLayer::new(events.observer()));
    app.oneshot(Request::post(path).body(Body::empty()).unwrap()).await.unwrap().status()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_response_goes_out_once_its_events_are_stored() {
    let directory = tempfile::tempdir().unwrap();
    let events = events(directory.path(), PATIENCE);
    assert_eq!(answer(&events, AtTimeout::Unavailable, "/users").await, StatusCode::CREATED);
    assert_eq!(events.spool().unwrap().backlog_now("newrelic").unwrap().items, 2, "stored before the answer");
    assert_eq!(answer(&events, AtTimeout::Unavailable, "/nothing").await, StatusCode::NO_CONTENT);
    assert_eq!(answer(&events, AtTimeout::Unavailable, "/conflict").await, StatusCode::CONFLICT);
}

#[tokio::test(flavor = "multi_thread")]
async fn at_the_timeout_it_is_let_go_or_is_503() {
    let directory = tempfile::tempdir().unwrap();
    let events = events(directory.path(), Duration::ZERO);
    // The thread that writes has ended: nothing will be stored any more.
    let spool = events.spool().unwrap().clone();
    spool.close();
    crate::outbox::until(|| spool.backlog_now("-").is_err()).await;
    assert_eq!(answer(&events, AtTimeout::LetGo, "/users").await, StatusCode::CREATED);
    assert_eq!(answer(&events, AtTimeout::Unavailable, "/users").await, StatusCode::SERVICE_UNAVAILABLE);
}
