//! Over HTTPS, against a certificate that the system trusts and one that it does not.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    net::SocketAddr,
    path::Path,
    process::{Command, Stdio},
    sync::Arc,
    time::Duration,
};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use steeple_sentry::{DropReason, Sentry};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{ServerConfig, crypto::ring, pki_types::PrivateKeyDer},
};

/// Sends one event and says what became of it. Not a test: run by the one below, with other roots.
#[test]
#[ignore = "run by the other, in a separate process"]
#[expect(
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "how the parent tells its child what to do, and learns what happened"
)]
fn child() {
    let Ok(dsn) = std::env::var("STEEPLE_CHILD_DSN") else { return };
    let sentry = Sentry::builder(dsn).build().unwrap();
    sentry.client().capture_event(sentry_core::protocol::Event::default(), None);
    assert!(sentry.flush(Duration::from_secs(20)));
    let counts = sentry.counts();
    println!(
        "sent {} lost {} refused {}",
        counts.events,
        counts.dropped(DropReason::Network),
        counts.dropped(DropReason::Rejected)
    );
}

/// A server with a certificate for 127.0.0.1 from a new authority, whose certificate is written to `ca`.
async fn serve(ca: &Path, answer: String) -> SocketAddr {
    let mut authority = CertificateParams::default();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate().unwrap()).unwrap();
    std::fs::write(ca, authority.pem()).unwrap();
    let key = KeyPair::generate().unwrap();
    let names = ["127.0.0.1".to_owned(), "localhost".to_owned()];
    let certificate = CertificateParams::new(names).unwrap().signed_by(&key, &authority).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], PrivateKeyDer::Pkcs8(key.serialize_der().into()))
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            // A client that does not trust us ends the handshake.
            let Ok(mut stream) = acceptor.accept(stream).await else { continue };
            let mut request = [0; 16 * 1024];
            let _read = stream.read(&mut request).await;
            let _answered = stream.write_all(answer.as_bytes()).await;
            let _closed = stream.shutdown().await;
        }
    });
    address
}

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}";

/// What the child makes of a server, with the roots in a file.
async fn send_to(address: SocketAddr, roots: &Path) -> String {
    let mut child = Command::new(std::env::current_exe().unwrap());
    child
        .args(["--ignored", "--exact", "child", "--nocapture"])
        .env("STEEPLE_CHILD_DSN", format!("https://public@localhost:{}/1", address.port()))
        .env("SSL_CERT_FILE", roots)
        .stderr(Stdio::null());
    let output = tokio::task::spawn_blocking(move || child.output().unwrap()).await.unwrap();
    String::from_utf8(output.stdout).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_systems_roots_are_asked_whom_to_trust() {
    let directory = tempfile::tempdir().unwrap();
    let (ca, other) = (directory.path().join("ca.pem"), directory.path().join("other.pem"));
    let address = serve(&ca, OK.to_owned()).await;
    serve(&other, OK.to_owned()).await;
    for (trusted, want) in [(&ca, "sent 1 lost 0"), (&other, "sent 0 lost 1")] {
        let text = send_to(address, trusted).await;
        assert!(text.contains(want), "with the roots in {}: {text}", trusted.display());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redirect_from_https_to_http_is_refused() {
    let elsewhere = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let to = elsewhere.local_addr().unwrap();
    let directory = tempfile::tempdir().unwrap();
    let ca = directory.path().join("ca.pem");
    let answer = format!(
        "HTTP/1.1 302 Found\r\nlocation: http://{to}/api/1/envelope/\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
    );
    let address = serve(&ca, answer).await;
    let text = send_to(address, &ca).await;
    assert!(text.contains("sent 0 lost 0 refused 1"), "{text}");
    // The child is over: its connections are in the backlog.
    let visit = tokio::time::timeout(Duration::from_millis(100), elsewhere.accept()).await;
    assert!(visit.is_err(), "nothing goes where the answer points");
}
