//! The dashboard as a router: access, data, stream.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod data;
mod days;
mod kit;
mod router;
mod seams;
mod stream;
