//! Request ids: the client's where it is short and plain, else our own; the same one everywhere.

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response, request};
use http_body_util::{Empty, Full};
use steeple_core::{
    End, Exchange, ObserveLayer, Observer, RequestId, RequestIds, X_REQUEST_ID, test_util::RecordingObserver,
};
use tower::{Layer, ServiceBuilder};

use crate::replay::{Step::Head, play, service};

/// What everyone came to see of an id.
#[derive(Debug)]
struct Seen {
    ours: String,
    clients: Option<Box<str>>,
    in_service: Vec<HeaderValue>,
    in_response: Vec<HeaderValue>,
}

impl Seen {
    #[track_caller]
    fn check_agreement(&self) {
        assert_eq!(self.in_service, [self.ours.as_str()], "inner layers see the same id, once");
        assert_eq!(self.in_response, [self.ours.as_str()], "the client gets the same id, once");
    }
}

fn send<O: Observer>(observer: O, sent: &[&[u8]]) -> Seen {
    send_through(|inner| ObserveLayer::new((observer, RecordingObserver::new())).layer(inner), sent, None)
}

type Inner = tower::util::BoxCloneSyncService<Request<Empty<Bytes>>, Response<Full<Bytes>>, std::convert::Infallible>;

fn send_through<S, B>(stack: impl FnOnce(Inner) -> S, sent: &[&[u8]], answers: Option<&'static str>) -> Seen
where
    S: tower::Service<Request<Empty<Bytes>>, Response = Response<B>, Error = std::convert::Infallible>,
    B: http_body::Body<Data = Bytes, Error = std::convert::Infallible>,
{
    let seen = Arc::new(Mutex::new(None));
    let inner = {
        let seen = Arc::clone(&seen);
        service(move |request: Request<Empty<Bytes>>| {
            let exchange = request.extensions().get::<Exchange>().unwrap().clone();
            *seen.lock().unwrap() = Some((exchange, all_of(request.headers())));
            let mut response = Response::new(Full::new(Bytes::new()));
            if let Some(id) = answers {
                response.headers_mut().insert(X_REQUEST_ID, HeaderValue::from_static(id));
            }
            async { response }
        })
    };
    let mut request = Request::new(Empty::new());
    for value in sent {
        request.headers_mut().append(X_REQUEST_ID, HeaderValue::from_bytes(value).unwrap());
    }
    let mut stack = stack(Inner::new(inner));
    let played = play(&mut stack, request, &[Head(200)], false);
    let (exchange, in_service) = seen.lock().unwrap().take().unwrap();
    Seen {
        ours: exchange.request_id().to_string(),
        clients: exchange.client_request_id(),
        in_service,
        in_response: all_of(&played.head.unwrap().headers),
    }
}

fn all_of(headers: &HeaderMap) -> Vec<HeaderValue> {
    headers.get_all(X_REQUEST_ID).iter().cloned().collect()
}

#[test]
fn a_short_and_plain_id_is_taken() {
    for id in ["abcdefgh", "A-b_c.0123", "01890a5d-ac96-774b-bcce-b302099a8057", &"x".repeat(64)] {
        let seen = send(RequestIds::new(), &[id.as_bytes()]);
        seen.check_agreement();
        assert_eq!((seen.ours.as_str(), seen.clients.as_deref()), (id, None));
    }
}

#[test]
fn no_id_gets_a_new_one() {
    let (one, other) = (send(RequestIds::new(), &[]), send(RequestIds::new(), &[]));
    one.check_agreement();
    assert_ne!(one.ours, other.ours);
    assert_eq!((one.ours.len(), one.clients), (36, None));
}

#[test]
fn any_other_id_is_refused_and_kept_as_the_clients() {
    let long = "x".repeat(64 * 1024);
    for id in
        ["", "short", "with space", "semi;colon", "quote\"quote", "<script>alert(1)</script>", "a\tb\tc\td\te", &long]
    {
        let seen = send(RequestIds::new(), &[id.as_bytes()]);
        seen.check_agreement();
        assert_eq!(seen.ours.len(), 36, "a new one for {id:?}");
        assert_eq!(seen.clients.as_deref(), Some(&id[..id.len().min(128)]));
    }
    let seen = send(RequestIds::new(), &["ümlaut-id".as_bytes()]);
    assert_eq!(seen.clients.as_deref(), Some("ümlaut-id"));
    let seen = send(RequestIds::new(), &[b"\xff\xfe\xff\xfe\xff\xfe\xff\xfe"]);
    assert_eq!(seen.clients.as_deref(), Some("\u{fffd}".repeat(8).as_str()));
}

#[test]
fn a_second_id_header_does_not_travel_along() {
    for sent in
        [[&b"first-good-id"[..], b"second-good-id"], [b"first-good-id", b"not plain"], [b"not plain", b"a-good-one"]]
    {
        send(RequestIds::new(), &sent).check_agreement();
    }
}

#[test]
fn a_client_that_is_not_trusted_gets_a_new_id() {
    let seen = send(RequestIds::new().trust_client(false), &[b"plain-enough"]);
    seen.check_agreement();
    assert_ne!(seen.ours, "plain-enough");
    assert_eq!(seen.clients.as_deref(), Some("plain-enough"));
}

#[test]
fn an_id_that_the_service_answers_with_stays() {
    let seen = send_through(
        |inner| ObserveLayer::new((RequestIds::new(),)).layer(inner),
        &[b"from-client"],
        Some("from-the-service"),
    );
    assert_eq!(seen.in_response, ["from-the-service"]);
}

/// Decides on an id before [`RequestIds`] can, as an observer does that writes it and was put too far left.
struct TooEarly;

impl Observer for TooEarly {
    type State = ();

    fn on_request(&self, exchange: &Exchange, _: &mut request::Parts) -> Option<()> {
        exchange.set_request_id(RequestId::parse(b"decided-before").unwrap());
        None
    }

    fn on_end(&self, (): (), _: &Exchange, _: &End) {}
}

#[test]
fn an_id_that_was_decided_before_stays_the_one_that_all_see() {
    for sent in [&[&b"from-client"[..]][..], &[b"not plain"], &[]] {
        let seen = send((TooEarly, RequestIds::new()), sent);
        assert_eq!(seen.ours, "decided-before");
        seen.check_agreement();
        assert_eq!(seen.clients.as_deref().map(str::as_bytes), sent.first().copied());
    }
}

#[test]
fn two_layers_agree_on_one_id() {
    let stack = |inner| {
        ServiceBuilder::new()
            .layer(ObserveLayer::new((RequestIds::new(),)))
            .layer(tower::layer::layer_fn(|inner: Inner| inner))
            .service(inner)
    };
    send_through(stack, &[b"not plain"], None).check_agreement();
}

#[test]
fn an_id_that_is_not_accepted_is_refused_and_a_uuid_is_not_asked_about() {
    let ids = || RequestIds::new().accept(|id| !id.starts_with("ghp_"));
    let seen = send(ids(), &[b"ghp_0123456789abcdef0123456789abcdef0123"]);
    seen.check_agreement();
    assert!(!seen.ours.starts_with("ghp_"));
    assert_eq!(send(ids(), &[b"plain-enough"]).ours, "plain-enough");
    let nothing = RequestIds::new().accept(|_| false);
    assert_eq!(
        send(nothing.clone(), &[b"01890a5d-ac96-774b-bcce-b302099a8057"]).ours,
        "01890a5d-ac96-774b-bcce-b302099a8057"
    );
    assert_ne!(send(nothing, &[b"4111111111111111"]).ours, "4111111111111111");
    let panics = RequestIds::new().accept(|_| std::panic::resume_unwind(Box::new("out")));
    assert_eq!(send(panics, &[b"plain-enough"]).ours.len(), 36);
}
