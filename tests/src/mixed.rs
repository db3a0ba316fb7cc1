//! Exchanges of every kind of ending, mixed, from clients that hang up where they are told to or at random.

use std::{
    collections::BTreeMap,
    fmt::Write,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use fastrand::Rng;
use futures_util::{FutureExt, future::BoxFuture};
use http::{Method, Request, Response, StatusCode};
use http_body::Body;
use http_body_util::{BodyExt, combinators::UnsyncBoxBody};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use steeple_core::Outcome::{self, BodyError, Cancelled, CancelledInBody, Completed, Panicked, ServiceError, Upgraded};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    task::JoinSet,
};
use tower::Service;

use crate::{
    client::{Client, Protocol, RequestBody, empty, full},
    grpc::GrpcLab,
    lab::{ARRIVAL, Lab},
    server::Server,
};

/// The lab and the gRPC lab behind one address.
#[derive(Clone, Debug)]
pub struct BothLabs(pub Lab);

/// A response body of either lab.
pub type EitherBody = UnsyncBoxBody<Bytes, Box<dyn std::error::Error + Send + Sync>>;

impl<B> Service<Request<B>> for BothLabs
where
    B: Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: std::fmt::Debug + Into<Box<dyn std::error::Error + Send + Sync>> + Send,
{
    type Response = Response<EitherBody>;
    type Error = crate::lab::LabError;
    type Future = BoxFuture<'static, Result<Response<EitherBody>, Self::Error>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        if request.headers().get("content-type").is_some_and(|value| value.as_bytes().starts_with(b"application/grpc"))
        {
            let answer = GrpcLab.call(request);
            answer
                .map(|never_fails| {
                    Ok(never_fails.expect("infallible").map(|body| body.map_err(Into::into).boxed_unsync()))
                })
                .boxed()
        } else {
            let answer = self.0.call(request);
            answer
                .map(|result| result.map(|response| response.map(|body| body.map_err(Into::into).boxed_unsync())))
                .boxed()
        }
    }
}

/// What a client does.
#[derive(Clone, Copy, Debug)]
enum Then {
    /// Reads the answer to its end, which there is.
    ReadsAll,
    /// Reads until it fails, which it does.
    ReadsToTheError,
    /// Reads six bytes and drops the rest. HTTP/1.1 has no rest.
    ReadsSixBytes,
    /// Goes before there is an answer: the connection, or the request alone.
    GoesBeforeTheHead,
    /// Goes after three bytes of the body: the connection, or the response alone.
    GoesInTheBody,
    /// Goes at random: before the head, in the body or not at all.
    GoesAtRandom,
    /// Sends a word through what the exchange became, and goes.
    Upgrades,
}

/// One kind of exchange.
#[derive(Clone, Copy, Debug)]
struct Kind {
    /// What the exchange is called.
    name: &'static str,
    shape: Shape,
    path: &'static str,
    over: &'static [Protocol],
    then: Then,
    /// How it can end, as far as the client can know.
    outcomes: &'static [Outcome],
}

/// The shape of a request.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Shape {
    Get,
    Head,
    Post,
    Connect,
    /// A POST with a gRPC message.
    Grpc(&'static str),
}

const BOTH: &[Protocol] = &Protocol::ALL;
const HTTP1: &[Protocol] = &[Protocol::Http1];
const HTTP2: &[Protocol] = &[Protocol::Http2];

const fn get(name: &'static str, path: &'static str, then: Then, outcomes: &'static [Outcome]) -> Kind {
    Kind { name, shape: Shape::Get, path, over: BOTH, then, outcomes }
}

const fn call(
    name: &'static str,
    path: &'static str,
    message: &'static str,
    then: Then,
    outcomes: &'static [Outcome],
) -> Kind {
    Kind { name, shape: Shape::Grpc(message), path, over: HTTP2, then, outcomes }
}

