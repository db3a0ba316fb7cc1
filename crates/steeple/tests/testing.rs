//! The testing kit, and jobs by it. Tests run in parallel on one machine, with the same names: none sees another's.

#![expect(clippy::unwrap_used, reason = "a test that panics is a test that failed")]

use axum::{
    Router,
    body::{Body, to_bytes},
    extract::Path,
    http::{Request, StatusCode},
    routing::get,
};
use steeple::{Exchange, RecordedError, Steeple, User, core::JobKind, testing::Recorder};
use tower::{Service, ServiceBuilder, ServiceExt};

fn app(steeple: &Steeple) -> Router {
    let user = async |exchange: Exchange, Path(id): Path<u32>| {
        exchange.set_user(User::new(id.to_string()));
        tracing::info!(id, "looked up");
        if id == 0 {
            exchange.record(RecordedError::from_message("NoUser", "no user 0"));
            return Err(StatusCode::INTERNAL_SERVER_ERROR);
        }
        Ok(format!("user {id}"))
    };
    let spawned = async |exchange: Exchange| {
        let task = exchange.scope(async {
            tokio::task::yield_now().await;
            tracing::info!("from a task");
        });
        tokio::spawn(task).await.unwrap();
        let blocking = exchange.clone();
        tokio::task::spawn_blocking(move || blocking.in_scope(|| tracing::info!("from a thread"))).await.unwrap();
    };
    Router::new().route("/users/{id}", get(user)).route("/spawned", get(spawned)).layer(steeple.layer())
}

async fn ask(steeple: &Steeple, path: &str) -> StatusCode {
    let response = app(steeple).oneshot(Request::get(path).body(Body::empty()).unwrap()).await.unwrap();
    let status = response.status();
    to_bytes(response.into_body(), 1 << 20).await.unwrap();
    status
}

#[tokio::test]
async fn one_route_has_other_options_in_every_signal() {
    use steeple::{RouteOptions, Signal};

    let silent =
        || RouteOptions::new().skip(Signal::Log).skip(Signal::Metrics).skip(Signal::Traces).skip(Signal::Errors);
    let recorder = Recorder::with(|steeple| steeple.route("/users/{id}", silent())).unwrap();
    assert_eq!(ask(recorder.steeple(), "/users/0").await, 500);
    assert_eq!(ask(recorder.steeple(), "/spawned").await, 200);
    let names: Vec<_> = recorder.lines().iter().map(|line| line.message().to_owned()).collect();
    assert_eq!(names.iter().filter(|name| name.starts_with("GET ")).collect::<Vec<_>>(), ["GET /spawned 200"]);
    assert_eq!(recorder.metric("http_requests_total", &[]), Some(1.0));
    assert_eq!(recorder.metric("http_requests_in_flight", &[]), Some(0.0), "in flight is exact");
    #[cfg(feature = "trace")]
    assert!(recorder.spans().iter().all(|span| span.name != "GET /users/{id}"));
    assert!(recorder.errors().is_empty());
    let silent = Recorder::with(|steeple| steeple.route("import", silent())).unwrap();
    let imported = async { Err::<(), _>(std::io::Error::other("no disk")) };
    assert!(silent.steeple().job("import").run(imported).await.is_err());
    assert!(silent.lines().is_empty() && silent.errors().is_empty(), "jobs by their names");
    assert_eq!(silent.metric("job_runs_total", &[]), None);
    assert!(Recorder::with(|steeple| steeple.route("/", RouteOptions::new().log_sample_ratio(2.0))).is_err());
}

/// The recording of a test's own `requests`, whatever others do meanwhile.
async fn sees_its_own(requests: u32) {
    let recorder = Recorder::new();
    for id in 1..=requests {
        assert_eq!(ask(recorder.steeple(), &format!("/users/{id}")).await, 200);
    }
    tracing::info!("of the test itself");
    let expected = f64::from(requests);
    assert_eq!(recorder.metric("http_requests_total", &[("route", "/users/{id}")]), Some(expected));
    assert_eq!(recorder.metric("http_request_duration_seconds_count", &[]), Some(expected));
    assert_eq!(recorder.metric("http_requests_totals", &[]), None);
    let lines = recorder.lines();
    let count = |message: &str| lines.iter().filter(|line| line.message() == message).count();
    assert_eq!(count("GET /users/{id} 200"), usize::try_from(requests).unwrap());
    assert_eq!((count("looked up"), count("of the test itself")), (usize::try_from(requests).unwrap(), 1));
    assert!(recorder.errors().is_empty());
    recorder.clear();
    assert!(recorder.lines().is_empty());
}

