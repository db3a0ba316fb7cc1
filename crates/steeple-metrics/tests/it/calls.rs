//! Outgoing calls are counted once, however they end, and nothing stays in flight.

use std::{
    convert::Infallible,
    future::{Ready, pending, ready},
    time::Duration,
};

use http::{HeaderMap, Request, Response};
use http_body_util::BodyExt;
use steeple_core::{
    Exchange, TraceContext,
    call::{CallLayer, CallObserver, UrlTemplate},
    test_util::{ScriptedBody, Step},
};
use steeple_metrics::{GrpcType, Metrics, Names};
use tower::{Layer, Service, ServiceExt, service_fn};

use crate::support::{Page, TestBody};

type Answer = Result<Response<ScriptedBody>, std::fmt::Error>;

/// Answers every call with this.
fn answering(
    status: u16,
    steps: impl IntoIterator<Item = Step> + Clone,
) -> impl Service<Request<TestBody>, Response = Response<ScriptedBody>, Error = std::fmt::Error, Future = Ready<Answer>>
+ Clone {
    let body = ScriptedBody::new(steps);
    service_fn(move |_| ready(Ok(Response::builder().status(status).body(body.clone()).unwrap())))
}

fn to(uri: &str, template: Option<&'static str>) -> Request<TestBody> {
    let mut request = Request::get(uri).body(TestBody::default()).unwrap();
    if let Some(template) = template {
        request.extensions_mut().insert(UrlTemplate(template));
    }
    request
}

fn grpc(method: &str) -> Request<TestBody> {
    let uri = format!("http://board.example/{method}");
    Request::post(uri).header("content-type", "application/grpc").body(TestBody::default()).unwrap()
}

fn trailers(code: &'static str) -> [Step; 2] {
    let trailers = HeaderMap::from_iter([("grpc-status".parse().unwrap(), code.parse().unwrap())]);
    [Step::Data(b"m"), Step::Trailers(trailers)]
}

/// Calls, and reads the answer to its end, or to where it fails.
async fn finish<S>(client: S, request: Request<TestBody>)
where
    S: Service<Request<TestBody>>,
    S::Response: http_body::Body<Data: Send, Error: std::fmt::Debug>,
{
    if let Ok(response) = client.oneshot(request).await {
        let _read = response.collect().await;
    }
}

