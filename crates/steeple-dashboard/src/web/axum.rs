use std::{sync::Arc, time::Duration};

use axum::{
    Router,
    body::Body,
    extract::{Path, Query, Request, State},
    middleware::{Next, from_fn_with_state},
    response::{IntoResponse, Response},
    routing::get,
};
use futures_util::FutureExt;
use http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use steeple_core::{Exchange, Signal, clock};
use steeple_metrics::Names;

use super::pages::{self, RefusedPage, SIGNED_IN};
use crate::{Dashboard, access::Verdict, assets};

const HTML: &str = "text/html; charset=utf-8";
const JSON: &str = "application/json";

impl Dashboard {
    /// The page at `/steeple`, to be merged into the service's router. Its addresses are relative: it works below any
    /// prefix.
    ///
    /// | address | answers |
    /// | --- | --- |
    /// | `GET /steeple/` | the page |
    /// | `GET /steeple/frame?since=` | what the page shows as JSON: all of it, or what came after a frame with this `cursor` |
    /// | `GET /steeple/stream` | the same as server-sent events: all of it, then changes; at most 16 at once, then 503 |
    /// | `GET /steeple/spans?trace=` | with [`traces`](crate::DashboardBuilder::traces): the spans of one |
    /// | `GET /steeple/outbox` | with [`outbox`](crate::DashboardBuilder::outbox): what waits for each sink of events, and dead letters |
    /// | `POST /steeple/log` `{filter, minutes}` | with [`log_control`](crate::DashboardBuilder::log_control): what is logged for 1 to 60 minutes; without `filter`: what was before, now |
    /// | `GET /steeple/grafana.json?names=&histograms=` | a [`Grafana`](crate::Grafana) dashboard: `names=otel`, `histograms=native` |
    /// | `GET /steeple/rules.yml` | rules for Prometheus, from the alerts and the objectives of the routes |
    /// | `GET /steeple/fleet?range=&from=&to=&replica=` | with a Prometheus: the numbers of all instances, or of one; seconds up to now, or two times in milliseconds |
    /// | `POST /steeple/acknowledge` `{rule}` | with alerts: no more reminders of an alert that fires |
    /// | `POST /steeple/silence` `{rule, minutes}` | with alerts: no notification of a rule for 1 to 1,440 minutes |
    ///
    /// None of it leaves a log line, a metric, a trace or an error. The streams end with
    /// [`begin_shutdown`](Self::begin_shutdown).
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let metrics = steeple_metrics::Metrics::new()?;
    /// use axum::Router;
    /// use steeple_dashboard::Dashboard;
    ///
    /// let dashboard = Dashboard::builder().service("shop").build(&metrics)?;
    /// let app: Router = Router::new().merge(dashboard.routes()).layer(metrics.layer());
    /// # let _unused = app;
    /// # Ok(()) }
    /// ```
    pub fn routes<S: Clone + Send + Sync + 'static>(&self) -> Router<S> {
        self.routes_at("/steeple")
    }

    /// The same at another path: `/`, and segments without parameters.
    pub fn routes_at<S: Clone + Send + Sync + 'static>(&self, path: &str) -> Router<S> {
        let path = path.trim_end_matches('/');
        let inside = Router::new()
            .route(&format!("{path}/"), get(page))
            .route(&format!("{path}/frame"), get(frame))
            .route(&format!("{path}/stream"), get(stream))
            .route(&format!("{path}/grafana.json"), get(grafana))
            .route(&format!("{path}/rules.yml"), get(rules))
            .route(&format!("{path}/{{file}}"), get(file));
        let inside = inside
            .route(&format!("{path}/spans"), get(spans))
            .route(&format!("{path}/outbox"), get(outbox))
            .route(&format!("{path}/log"), axum::routing::post(log));
        #[cfg(feature = "alerts")]
        let inside = inside
            .route(&format!("{path}/acknowledge"), axum::routing::post(actions::acknowledge))
            .route(&format!("{path}/silence"), axum::routing::post(actions::silence));
        let inside = inside.layer(axum::extract::DefaultBodyLimit::max(4096));
        #[cfg(feature = "prometheus")]
        let inside = inside.route(&format!("{path}/fleet"), get(fleet));
        let inside = if path.is_empty() { inside } else { inside.route(path, get(to_the_page)) };
        inside.layer(from_fn_with_state(self.clone(), guard)).with_state(self.clone())
    }

    /// Ends every stream and lets none begin: an open page must not hold up the end of a service.
    pub fn begin_shutdown(&self) {
        self.0.hub.end();
    }

    /// Ends the streams when such a future is ready. It is made anew for each stream.
    pub fn end_streams_when<F>(&self, when: impl Fn() -> F + Send + Sync + 'static)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        self.0.hub.end_when(Arc::new(move || when().boxed()));
    }
}