macro_rules! in_parallel {
    ($($name:ident: $requests:literal),+) => {
        $(
            #[tokio::test]
            async fn $name() {
                sees_its_own($requests).await;
            }
        )+

        mod on_many_threads {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $name() {
                    super::sees_its_own($requests).await;
                }
            )+
        }
    };
}

in_parallel!(a_recorder_sees_one: 1, a_recorder_sees_three: 3, a_recorder_sees_seventeen: 17, a_recorder_sees_forty: 40);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_line_of_a_handler_has_its_ids_also_where_another_thread_serves_it() {
    let recorder = Recorder::new();
    let steeple = recorder.steeple().clone();
    tokio::spawn(async move { ask(&steeple, "/users/7").await }).await.unwrap();
    let end = recorder.line("GET /users/{id}");
    let lines = recorder.lines();
    let own = lines.iter().find(|line| line.message() == "looked up").unwrap();
    assert_eq!((own.text("request_id"), own.number("id")), (end.text("request_id"), Some(7.0)));
    assert_eq!((own.text("user.id"), end.text("user.id")), (Some("7"), Some("7")));
    assert!(end.text("request_id").is_some() && end.is_end() && !own.is_end());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_handler_spawns_keeps_its_ids() {
    let recorder = Recorder::new();
    assert_eq!(ask(recorder.steeple(), "/spawned").await, 200);
    let id = recorder.line("GET /spawned").text("request_id").unwrap().to_owned();
    let lines = recorder.lines();
    for message in ["from a task", "from a thread"] {
        let line = lines.iter().find(|line| line.message() == message).unwrap_or_else(|| panic!("{lines:?}"));
        assert_eq!((line.text("request_id"), line.name()), (Some(&*id), Some("GET /spawned")));
    }
}

#[tokio::test]
async fn failures_are_recorded_once_with_whose_they_are() {
    let recorder = Recorder::with(|builder| builder.service_name("shop")).unwrap();
    assert_eq!(ask(recorder.steeple(), "/users/0").await, 500);
    let [failure] = &*recorder.errors() else { panic!("{:?}", recorder.errors()) };
    assert_eq!((&*failure.name, &*failure.kind, &*failure.message), ("GET /users/{id}", "NoUser", "no user 0"));
    assert_eq!(failure.user.as_deref(), Some("0"));
    let line = recorder.line("GET /users/{id}");
    assert_eq!((line.level(), line.text("service.name")), ("error", Some("shop")));
    assert_eq!(failure.request_id.as_deref(), line.text("request_id"));
}

#[tokio::test]
#[should_panic(expected = "there are [\"GET /users/{id}\"]")]
async fn a_line_that_is_not_there_is_a_panic_with_those_that_are() {
    let recorder = Recorder::new();
    ask(recorder.steeple(), "/users/1").await;
    recorder.line("GET /users/:id");
}

#[tokio::test]
async fn a_job_has_a_line_metrics_and_ids_on_what_it_logs() {
    let recorder = Recorder::new();
    let job = recorder.steeple().job("nightly import").run(async {
        let exchange = Exchange::current().unwrap();
        assert_eq!(exchange.get::<JobKind>(), Some(JobKind::Job));
        exchange.set_attribute("rows", 17_i64);
        exchange.set_user(User::new("batch"));
        tracing::info!("reading");
        Ok::<_, std::io::Error>(17)
    });
    assert_eq!(job.await.unwrap(), 17);
    let line = recorder.line("nightly import");
    assert_eq!((line.message(), line.level()), ("nightly import completed", "info"));
    assert_eq!((line.text("outcome"), line.number("attributes.rows")), (Some("completed"), Some(17.0)));
    assert_eq!((line.text("user.id"), line.text("error.type")), (Some("batch"), None));
    assert!(line.number("duration_ms").is_some());
    let lines = recorder.lines();
    let within = lines.iter().find(|line| line.message() == "reading").unwrap();
    assert_eq!((within.name(), within.text("request_id")), (Some("nightly import"), line.text("request_id")));
    assert!(line.text("request_id").is_some());
    let of = [("job", "nightly import")];
    assert_eq!(recorder.metric("job_runs_total", &[of[0], ("outcome", "completed")]), Some(1.0));
    assert_eq!(recorder.metric("job_duration_seconds_count", &of), Some(1.0));
    assert!(recorder.metric("job_last_success_timestamp_seconds", &of).unwrap() > 1.7e9);
    assert_eq!(recorder.metric("http_requests_total", &[]), None, "it is not a request");
    assert!(recorder.errors().is_empty());
}

#[tokio::test]
async fn a_job_ends_exactly_once_however_it_ends() {
    let recorder = Recorder::new();
    let steeple = recorder.steeple().clone();
    let failed = steeple.job("sync").run(async { Err::<(), _>("the disk is full") }).await;
    assert_eq!(failed, Err("the disk is full"));
    let rows: Vec<u32> = Vec::new();
    let panics = steeple.job("sync").run(async move {
        tokio::task::yield_now().await;
        assert_eq!(rows.len(), 1, "no such table");
    });
    assert!(tokio::spawn(panics).await.unwrap_err().is_panic());
    let hangs = tokio::spawn(steeple.job("sync").run(std::future::pending::<()>()));
    while recorder.metric("job_runs_total", &[("outcome", "cancelled")]).is_none() {
        tokio::task::yield_now().await;
        hangs.abort();
    }
    steeple.job("sync").run(async {}).await;
    for outcome in ["failed", "panicked", "cancelled", "completed"] {
        assert_eq!(recorder.metric("job_runs_total", &[("job", "sync"), ("outcome", outcome)]), Some(1.0), "{outcome}");
    }
    let lines = recorder.lines();
    let ends: Vec<_> = lines.iter().filter(|line| line.is_end()).map(|line| (line.level(), line.message())).collect();
    let expected =
        [("error", "sync failed"), ("error", "sync panicked"), ("warn", "sync cancelled"), ("info", "sync completed")];
    assert_eq!(ends, expected);
    let failed = lines.iter().find(|line| line.message() == "sync failed").unwrap();
    assert_eq!(failed.text("error.message"), Some("the disk is full"));
    let errors = recorder.errors();
    let texts: Vec<_> = errors.iter().map(|failure| (&*failure.name, &*failure.message)).collect();
    assert_eq!(texts[0], ("sync", "the disk is full"));
    assert!(texts.len() == 2 && texts[1].1.contains("no such table"), "{texts:?}");
}

#[tokio::test]
async fn a_consumer_is_a_job_for_each_message() {
    let recorder = Recorder::new();
    let layer = recorder.steeple().consumer_layer("orders");
    let mut orders = ServiceBuilder::new().layer(layer).service_fn(async |order: u32| {
        assert_eq!(Exchange::current().unwrap().get::<JobKind>(), Some(JobKind::Consumer));
        if order > 0 { Ok(order) } else { Err(std::io::Error::other("no such order")) }
    });
    assert_eq!(orders.ready().await.unwrap().call(7).await.unwrap(), 7);
    assert!(orders.ready().await.unwrap().call(0).await.is_err());
    let runs = |outcome| recorder.metric("job_runs_total", &[("job", "orders"), ("outcome", outcome)]);
    assert_eq!((runs("completed"), runs("failed")), (Some(1.0), Some(1.0)));
}

#[cfg(feature = "trace")]
mod traced {
    use steeple::core::MessagingSystem;

    use super::*;

    #[tokio::test]
    async fn spans_of_requests_and_jobs_are_recorded_with_their_parents_and_links() {
        let recorder = Recorder::new();
        ask(recorder.steeple(), "/users/7").await;
        let steeple = recorder.steeple();
        steeple.job("import").run(async { tracing::info_span!("step").in_scope(|| ()) }).await;
        let headers = [("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")];
        let headers = headers.map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()));
        let message = steeple.message("orders", headers.into_iter().collect()).with(MessagingSystem("kafka"));
        assert!(message.run(async { Err::<(), _>("no such order") }).await.is_err());
        let spans = recorder.spans();
        let of =
            |name: &str| spans.iter().find(|span| span.name == name).unwrap_or_else(|| panic!("{name}: {spans:#?}"));
        let request = of("GET /users/{id}");
        assert_eq!((request.kind, request.attribute("http.route")), ("server", Some("/users/{id}")));
        let (import, step) = (of("import"), of("step"));
        assert_eq!((import.kind, import.is_error, import.parent_id.as_deref()), ("internal", false, None));
        assert_eq!((&step.trace_id, step.parent_id.as_deref()), (&import.trace_id, Some(&*import.span_id)));
        let orders = of("process orders");
        assert_eq!((orders.kind, orders.is_error, orders.links), ("consumer", true, 1));
        assert_eq!(orders.attribute("messaging.system"), Some("kafka"));
        assert_eq!(orders.attribute("messaging.destination.name"), Some("orders"));
        assert_ne!(orders.trace_id, "0af7651916cd43dd8448eb211c80319c", "a link, not a parent");
        let line = recorder.line("import");
        assert_eq!((line.text("trace_id"), line.text("span_id")), (Some(&*import.trace_id), Some(&*import.span_id)));
    }
}

