//! Receivers that are slow, that send elsewhere, or that check what they get.

use std::{
    io::Write as _,
    process::{Command, Stdio},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use axum::{
    Router,
    http::{StatusCode, header},
    response::IntoResponse as _,
};
use steeple_alerts::{
    Alerts, Rules,
    channel::{Slack, Webhook},
};
use steeple_metrics::indicator::Clock;

use crate::{
    SECRET, START, bodies, flush, metrics, receiver, soon,
    support::{missing, record},
};

/// Answers with these, one after the other, and then with the last. Returns its URL and when each request came.
async fn answering(
    answers: Vec<(StatusCode, Option<&'static str>, &'static str)>,
) -> (String, Arc<Mutex<Vec<Instant>>>) {
    let came = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&came);
    let app = Router::new().fallback(move || {
        let (seen, answers) = (Arc::clone(&seen), answers.clone());
        async move {
            let mut seen = seen.lock().unwrap();
            seen.push(steeple_core::clock::now());
            let (status, after, body) = answers[(seen.len() - 1).min(answers.len() - 1)];
            let after = after.map(|after| (header::RETRY_AFTER, after));
            (status, axum::response::AppendHeaders(after), body).into_response()
        }
    });
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, app).await });
    (url, came)
}

/// Waits until all is sent or lost.
async fn settled(alerts: &Alerts) {
    let sinks = alerts.sinks();
    let deadline = steeple_core::clock::now() + Duration::from_secs(30);
    let _reports = tokio::task::spawn_blocking(move || steeple_export::flush_all(&sinks, deadline)).await.unwrap();
}

/// Everything that is logged in this process, from the first call on.
#[derive(Clone, Default)]
struct Logged(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Logged {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn slack_is_waited_for_as_long_as_it_asks_and_its_url_is_in_no_log() {
    let logged = Logged::default();
    let writer = logged.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_ansi(false)
        .with_writer(move || writer.clone())
        .finish();
    tracing::subscriber::set_global_default(subscriber).unwrap();

    let limited = (StatusCode::TOO_MANY_REQUESTS, Some("3"), "rate_limited");
    let (url, came) =
        answering(vec![limited, (StatusCode::OK, None, "ok"), (StatusCode::NOT_FOUND, None, "no_service")]).await;
    let slack = Slack::new(format!("{url}/services/T000/B000/hunter2hunter2")).http(soon);
    let alerts =
        Alerts::builder().rules(Rules::mission()).channel(slack).build(&metrics(&Clock::manual(START))).unwrap();
    alerts.check("high_cpu_usage", 0.9);
    flush(&alerts).await;
    let times = came.lock().unwrap().clone();
    assert_eq!(times.len(), 2);
    assert!(times[1].duration_since(times[0]) >= Duration::from_millis(2_990), "{times:?}");
    let stats = alerts.sinks()[0].stats();
    assert_eq!((stats.exported, stats.dropped_total()), (1, 0));
    // The webhook is gone: the next message is lost, and that is logged.
    alerts.check("high_memory_usage", 0.9);
    settled(&alerts).await;
    drop(alerts);
    let text = String::from_utf8(logged.0.lock().unwrap().clone()).unwrap();
    assert!(text.contains("high_cpu_usage") && text.contains("slack"), "what happens is logged: {text}");
    assert!(!text.contains("hunter2") && !text.contains("T000"), "{text}");
}

/// What another implementation makes of a signed message: Python's own `hmac` and `base64`, by the words of the specification.
const VERIFY: &str = r#"
import base64, hashlib, hmac, sys
secret, id, timestamp, signature = sys.argv[1:]
key = base64.b64decode(secret.removeprefix("whsec_"))
signed = f"{id}.{timestamp}.".encode() + sys.stdin.buffer.read()
wanted = "v1," + base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
sys.exit(0 if wanted in signature.split(" ") else 1)
"#;

#[tokio::test(flavor = "multi_thread")]
async fn a_signature_is_verified_by_another_implementation() {
    let (url, posts) = receiver().await;
    let webhook = Webhook::new(format!("{url}/hook"), SECRET).http(soon);
    let alerts =
        Alerts::builder().rules(Rules::mission()).channel(webhook).build(&metrics(&Clock::manual(START))).unwrap();
    alerts.check("high_cpu_usage", 0.9);
    flush(&alerts).await;
    let (_, headers, body) = posts.lock().unwrap()[0].clone();
    let text = |name: &str| headers[name].to_str().unwrap().to_owned();
    let verify = |body: &[u8]| {
        let arguments =
            ["-c", VERIFY, SECRET, &text("webhook-id"), &text("webhook-timestamp"), &text("webhook-signature")];
        let mut python = match Command::new("python3").args(arguments).stdin(Stdio::piped()).spawn() {
            Ok(python) => python,
            Err(error) => {
                missing("python3", &error);
                return None;
            }
        };
        python.stdin.take().unwrap().write_all(body).unwrap();
        record("python3", true);
        Some(python.wait().unwrap().success())
    };
    let Some(is_valid) = verify(&body) else { return };
    assert!(is_valid);
    let changed = String::from_utf8(body.to_vec()).unwrap().replace("firing", "resolved");
    assert_eq!(verify(changed.as_bytes()), Some(false), "a changed message is not");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redirect_is_not_followed() {
    let (target, posts) = receiver().await;
    let target: &'static str = Box::leak(format!("{target}/elsewhere").into_boxed_str());
    let app = Router::new().fallback(async move || (StatusCode::TEMPORARY_REDIRECT, [(header::LOCATION, target)]));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/hook", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, app).await });
    let webhook = Webhook::new(url, SECRET).http(soon);
    let alerts =
        Alerts::builder().rules(Rules::mission()).channel(webhook).build(&metrics(&Clock::manual(START))).unwrap();
    alerts.check("high_cpu_usage", 0.9);
    settled(&alerts).await;
    assert_eq!(alerts.sinks()[0].stats().dropped_total(), 1, "it is counted");
    assert!(bodies(&posts, "/elsewhere").is_empty());
}

#[test]
fn a_webhook_is_not_sent_to_where_a_cloud_gives_credentials() {
    for host in [
        "169.254.169.254",
        "169.254.170.2",
        "100.100.100.200",
        "0.0.0.0",
        "255.255.255.255",
        "224.0.0.1",
        "[fe80::1]",
        "[fd00:ec2::254]",
        "[::ffff:169.254.169.254]",
        "[::]",
        "metadata.google.internal",
    ] {
        let webhook = Webhook::new(format!("https://{host}/latest/meta-data"), SECRET);
        let built = Alerts::builder().channel(webhook).build(&metrics(&Clock::manual(START)));
        let error = built.unwrap_err();
        assert!(error.is_channel() && !error.to_string().contains("meta-data"), "{host}: {error}");
    }
    for host in ["10.0.0.7", "[fd12::1]", "hooks.example.org", "127.0.0.1"] {
        let webhook = Webhook::new(format!("https://{host}/hook"), SECRET);
        assert!(Alerts::builder().channel(webhook).build(&metrics(&Clock::manual(START))).is_ok(), "{host}");
    }
    // In the clear beyond this machine, its secret would be readable.
    let plain = Webhook::new("http://10.0.0.7/hook", SECRET);
    assert!(Alerts::builder().channel(plain).build(&metrics(&Clock::manual(START))).unwrap_err().is_channel());
}