/// The one gate in front of everything.
async fn guard(State(dashboard): State<Dashboard>, request: Request, next: Next) -> Response {
    if let Some(exchange) = request.extensions().get::<Exchange>() {
        for signal in [Signal::Log, Signal::Metrics, Signal::Traces, Signal::Errors] {
            exchange.skip(signal);
        }
    }
    let (parts, body) = request.into_parts();
    let mut response = match dashboard.0.gate.admit(&parts, clock::unix_now()).await {
        // Without the slash, `./` would be the directory above.
        Verdict::SignedIn(cookie) if parts.uri.path().ends_with('/') => {
            let mut response = ([(header::CONTENT_TYPE, HTML)], SIGNED_IN).into_response();
            response.headers_mut().insert(header::SET_COOKIE, cookie);
            response
        }
        Verdict::Allowed | Verdict::SignedIn(_) => next.run(Request::from_parts(parts, body)).await,
        Verdict::Refused(refusal) => {
            let RefusedPage { status, body, header } = pages::refused(refusal);
            let mut response = (status, [(header::CONTENT_TYPE, HTML)], body).into_response();
            response.headers_mut().extend(header);
            response
        }
    };
    pages::harden(response.headers_mut());
    response
}

/// Relative addresses need the slash. The redirect is relative as well: a proxy may have cut a prefix off.
async fn to_the_page(uri: Uri) -> Response {
    let last = uri.path().rsplit('/').next().unwrap_or_default();
    let query = uri.query().map(|query| format!("?{query}")).unwrap_or_default();
    match HeaderValue::try_from(format!("{last}/{query}")) {
        Ok(to) => (StatusCode::PERMANENT_REDIRECT, [(header::LOCATION, to)]).into_response(),
        Err(_invalid) => StatusCode::BAD_REQUEST.into_response(),
    }
}

async fn page() -> Response {
    ([(header::CONTENT_TYPE, HTML)], assets::index()).into_response()
}

async fn file(Path(name): Path<String>) -> Response {
    let Some(asset) = assets::find(&name) else { return StatusCode::NOT_FOUND.into_response() };
    let headers =
        [(header::CONTENT_TYPE, asset.media_type), (header::CACHE_CONTROL, "private, max-age=31536000, immutable")];
    (headers, asset.contents).into_response()
}

#[derive(serde::Deserialize)]
struct Since {
    since: Option<String>,
}

async fn frame(State(dashboard): State<Dashboard>, Query(query): Query<Since>) -> Response {
    ([(header::CONTENT_TYPE, JSON)], dashboard.frame(query.since.as_deref())).into_response()
}

#[derive(serde::Deserialize)]
struct GrafanaOptions {
    names: Option<String>,
    histograms: Option<String>,
}

async fn grafana(State(dashboard): State<Dashboard>, Query(options): Query<GrafanaOptions>) -> Response {
    let names = match options.names.as_deref() {
        Some("otel") => Names::OpenTelemetry,
        None | Some("classic") => Names::Classic,
        Some(_) => return (StatusCode::BAD_REQUEST, "names: classic or otel\n").into_response(),
    };
    let native = match options.histograms.as_deref() {
        Some("native") => true,
        None | Some("classic") => false,
        Some(_) => return (StatusCode::BAD_REQUEST, "histograms: classic or native\n").into_response(),
    };
    ([(header::CONTENT_TYPE, JSON)], dashboard.grafana().names(names).native(native).json()).into_response()
}

async fn rules(State(dashboard): State<Dashboard>) -> Response {
    match dashboard.rules() {
        Ok(rules) => ([(header::CONTENT_TYPE, "application/yaml; charset=utf-8")], rules).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")).into_response(),
    }
}

#[cfg(feature = "prometheus")]
#[derive(serde::Deserialize)]
struct FleetOptions {
    range: Option<u64>,
    from: Option<u64>,
    to: Option<u64>,
    replica: Option<String>,
}

#[cfg(feature = "prometheus")]
async fn fleet(State(dashboard): State<Dashboard>, Query(options): Query<FleetOptions>) -> Response {
    let Some(fleet) = dashboard.0.fleet.clone() else { return StatusCode::NOT_FOUND.into_response() };
    let FleetOptions { range, from, to, replica } = options;
    match crate::fleet::Wanted::new(range, from, to, replica) {
        Some(wanted) => ([(header::CONTENT_TYPE, JSON)], fleet.json(wanted).await).into_response(),
        None => {
            (StatusCode::BAD_REQUEST, "range: seconds, or from and to: milliseconds; at most 7 days\n").into_response()
        }
    }
}

async fn stream(State(dashboard): State<Dashboard>) -> Response {
    let Some(stream) = dashboard.0.hub.stream(&dashboard) else {
        let wait = Duration::from_secs(5).as_secs().to_string();
        return (StatusCode::SERVICE_UNAVAILABLE, [(header::RETRY_AFTER, wait)]).into_response();
    };
    let mut headers = HeaderMap::new();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    // Proxies that collect answers would hold the events back.
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    (headers, Body::from_stream(stream)).into_response()
}

