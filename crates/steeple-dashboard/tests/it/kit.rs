use std::{net::SocketAddr, time::Duration};

use axum::{Router, body::Body, extract::ConnectInfo};
use http::{Method, Request, Response, StatusCode};
use http_body_util::BodyExt;
use serde_json::Value;
use steeple_core::ObserveLayer;
use steeple_dashboard::{Dashboard, DashboardBuilder, Requests};
use steeple_metrics::{
    Metrics,
    indicator::{Clock, HistoryOptions},
};
use tower::ServiceExt;

/// A service with a dashboard, whose clock stands until it is advanced.
pub(crate) struct Service {
    pub(crate) metrics: Metrics,
    pub(crate) clock: Clock,
    pub(crate) dashboard: Dashboard,
    pub(crate) app: Router,
}

impl Service {
    pub(crate) fn new(options: impl FnOnce(DashboardBuilder, &Metrics) -> DashboardBuilder) -> Self {
        let metrics = Metrics::builder().build().unwrap();
        let clock = Clock::manual(Duration::from_secs(1_790_000_000));
        let history = metrics.history_with(HistoryOptions::new().clock(clock.clone()).without_thread());
        let requests = Requests::default();
        let builder = Dashboard::builder().service("shop").version("1.8.2").instance("one").requests(requests.clone());
        let dashboard = options(builder, &metrics).build(&metrics).unwrap();
        history.sample();
        let app = Router::new()
            .route("/ok/{id}", axum::routing::get(async || "ok"))
            .route("/fail", axum::routing::get(async || StatusCode::INTERNAL_SERVER_ERROR))
            .merge(dashboard.routes())
            .layer(ObserveLayer::new((metrics.clone(), requests)));
        Self { metrics, clock, dashboard, app }
    }

    pub(crate) fn local() -> Self {
        Self::new(|builder, _| builder)
    }

    pub(crate) fn advance(&self, by: Duration) {
        self.clock.advance(by);
        self.metrics.history().sample();
    }

    pub(crate) async fn send(&self, request: Request<Body>) -> Response<Body> {
        self.app.clone().oneshot(request).await.unwrap()
    }

    pub(crate) async fn get(&self, path: &str) -> (StatusCode, String) {
        let response = self.send(local(Method::GET, path)).await;
        let status = response.status();
        (status, text(response).await)
    }

    pub(crate) async fn frame(&self, since: &str) -> Value {
        let (status, body) = self.get(&format!("/steeple/frame?since={since}")).await;
        assert_eq!(status, 200, "{body}");
        serde_json::from_str(&body).unwrap()
    }
}

/// A request from this machine.
pub(crate) fn local(method: Method, path: &str) -> Request<Body> {
    from("127.0.0.1:4711", method, path, &[("host", "localhost:3000")])
}

pub(crate) fn from(peer: &str, method: Method, path: &str, headers: &[(&str, &str)]) -> Request<Body> {
    let mut request = Request::builder().method(method).uri(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let mut request = request.body(Body::empty()).unwrap();
    if let Ok(peer) = peer.parse::<SocketAddr>() {
        request.extensions_mut().insert(ConnectInfo(peer));
    }
    request
}

pub(crate) async fn text(response: Response<Body>) -> String {
    String::from_utf8(response.into_body().collect().await.unwrap().to_bytes().to_vec()).unwrap()
}
