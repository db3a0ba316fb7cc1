//! Serving over real sockets: the defaults, and the end.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use axum::{Router, extract::Path, routing::get};
use steeple::{ClientAddress, Steeple};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};

struct Server {
    address: SocketAddr,
    steeple: Steeple,
    serving: JoinHandle<std::io::Result<()>>,
}

async fn start(steeple: Steeple, app: Router) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let app = app.merge(steeple.routes()).layer(steeple.layer());
    let serving = tokio::spawn({
        let steeple = steeple.clone();
        async move { steeple.serve(listener, app).await }
    });
    Server { address, steeple, serving }
}

fn quiet() -> steeple::SteepleBuilder {
    Steeple::builder().without_log_setup()
}

async fn ask(address: SocketAddr, path: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

#[tokio::test]
async fn requests_are_measured_and_scrapes_are_not() {
    let app = Router::new().route("/users/{id}", get(|Path(id): Path<u64>| async move { id.to_string() }));
    let server = start(quiet().build().unwrap(), app).await;
    assert!(ask(server.address, "/users/7").await.contains("x-request-id: "), "the id is in the response");
    ask(server.address, "/nowhere").await;
    ask(server.address, "/metrics").await;
    let page = ask(server.address, "/metrics").await;
    for line in [
        "http_requests_total{method=\"GET\",route=\"/users/{id}\",status_code=\"200\"} 1\n",
        "http_requests_total{method=\"GET\",route=\"unmatched\",status_code=\"404\"} 1\n",
        "steeple_observer_panics_total 0\n",
    ] {
        assert!(page.contains(line), "{line} is missing in {page}");
    }
    assert!(!page.contains("route=\"/metrics\""), "{page}");
    assert!(page.contains("http_requests_in_flight"), "{page}");
}

#[tokio::test]
async fn the_socket_behind_a_request_is_known_to_handlers() {
    let app =
        Router::new().route("/", get(|ClientAddress(address): ClientAddress| async move { format!("{address:?}") }));
    let server = start(quiet().build().unwrap(), app).await;
    assert!(ask(server.address, "/").await.contains("127.0.0.1"));
}

#[tokio::test]
async fn readiness_names_what_does_not_work_and_keeps_its_error_to_itself() {
    let works = Arc::new(AtomicBool::new(true));
    let steeple = quiet()
        .readiness("database", {
            let works = Arc::clone(&works);
            move || {
                let works = works.load(Ordering::Relaxed);
                async move { if works { Ok(()) } else { Err("password rejected for admin") } }
            }
        })
        .build()
        .unwrap();
    let server = start(steeple, Router::new()).await;
    assert!(ask(server.address, "/readyz").await.starts_with("HTTP/1.1 200"));
    works.store(false, Ordering::Relaxed);
    let answer = ask(server.address, "/readyz").await;
    assert!(answer.starts_with("HTTP/1.1 503") && answer.ends_with("not ready: database\n"), "{answer}");
    assert!(ask(server.address, "/healthz").await.starts_with("HTTP/1.1 200"), "alive, even so");
}

#[tokio::test]
async fn a_request_in_flight_is_answered_before_the_end() {
    let app = Router::new().route(
        "/slow",
        get(|| async {
            tokio::time::sleep(Duration::from_millis(200)).await;
            "done"
        }),
    );
    let server = start(quiet().build().unwrap(), app).await;
    let answer = tokio::spawn(ask(server.address, "/slow"));
    tokio::time::sleep(Duration::from_millis(50)).await;
    server.steeple.shutdown().begin();
    assert!(answer.await.unwrap().ends_with("done"));
    server.serving.await.unwrap().unwrap();
    assert!(TcpStream::connect(server.address).await.is_err(), "the listener is closed");
}

#[tokio::test]
async fn a_request_that_does_not_end_does_not_hold_up_the_end() {
    let app = Router::new().route("/never", get(|| async { std::future::pending::<()>().await }));
    let server = start(quiet().drain_timeout(Duration::from_millis(100)).build().unwrap(), app).await;
    let _waiting = tokio::spawn(ask(server.address, "/never"));
    tokio::time::sleep(Duration::from_millis(50)).await;
    server.steeple.shutdown().begin();
    server.serving.await.unwrap().unwrap();
}

#[tokio::test]
async fn an_address_that_cannot_be_bound_is_in_the_error() {
    let steeple = quiet().build().unwrap();
    let taken = steeple.bind("127.0.0.1:0").await.unwrap();
    for address in [taken.address(), "256.0.0.1:80".to_owned(), "unix:/nowhere/at/all.sock".to_owned()] {
        let error = steeple.bind(&address).await.unwrap_err().to_string();
        assert!(error.starts_with(&format!("cannot listen on {address}: ")), "{error}");
    }
}

#[cfg(all(unix, not(steeple_os_other)))]
#[tokio::test]
async fn a_unix_socket_is_served_and_one_that_a_dead_process_left_is_replaced() {
    use tokio::net::UnixStream;
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("shop.sock");
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    assert!(path.exists(), "left behind");
    let address = |ClientAddress(address): ClientAddress| async move { format!("{address:?}") };
    let steeple = quiet().users(|users| users.trusted_proxies("unix".parse().unwrap())).build().unwrap();
    let app = Router::new().route("/", get(address)).layer(steeple.layer());
    let listener = steeple.bind(format!("unix:{}", path.display())).await.unwrap();
    assert_eq!(listener.address(), format!("unix:{}", path.display()));
    let serving = tokio::spawn({
        let steeple = steeple.clone();
        async move { steeple.serve(listener, app).await }
    });
    let mut stream = UnixStream::connect(&path).await.unwrap();
    let request = b"GET / HTTP/1.1\r\nhost: shop\r\nx-forwarded-for: 192.0.2.7\r\nconnection: close\r\n\r\n";
    stream.write_all(request).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.contains("192.0.2.7"), "the proxy at the other end is trusted: {answer}");
    assert!(steeple.bind(format!("unix:{}", path.display())).await.is_err(), "a socket in use is not replaced");
    steeple.shutdown().begin();
    serving.await.unwrap().unwrap();
}