#[derive(serde::Deserialize)]
struct OfTrace {
    trace: String,
}

async fn spans(State(dashboard): State<Dashboard>, Query(OfTrace { trace }): Query<OfTrace>) -> Response {
    let Some(source) = &dashboard.0.seams.traces else { return StatusCode::NOT_FOUND.into_response() };
    if trace.len() != 32 || !trace.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return (StatusCode::BAD_REQUEST, "trace: 32 hex digits\n").into_response();
    }
    ([(header::CONTENT_TYPE, JSON)], serde_json::to_vec(&source.spans(&trace)).unwrap_or_default()).into_response()
}

async fn outbox(State(dashboard): State<Dashboard>) -> Response {
    let Some(read) = &dashboard.0.seams.outbox else { return StatusCode::NOT_FOUND.into_response() };
    ([(header::CONTENT_TYPE, JSON)], serde_json::to_vec(&read().await).unwrap_or_default()).into_response()
}

#[derive(serde::Deserialize)]
struct ChangeLog {
    filter: Option<String>,
    minutes: Option<u64>,
}

async fn log(State(dashboard): State<Dashboard>, body: axum::body::Bytes) -> Response {
    /// Longest change, in minutes.
    const MAX_MINUTES: u64 = 60;
    /// Longest filter, in bytes.
    const MAX_FILTER: usize = 1024;

    let Some(control) = &dashboard.0.seams.log else { return StatusCode::NOT_FOUND.into_response() };
    let Ok(ChangeLog { filter, minutes }) = serde_json::from_slice(&body) else {
        return StatusCode::BAD_REQUEST.into_response();
    };
    let author = dashboard.0.gate.author();
    match (filter, minutes) {
        (Some(filter), Some(minutes)) if (1..=MAX_MINUTES).contains(&minutes) && filter.len() <= MAX_FILTER => {
            // Logged before and not after: it is seen whatever the filter is then.
            tracing::info!(target: "steeple::dashboard", filter, author, minutes, "changes the log's filter for some minutes");
            if let Err(why) = control.set(&filter, Duration::from_secs(minutes.saturating_mul(60))) {
                tracing::info!(target: "steeple::dashboard", filter, author, why, "the log level was not changed");
                return (StatusCode::BAD_REQUEST, why).into_response();
            }
        }
        (None, None) => {
            control.reset();
            tracing::info!(target: "steeple::dashboard", author, "the log level was reset");
        }
        _ => return StatusCode::BAD_REQUEST.into_response(),
    }
    ([(header::CONTENT_TYPE, JSON)], serde_json::to_vec(&control.current()).unwrap_or_default()).into_response()
}

#[cfg(feature = "alerts")]
mod actions {
    use std::time::Duration;

    use axum::{body::Bytes, extract::State};
    use http::StatusCode;
    use serde::Deserialize;

    use crate::Dashboard;

    /// Longest silence: a day, in minutes.
    const MAX_MINUTES: u64 = 1440;

    #[derive(Deserialize)]
    struct Acknowledge {
        rule: String,
    }

    #[derive(Deserialize)]
    struct Silence {
        rule: String,
        minutes: u64,
    }

    pub(super) async fn acknowledge(State(dashboard): State<Dashboard>, body: Bytes) -> StatusCode {
        let Ok(Acknowledge { rule }) = serde_json::from_slice(&body) else { return StatusCode::BAD_REQUEST };
        let author = dashboard.0.gate.author();
        let done = dashboard.0.alerts.as_ref().is_some_and(|alerts| alerts.acknowledge(&rule));
        if !done {
            return StatusCode::NOT_FOUND;
        }
        tracing::info!(target: "steeple::dashboard", rule, author, "acknowledged an alert");
        dashboard.0.hub.publish(&dashboard);
        StatusCode::NO_CONTENT
    }

    pub(super) async fn silence(State(dashboard): State<Dashboard>, body: Bytes) -> StatusCode {
        let Ok(Silence { rule, minutes }) = serde_json::from_slice(&body) else { return StatusCode::BAD_REQUEST };
        if !(1..=MAX_MINUTES).contains(&minutes) {
            return StatusCode::BAD_REQUEST;
        }
        let author = dashboard.0.gate.author();
        let length = Duration::from_secs(minutes.saturating_mul(60));
        let done = dashboard.0.alerts.as_ref().is_some_and(|alerts| alerts.silence(&rule, length, author));
        if !done {
            return StatusCode::NOT_FOUND;
        }
        tracing::info!(target: "steeple::dashboard", rule, author, minutes, "silenced an alert rule");
        dashboard.0.hub.publish(&dashboard);
        StatusCode::NO_CONTENT
    }
}
