//! A service with Steeple's default features, which are Axum's: `serve` speaks HTTP/1.1. A client that begins with HTTP/2 gets no
//! answer in that protocol, and the log says once which feature it takes. With that feature, it gets one.
//!
//! Started without arguments, this program runs itself as the service and is its client.

use std::{error::Error, net::SocketAddr, process::Stdio, time::Duration};

use axum::{Router, routing::get};
use steeple::Steeple;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    process::Command,
    time::timeout,
};

/// The preface, and an empty frame of settings.
const HTTP2: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
const HTTP1: &[u8] = b"GET / HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
const WARNING: &str = "a client began with HTTP/2";

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    match std::env::args().nth(1) {
        Some(address) => service(address.parse()?).await,
        None => checks().await,
    }
}

async fn service(address: SocketAddr) -> Result<(), Box<dyn Error>> {
    let steeple = Steeple::from_env()?;
    let app = Router::new().route("/", get(|| async { "hello" })).layer(steeple.layer());
    // Until the client lets go of it: then all of its log is written.
    let let_go = async {
        let _read = tokio::io::stdin().read_to_end(&mut Vec::new()).await;
    };
    steeple.serve_until(TcpListener::bind(address).await?, app, let_go).await?;
    Ok(())
}

async fn checks() -> Result<(), Box<dyn Error>> {
    // A port that is free now, and most probably still is in a moment.
    let address = TcpListener::bind("127.0.0.1:0").await?.local_addr()?;
    let mut service = Command::new(std::env::current_exe()?)
        .arg(address.to_string())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    let http1 = answer(address, HTTP1).await?;
    assert!(http1.starts_with(b"HTTP/1.1 200 OK\r\n"), "{}", http1.escape_ascii());
    for _ in 0..2 {
        let http2 = answer(address, HTTP2).await?;
        // A frame of settings: its type is the fourth byte.
        let is_http2 = http2.get(3) == Some(&4);
        assert_eq!(is_http2, cfg!(feature = "http2"), "{}", http2.escape_ascii());
    }
    drop(service.stdin.take());
    let output = service.wait_with_output().await?;
    let log = String::from_utf8(output.stdout)? + &String::from_utf8(output.stderr)?;
    assert_eq!(log.matches(WARNING).count(), usize::from(!cfg!(feature = "http2")), "{log}");
    Ok(())
}

/// What comes back within a second, or until the service closes the connection.
async fn answer(address: SocketAddr, request: &[u8]) -> Result<Vec<u8>, Box<dyn Error>> {
    let mut connection = loop {
        match TcpStream::connect(address).await {
            Ok(connection) => break connection,
            Err(_not_yet) => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    };
    connection.write_all(request).await?;
    let mut answer = Vec::new();
    // An answer of HTTP/2 leaves the connection open.
    let _open = timeout(Duration::from_secs(1), connection.read_to_end(&mut answer)).await;
    Ok(answer)
}
