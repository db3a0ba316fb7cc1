//! Alerts through the facade: off without a channel, fed by requests and events, told once.
#![cfg(feature = "alerts")]

use std::time::Duration;

use axum::{Router, body::Body, routing::get};
use http::{Request, StatusCode};
use steeple::{
    Exchange, Steeple,
    alerts::{Rule, Rules, channel::Slack},
    metrics::indicator::{Indicator, Selector},
};
use tower::ServiceExt as _;

#[test]
fn without_a_channel_and_a_rule_nothing_is_started() {
    let steeple = Steeple::builder().without_log_setup().build().unwrap();
    assert!(steeple.alerts().is_none());
}

#[test]
fn a_channel_alone_brings_the_six_rules() {
    let slack = Slack::new("http://127.0.0.1:9/slack");
    let steeple = Steeple::builder().without_log_setup().alerts(|alerts| alerts.channel(slack)).build().unwrap();
    let names: Vec<_> = steeple.alerts().unwrap().rules().into_iter().map(|rule| rule.name).collect();
    let six = Rules::mission();
    assert_eq!(names, six.iter().map(Rule::name).collect::<Vec<_>>());
}

#[tokio::test]
async fn failed_requests_are_grouped_and_reported_once() {
    let rule = Rule::new("orders", Indicator::counter_increase(Selector::new("orders_total")), Duration::from_secs(60));
    let steeple =
        Steeple::builder().without_log_setup().alerts(|alerts| alerts.rule(rule.above(1_000.0))).build().unwrap();
    let fail = async || {
        Exchange::current().unwrap().record_error(&std::io::Error::other("order 4711 failed, password=hunter2"));
        StatusCode::INTERNAL_SERVER_ERROR
    };
    let app = Router::new().route("/orders/{id}", get(fail)).layer(steeple.layer());
    for id in 0..5 {
        let request = Request::get(format!("/orders/{id}")).body(Body::empty()).unwrap();
        let response = app.clone().oneshot(request).await.unwrap();
        assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
    }
    let groups = steeple.alerts().unwrap().error_groups();
    let [group] = &groups[..] else { panic!("{groups:?}") };
    assert_eq!((group.count, group.route.as_str()), (5, "GET /orders/{id}"));
    assert!(group.message.starts_with("order <int> failed") && !group.message.contains("hunter2"), "{group:?}");
}