#[tokio::test]
async fn a_call_is_counted_timed_and_measured_by_whom_it_asks() {
    let metrics = Metrics::new().unwrap();
    assert!(!Page::of(&metrics).text.contains("http_client_"), "nothing is there before somebody calls");
    let client =
        metrics.client_layer().layer(answering(200, [Step::Data(b"hello "), Step::Pending, Step::Data(b"you")]));
    let mut request = to("http://API.example/users/7?token=1", Some("/users/{id}"));
    *request.body_mut() = TestBody::from("12345");
    finish(client, request).await;
    let page = Page::of(&metrics);
    let target = r#"method="GET",server_address="api.example",url_template="/users/{id}""#;
    let labels = format!(r#"{target},status_code="200",error_type="""#);
    assert_eq!(page.value("http_client_requests_total", &labels), 1.0);
    assert_eq!(page.value("http_client_request_duration_seconds_count", &labels), 1.0);
    assert_eq!(page.value("http_client_response_head_seconds_count", target), 1.0);
    assert_eq!(page.value("http_client_request_size_bytes_sum", target), 5.0);
    assert_eq!(page.value("http_client_response_size_bytes_sum", target), 9.0);
    assert_eq!(page.value("http_client_requests_in_flight", r#"server_address="api.example""#), 0.0);
    assert!(page.find("http_client_requests_aborted_total").next().is_none());
}

#[tokio::test]
async fn an_unanswered_call_has_no_status_and_an_error_type() {
    let metrics = Metrics::new().unwrap();
    let refused = service_fn(|_: Request<TestBody>| ready(Answer::Err(std::fmt::Error)));
    finish(metrics.client_layer().layer(refused), to("http://a.example/", None)).await;
    let never = service_fn(|_: Request<TestBody>| pending::<Answer>());
    let given_up = metrics.client_layer().layer(never).oneshot(to("http://a.example/", None));
    let mut given_up = Box::pin(given_up);
    assert!(tokio::time::timeout(Duration::from_millis(5), &mut given_up).await.is_err());
    let in_flight = r#"server_address="a.example""#;
    assert_eq!(Page::of(&metrics).value("http_client_requests_in_flight", in_flight), 1.0);
    drop(given_up);
    let page = Page::of(&metrics);
    let target = r#"method="GET",server_address="a.example",url_template="""#;
    let of = |class: &str| format!(r#"{target},status_code="",error_type="{class}""#);
    assert_eq!(page.value("http_client_requests_total", &of("core::fmt::Error")), 1.0);
    assert_eq!(page.value("http_client_requests_total", &of("")), 1.0, "giving up is not a failure");
    for outcome in ["cancelled", "service_error"] {
        let labels = format!(r#"{target},outcome="{outcome}""#);
        assert_eq!(page.value("http_client_requests_aborted_total", &labels), 1.0);
    }
    assert_eq!(page.value("http_client_requests_in_flight", in_flight), 0.0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_calls_of_every_ending_are_counted_once_each() {
    let metrics = Metrics::new().unwrap();
    let layer = metrics.client_layer();
    let tasks = (0..4).map(|task| {
        let layer = layer.clone();
        tokio::spawn(async move {
            for n in 0..2500 {
                let uri = format!("http://{}.example/", ["a", "b", "c"][(n + task) % 3]);
                match n % 7 {
                    0 => finish(layer.layer(answering(200, [Step::Data(b"abc")])), to(&uri, None)).await,
                    1 => finish(layer.layer(answering(503, [])), to(&uri, None)).await,
                    2 => finish(layer.layer(answering(200, [Step::Fail("cut")])), to(&uri, None)).await,
                    3 => {
                        let refused = service_fn(|_: Request<TestBody>| ready(Answer::Err(std::fmt::Error)));
                        finish(layer.layer(refused), to(&uri, None)).await;
                    }
                    4 => {
                        let never = service_fn(|_: Request<TestBody>| pending::<Answer>());
                        let call = layer.layer(never).oneshot(to(&uri, None));
                        assert!(tokio::time::timeout(Duration::ZERO, call).await.is_err());
                    }
                    5 => {
                        let client = layer.layer(answering(200, [Step::Data(b"a"), Step::Data(b"b")]));
                        let mut response = client.oneshot(to(&uri, None)).await.unwrap();
                        let _first = response.frame().await.unwrap().unwrap();
                    }
                    _ => {
                        let panics = service_fn(|_: Request<TestBody>| async {
                            std::panic::resume_unwind(Box::new("boom"));
                            #[expect(unreachable_code, reason = "the type requires it")]
                            Answer::Err(std::fmt::Error)
                        });
                        let call = tokio::spawn(layer.layer(panics).oneshot(to(&uri, None)));
                        assert!(call.await.is_err());
                    }
                }
            }
        })
    });
    for task in tasks.collect::<Vec<_>>() {
        task.await.unwrap();
    }
    let page = Page::of(&metrics);
    let sum = |name: &str| page.find(name).map(|(_, value)| value).sum::<f64>();
    assert_eq!(sum("http_client_requests_total"), 10_000.0);
    assert_eq!(sum("http_client_request_duration_seconds_count"), 10_000.0);
    assert_eq!(sum("http_client_requests_in_flight"), 0.0);
    assert_eq!(page.find("http_client_requests_in_flight").count(), 3);
    let per = |kinds: &[usize]| 4.0 * (0..2500).filter(|n| kinds.contains(&(n % 7))).count() as f64;
    assert_eq!(sum("http_client_requests_aborted_total"), per(&[2, 3, 4, 5, 6]));
    assert_eq!(sum("http_client_response_head_seconds_count"), per(&[0, 1, 2, 5]));
}

#[tokio::test]
async fn invented_hosts_fold_and_known_ones_have_their_place() {
    let metrics = Metrics::builder().max_servers(10).known_servers(["Known.example"]).build().unwrap();
    let layer = metrics.client_layer();
    for n in 0..100 {
        finish(layer.layer(answering(200, [])), to(&format!("http://h{n}.example/"), None)).await;
    }
    finish(layer.layer(answering(200, [])), to("http://known.example:8080/", None)).await;
    let page = Page::of(&metrics);
    let hosts: Vec<_> = page.find("http_client_requests_in_flight").collect();
    assert_eq!(hosts.len(), 12, "{hosts:?}");
    let of = |host: &str| {
        let labels = format!(r#"method="GET",server_address="{host}",url_template="",status_code="200",error_type="""#);
        page.value("http_client_requests_total", &labels)
    };
    assert_eq!((of("_OTHER"), of("known.example"), of("h9.example")), (90.0, 1.0, 1.0));
    assert_eq!(page.value("steeple_metrics_label_overflow_total", r#"label="server_address",reason="limit""#), 90.0);
}

#[tokio::test]
async fn grpc_calls_have_the_names_that_other_clients_of_grpc_use() {
    let metrics = Metrics::builder().grpc_method("board.v1.Tasks/Get", GrpcType::Unary).build().unwrap();
    let layer = metrics.client_layer();
    finish(layer.layer(answering(200, trailers("0"))), grpc("board.v1.Tasks/Get")).await;
    finish(layer.layer(answering(200, trailers("5"))), grpc("board.v1.Tasks/Get")).await;
    let refused = service_fn(|_: Request<TestBody>| ready(Answer::Err(std::fmt::Error)));
    finish(layer.layer(refused), grpc("board.v1.Tasks/Get")).await;
    let given_up = layer.layer(answering(200, trailers("0"))).oneshot(grpc("board.v1.Tasks/Watch")).await.unwrap();
    drop(given_up);
    let page = Page::of(&metrics);
    let get = r#"grpc_type="unary",grpc_service="board.v1.Tasks",grpc_method="Get""#;
    assert_eq!(page.value("grpc_client_started_total", get), 3.0);
    assert_eq!(page.value("grpc_client_handling_seconds_count", get), 3.0);
    for code in ["OK", "NotFound", "Unavailable"] {
        assert_eq!(page.value("grpc_client_handled_total", &format!(r#"{get},grpc_code="{code}""#)), 1.0);
    }
    let watch = r#"grpc_type="unknown",grpc_service="board.v1.Tasks",grpc_method="Watch",grpc_code="Canceled""#;
    assert_eq!(page.value("grpc_client_handled_total", watch), 1.0);
    assert_eq!(page.value("http_client_requests_in_flight", r#"server_address="board.example""#), 0.0);
    assert!(page.find("http_client_requests_total").next().is_none(), "counted once");
}

#[tokio::test]
async fn opentelemetrys_names_take_the_place_of_the_classic_ones() {
    let metrics = Metrics::builder().names(Names::OpenTelemetry).build().unwrap();
    finish(metrics.client_layer().layer(answering(404, [])), to("https://a.example/x", None)).await;
    finish(metrics.client_layer().layer(answering(200, trailers("5"))), grpc("board.v1.Tasks/Get")).await;
    let page = Page::of(&metrics);
    let target = r#"http_request_method="GET",server_address="a.example",server_port="443""#;
    let labels = format!(
        r#"{target},url_template="",http_response_status_code="404",error_type="404",network_protocol_version="1.1""#
    );
    assert_eq!(page.value("http_client_request_duration_seconds_count", &labels), 1.0);
    assert_eq!(page.value("http_client_active_requests", target), 0.0);
    let sizes = format!(r#"{target},url_template="""#);
    assert_eq!(page.value("http_client_request_body_size_bytes_count", &sizes), 1.0);
    assert_eq!(page.value("http_client_response_body_size_bytes_count", &sizes), 1.0);
    let rpc = r#"rpc_system_name="grpc",rpc_method="board.v1.Tasks/Get",rpc_response_status_code="NOT_FOUND",error_type="NOT_FOUND""#;
    assert_eq!(page.value("rpc_client_call_duration_seconds_count", rpc), 1.0);
    assert!(!page.text.contains("http_client_requests_total") && !page.text.contains("grpc_client_"));
}

/// Stands where the spans of calls stand.
struct Spans(TraceContext);

impl CallObserver for Spans {
    type State = ();

    fn on_request(&self, call: &mut steeple_core::call::Call, _: &mut http::request::Parts) -> Option<()> {
        call.set_trace(self.0);
        None
    }

    fn on_end(&self, (): (), _: &steeple_core::call::Call, _: &steeple_core::call::CallEnd<'_>) {}
}

#[tokio::test]
async fn an_exemplar_has_the_ids_of_the_call_or_else_of_who_made_it() {
    let exemplars = |metrics: &Metrics| {
        let page = metrics.render(Some("application/openmetrics-text;version=1.0.0"), None).body;
        let page = String::from_utf8(page.to_vec()).unwrap();
        let line = page
            .lines()
            .find(|line| line.starts_with("http_client_request_duration_seconds_bucket") && line.contains(" # {"));
        line.unwrap_or_default().to_owned()
    };
    let trace = TraceContext::new_root().with_sampled(true);
    let metrics = Metrics::new().unwrap();
    let layer = CallLayer::new((Spans(trace), metrics.client_calls().clone()));
    finish(layer.layer(answering(200, [])), to("http://a.example/", None)).await;
    let found = exemplars(&metrics);
    assert!(found.contains(&trace.trace_id().to_string()) && found.contains(&trace.span_id().to_string()), "{found}");

    for sampled in [true, false] {
        let metrics = Metrics::new().unwrap();
        let exchange = Exchange::detached();
        exchange.set_trace(trace.with_sampled(sampled));
        let call = finish(metrics.client_layer().layer(answering(200, [])), to("http://a.example/", None));
        exchange.scope(call).await;
        assert_eq!(exemplars(&metrics).contains(&trace.trace_id().to_string()), sampled);
    }
}

#[tokio::test]
async fn a_stream_of_events_is_counted_and_not_timed() {
    let metrics = Metrics::new().unwrap();
    let client = metrics.client_layer().layer(service_fn(|_: Request<TestBody>| async {
        let response = Response::builder().header("content-type", "text/event-stream");
        Ok::<_, Infallible>(response.body(ScriptedBody::new([Step::Data(b"data: 1")])).unwrap())
    }));
    finish(client, to("http://a.example/", None)).await;
    let page = Page::of(&metrics);
    assert_eq!(page.find("http_client_requests_total").count(), 1);
    assert!(page.find("http_client_request_duration_seconds_count").next().is_none());
    assert!(page.find("http_client_response_head_seconds_count").next().is_none());
}
