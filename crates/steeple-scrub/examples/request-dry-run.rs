//! Prints the policy, and what a sink would get to see of a request: `cargo run -p steeple-scrub --example request-dry-run`

use std::io::Write as _;

use http::Request;
use steeple_scrub::Scrubber;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let scrubber = Scrubber::builder().allow_headers(["x-tenant"]).pattern("order", r"\bORD-[0-9]{6}\b").build()?;
    let (request, ()) = Request::get("https://bob:hunter2@shop.example/orders/ORD-123456?page=2&token=abc")
        .header("accept", "*/*")
        .header("authorization", "Bearer abcdef0123456789")
        .header("referer", "https://shop.example/reset?token=abc")
        .header("x-tenant", "blue")
        .header("x-other", "value")
        .body(())?
        .into_parts();
    let mut out = std::io::stdout().lock();
    writeln!(out, "{}", scrubber.explain())?;
    write!(out, "{}", scrubber.dry_run(&request))?;
    Ok(())
}
