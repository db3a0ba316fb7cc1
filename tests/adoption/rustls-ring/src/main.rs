//! A service with rustls and ring. See `../../rustls.rs`.

#[path = "../../rustls.rs"]
mod service;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    service::main("ring", rustls::crypto::ring::default_provider)
}