#[cfg(feature = "events")]
mod tracked {
    use steeple::events::Events;

    use super::*;

    #[tokio::test]
    async fn events_are_recorded_of_this_test_alone() {
        let (one, other) = (Recorder::new(), Recorder::new());
        let app = |steeple: &Steeple| {
            let track = async |events: Events| {
                events.track_named("report_exported", &serde_json::json!({"format": "pdf", "pages": 3}));
            };
            Router::new().route("/reports", get(track)).layer(steeple.layer())
        };
        let answer = app(one.steeple()).oneshot(Request::get("/reports").body(Body::empty()).unwrap()).await.unwrap();
        assert_eq!(answer.status(), 200);
        let [event] = &*one.events() else { panic!("{:?}", one.events()) };
        assert_eq!(
            (&*event.name, event.text("format"), event.number("pages")),
            ("report_exported", Some("pdf"), Some(3.0))
        );
        assert_eq!(event.route.as_deref(), Some("/reports"));
        assert!(other.events().is_empty());
    }
}

#[tokio::test]
async fn probes_of_grpc_that_go_well_are_left_out_and_those_that_fail_are_not() {
    let recorder = Recorder::new();
    for (status, path) in [("0", "/grpc.health.v1.Health/Check"), ("14", "/grpc.health.v1.Health/Check")] {
        let service = tower::service_fn(async |_: Request<Body>| {
            let answer = axum::http::Response::builder().header("content-type", "application/grpc");
            Ok::<_, std::convert::Infallible>(answer.header("grpc-status", status).body(Body::empty()).unwrap())
        });
        let request = Request::post(path).header("content-type", "application/grpc").body(Body::empty()).unwrap();
        let answer = ServiceBuilder::new().layer(recorder.layer()).service(service).oneshot(request).await.unwrap();
        to_bytes(Body::new(answer.into_body()), 1024).await.unwrap();
    }
    let line = recorder.line("grpc.health.v1.Health/Check");
    assert_eq!(line.text("rpc.response.status_code"), Some("UNAVAILABLE"), "the other has no line");
    let handled = |code| recorder.metric("grpc_server_handled_total", &[("grpc_code", code)]);
    assert_eq!((handled("OK"), handled("Unavailable")), (None, Some(1.0)));
}

