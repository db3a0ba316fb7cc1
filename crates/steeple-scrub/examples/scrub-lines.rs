//! A filter for logs: reads lines, removes secrets, and prints the rest.
//!
//! ```text
//! echo 'login failed, password=hunter2' | cargo run -q -p steeple-scrub --example scrub-lines
//! ```
//!
//! Bytes that are not UTF-8 become `U+FFFD`; the filter goes on. It ends quietly when its reader is gone.

use std::io::{self, BufRead as _, BufWriter, ErrorKind, Write as _};

use steeple_scrub::Scrubber;

fn main() -> io::Result<()> {
    match filter() {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        result => result,
    }
}

fn filter() -> io::Result<()> {
    let scrubber = Scrubber::default();
    let mut input = io::stdin().lock();
    let mut out = BufWriter::new(io::stdout().lock());
    let mut line = Vec::new();
    while input.read_until(b'\n', &mut line)? > 0 {
        out.write_all(scrubber.text(&String::from_utf8_lossy(&line)).as_bytes())?;
        // A line at a time, for who reads along; whole blocks where more has arrived already.
        if input.fill_buf().map_or(true, <[u8]>::is_empty) {
            out.flush()?;
        }
        line.clear();
    }
    out.flush()
}
