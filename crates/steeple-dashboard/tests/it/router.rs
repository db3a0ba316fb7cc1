use axum::Router;
use http::{Method, header};
use steeple_dashboard::Access;

use crate::kit::{Service, from, local, text};

const TOKEN: &str = "q1o0cFXKZ7nq8Qx2tW6yTR5u";
const PATHS: [&str; 4] = ["/steeple", "/steeple/", "/steeple/frame", "/steeple/stream"];
/// Those that need a part of the service which is not here: the gate is in front of them as well.
const PARTS: [&str; 3] = ["/steeple/fleet?range=300", "/steeple/spans?trace=0", "/steeple/outbox"];

fn assets(page: &str) -> Vec<String> {
    let quoted = page.split('"').filter(|text| [".js", ".css", ".svg"].iter().any(|end| text.ends_with(end)));
    quoted.map(|name| format!("/steeple/{name}")).collect()
}

#[tokio::test]
async fn the_page_its_data_and_its_files_are_there_with_strict_headers() {
    let service = Service::local();
    let (status, page) = service.get("/steeple/").await;
    assert!(status == 200 && page.starts_with("<!doctype html>"), "{page}");
    let files = assets(&page);
    assert_eq!(files.len(), 7, "{files:?}");
    for path in PATHS.iter().copied().chain(files.iter().map(String::as_str)) {
        let response = service.send(local(Method::GET, path)).await;
        let headers = response.headers();
        let policy = headers[header::CONTENT_SECURITY_POLICY].to_str().unwrap();
        assert!(policy.starts_with("default-src 'none';") && !policy.contains("unsafe"), "{path}: {policy}");
        assert_eq!(headers["x-content-type-options"], "nosniff", "{path}");
        assert_eq!(headers["referrer-policy"], "no-referrer", "{path}");
        let cached = headers[header::CACHE_CONTROL].to_str().unwrap();
        assert_eq!(cached.contains("immutable"), path.contains('.'), "{path}: {cached}");
        assert!(cached.contains("immutable") || cached == "no-store", "{path}: {cached}");
    }
    assert_eq!(service.get("/steeple/app.js").await.0, 404, "a file has a hash in its name");
}

#[tokio::test]
async fn the_way_to_the_page_is_relative_so_that_a_proxy_may_cut_a_prefix_off() {
    let service = Service::local();
    for (path, to) in [("/steeple", "steeple/"), ("/steeple?token=a", "steeple/?token=a")] {
        let response = service.send(local(Method::GET, path)).await;
        assert_eq!((response.status().as_u16(), response.headers()[header::LOCATION].to_str().unwrap()), (308, to));
    }
    let nested: Router = Router::new().nest("/inner", service.dashboard.routes_at("/board"));
    let response = tower::ServiceExt::oneshot(nested, local(Method::GET, "/inner/board")).await.unwrap();
    assert_eq!(response.headers()[header::LOCATION], "board/");
}

#[tokio::test]
async fn one_gate_is_in_front_of_page_data_stream_files_and_actions() {
    for (access, refused) in [(Access::local(), 403), (Access::token(TOKEN).unwrap(), 401)] {
        let service = Service::new(|builder, _| builder.access(access.clone()));
        let files = assets(&Service::local().get("/steeple/").await.1);
        let actions = ["/steeple/acknowledge", "/steeple/silence", "/steeple/log"];
        for path in PATHS
            .iter()
            .copied()
            .chain(files.iter().map(String::as_str))
            .chain(["/steeple/none"])
            .chain(PARTS)
            .chain(actions)
        {
            let method = if actions.contains(&path) { Method::POST } else { Method::GET };
            for (peer, headers) in [
                ("192.0.2.1:1", &[("host", "localhost")][..]),
                ("127.0.0.1:1", &[("host", "localhost"), ("x-forwarded-for", "127.0.0.1")]),
                ("127.0.0.1:1", &[("host", "rebound.example")]),
                ("", &[("host", "localhost")]),
            ] {
                let response = service.send(from(peer, method.clone(), path, headers)).await;
                assert_eq!(response.status(), refused, "{access:?} {path} {peer} {headers:?}");
                let page = text(response).await;
                assert!(page.contains("DASHBOARD_TOKEN") && !page.contains("shop"), "{page}");
            }
        }
    }
}

#[tokio::test]
async fn a_token_in_the_address_becomes_a_cookie_and_leaves_the_address() {
    let service = Service::new(|builder, _| builder.access(Access::token(TOKEN).unwrap()));
    let peer = "192.0.2.1:1";
    let response = service.send(from(peer, Method::GET, &format!("/steeple/?token={TOKEN}"), &[])).await;
    assert_eq!(response.status(), 200);
    let cookie = response.headers()[header::SET_COOKIE].to_str().unwrap().to_owned();
    let body = text(response).await;
    assert!(body.contains("url=./") && !body.contains(TOKEN), "{body}");
    let value = cookie.split(';').next().unwrap();
    let response = service.send(from(peer, Method::GET, "/steeple/frame", &[("cookie", value)])).await;
    assert_eq!(response.status(), 200);
    let response = service.send(from(peer, Method::GET, "/steeple/?token=wrong", &[])).await;
    assert_eq!(response.status(), 401);
    assert!(text(response).await.contains("<form"));
}

#[tokio::test]
async fn the_dashboard_leaves_no_trace_of_itself_in_the_metrics() {
    let service = Service::local();
    let page = |service: &Service| String::from_utf8(service.metrics.render(None, None).body.to_vec()).unwrap();
    let before = page(&service);
    for path in ["/steeple/", "/steeple/frame", "/steeple"] {
        service.get(path).await;
    }
    let stream = service.send(local(Method::GET, "/steeple/stream")).await;
    assert_eq!(stream.status(), 200);
    let lines = |page: &str| {
        let ours = page.lines().filter(|line| line.starts_with("http_") && !line.ends_with(" 0"));
        ours.map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(lines(&page(&service)), lines(&before), "while it is open");
    assert_eq!(service.metrics.totals().in_flight, 0);
    drop(stream);
    assert_eq!(lines(&page(&service)), lines(&before), "after it");
}

#[tokio::test]
async fn nothing_is_observed_before_a_dashboard_is_built() {
    let requests = steeple_dashboard::Requests::default();
    let app: Router = Router::new()
        .route("/fail", axum::routing::get(async || http::StatusCode::INTERNAL_SERVER_ERROR))
        .layer(steeple_core::ObserveLayer::new(requests.clone()));
    tower::ServiceExt::oneshot(app, local(Method::GET, "/fail")).await.unwrap();
    assert!(requests.lists().failed.is_empty());
}
