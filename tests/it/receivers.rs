//! Whatever the receivers do, requests go on, each is logged and counted once, and memory stays where it was.

use std::{fs, time::Duration};

use axum::{Router, body::Body, routing::get};
use http::{Request, StatusCode};
use http_body_util::BodyExt;
use steeple::{
    Exchange, Steeple, User, alerts,
    events::{self, Events},
    sentry::breadcrumb,
    trace::{Otlp, Sampling},
};
use steeple_tests::{
    page::Page,
    process,
    trouble::{Receiver, Trouble},
};
use tower::ServiceExt;

/// The most that queues and requests under way may hold, over the memory of an idle service.
const ROOM: u64 = 64 << 20;

/// What webhooks are signed with.
const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// A service behind the facade that sends errors, spans, log records, events and alerts of each request to this address, and
/// logs into a directory.
struct Service {
    steeple: Steeple,
    app: Router,
    directory: tempfile::TempDir,
}

impl Service {
    fn start(receiver: &Receiver) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let address = receiver.address();
        let steeple = Steeple::builder()
            .service_name("receivers")
            .without_console()
            .log_directory(directory.path())
            .sentry(|sentry| sentry.dsn(format!("http://public@{address}/1")))
            .traces(|traces| {
                let otlp = |signal: &str| Otlp::new().endpoint(format!("http://{address}/v1/{signal}"));
                let traces = traces.sampling(Sampling::always_on()).otlp(otlp("traces")).logs(otlp("logs"));
                traces.export_delay(Duration::from_millis(20))
            })
            .events(|events| events.sink(events::sink::Webhook::new(format!("http://{address}/events"), SECRET)))
            .alerts(|alerts| alerts.channel(alerts::channel::Webhook::new(format!("http://{address}/alerts"), SECRET)))
            .flush_timeout(Duration::from_millis(500))
            .build()
            .unwrap();
        let app = Router::new().route("/fail/{bytes}", get(fail)).layer(steeple.layer());
        Self { steeple, app, directory }
    }

    async fn ask(&self, bytes: usize) {
        let request = Request::get(format!("/fail/{bytes}")).body(Body::empty()).unwrap();
        let answer = self.app.clone().oneshot(request).await.unwrap();
        assert_eq!(answer.status(), StatusCode::INTERNAL_SERVER_ERROR);
        answer.into_body().collect().await.unwrap();
    }

    fn page(&self) -> Page {
        let page = self.steeple.metrics().render(None, None);
        Page::parse(String::from_utf8(page.body.to_vec()).unwrap())
    }

    /// Flushes, ends, and returns how many access lines were written.
    async fn end(self) -> (u64, u64) {
        let steeple = self.steeple.clone();
        tokio::task::spawn_blocking(move || drop(steeple.flush())).await.unwrap();
        let counted = self.page().sum("http_requests_total", &[]);
        assert_eq!(self.page().sum("http_requests_in_flight", &[]), 0.0);
        let log = fs::read_to_string(self.directory.path().join("combined.log")).unwrap();
        let lines = log.lines().filter(|line| line.contains("\"target\":\"steeple::access\"")).count() as u64;
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "counts are whole")]
        (counted as u64, lines)
    }
}

/// Fails, with a text of this length in every place that takes one.
async fn fail(
    exchange: Exchange,
    events: Events,
    axum::extract::Path(bytes): axum::extract::Path<usize>,
) -> StatusCode {
    let text = "lorem ipsum ".repeat(bytes / 12 + 1);
    events.track_named("request_failed", &serde_json::json!({ "detail": &text, "all": [&text, &text] }));
    breadcrumb("step", text.clone());
    tracing::error!(detail = %text, "{text}");
    exchange.set_attribute("detail", text.clone());
    exchange.set_user(User::new(text.clone()));
    exchange.record_error(&std::io::Error::other(text));
    StatusCode::INTERNAL_SERVER_ERROR
}

/// The most memory that this process has held, in bytes.
fn peak_bytes() -> Option<u64> {
    process::status_bytes("VmHWM:")
}

