//! Prints which of the real peers are on this machine: a test that does not find its peer checks nothing.
//!
//! Without the standard harness, which keeps what a passing test prints to itself. Fails where a peer is missing and
//! `STEEPLE_REQUIRE_PEERS=1`.

#![expect(clippy::print_stdout, reason = "printing is all that this is for")]

use std::process::ExitCode;

use steeple_tests::peer::{PEERS, required};

/// What a test runner may ask for by name.
const NAME: &str = "peers";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let has = |flag: &str| arguments.iter().any(|argument| argument == flag);
    if has("--list") {
        if !has("--ignored") {
            println!("{NAME}: test");
        }
        return ExitCode::SUCCESS;
    }
    let filters: Vec<&str> =
        arguments.iter().map(String::as_str).filter(|argument| !argument.starts_with('-')).collect();
    if has("--ignored") || !(filters.is_empty() || filters.iter().any(|filter| NAME.contains(filter))) {
        return ExitCode::SUCCESS;
    }

    let missing = PEERS.iter().filter(|peer| peer.path().is_none()).count();
    let found = PEERS.len().saturating_sub(missing);
    println!("\n{found} of {} peers found", PEERS.len());
    for peer in PEERS {
        let path = peer.path().map(|path| path.display().to_string());
        let place = path.unwrap_or_else(|| "NOT FOUND: the tests that need it check nothing".to_owned());
        println!("  {:<27} {}: {place}", peer.binary, peer.does);
    }
    if missing > 0 {
        println!(
            "STEEPLE_PEERS_DIR=target/peers .ci/peers installs them; run the tests with the same STEEPLE_PEERS_DIR"
        );
    }
    println!();
    if missing > 0 && required() {
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}
