use axum::{
    Router,
    body::Body,
    http::{Request, StatusCode},
    response::IntoResponse,
    routing::post,
};
use serde_json::{Value, json};
use steeple_core::{Exchange, ObserveLayer, User};
use steeple_events::{
    Consent, Events, Rejected,
    preset::{ProjectCreated, UserRegistration},
    set_consent,
};
use steeple_export::protocol::webhook::Keys;
use tower::ServiceExt as _;

use crate::receiver::{Receiver, SECRET, everywhere, flush, lines};

async fn register(events: Events) -> StatusCode {
    let exchange = Exchange::current().unwrap();
    exchange.set_user(User::new("u-42").with_email("ada@example.org"));
    assert!(events.track(UserRegistration { source: "ads" }).is_accepted());
    StatusCode::CREATED
}

fn app(events: &Events) -> Router {
    Router::new()
        .route("/users/{id}", post(register))
        .layer(ObserveLayer::new(events.observer()))
        .layer(axum::Extension(events.clone()))
}

async fn send(app: Router, headers: &[(&str, &str)]) -> StatusCode {
    let request = headers
        .iter()
        .fold(Request::post("/users/7?token=hunter2"), |request, (name, value)| request.header(*name, *value));
    let response = app.oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
    let status = response.status();
    // The exchange ends with its body.
    let _body = axum::body::to_bytes(response.into_body(), 1_024).await.unwrap();
    status
}

const GA: (&str, &str) = ("cookie", "session=hunter2; _ga=GA1.1.12.34; _ga_ABC=GS2.1.s56$o1");

