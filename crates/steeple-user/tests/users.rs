//! Who is behind an exchange: on real Axum routers in process, and over a socket.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::{convert::Infallible, net::SocketAddr, sync::Mutex};

use axum::{
    Router,
    body::Body,
    extract::{ConnectInfo, Request},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::get,
};
use http::{HeaderName, StatusCode};
use http_body_util::BodyExt;
use steeple_core::{Exchange, ObserveLayer, connection::Connection, observer_panics, test_util::RecordingObserver};
use steeple_user::{
    ClientAddress, CurrentUser, GatewayHeaders, IdentifyLayer, Peer, PrivacyPolicy, Treatment, User, Users,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tower::{Layer, ServiceExt};

#[derive(Clone)]
struct Claims(Option<&'static str>);

fn user_of(claims: &Claims) -> Option<User> {
    claims.0.map(User::new)
}

fn watching(users: Users) -> (RecordingObserver, ObserveLayer<(Users, RecordingObserver)>) {
    let seen = RecordingObserver::new();
    (seen.clone(), ObserveLayer::new((users, seen)))
}

/// What the handlers of these tests answer: the user that the extractor found, or `nobody`.
async fn who(user: Option<CurrentUser>) -> String {
    user.and_then(|user| user.id().map(str::to_owned)).unwrap_or_else(|| "nobody".to_owned())
}

fn request(headers: &[(&'static str, &'static str)]) -> Request {
    let mut request = Request::new(Body::empty());
    for (name, value) in headers {
        request.headers_mut().append(HeaderName::from_static(name), value.parse().unwrap());
    }
    request
}

fn from(peer: &str, headers: &[(&'static str, &'static str)]) -> Request {
    let mut request = request(headers);
    request.extensions_mut().insert(Peer::Address(peer.parse().unwrap()));
    request
}

/// Sends a request and reads the answer: the status and the text.
async fn send(app: &Router, request: Request) -> (StatusCode, String) {
    let response = app.clone().oneshot(request).await.unwrap();
    let status = response.status();
    let text = response.into_body().collect().await.unwrap().to_bytes();
    (status, String::from_utf8(text.to_vec()).unwrap())
}

fn last(seen: &RecordingObserver) -> Exchange {
    seen.ended().pop().unwrap().0
}

fn last_id(seen: &RecordingObserver) -> Option<String> {
    last(seen).user().and_then(|user| user.id().map(str::to_owned))
}

/// Lets in who sends an `authorization`, and tells the user in the request, the response, or both.
async fn authenticate(mut request: Request, next: Next) -> Response {
    let claims = Claims(request.headers().contains_key("authorization").then_some("ann"));
    request.extensions_mut().insert(claims);
    next.run(request).await
}

async fn authenticate_in_the_response(request: Request, next: Next) -> Response {
    let claims = Claims(request.headers().contains_key("authorization").then_some("ann"));
    let mut response = next.run(request).await;
    response.extensions_mut().insert(claims);
    response
}

const AUTHORIZED: [(&str, &str); 1] = [("authorization", "Bearer x")];

#[tokio::test]
async fn a_layer_inside_the_authentication_sets_the_user_before_the_handler() {
    let (seen, layer) = watching(Users::new());
    let app = Router::new()
        .route("/", get(who))
        .layer(IdentifyLayer::extension(user_of))
        .layer(middleware::from_fn(authenticate))
        .layer(layer);
    assert_eq!(send(&app, request(&AUTHORIZED)).await.1, "ann");
    assert_eq!(last_id(&seen).as_deref(), Some("ann"));
    assert_eq!(send(&app, request(&[])).await.1, "nobody");
    assert_eq!(last_id(&seen), None);
}

#[tokio::test]
async fn a_request_that_panics_has_its_user() {
    async fn fail() -> &'static str {
        std::panic::resume_unwind(Box::new("on purpose"))
    }
    let (seen, layer) = watching(Users::new());
    let app: Router =
        Router::new().route("/", get(fail)).layer(IdentifyLayer::new(|_| Some(User::new("ann")))).layer(layer);
    assert!(tokio::spawn(app.oneshot(request(&[]))).await.unwrap_err().is_panic());
    assert_eq!(last_id(&seen).as_deref(), Some("ann"));
}

#[tokio::test]
async fn an_authentication_further_out_is_heard_at_the_requests_head() {
    let (seen, layer) = watching(Users::builder().user_extension(user_of).build().unwrap());
    let app = Router::new().route("/", get(who)).layer(layer).layer(middleware::from_fn(authenticate));
    assert_eq!(send(&app, request(&AUTHORIZED)).await.1, "ann");
    assert_eq!(last_id(&seen).as_deref(), Some("ann"));
}

#[tokio::test]
async fn an_authentication_further_in_is_heard_in_its_response() {
    let (seen, layer) = watching(Users::builder().user_extension(user_of).build().unwrap());
    let app = Router::new().route("/", get(who)).layer(middleware::from_fn(authenticate_in_the_response)).layer(layer);
    assert_eq!(send(&app, request(&AUTHORIZED)).await.1, "nobody", "too late for the handler");
    assert_eq!(last_id(&seen).as_deref(), Some("ann"), "not too late for the log");
}

#[tokio::test]
async fn the_handlers_user_beats_every_source() {
    let users = Users::builder().user_from(|_| Some(User::new("guest"))).user_extension(user_of).build().unwrap();
    let (seen, layer) = watching(users);
    let handler = |exchange: Exchange| async move { exchange.set_user(User::new("root")) };
    let app: Router = Router::new()
        .route("/", get(handler))
        .layer(middleware::from_fn(authenticate_in_the_response))
        .layer(IdentifyLayer::new(|_| Some(User::new("ann"))))
        .layer(layer);
    send(&app, request(&AUTHORIZED)).await;
    assert_eq!(last_id(&seen).as_deref(), Some("root"));
}

#[tokio::test]
async fn the_first_source_that_knows_a_user_counts() {
    let header = |name| move |head: &http::request::Parts| Some(User::new(head.headers.get(name)?.to_str().ok()?));
    let users = Users::builder().user_from(header("x-first")).user_from(header("x-second")).build().unwrap();
    let (_, layer) = watching(users);
    let app = Router::new().route("/", get(who)).layer(layer);
    assert_eq!(send(&app, request(&[("x-first", "1"), ("x-second", "2")])).await.1, "1");
    assert_eq!(send(&app, request(&[("x-second", "2")])).await.1, "2");
    assert_eq!(send(&app, request(&[])).await.1, "nobody");
}

#[tokio::test]
async fn a_gateways_header_is_believed_of_a_trusted_proxy_alone() {
    let headers = GatewayHeaders::new(HeaderName::from_static("x-user"))
        .email(HeaderName::from_static("x-email"))
        .name(HeaderName::from_static("x-name"));
    let options = Users::builder().trusted_proxies("10.0.0.0/8".parse().unwrap()).user_headers(headers);
    let (seen, layer) = watching(options.build().unwrap());
    let app = Router::new().route("/", get(who)).layer(layer);
    let sent = [("x-user", " ann "), ("x-email", "ann@example.org"), ("x-name", "Ann")];
    assert_eq!(send(&app, from("10.0.0.1:80", &sent)).await.1, "ann");
    assert_eq!(last(&seen).user(), Some(User::new("ann").with_email("ann@example.org").with_name("Ann")));
    assert_eq!(send(&app, from("192.0.2.1:80", &sent)).await.1, "nobody", "a stranger");
    assert_eq!(send(&app, request(&sent)).await.1, "nobody", "whose address is unknown");
    for odd in [&[("x-user", "ann"), ("x-user", "root")][..], &[("x-user", "  ")], &[("x-user", "a\tb")], &sent[1..]] {
        assert_eq!(send(&app, from("10.0.0.1:80", odd)).await.1, "nobody", "{odd:?}");
    }
    let long: &'static str = "x".repeat(257).leak();
    assert_eq!(send(&app, from("10.0.0.1:80", &[("x-user", long)])).await.1, "nobody", "too long");
}

#[test]
fn a_gateways_header_without_trusted_proxies_is_an_error() {
    let options = Users::builder().user_header(HeaderName::from_static("x-user"));
    let error = options.build().unwrap_err();
    assert!(error.is_proxies() && error.to_string().contains("anybody can send that header"));
}

#[tokio::test]
async fn a_required_user_is_a_401_and_an_optional_one_is_not() {
    let (_, layer) = watching(Users::new());
    let app = Router::new()
        .route("/required", get(|CurrentUser(user): CurrentUser| async move { format!("{:?}", user.id()) }))
        .route("/optional", get(who))
        .layer(IdentifyLayer::extension(user_of))
        .layer(middleware::from_fn(authenticate))
        .layer(layer);
    let ask = async |path: &str, headers: &[_]| {
        let mut request = request(headers);
        *request.uri_mut() = path.parse().unwrap();
        send(&app, request).await
    };
    assert_eq!(ask("/required", &AUTHORIZED).await, (StatusCode::OK, "Some(\"ann\")".to_owned()));
    assert_eq!(ask("/required", &[]).await, (StatusCode::UNAUTHORIZED, "authentication required".to_owned()));
    assert_eq!(ask("/optional", &[]).await, (StatusCode::OK, "nobody".to_owned()));
}

#[tokio::test]
async fn without_a_layer_no_user_is_accepted_and_nothing_else_is_rejected() {
    let app: Router = Router::new()
        .route("/required", get(|_: CurrentUser| async { "in" }))
        .route(
            "/",
            get(|user: Option<CurrentUser>, address: ClientAddress| async move { format!("{user:?} {address:?}") }),
        )
        .layer(IdentifyLayer::new(|_| Some(User::new("ann"))));
    assert_eq!(send(&app, request(&[])).await, (StatusCode::OK, "None ClientAddress(None)".to_owned()));
    let mut required = request(&[]);
    *required.uri_mut() = "/required".parse().unwrap();
    assert_eq!(send(&app, required).await.0, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn handlers_see_the_whole_address_and_sinks_what_the_policy_leaves() {
    let handler = |ClientAddress(address): ClientAddress| async move { address.unwrap().to_string() };
    for (privacy, visible) in
        [(None, Some("203.0.113.0")), (Some(Treatment::Keep), Some("203.0.113.77")), (Some(Treatment::Drop), None)]
    {
        let options = Users::builder().trusted_proxies("private".parse().unwrap());
        let options = match privacy {
            Some(treatment) => options.privacy(PrivacyPolicy::builder().address(treatment).build().unwrap()),
            None => options,
        };
        let (seen, layer) = watching(options.build().unwrap());
        let app = Router::new().route("/", get(handler)).layer(layer);
        let sent = from("10.0.0.1:80", &[("x-forwarded-for", "1.1.1.1, 203.0.113.77")]);
        assert_eq!(send(&app, sent).await.1, "203.0.113.77");
        let shown = last(&seen).visible_client_address().map(|address| address.to_string());
        assert_eq!(shown.as_deref(), visible, "{privacy:?}");
    }
}

#[tokio::test]
async fn the_policy_applies_before_a_user_is_set() {
    let privacy = PrivacyPolicy::builder().id(Treatment::Drop).name(Treatment::Truncate).build().unwrap();
    let users = Users::builder().user_from(|_| Some(User::new("ann").with_name("Ann"))).privacy(privacy);
    let (seen, layer) = watching(users.build().unwrap());
    send(&Router::new().route("/", get(who)).layer(layer), request(&[])).await;
    assert_eq!(last(&seen).visible_user(), Some(User::anonymous().with_name("A.")));
    assert_eq!(last(&seen).user().unwrap().id(), Some("ann"));
}

#[tokio::test]
async fn the_peer_is_found_wherever_a_server_puts_it() {
    fn one<T: Clone + Send + Sync + 'static>(value: T) -> http::Extensions {
        let mut extensions = http::Extensions::new();
        extensions.insert(value);
        extensions
    }
    type Put = fn(&mut http::Extensions, SocketAddr);
    let peer: SocketAddr = "192.0.2.7:4711".parse().unwrap();
    let servers: [(&str, Put); 3] = [
        ("a plain one", |extensions, peer| extensions.extend(one(Peer::Address(peer)))),
        ("Axum", |extensions, peer| extensions.extend(one(ConnectInfo(peer)))),
        ("steeple-core", |extensions, peer| extensions.extend(one(Connection::new(Some(peer.into()))))),
    ];
    for (server, put) in servers {
        let (seen, layer) = watching(Users::new());
        let mut request = request(&[("x-forwarded-for", "1.1.1.1")]);
        put(request.extensions_mut(), peer);
        send(&Router::new().layer(layer), request).await;
        assert_eq!(last(&seen).client_address(), Some(peer.ip()), "{server}");
    }
}

#[tokio::test]
async fn the_peer_in_tonics_connect_info_is_found() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = tokio::net::TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let (socket, _) = listener.accept().await.unwrap();
    let mut request = request(&[]);
    request.extensions_mut().insert(tonic::transport::server::Connected::connect_info(&socket));
    assert_eq!(Peer::of(request.extensions()).and_then(|peer| peer.address()), client.local_addr().ok());
}

#[tokio::test]
async fn the_peer_in_axums_connect_info_is_found() {
    async fn ask(address: SocketAddr) -> String {
        let mut socket = tokio::net::TcpStream::connect(address).await.unwrap();
        socket
            .write_all(b"GET / HTTP/1.1\r\nhost: x\r\nx-forwarded-for: 203.0.113.9\r\nconnection: close\r\n\r\n")
            .await
            .unwrap();
        let mut text = String::new();
        socket.read_to_string(&mut text).await.unwrap();
        text.rsplit_once("\r\n\r\n").unwrap().1.to_owned()
    }
    let handler = |ClientAddress(address): ClientAddress| async move { format!("{address:?}") };
    for (proxies, want) in [("", "Some(127.0.0.1)"), ("loopback", "Some(203.0.113.9)")] {
        let users = Users::builder().trusted_proxies(proxies.parse().unwrap()).build().unwrap();
        let app: Router = Router::new().route("/", get(handler)).layer(ObserveLayer::new(users));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let server =
            tokio::spawn(axum::serve(listener, app.into_make_service_with_connect_info::<SocketAddr>()).into_future());
        assert_eq!(ask(address).await, want);
        server.abort();
    }
}

#[tokio::test]
async fn a_source_that_panics_costs_its_own_exchange_nothing_but_the_user() {
    let users = Users::builder().user_from(|_| std::panic::resume_unwind(Box::new("on purpose"))).build().unwrap();
    let (seen, layer) = watching(users);
    let before = observer_panics();
    assert_eq!(send(&Router::new().route("/", get(who)).layer(layer), request(&[])).await.1, "nobody");
    assert_eq!((seen.ended().len(), last(&seen).user()), (1, None));
    assert!(observer_panics() > before);
}

#[tokio::test]
async fn a_function_that_panics_costs_the_request_its_user_and_not_its_answer() {
    let (seen, layer) = watching(Users::new());
    let identify = IdentifyLayer::new(|_| std::panic::resume_unwind(Box::new("on purpose")));
    let app = Router::new().route("/", get(who)).layer(identify).layer(layer);
    assert_eq!(send(&app, request(&[])).await, (StatusCode::OK, "nobody".to_owned()));
    assert_eq!(seen.outcomes(), [steeple_core::Outcome::Completed]);
}

#[tokio::test]
async fn identify_works_on_a_plain_stack_and_on_a_request_that_was_made_anew() {
    let seen = RecordingObserver::new();
    let calls = Mutex::new(0);
    let identify = IdentifyLayer::new(|_: &http::request::Parts| Some(User::new("ann")));
    let inner = tower::service_fn(|_: http::Request<()>| {
        *calls.lock().unwrap() += 1;
        async { Ok::<_, Infallible>("hello".into_response()) }
    });
    let service = ObserveLayer::new(seen.clone())
        .layer(tower::util::MapRequest::new(identify.layer(inner), |_: http::Request<_>| http::Request::new(())));
    let response = service.oneshot(http::Request::new(String::new())).await.unwrap();
    response.into_body().collect().await.unwrap();
    assert_eq!((last_id(&seen).as_deref(), *calls.lock().unwrap()), (Some("ann"), 1));
}
