//! A service that calls `rustls::ClientConfig::builder()` itself, which panics where a process has two providers and no default.
//! It does not, in whichever order the service and Steeple come, and Sentry's events arrive over TLS in each.
//!
//! Started without arguments, the program runs itself once for each order, since a process has one default.

use std::{error::Error, process::Command, sync::Arc};

use axum::{Router, body::Body, http::Request, routing::get};
use rustls::{ClientConfig, RootCertStore, crypto::CryptoProvider};
use steeple::{Steeple, export::tls};
use tower::ServiceExt;

const ORDERS: [&str; 4] = ["service-first", "steeple-first", "steeple-first-and-last", "keep"];

pub fn main(name: &str, provider: fn() -> CryptoProvider) -> Result<(), Box<dyn Error>> {
    if let Some(order) = std::env::args().nth(1) {
        return service(&order, provider);
    }
    for order in ORDERS {
        let status = Command::new(std::env::current_exe()?).arg(order).status()?;
        assert!(status.success(), "{name}, {order}: {status}");
    }
    println!("{name}: {} orders, with Steeple's {}", ORDERS.len(), if two() { "tls-aws-lc" } else { "tls-ring" });
    Ok(())
}

const fn two() -> bool {
    cfg!(feature = "tls-aws-lc")
}

fn service(order: &str, provider: fn() -> CryptoProvider) -> Result<(), Box<dyn Error>> {
    match order {
        "service-first" => {
            provider().install_default().expect("the service is the first");
            own_client();
            watch(tls::CryptoProvider::Install)?;
            // Still the service's own.
            assert_eq!(suites(CryptoProvider::get_default()), suites(Some(&Arc::new(provider()))));
        }
        "steeple-first" => {
            watch(tls::CryptoProvider::Install)?;
            own_client();
        }
        "steeple-first-and-last" => {
            watch(tls::CryptoProvider::Install)?;
            own_client();
            // Too late, and not a panic.
            let _taken = provider().install_default();
            watch(tls::CryptoProvider::Install)?;
        }
        "keep" => {
            watch(tls::CryptoProvider::Keep)?;
            assert!(CryptoProvider::get_default().is_none(), "nothing was installed");
            provider().install_default().expect("nothing was installed");
            own_client();
        }
        other => return Err(format!("{other}: an order that this program does not know").into()),
    }
    Ok(())
}

/// What panics without a default.
fn own_client() {
    let config = ClientConfig::builder().with_root_certificates(RootCertStore::empty()).with_no_client_auth();
    assert!(!config.crypto_provider().cipher_suites.is_empty());
}

fn suites(provider: Option<&Arc<CryptoProvider>>) -> Vec<rustls::CipherSuite> {
    provider.into_iter().flat_map(|provider| &provider.cipher_suites).map(|suite| suite.suite()).collect()
}

/// A service with Steeple: a request fails, and Steeple's own connection to an HTTPS endpoint needs no default.
fn watch(provider: tls::CryptoProvider) -> Result<(), Box<dyn Error>> {
    let steeple = Steeple::builder()
        .without_log_setup()
        .crypto_provider(provider)
        .sentry(|sentry| sentry.dsn("https://public@127.0.0.1:9/1"))
        .build()?;
    let app = Router::new().route("/", get(|| async { "hello" })).layer(steeple.layer());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let response = runtime.block_on(app.oneshot(Request::get("/").body(Body::empty())?))?;
    assert_eq!(response.status(), 200);
    assert!(steeple.close().is_complete());
    Ok(())
}
