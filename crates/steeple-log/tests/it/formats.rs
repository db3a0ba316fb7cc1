//! Lines as they are, in each format. Only what differs from run to run is masked.

use std::{convert::Infallible, time::Duration};

use http::{Request, Response};
use http_body_util::BodyExt;
use steeple_core::{
    User,
    test_util::{ScriptedBody, Step},
};
use steeple_log::{Format, Log, log_error, log_event};
use tower::{Layer, ServiceExt};
use tracing::subscriber::with_default;
use tracing_subscriber::{layer::SubscriberExt, registry::Registry};

use crate::support::{Book, Client, get, read, send, send_through};

const TRACEPARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

/// The line of a request of which much is known.
async fn a_rich_line(format: Format) -> String {
    let logging =
        Log::builder().service_name("shop").service_version("1.2.3").environment("test").region("eu-central-1");
    let book = Book::with(logging, format);
    let layer = book.guard.log().layer();
    let request = Request::get("/users/42?page=2")
        .header("x-request-id", "req-12345678")
        .header("traceparent", TRACEPARENT)
        .header("user-agent", "curl/8.5.0")
        .body(String::new())
        .unwrap();
    send_through(&layer, request, |exchange| {
        exchange.report_route("/users/{id}");
        exchange.set_user(User::new("u-42"));
        exchange.set_client_address("192.0.2.77".parse().unwrap());
        exchange.set_attribute("cart.size", 3_u32);
    })
    .await;
    book.text()
}

/// Replaces the values of these keys.
fn mask(line: &str, keys: &[&str]) -> String {
    let mut line = line.trim_end().to_owned();
    for key in keys {
        let start = line.find(&format!("\"{key}\":")).unwrap() + key.len() + 3;
        let value = line[start..].find([',', '}']).unwrap();
        line.replace_range(start..start + value, "…");
    }
    line
}

#[tokio::test]
async fn json_has_opentelemetrys_names_in_a_fixed_order() {
    let line = a_rich_line(Format::Json).await;
    read(line.trim_end());
    let want = concat!(
        r#"{"timestamp":…,"level":"info","message":"GET /users/{id} 200","target":"steeple::access","#,
        r#""service.name":"shop","service.version":"1.2.3","deployment.environment.name":"test","cloud.region":"eu-central-1","#,
        r#""request_id":"req-12345678","trace_id":"0af7651916cd43dd8448eb211c80319c","span_id":…,"#,
        r#""transaction.name":"GET /users/{id}","http.request.method":"GET","http.route":"/users/{id}","#,
        r#""url.path":"/users/42","url.query":"page=2","http.response.status_code":200,"outcome":"completed","#,
        r#""duration_ms":…,"response_head_ms":…,"http.request.body.size":0,"http.response.body.size":0,"#,
        r#""network.protocol.version":"1.1","user_agent.original":"curl/8.5.0","client.address":"192.0.2.0","#,
        r#""user.id":"u-42","attributes.cart.size":3}"#,
    );
    assert_eq!(mask(&line, &["timestamp", "span_id", "duration_ms", "response_head_ms"]), want);
}

#[tokio::test]
async fn ecs_has_the_schemas_names_and_its_first_fields_first() {
    let line = a_rich_line(Format::Ecs).await;
    let fields = read(line.trim_end());
    assert!(fields["event.duration"].is_u64() && fields["transaction.id"] == fields["span.id"]);
    let want = concat!(
        r#"{"@timestamp":…,"log.level":"info","message":"GET /users/{id} 200","ecs.version":"8.11.0","#,
        r#""service.name":"shop","service.version":"1.2.3","service.environment":"test","cloud.region":"eu-central-1","event.dataset":"shop","#,
        r#""log.logger":"steeple::access","event.kind":"event","event.category":["web"],"event.type":["access"],"#,
        r#""event.outcome":"success","event.start":…,"event.duration":…,"http.request.id":"req-12345678","#,
        r#""trace.id":"0af7651916cd43dd8448eb211c80319c","span.id":…,"transaction.id":…,"user.id":"u-42","#,
        r#""labels.transaction_name":"GET /users/{id}","labels.http_route":"/users/{id}","#,
        r#""http.request.method":"GET","http.request.body.bytes":0,"http.response.status_code":200,"#,
        r#""http.response.body.bytes":0,"http.version":"1.1","url.path":"/users/42","url.query":"page=2","#,
        r#""user_agent.original":"curl/8.5.0","client.address":"192.0.2.0","client.ip":"192.0.2.0","#,
        r#""source.ip":"192.0.2.0","labels.outcome":"completed","labels.response_head_ms":…,"#,
        r#""labels.attributes_cart_size":"3"}"#,
    );
    let varying =
        ["@timestamp", "event.start", "event.duration", "span.id", "transaction.id", "labels.response_head_ms"];
    assert_eq!(mask(&line, &varying), want);
}

#[tokio::test]
async fn ecs_lines_have_the_failure() {
    let book = Book::new(Format::Ecs);
    let layer = book.guard.log().layer();
    for (path, client) in
        [("/status/500", Client::ToTheEnd), ("/body-error", Client::ToTheEnd), ("/never", Client::OnePoll)]
    {
        send(&layer, get(path), client).await;
    }
    let seen: Vec<_> = book
        .lines()
        .iter()
        .map(|line| {
            let keys = ["log.level", "event.outcome", "event.type", "error.type", "error.message", "labels.outcome"];
            keys.map(|key| line.get(key).map_or_else(|| "-".to_owned(), ToString::to_string)).join(" ")
        })
        .collect();
    let want = [
        r#""error" "failure" ["access","error"] "500" - "completed""#,
        r#""error" "failure" ["access","error"] "body_error" "disk gone" "body_error""#,
        r#""warn" "unknown" ["access"] "cancelled" - "cancelled""#,
    ];
    assert_eq!(seen, want);
}