#[tokio::test(flavor = "multi_thread")]
async fn an_event_reaches_every_system_once_with_its_request() {
    let receiver = Receiver::start().await;
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("events.ndjson");
    let events = everywhere(&receiver, &file).build().unwrap();
    assert_eq!(send(app(&events), &[GA]).await, StatusCode::CREATED);
    flush(&events).await;

    let [line] = &lines(&file)[..] else { panic!("one line") };
    let id = line["data"]["id"].as_str().unwrap();
    assert_eq!(line["type"], "sign_up");
    assert_eq!((&line["data"]["user_id"], &line["data"]["route"]), (&json!("u-42"), &json!("/users/{id}")));
    assert_eq!(line["data"]["properties"], json!({"method": "ads"}));
    assert_eq!(line["data"]["cloud_region"], "eu-central-1");

    let mixpanel = receiver.only("/import");
    assert_eq!(mixpanel.headers["authorization"], "Basic dG9rZW46");
    assert_eq!(mixpanel.json()[0]["event"], "Sign Up");
    assert_eq!(mixpanel.json()[0]["properties"]["$insert_id"], id);
    assert_eq!(mixpanel.json()[0]["properties"]["distinct_id"], "u-42");

    let ga4 = receiver.only("/mp/collect");
    assert_eq!(ga4.uri, "/mp/collect?measurement_id=G-ABC&api_secret=secret");
    assert_eq!(ga4.json()["client_id"], "12.34");
    assert_eq!(
        ga4.json()["events"][0]["params"],
        json!({"method": "ads", "session_id": "56", "engagement_time_msec": 1})
    );

    let newrelic = receiver.only("/v1/accounts/12345/events");
    assert_eq!(newrelic.headers["api-key"], "license");
    assert_eq!(
        (&newrelic.json()[0]["eventType"], &newrelic.json()[0]["event.id"]),
        (&json!("UserRegistration"), &json!(id))
    );
    assert_eq!(newrelic.json()[0]["service.version"], "1.2.3");

    let elasticsearch = receiver.only("/_bulk");
    assert_eq!(elasticsearch.headers["authorization"], "ApiKey a2V5");
    let bulk: Vec<Value> =
        elasticsearch.body.split(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice(line).ok()).collect();
    assert_eq!(bulk[0], json!({"create": {"_index": "logs-events-staging", "_id": id}}));
    assert_eq!((&bulk[1]["event"]["action"], &bulk[1]["user"]["id"]), (&json!("sign_up"), &json!("u-42")));

    let webhook = receiver.only("/hook");
    assert_eq!(webhook.json(), *line);
    assert_eq!(webhook.headers["webhook-id"], id);
    let timestamp = webhook.headers["webhook-timestamp"].to_str().unwrap().parse().unwrap();
    let signature = Keys::parse(SECRET).unwrap().signature(id, timestamp, &webhook.body);
    assert_eq!(webhook.headers["webhook-signature"], signature);

    for got in receiver.all() {
        let all = format!("{:?} {}", got.headers, String::from_utf8_lossy(&got.body));
        assert!(!all.contains("hunter2") && !all.contains("example.org"), "{all}");
    }
    for sink in
        events.sinks().into_iter().filter(|sink| !["mixpanel_people", "elasticsearch_erasures"].contains(&sink.name()))
    {
        assert_eq!((sink.stats().accepted, sink.stats().exported), (1, 1), "{}", sink.name());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_visitor_who_refuses_is_in_no_analytics_system() {
    let receiver = Receiver::start().await;
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("events.ndjson");
    let events = everywhere(&receiver, &file).build().unwrap();
    assert_eq!(send(app(&events), &[GA, ("sec-gpc", "1")]).await, StatusCode::CREATED);
    flush(&events).await;
    assert_eq!(lines(&file)[0]["data"]["consent"], "denied");
    assert_eq!(receiver.all().len(), 3, "the systems that run the service alone");
    for path in ["/v1/accounts/", "/_bulk", "/hook"] {
        receiver.only(path);
    }
    let skipped: Vec<_> = events.skipped().into_iter().filter(|(_, count)| *count > 0).collect();
    assert_eq!(skipped, [("mixpanel".to_owned(), 1), ("ga4".to_owned(), 1)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hook_of_the_application_replaces_what_the_headers_say() {
    let receiver = Receiver::start().await;
    let directory = tempfile::tempdir().unwrap();
    let events = everywhere(&receiver, &directory.path().join("events.ndjson")).build().unwrap();
    let tracked = events.clone();
    let app = Router::new()
        .route(
            "/users/{id}",
            post(async move || {
                set_consent(&Exchange::current().unwrap(), Consent::Granted);
                tracked.track(UserRegistration { source: "ads" });
            }),
        )
        .layer(ObserveLayer::new(events.observer()));
    send(app, &[GA]).await;
    flush(&events).await;
    let consent = json!({"ad_user_data": "GRANTED", "ad_personalization": "GRANTED"});
    assert_eq!(receiver.only("/mp/collect").json()["consent"], consent);
}

#[tokio::test(flavor = "multi_thread")]
async fn on_success_tracks_what_ended_well_and_counts_the_rest() {
    let receiver = Receiver::start().await;
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("events.ndjson");
    let events = everywhere(&receiver, &file).build().unwrap();
    for status in [201, 404, 500] {
        let answer = StatusCode::from_u16(status).unwrap();
        let handler = async move |events: Events| {
            events.on_success(ProjectCreated { kind: "board" });
            answer.into_response()
        };
        let app = Router::new()
            .route("/users/{id}", post(handler))
            .layer(ObserveLayer::new(events.observer()))
            .layer(axum::Extension(events.clone()));
        assert_eq!(send(app, &[]).await, answer);
    }
    // Without Steeple's layer, the end of the exchange is unknown.
    Exchange::detached().in_scope(|| events.on_success(ProjectCreated { kind: "board" }));
    flush(&events).await;
    assert_eq!(lines(&file).len(), 1);
    assert_eq!((events.stats().tracked_total(), events.stats().rejected(Rejected::NotSuccessful)), (1, 3));
}

#[tokio::test(flavor = "multi_thread")]
async fn page_views_and_api_responses_are_tracked_where_they_are_turned_on() {
    let receiver = Receiver::start().await;
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("events.ndjson");
    let events = everywhere(&receiver, &file).page_views(1.0).api_responses(1.0).build().unwrap();
    let ask = async |agent: &str, path: &str, refuses: bool| {
        let html = async || axum::response::Html("<h1>Hello</h1>");
        let app = Router::new()
            .route("/pages/{id}", axum::routing::get(html))
            .route("/json", axum::routing::get(async || axum::Json(json!({}))))
            .layer(ObserveLayer::new(events.observer()));
        let mut request = Request::get(path).header("host", "shop.example").header("user-agent", agent);
        if refuses {
            request = request.header("sec-gpc", "1");
        }
        let response = app.oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
        let _body = axum::body::to_bytes(response.into_body(), 1_024).await.unwrap();
    };
    let browser = "Mozilla/5.0 Firefox/140.0";
    ask(browser, "/pages/7?token=hunter2", false).await;
    ask(browser, "/json", false).await;
    ask(browser, "/pages/7", true).await;
    ask("Googlebot/2.1", "/pages/7", false).await;
    flush(&events).await;
    let of = |name: &str| lines(&file).into_iter().filter(|line| line["type"] == name).collect::<Vec<_>>();
    let views = of("page_view");
    assert_eq!(views.len(), 1);
    assert_eq!(views[0]["data"]["properties"], json!({"page_location": "https://shop.example/pages/{id}"}));
    let answers = of("api_response");
    assert_eq!(answers.len(), 4);
    assert_eq!(
        (&answers[0]["data"]["properties"]["path"], &answers[0]["data"]["properties"]["status"]),
        (&json!("/pages/{id}"), &json!(200))
    );
}
