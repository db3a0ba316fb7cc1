//! Serving over real sockets: what is there without further set-up, and how it ends.
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
    assert!(TcpStream::connect(server.address).await.is_err(), "nobody listens any more");
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

#[cfg(unix)]
#[test]
fn a_signal_that_comes_before_anybody_waits_for_it_is_not_lost() {
    // In a process of its own, which the signal would end if nobody caught it.
    let mut again = std::process::Command::new(std::env::current_exe().unwrap());
    let output = again.args(["catches_a_signal_that_it_sends_itself", "--exact", "--ignored"]).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stdout).contains("1 passed"), "{output:?}");
}

#[cfg(unix)]
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
