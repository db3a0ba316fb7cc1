//! What clients invent costs nothing that lasts.

use axum::{Router, routing::get};
use http::{Method, StatusCode};
use http_body_util::BodyExt;
use steeple_tests::{
    client::{Client, Protocol, empty, full},
    grpc::GrpcLab,
    process,
    server::Server,
    stack::Stack,
};
use tokio::task::JoinSet;

#[derive(Clone, Copy)]
struct Invented(usize);

impl Invented {
    /// The five things in turn, each distinct; and every hundredth request a real one.
    async fn send(self, client: &mut Client) {
        let number = self.0;
        let request = match number % 100 {
            50 => client.request(Method::GET, &format!("/users/{number}")),
            51 => client.request(Method::POST, "/pay"),
            _ if client.protocol() == Protocol::Http2 && number.is_multiple_of(5) => client
                .request(Method::POST, &format!("/made.up.Service{number}/Method{number}"))
                .header("content-type", "application/grpc"),
            _ if number.is_multiple_of(3) => {
                let method = Method::from_bytes(format!("M{number}").as_bytes()).unwrap();
                client.request(method, "/users/1")
            }
            _ => client.request(Method::GET, &format!("/made/up/{number}?q={number}")),
        };
        let mut request = request
            .header("x-request-id", format!("invented-id-{number}"))
            .header("x-forwarded-for", format!("10.{}.{}.{}", number >> 16 & 255, number >> 8 & 255, number & 255))
            .header("user-agent", format!("agent/{number}"))
            .body(if number.is_multiple_of(2) { empty() } else { full("x") })
            .unwrap();
        let host = format!("host-{number}.example");
        match client.protocol() {
            Protocol::Http1 => drop(request.headers_mut().insert("host", host.parse().unwrap())),
            Protocol::Http2 => *request.uri_mut() = format!("http://{host}{}", request.uri().path()).parse().unwrap(),
        }
        client.send(request).await.unwrap().into_body().collect().await.unwrap();
    }
}

/// Sends these, from as many clients as there are workers.
async fn send_all(server: &Server, numbers: std::ops::Range<usize>) {
    const WORKERS: usize = 16;
    let mut workers = JoinSet::new();
    for worker in 0..WORKERS {
        let (address, mine) = (server.address(), numbers.clone().skip(worker).step_by(WORKERS));
        workers.spawn(async move {
            let protocol = if worker % 2 == 0 { Protocol::Http1 } else { Protocol::Http2 };
            let mut client = Client::connect(protocol, address).await;
            for number in mine {
                Invented(number).send(&mut client).await;
            }
        });
    }
    workers.join_all().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[expect(clippy::print_stdout, reason = "the figures are what somebody runs this test to see")]
async fn a_hundred_thousand_invented_requests_leave_series_and_memory_where_they_were_and_real_routes_apart() {
    const WARM_UP: usize = 5_000;
    let attack: usize = process::parameter("STEEPLE_INVENTED_REQUESTS", 100_000);
    if process::ran_alone(
        "attack::a_hundred_thousand_invented_requests_leave_series_and_memory_where_they_were_and_real_routes_apart",
    ) {
        return;
    }
    let stack = Stack::forgetful();
    let app = Router::new()
        .route("/users/{id}", get(|| async { "Ann" }))
        .route("/pay", get(|| async {}).post(|| async { StatusCode::INTERNAL_SERVER_ERROR }))
        // Requests without a route go to gRPC, which answers UNIMPLEMENTED.
        .fallback_service(GrpcLab)
        .layer(stack.layer());
    let server = Server::start(app).await;

    send_all(&server, 0..WARM_UP).await;
    assert!(stack.landed().await);
    let (page, memory) = (stack.page(), process::resident_bytes());
    send_all(&server, WARM_UP..WARM_UP + attack).await;
    assert!(stack.landed().await);
    let (after, memory_after) = (stack.page(), process::resident_bytes());

    assert_eq!(page.series(), after.series(), "series");
    let total = after.sum("http_requests_total", &[]) + after.sum("grpc_server_handled_total", &[]);
    assert_eq!(total, (WARM_UP + attack) as f64, "each counts once");
    for sample in after.find("http_requests_total", &[]) {
        assert!(["/users/{id}", "/pay", "unmatched"].contains(&sample.label("route")), "{sample:?}");
        assert!(["GET", "POST", "_OTHER"].contains(&sample.label("method")), "{sample:?}");
    }
    let real = ((WARM_UP + attack) / 100) as f64;
    assert_eq!(
        after.sum("http_requests_total", &[("route", "/users/{id}"), ("method", "GET"), ("status_code", "200")]),
        real
    );
    assert_eq!(after.sum("http_requests_total", &[("route", "/pay"), ("status_code", "500")]), real);
    assert!(after.find("grpc_server_handled_total", &[]).all(|sample| sample.label("grpc_method") == "_OTHER"));
    if let (Some(before), Some(after)) = (memory, memory_after) {
        let mebibytes = |bytes: u64| bytes as f64 / f64::from(1 << 20);
        println!("{} series; {:.1} MiB before, {:.1} MiB after", page.series(), mebibytes(before), mebibytes(after));
        assert!(after < before + (8 << 20), "{} bytes more for {attack} requests", after - before);
    }
}