#[test]
fn ecs_puts_what_it_has_no_name_for_under_labels_as_text() {
    let book = Book::new(Format::Ecs);
    with_default(Registry::default().with(book.guard.layer()), || {
        let _span = tracing::info_span!("import", rows = 7).entered();
        tracing::info!(cart.size = 3, "cart*x" = true, outcome = "mine", "cart_size" = 4, "done");
        log_event("order.placed", [("plan", "pro".into())]);
        log_error(&std::io::Error::other("disk gone"));
    });
    let lines = book.lines();
    let label = |line: usize, key: &str| lines[line][key].as_str().unwrap_or("-").to_owned();
    assert_eq!(label(0, "labels.cart_size"), "3", "of two that would have one name the first");
    assert_eq!((label(0, "labels.cart_x"), label(0, "labels.rows")), ("true".to_owned(), "7".to_owned()));
    assert_eq!(
        (label(0, "labels.fields_outcome"), label(0, "labels.span_name")),
        ("mine".to_owned(), "import".to_owned())
    );
    assert_eq!((label(1, "labels.event_name"), label(1, "labels.plan")), ("order.placed".to_owned(), "pro".to_owned()));
    assert_eq!(
        (label(2, "error.message"), label(2, "error.type")),
        ("disk gone".to_owned(), "std::io::error::Error".to_owned())
    );
}

/// A pretty line without what differs from run to run: time, duration.
fn steady(text: &str) -> String {
    let words: Vec<_> = text
        .trim_end()
        .split(' ')
        .map(|word| if word.ends_with("µs") || word.ends_with("ms") { "…" } else { word })
        .collect();
    words[1..].join(" ")
}

#[tokio::test]
async fn pretty_fits_on_a_line_that_people_read() {
    let line = a_rich_line(Format::Pretty).await;
    assert_eq!(line.find(' '), Some(12), "20:13:24.123: {line}");
    assert_eq!(steady(&line), " INFO GET /users/{id} /users/42 200 … 0B user=u-42 #12345678 cart.size=3");

    let book = Book::new(Format::Pretty);
    let layer = book.guard.log().layer();
    let request = Request::get("/body-error").header("x-request-id", "req-00000001").body(String::new()).unwrap();
    send(&layer, request, Client::ToTheEnd).await;
    assert_eq!(steady(&book.text()), "ERROR GET unmatched /body-error 200 body_error … 4B #00000001 disk gone");
}

#[tokio::test]
async fn pretty_lines_have_a_grpc_calls_name_and_status_once() {
    let book = Book::new(Format::Pretty);
    let layer = book.guard.log().layer();
    let handler = tower::service_fn(|_: Request<crate::support::Body>| async {
        let body = ScriptedBody::new([Step::Data(b"frame")]);
        let response = Response::builder().header("content-type", "application/grpc").body(body);
        Ok::<_, Infallible>(response.unwrap())
    });
    for reads in [true, false] {
        let request = Request::post("/shop.v1.Cart/Get").header("content-type", "application/grpc");
        let request = request.header("x-request-id", "req-00000001").body(String::new()).unwrap();
        let response = layer.layer(handler).oneshot(request).await.unwrap();
        if reads {
            response.into_body().collect().await.unwrap();
        }
    }
    let text = book.text();
    let lines: Vec<_> = text.lines().map(steady).collect();
    assert_eq!(
        lines,
        ["ERROR shop.v1.Cart/Get UNKNOWN … 5B #00000001", " WARN shop.v1.Cart/Get cancelled_in_body … 0B #00000001"]
    );
}

#[test]
fn pretty_lines_of_handlers_show_their_fields() {
    let book = Book::new(Format::Pretty);
    with_default(Registry::default().with(book.guard.layer()), || {
        tracing::warn!(target: "shop::cart", items = 3, name = "a\nb", "cart is full");
    });
    assert_eq!(steady(&book.text()), r" WARN shop::cart: cart is full items=3 name=a\nb");
}

#[tokio::test]
async fn colors_are_around_the_same_words_and_nowhere_else() {
    let plain = |text: &str| {
        let mut out = String::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once("\u{1b}[") {
            out.push_str(before);
            rest = after.split_once('m').unwrap().1;
        }
        out + rest
    };
    let (color, pretty) = (a_rich_line(Format::Color).await, a_rich_line(Format::Pretty).await);
    assert_eq!(steady(&plain(&color)), steady(&pretty));
    assert!(color.contains("\u{1b}[32m200\u{1b}[0m"), "{color:?}");
}

#[tokio::test]
async fn outputs_of_several_formats_get_the_same_line_each_in_its_own() {
    let (json, ecs) = (crate::support::Paper::default(), crate::support::Paper::default());
    let logging = Log::builder().without_console();
    let guard = logging.writer(json.clone(), Format::Json).writer(ecs.clone(), Format::Ecs).build().unwrap();
    send(&guard.log().layer(), get("/x"), Client::ToTheEnd).await;
    assert!(guard.flush(Duration::from_secs(10)));
    let (json, ecs) = (read(json.text().trim_end()), read(ecs.text().trim_end()));
    assert_eq!((&json["request_id"], &json["url.path"]), (&ecs["http.request.id"], &ecs["url.path"]));
}