#[expect(clippy::print_stdout, reason = "the figures are what somebody runs this test to see")]
async fn big_texts_cost_bounded_memory(trouble: Trouble) {
    let requests: usize = process::parameter("STEEPLE_BIG_TEXTS", 20);
    let receiver = Receiver::start(trouble);
    let service = Service::start(&receiver);
    // One-time allocations: thread stacks, tables, first uses.
    for _ in 0..20 {
        service.ask(100).await;
    }
    let idle = process::settled_bytes();
    for _ in 0..requests {
        service.ask(2_000_000).await;
    }
    let peak = peak_bytes();
    let (counted, logged) = service.end().await;
    assert_eq!((counted, logged), (requests as u64 + 20, requests as u64 + 20));
    if let (Some(idle), Some(peak)) = (idle, peak) {
        let over = peak.saturating_sub(idle);
        println!("{trouble:?}: idle {} MiB, at most {} MiB over it", idle >> 20, over >> 20);
        assert!(over <= ROOM, "{over} bytes over idle");
    }
}

#[expect(clippy::print_stdout, reason = "the figures are what somebody runs this test to see")]
async fn trouble_harms_no_request(trouble: Trouble) {
    let requests: u64 = process::parameter("STEEPLE_TROUBLED_REQUESTS", 50);
    let receiver = Receiver::start(trouble);
    let service = Service::start(&receiver);
    for _ in 0..20 {
        service.ask(100).await;
    }
    let idle = process::settled_bytes();
    for _ in 0..requests {
        service.ask(100).await;
    }
    let (counted, logged) = service.end().await;
    let over = peak_bytes().zip(idle).map(|(peak, idle)| peak.saturating_sub(idle));
    println!(
        "{trouble:?}: {} sent, {counted} counted, {logged} logged, {} received, {} MiB over idle",
        requests + 20,
        receiver.requests(),
        over.unwrap_or_default() >> 20,
    );
    assert_eq!((counted, logged), (requests + 20, requests + 20));
    assert!(over.is_none_or(|over| over <= ROOM), "{over:?} bytes over idle");
}

/// Makes a test of each of these receivers, each in a separate process.
macro_rules! alone {
    ($run:ident: $($(#[$attribute:meta])* $name:ident: $trouble:ident,)*) => {$(
        $(#[$attribute])*
        #[test]
        fn $name() {
            if process::ran_alone(concat!("receivers::", stringify!($name))) {
                return;
            }
            let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
            runtime.block_on($run(Trouble::$trouble));
        }
    )*};
}

alone! { big_texts_cost_bounded_memory:
    texts_of_two_megabytes_cost_bounded_memory_over_a_hung_receiver: Hung,
    texts_of_two_megabytes_cost_bounded_memory_over_a_refusing_receiver: Refusing,
    texts_of_two_megabytes_cost_bounded_memory_over_a_healthy_receiver: None,
}

alone! { trouble_harms_no_request:
    a_receiver_that_accepts_no_connection_harms_no_request: Deaf,
    a_receiver_that_reads_nothing_harms_no_request: Silent,
    a_receiver_that_never_answers_harms_no_request: Hung,
    a_receiver_that_closes_each_connection_harms_no_request: Closing,
    a_receiver_that_resets_each_connection_harms_no_request: Resetting,
    a_receiver_that_is_not_there_harms_no_request: Refusing,
    a_receiver_that_answers_half_a_head_harms_no_request: HalfHead,
    a_receiver_that_answers_half_a_body_harms_no_request: HalfBody,
    a_receiver_that_speaks_something_else_harms_no_request: Garbage,
    a_receiver_with_an_endless_head_harms_no_request: EndlessHead,
    a_receiver_with_an_endless_body_harms_no_request: EndlessBody,
    a_receiver_that_answers_byte_by_byte_harms_no_request: Drip,
    a_receiver_that_redirects_to_itself_harms_no_request: Redirecting,
    a_receiver_that_rejects_what_it_gets_harms_no_request: Rejecting,
    a_receiver_that_knows_no_key_harms_no_request: Unauthorized,
    a_receiver_that_finds_all_too_large_harms_no_request: TooLarge,
    a_receiver_that_limits_the_rate_harms_no_request: RateLimited,
    a_receiver_that_is_unavailable_harms_no_request: Unavailable,
}
