//! A service with rustls and aws-lc. See `../../rustls.rs`.

#[path = "../../rustls.rs"]
mod service;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    service::main("aws-lc", rustls::crypto::aws_lc_rs::default_provider)
}
