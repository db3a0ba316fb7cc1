//! A shop with everything that its page can show: the past of its predecessor, traces, alerts, events that wait and dead ones.

use std::{
    net::SocketAddr,
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use axum::{
    Router,
    body::Body,
    routing::{get, post},
};
use futures_util::future::join_all;
use http::{Method, Request, StatusCode};
use http_body_util::BodyExt;
use serde_json::json;
use steeple::{
    Exchange, RecordedError, Steeple, User,
    alerts::Rules,
    events::{
        preset::{Conversion, Payment, ProjectCreated, Revenue, TaskCompleted, UserRegistration},
        sink::{Ndjson, Webhook},
    },
    metrics::{
        Connections, Metrics,
        indicator::{Clock, HistoryOptions},
        state::{State, StateOptions},
    },
    trace::{Otlp, SegmentKind, Segments},
};
use steeple_tests::{
    client::{Client, Protocol, empty},
    server::Server,
};
use tempfile::TempDir;
use tower::ServiceExt;

use super::dashboard::Service;

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// Whether pictures are taken: then everything takes as long as it does in a shop.
pub(crate) fn for_pictures() -> bool {
    std::env::var_os("STEEPLE_PICTURES").is_some()
}

async fn work(millis: u64) {
    if for_pictures() {
        tokio::time::sleep(Duration::from_millis(millis)).await;
    }
}

/// An hour of another process, as a deploy hands it over.
pub(crate) async fn past_hour() -> Vec<u8> {
    let metrics = Metrics::new().unwrap();
    let clock = Clock::manual(steeple::core::clock::unix_now().saturating_sub(Duration::from_secs(3615)));
    let history = metrics.history_with(HistoryOptions::new().clock(clock.clone()).without_thread());
    let turn = Arc::new(AtomicU32::new(0));
    let product = async move |exchange: Exchange| {
        let turn = turn.fetch_add(1, Ordering::Relaxed);
        exchange.set_user(User::new(format!("u-{}", 4700 + turn * turn % 53)));
        work(u64::from(6 + turn * 7 % 23 + if turn.is_multiple_of(61) { 60 } else { 0 })).await;
        if turn.is_multiple_of(47) { StatusCode::NOT_FOUND } else { StatusCode::OK }
    };
    let app: Router = Router::new().route("/products/{id}", get(product)).layer(metrics.layer());
    history.sample();
    for step in 0..360_u32 {
        // More and less within half an hour, and never the same twice.
        let wave = 7.0 + 4.0 * (f64::from(step) / 30.0).sin() + f64::from(step * 13 % 7) / 3.0;
        let wave = if for_pictures() { wave * 6.0 } else { wave };
        let ask = |n: u32| {
            let request = Request::get(format!("/products/{n}")).body(Body::empty()).unwrap();
            let app = app.clone();
            async move { drop(app.oneshot(request).await.unwrap().into_body().collect().await.unwrap()) }
        };
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "from 3 to 78")]
        join_all((0..wave as u32).map(ask)).await;
        clock.advance(Duration::from_secs(10));
        history.sample();
    }
    history.save()
}

/// What the page of a predecessor leaves in the state directory: it was deployed half an hour before, and all was well.
fn deployed_before(directory: &Path, past: Vec<u8>) {
    let before = steeple::core::clock::unix_now().saturating_sub(Duration::from_mins(30)).as_millis();
    let options = StateOptions::new(directory, "shop", "production").version("1.8.1");
    let state = State::open(options).unwrap();
    state.section("history", move || past.clone(), |_, _| ());
    let deploys = json!([{ "t": u64::try_from(before).unwrap(), "version": "1.8.1" }]).to_string();
    state.section("deploys", move || deploys.clone().into_bytes(), |_, _| ());
    state.save().unwrap();
}

/// The shop, and what it needs to run.
pub(crate) struct Shop {
    pub(crate) service: Service,
    /// The ids of the traces that failed, as the handler sees them.
    pub(crate) failed: Arc<Mutex<Vec<String>>>,
    receivers: [Server; 2],
    directory: TempDir,
}

