//! What a hostile or broken receiver, and a transport that panics, cannot do.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use std::{
    process::{Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum::{Router, http::StatusCode, response::Redirect};
use common::serve;
use http::header;
use sentry_core::{Envelope, Transport, protocol::Event};
use steeple_sentry::{DropReason, Sentry};

const TIMEOUT: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redirect_is_refused_and_the_key_stays_home() {
    let visits = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&visits);
    let elsewhere = serve(Router::new().fallback(move || {
        counter.fetch_add(1, Ordering::Relaxed);
        async { "{}" }
    }))
    .await;
    for status in [301_u16, 302, 303, 307, 308] {
        for to in [format!("http://{elsewhere}/api/1/envelope/"), "/api/2/envelope/".to_owned()] {
            let refusing = serve(Router::new().fallback(move |uri: http::Uri| {
                let to = to.clone();
                async move {
                    assert_eq!(uri.path(), "/api/1/envelope/", "a redirect to the same origin is not followed either");
                    (StatusCode::from_u16(status).unwrap(), [(header::LOCATION, to)])
                }
            }))
            .await;
            let sentry = Sentry::builder(format!("http://public@{refusing}/1")).build().unwrap();
            sentry.client().capture_event(Event::default(), None);
            assert!(sentry.flush(TIMEOUT));
            assert_eq!((sentry.counts().events, sentry.counts().dropped(DropReason::Rejected)), (0, 1), "{status}");
        }
    }
    let loops = serve(Router::new().fallback(|| async { Redirect::temporary("/api/1/envelope/") })).await;
    let sentry = Sentry::builder(format!("http://public@{loops}/1")).build().unwrap();
    sentry.client().capture_event(Event::default(), None);
    assert!(sentry.flush(TIMEOUT));
    assert_eq!(sentry.counts().dropped(DropReason::Rejected), 1);
    assert_eq!(visits.load(Ordering::Relaxed), 0);
}

/// Panics over the counters of release health, and takes everything else.
#[derive(Default)]
struct Fragile {
    panicked: AtomicBool,
    events: AtomicUsize,
}

impl Transport for Fragile {
    fn send_envelope(&self, envelope: Envelope) {
        if envelope.event().is_none() {
            self.panicked.store(true, Ordering::Relaxed);
            panic!("this transport knows no sessions");
        }
        self.events.fetch_add(1, Ordering::Relaxed);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_panic_over_the_counters_of_release_health_costs_those_alone() {
    let fragile = Arc::new(Fragile::default());
    let transport = Arc::clone(&fragile);
    let sentry = Sentry::builder(common::DSN)
        .release("shop@1.2.3")
        .session_interval(Duration::from_millis(5))
        .transport(move |_: &sentry_core::ClientOptions| Arc::clone(&transport) as Arc<dyn Transport>)
        .build()
        .unwrap();
    let app = Router::new()
        .route("/well", axum::routing::get(|| async { "well" }))
        .route("/ill", axum::routing::get(|| async { StatusCode::INTERNAL_SERVER_ERROR }));
    let address = serve(app.layer(sentry.layer())).await;
    common::get(address, "/well").await.unwrap();
    for _ in 0..6_000 {
        if fragile.panicked.load(Ordering::Relaxed) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(fragile.panicked.load(Ordering::Relaxed), "the timer sent them");
    common::get(address, "/ill").await.unwrap();
    assert!(sentry.flush(TIMEOUT), "the thread is still there");
    assert_eq!(fragile.events.load(Ordering::Relaxed), 1);
    assert!(sentry.counts().dropped(DropReason::Panicked) >= 1);
}

/// Not a test: the one below runs it where no thread can be started.
#[test]
#[ignore = "run by the other, in a separate process"]
#[expect(clippy::print_stdout, reason = "how the parent learns what happened")]
fn child() {
    match Sentry::builder(common::DSN).build() {
        Ok(_) => println!("built"),
        Err(error) => {
            println!("is_thread: {}, {error}, because {:?}", error.is_thread(), std::error::Error::source(&error));
        }
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_thread_that_cannot_be_started_is_an_error() {
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "child", "--nocapture", "--test-threads=1"])
        // More than the address space holds: only the main thread is left.
        .env("RUST_MIN_STACK", (1_u64 << 62).to_string())
        .stderr(Stdio::null())
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("is_thread: true, could not start the thread that sends to Sentry, because Some("), "{text}");
}