#[tokio::test]
async fn metrics_and_probes_are_served_at_another_address_until_the_service_has_ended() {
    let steeple = quiet().drain_timeout(Duration::from_millis(300)).build().unwrap();
    let admin: SocketAddr = steeple.serve_admin("127.0.0.1:0").await.unwrap().parse().unwrap();
    let app =
        Router::new().route("/never", get(|| async { std::future::pending::<()>().await })).layer(steeple.layer());
    let listener = steeple.bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let serving = tokio::spawn({
        let steeple = steeple.clone();
        async move { steeple.serve(listener, app).await }
    });
    assert!(ask(address, "/metrics").await.starts_with("HTTP/1.1 404"), "not where everybody is");
    assert!(ask(admin, "/metrics").await.contains("http_requests_total{"), "of the service");
    assert!(ask(admin, "/readyz").await.starts_with("HTTP/1.1 200"));
    let _waiting = tokio::spawn(ask(address, "/never"));
    let page = async || ask(admin, "/metrics").await;
    while !page().await.contains("http_requests_in_flight 2") {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    steeple.shutdown().begin();
    assert!(ask(admin, "/readyz").await.starts_with("HTTP/1.1 503"), "while requests end");
    serving.await.unwrap().unwrap();
    // Its task ends when it is next scheduled.
    while TcpStream::connect(admin).await.is_ok() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Reads until the server closes the connection.
async fn closed(mut stream: TcpStream) {
    let mut rest = Vec::new();
    // A reset is an end too.
    stream.read_to_end(&mut rest).await.ok();
}

#[tokio::test]
async fn connections_without_a_request_head_are_closed_and_those_with_one_are_not() {
    const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    const NO_SETTINGS: &[u8] = &[0, 0, 0, 4, 0, 0, 0, 0, 0];
    let app = Router::new().route(
        "/slow",
        get(|| async {
            tokio::time::sleep(Duration::from_millis(700)).await;
            "done"
        }),
    );
    let limits = quiet().header_read_timeout(Duration::from_millis(200));
    #[cfg(feature = "http2")]
    let limits = limits.http2_keep_alive(Duration::from_millis(100), Duration::from_millis(100));
    let server = start(limits.build().unwrap(), app).await;
    let slow = tokio::spawn(ask(server.address, "/slow"));
    let mut silent = tokio::task::JoinSet::new();
    let half = b"GET / HTTP/1.1\r\nhost: localhost\r\nx-slow: aaaaaaaaaaaa";
    let prefaced = [PREFACE, NO_SETTINGS].concat();
    for bytes in [&b""[..], b"G", half, &PREFACE[..10], PREFACE, &prefaced] {
        // 3,000 in all, in groups that stay below the limit of open files. The test waits for the server to close each.
        for _ in 0..5 {
            for _ in 0..100 {
                let mut stream = TcpStream::connect(server.address).await.unwrap();
                stream.write_all(bytes).await.unwrap();
                silent.spawn(closed(stream));
            }
            while silent.join_next().await.is_some() {}
        }
    }
    assert!(slow.await.unwrap().ends_with("done"), "a slow answer is not a slow head");
    server.steeple.shutdown().begin();
    server.serving.await.unwrap().unwrap();
}

#[cfg(all(unix, not(steeple_os_other)))]
#[test]
fn a_signal_that_comes_before_anybody_waits_for_it_is_not_lost() {
    // In a separate process, which the signal would end unless it is caught.
    let mut again = std::process::Command::new(std::env::current_exe().unwrap());
    let output = again.args(["catches_a_signal_that_it_sends_itself", "--exact", "--ignored"]).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stdout).contains("1 passed"), "{output:?}");
}

#[cfg(all(unix, not(steeple_os_other)))]
#[tokio::test]
#[ignore = "the process of the test before"]
async fn catches_a_signal_that_it_sends_itself() {
    for signal in ["-TERM", "-INT"] {
        let asked = steeple::serve::shutdown_signal();
        let kill = std::process::Command::new("kill").args([signal, &std::process::id().to_string()]).status();
        assert!(kill.unwrap().success());
        tokio::time::timeout(Duration::from_secs(10), asked).await.unwrap();
    }
}

#[tokio::test]
async fn a_shutdown_is_seen_by_tasks_that_wait_and_by_those_that_come_later() {
    let shutdown = Steeple::builder().without_log_setup().build().unwrap().shutdown();
    let waiting = tokio::spawn({
        let shutdown = shutdown.clone();
        async move { shutdown.begun().await }
    });
    tokio::task::yield_now().await;
    assert!(!shutdown.has_begun());
    shutdown.begin();
    waiting.await.unwrap();
    shutdown.begun().await;
}