impl Shop {
    /// Somebody deploys 1.8.2, and payments fail from then on.
    pub(crate) async fn start(past: Vec<u8>) -> Self {
        let directory = tempfile::tempdir().unwrap();
        deployed_before(directory.path(), past);
        let refuses = Server::start(Router::new().fallback(async || StatusCode::UNPROCESSABLE_ENTITY)).await;
        let takes = Server::start(Router::new().fallback(async || "")).await;
        let collector = format!("http://{}", takes.address());
        let hook = format!("http://{}/hook", refuses.address());
        let (store, file) = (directory.path().join("events"), directory.path().join("events.ndjson"));
        let steeple = Steeple::builder()
            .service_name("shop")
            .service_version("1.8.2")
            .environment("production")
            .state_directory(directory.path())
            .alerts(|alerts| alerts.rules(Rules::mission().guarded()))
            .events(|events| events.directory(store).sink(Ndjson::new(file)).sink(Webhook::new(hook, SECRET)))
            .traces(|traces| traces.otlp(Otlp::new().endpoint(collector)).export_delay(Duration::from_millis(200)))
            .without_log_setup()
            .build()
            .unwrap();
        steeple.metrics().watch_connections(|| Connections::new(7, 3, 20));
        let failed = Arc::default();
        let service = Service::serve(steeple.clone(), routes(&steeple, &failed)).await;
        Self { service, failed, receivers: [refuses, takes], directory }
    }

    pub(crate) async fn stop(self) {
        self.service.stop().await;
        drop((self.receivers, self.directory));
    }
}

/// What users of the shop at this address do: so many rounds.
pub(crate) async fn trade(address: SocketAddr, rounds: u32) {
    for round in 0..rounds {
        visit(address, Method::GET, "/products", 2).await;
        visit(address, Method::GET, &format!("/products/{round}"), 3).await;
        visit(address, Method::POST, "/payments", 1).await;
        if round.is_multiple_of(4) {
            visit(address, Method::POST, "/users", 1).await;
            visit(address, Method::POST, "/orders", 1).await;
        }
    }
}

async fn visit(address: SocketAddr, method: Method, path: &str, times: u32) {
    let mut client = Client::connect(Protocol::Http1, address).await;
    for _ in 0..times {
        let request = client.request(method.clone(), path).body(empty()).unwrap();
        client.send(request).await.unwrap().into_body().collect().await.unwrap();
    }
}

fn routes(steeple: &Steeple, failed: &Arc<Mutex<Vec<String>>>) -> Router {
    let turn = Arc::new(AtomicU32::new(0));
    let user = {
        let turn = Arc::clone(&turn);
        move |exchange: &Exchange| {
            let turn = turn.fetch_add(1, Ordering::Relaxed);
            exchange.set_user(User::new(format!("u-{}", 4700 + turn * 7 % 31)));
            turn
        }
    };
    let products = {
        let (user, steeple) = (user.clone(), steeple.clone());
        async move |exchange: Exchange| {
            let turn = user(&exchange);
            let lookup = steeple.metrics().cache().start("products");
            if turn.is_multiple_of(9) {
                lookup.miss();
            } else {
                lookup.hit();
            }
            work(u64::from(4 + turn * 11 % 27)).await;
            "ok"
        }
    };
    let sign_up = {
        let (user, events) = (user.clone(), steeple.events());
        async move |exchange: Exchange| {
            user(&exchange);
            events.track(UserRegistration { source: "ads" });
            events.track(Conversion { from: "visit", to: "account", value: None });
            events.track(ProjectCreated { kind: "team" });
            StatusCode::CREATED
        }
    };
    let order = {
        let events = steeple.events();
        async move |exchange: Exchange| {
            let turn = user(&exchange);
            work(u64::from(20 + turn * 3 % 17)).await;
            events.track(Revenue { minor_units: 4_900, currency: "EUR", transaction_id: &format!("t-{turn}") });
            events.track(TaskCompleted { duration: Some(Duration::from_hours(24)) });
            StatusCode::CREATED
        }
    };
    // As a service calls a database within a request.
    let seen = Arc::clone(failed);
    let events = steeple.events();
    let pay = async move |exchange: Exchange| {
        exchange.set_user(User::new("u-4711"));
        let trace = exchange.trace().map(|trace| trace.trace_id().to_string());
        seen.lock().unwrap().extend(trace);
        let wait = |millis| tokio::time::sleep(Duration::from_millis(millis));
        exchange.segment(SegmentKind::Internal, "reserve the goods", wait(5)).await;
        exchange.segment(SegmentKind::Datastore, "INSERT payments", wait(20)).await;
        events.track(Payment { failed: true, minor_units: 4_900, currency: "EUR" });
        exchange.record(RecordedError::from_message("sqlx::Error", format_args!("pool timed out")));
        StatusCode::INTERNAL_SERVER_ERROR
    };
    Router::new()
        .route("/products", get(products.clone()))
        .route("/products/{id}", get(products))
        .route("/users", post(sign_up))
        .route("/orders", post(order))
        .route("/payments", post(pay))
}