const KINDS: &[Kind] = &[
    get("GET /full", "/full", Then::ReadsAll, &[Completed]),
    get("GET /chunked", "/chunked", Then::ReadsAll, &[Completed]),
    get("GET /declared", "/declared", Then::ReadsSixBytes, &[Completed]),
    get("GET /trailers", "/trailers", Then::ReadsAll, &[Completed]),
    get("GET /empty", "/empty", Then::ReadsAll, &[Completed]),
    get("GET /status/{code}", "/status/204", Then::ReadsAll, &[Completed]),
    get("GET /status/{code}", "/status/304", Then::ReadsAll, &[Completed]),
    get("GET /status/{code}", "/status/404", Then::ReadsAll, &[Completed]),
    get("GET /status/{code}", "/status/500", Then::ReadsAll, &[Completed]),
    get("GET unmatched", "/no/such/route", Then::ReadsAll, &[Completed]),
    Kind { shape: Shape::Head, over: HTTP1, ..get("HEAD /chunked", "/chunked", Then::ReadsAll, &[Completed]) },
    Kind { shape: Shape::Head, ..get("HEAD /empty", "/empty", Then::ReadsAll, &[Completed]) },
    Kind { shape: Shape::Post, ..get("POST /echo", "/echo", Then::ReadsAll, &[Completed]) },
    get("GET /service-error", "/service-error", Then::ReadsToTheError, &[ServiceError]),
    get("GET /body-error", "/body-error", Then::ReadsToTheError, &[BodyError]),
    get("GET /panic", "/panic", Then::ReadsToTheError, &[Panicked]),
    get("GET /body-panic", "/body-panic", Then::ReadsToTheError, &[Panicked]),
    get("GET /never", "/never", Then::GoesBeforeTheHead, &[Cancelled]),
    get("GET /stall", "/stall", Then::GoesInTheBody, &[CancelledInBody]),
    get("GET /slow", "/slow?100", Then::GoesAtRandom, &[Completed, Cancelled, CancelledInBody]),
    Kind { over: HTTP1, ..get("GET /upgrade", "/upgrade", Then::Upgrades, &[Upgraded]) },
    Kind { shape: Shape::Connect, ..get("CONNECT unmatched", "", Then::Upgrades, &[Upgraded]) },
    call("lab.v1.Lab/Say", "/lab.v1.Lab/Say", "hello", Then::ReadsAll, &[Completed]),
    call("lab.v1.Lab/Say", "/lab.v1.Lab/Say", "fail 5", Then::ReadsAll, &[Completed]),
    call("lab.v1.Lab/Count", "/lab.v1.Lab/Count", "3", Then::ReadsAll, &[Completed]),
    call("lab.v1.Lab/Count", "/lab.v1.Lab/Count", "3 fail 13", Then::ReadsAll, &[Completed]),
    call("lab.v1.Lab/Mute", "/lab.v1.Lab/Mute", "hello", Then::ReadsAll, &[Completed]),
    call("_OTHER", "/lab.v1.Lab/MadeUp", "hello", Then::ReadsAll, &[Completed]),
];

/// How often exchanges of this name ended with this outcome.
pub type Counts = BTreeMap<(String, Outcome), u64>;

