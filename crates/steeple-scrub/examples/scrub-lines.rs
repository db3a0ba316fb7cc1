//! A filter for logs: reads lines, removes what is secret, prints the rest.
//!
//! ```text
//! echo 'login failed, password=hunter2' | cargo run -q -p steeple-scrub --example scrub-lines
//! ```

use std::io::{BufRead as _, Write as _};

use steeple_scrub::Scrubber;

fn main() -> std::io::Result<()> {
    let scrubber = Scrubber::default();
    let mut out = std::io::stdout().lock();
    for line in std::io::stdin().lock().lines() {
        writeln!(out, "{}", scrubber.text(&line?))?;
    }
    Ok(())
}
