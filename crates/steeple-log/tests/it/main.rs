//! The crate from outside: exchanges in, lines out.

#![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod support;

mod access;