#[tokio::test]
async fn any_formatter_shows_the_ids_on_lines_of_handlers_where_the_subscriber_is_the_teams_own() {
    use std::{
        io,
        sync::{Arc, Mutex},
    };

    #[derive(Clone, Default)]
    struct Written(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Written {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    let written = Written::default();
    let writer = written.clone();
    let own = tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone()).finish();
    let _own = tracing::subscriber::set_default(own);
    // As `Steeple::from_env` finds it in a process with a subscriber of the team's own.
    let steeple = Steeple::builder().build().unwrap();
    assert_eq!(ask(&steeple, "/users/7").await, 200);
    let text = String::from_utf8(written.0.lock().unwrap().clone()).unwrap();
    let line = text.lines().find(|line| line.contains("looked up")).unwrap();
    let id = line.split_once("request{request_id=\"").unwrap().1.split('"').next().unwrap();
    assert!(line.contains(" trace_id=") && !id.is_empty(), "{line}");
    let end = text.lines().find(|line| line.contains("steeple::access")).unwrap();
    assert!(end.contains(id) && end.contains("GET /users/{id} 200"), "{end}");
}

#[test]
fn a_metric_is_found_by_name_and_labels_and_series_that_fit_are_summed() {
    let recorder = Recorder::new();
    let metrics = recorder.steeple().metrics();
    let odd = "a \"quoted\" \\ } thing\n";
    let orders = metrics.counter("orders_total", "Orders.", ["x", "y"]).unwrap();
    orders.add(["1", odd], 2);
    orders.add(["1", "z"], 3);
    metrics.counter("orders_of_today_total", "Orders.", []).unwrap().add([], 7);
    let value = |name: &str, labels: &[(&str, &str)]| recorder.metric(name, labels);
    assert_eq!(value("orders_total", &[]), Some(5.0));
    assert_eq!(value("orders_total", &[("y", "z")]), Some(3.0));
    assert_eq!(value("orders_total", &[("y", odd), ("x", "1")]), Some(2.0));
    assert_eq!(value("orders_of_today_total", &[]), Some(7.0));
    assert_eq!(
        (value("orders_total", &[("x", "2")]), value("nothing_total", &[]), value("orders", &[])),
        (None, None, None)
    );
}