/// The sent requests.
#[derive(Clone, Debug, Default)]
pub struct Tally(BTreeMap<&'static str, Row>);

#[derive(Clone, Debug, Default)]
struct Row {
    sent: u64,
    outcomes: &'static [Outcome],
}

impl Tally {
    /// How many exchanges there were.
    pub fn sent(&self) -> u64 {
        self.0.values().map(|row| row.sent).sum()
    }

    /// Checks that a receiver's counts are those of the sent requests: for each name as many, and only such ends as the clients
    /// can have caused.
    ///
    /// # Panics
    /// When it is not.
    pub fn check(&self, who: &str, counts: &Counts) {
        let mut wrong = Vec::new();
        for (name, row) in &self.0 {
            let counted: u64 =
                Outcome::ALL.iter().filter_map(|outcome| counts.get(&((*name).to_owned(), *outcome))).sum();
            if counted != row.sent {
                wrong.push(format!("{name}: {} sent, {counted} counted", row.sent));
            }
        }
        for ((name, outcome), count) in counts {
            let possible = self.0.get(name.as_str()).is_some_and(|row| row.outcomes.contains(outcome));
            if !possible && *count > 0 {
                wrong.push(format!("{name}: {count} ended as {outcome}"));
            }
        }
        assert!(wrong.is_empty(), "{who} counted otherwise: {wrong:#?}\n{}", self.table(counts));
    }

    /// Sent and ended, a line for each name, a column for each outcome.
    pub fn table(&self, counts: &Counts) -> String {
        let mut text = format!("{:<22}{:>8}", "exchange", "sent");
        for outcome in Outcome::ALL {
            let _never = write!(text, "{:>19}", outcome.as_str());
        }
        let mut line = |name: &str, sent: u64, count: &dyn Fn(Outcome) -> u64| {
            let _never = write!(text, "\n{name:<22}{sent:>8}");
            for outcome in Outcome::ALL {
                let cell = match count(outcome) {
                    0 => String::from("."),
                    count => count.to_string(),
                };
                let _never = write!(text, "{cell:>19}");
            }
        };
        for (name, row) in &self.0 {
            line(name, row.sent, &|outcome| counts.get(&((*name).to_owned(), outcome)).copied().unwrap_or(0));
        }
        line("all", self.sent(), &|outcome| {
            counts.iter().filter(|((_, other), _)| *other == outcome).map(|(_, count)| count).sum()
        });
        text
    }

    fn add(&mut self, kind: &Kind) {
        let row = self.0.entry(kind.name).or_default();
        row.sent += 1;
        row.outcomes = kind.outcomes;
    }
}

/// Sends so many exchanges, so many at a time, to a watched [`BothLabs`] with this lab in it.
pub async fn run(server: &Server, lab: &Lab, exchanges: usize, at_a_time: usize) -> Tally {
    let left = Arc::new(AtomicUsize::new(exchanges));
    let mut workers = JoinSet::new();
    for number in 0..at_a_time {
        let (left, lab, address) = (Arc::clone(&left), lab.clone(), server.address());
        workers.spawn(async move {
            // The same seeds each time; how the workers interleave is the scheduler's.
            let mut rng = Rng::with_seed(number as u64);
            let protocol = if number % 2 == 0 { Protocol::Http1 } else { Protocol::Http2 };
            let kinds: Vec<_> = KINDS.iter().filter(|kind| kind.over.contains(&protocol)).collect();
            let (mut tally, mut client) = (Tally::default(), None);
            while left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok() {
                let kind = kinds[rng.usize(..kinds.len())];
                let connected = match client.take() {
                    Some(client) => client,
                    None => Client::connect(protocol, address).await,
                };
                client = exchange(kind, connected, &lab, &mut rng).await;
                tally.add(kind);
            }
            tally
        });
    }
    let mut all = Tally::default();
    for tally in workers.join_all().await {
        for (name, row) in tally.0 {
            let sum = all.0.entry(name).or_default();
            sum.sent += row.sent;
            sum.outcomes = row.outcomes;
        }
    }
    all
}

/// One exchange. Returns the client if its connection can be used again.
async fn exchange(kind: &Kind, mut client: Client, lab: &Lab, rng: &mut Rng) -> Option<Client> {
    let protocol = client.protocol();
    let (arrival, arrived) = lab.arrival();
    let mut request = request(kind, &client);
    request.headers_mut().insert(ARRIVAL, arrival);
    match kind.then {
        Then::ReadsAll => {
            let body = answer(kind, &mut client, request).await.into_body();
            body.collect()
                .await
                .unwrap_or_else(|error| panic!("{kind:?} over {protocol:?} reads to its end: {error:?}"));
            Some(client)
        }
        Then::ReadsToTheError => {
            if let Ok(response) = client.send(request).await {
                assert!(response.into_body().collect().await.is_err(), "{kind:?} over {protocol:?} fails");
            }
            // Over HTTP/1.1 a failure takes the connection along; over HTTP/2 the stream alone.
            (protocol == Protocol::Http2).then_some(client)
        }
        Then::ReadsSixBytes => {
            let mut body = answer(kind, &mut client, request).await.into_body();
            read_bytes(&mut body, 6).await;
            if protocol == Protocol::Http1 {
                assert!(body.frame().await.is_none(), "nothing is left of a body at its declared length");
            }
            Some(client)
        }
        Then::GoesBeforeTheHead => {
            tokio::select! {
                answer = client.send(request) => panic!("{kind:?} over {protocol:?} has no answer: {answer:?}"),
                arrived = arrived => arrived.expect("the lab reports it"),
            }
            stays(client, rng)
        }
        Then::GoesInTheBody => {
            let mut body = answer(kind, &mut client, request).await.into_body();
            read_bytes(&mut body, 3).await;
            let client = stays(client, rng);
            drop(body);
            client
        }
        Then::GoesAtRandom => {
            let patience = Duration::from_micros(rng.u64(..40_000));
            let all = async {
                let body = client.send(request).await.expect("the head comes").into_body();
                body.collect().await.expect("the body ends");
            };
            let goes = async {
                // Not before the request arrived: the server must have seen it, for both sides to count it.
                arrived.await.expect("the lab reports it");
                tokio::time::sleep(patience).await;
            };
            tokio::select! {
                () = all => return Some(client),
                () = goes => (),
            }
            stays(client, rng)
        }
        Then::Upgrades => {
            let response = answer(kind, &mut client, request).await;
            let mut io = TokioIo::new(hyper::upgrade::on(response).await.expect("it was accepted"));
            let mut echoed = [0; 5];
            io.write_all(b"hello").await.expect("the other side reads");
            io.flush().await.expect("the other side reads");
            io.read_exact(&mut echoed).await.expect("the other side answers");
            assert_eq!(&echoed, b"hello");
            (protocol == Protocol::Http2).then_some(client)
        }
    }
}

fn request(kind: &Kind, client: &Client) -> Request<RequestBody> {
    let builder = |method| client.request(method, kind.path);
    let request = match kind.shape {
        Shape::Get if kind.path == "/upgrade" => {
            builder(Method::GET).header("connection", "upgrade").header("upgrade", "echo").body(empty())
        }
        Shape::Get => builder(Method::GET).body(empty()),
        Shape::Head => builder(Method::HEAD).body(empty()),
        Shape::Post => builder(Method::POST).body(full("an upload")),
        Shape::Connect => {
            let request = Request::builder().method(Method::CONNECT).version(client.protocol().version());
            request.uri("example.org:443").body(empty())
        }
        Shape::Grpc(message) => {
            let length = u8::try_from(message.len()).expect("a short message");
            let framed = [&[0, 0, 0, 0, length], message.as_bytes()].concat();
            builder(Method::POST).header("content-type", "application/grpc").header("te", "trailers").body(full(framed))
        }
    };
    request.expect("a request that is well formed")
}

async fn answer(kind: &Kind, client: &mut Client, request: Request<RequestBody>) -> Response<Incoming> {
    let response = client.send(request).await.unwrap_or_else(|error| panic!("{kind:?} is answered: {error:?}"));
    let upgrades =
        matches!(kind.then, Then::Upgrades) && client.protocol() == Protocol::Http1 && kind.path == "/upgrade";
    assert!(!upgrades || response.status() == StatusCode::SWITCHING_PROTOCOLS);
    response
}

async fn read_bytes(body: &mut Incoming, want: usize) {
    let mut read = 0;
    while read < want {
        let frame = body.frame().await.expect("the body goes on").expect("the body does not fail");
        read += frame.into_data().map_or(0, |data| data.len());
    }
}

/// A client that goes takes its connection along; over HTTP/2, half the time, only what it had asked for.
fn stays(client: Client, rng: &mut Rng) -> Option<Client> {
    (client.protocol() == Protocol::Http2 && rng.bool()).then_some(client)
}
