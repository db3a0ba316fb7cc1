#![doc = include_str!("../README.md")]
//!
//! # A line as it is written
//!
//! ```
//! use std::{io::{self, Write}, sync::{Arc, Mutex}, time::Duration};
//! use steeple_log::{Format, Log};
//! use tower::{ServiceExt, ServiceBuilder};
//!
//! /// Somewhere to read the log.
//! #[derive(Clone, Default)]
//! struct Paper(Arc<Mutex<Vec<u8>>>);
//! # impl Write for Paper {
//! #     fn write(&mut self, bytes: &[u8]) -> io::Result<usize> { self.0.lock().unwrap().write(bytes) }
//! #     fn flush(&mut self) -> io::Result<()> { Ok(()) }
//! # }
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
//! let paper = Paper::default();
//! let guard = Log::builder().without_console().writer(paper.clone(), Format::Json).build()?;
//! let handler = |_: http::Request<String>| async {
//!     Ok::<_, std::convert::Infallible>(http::Response::new(String::from("hello")))
//! };
//! let service = ServiceBuilder::new().layer(guard.log().layer()).service_fn(handler);
//! let request = http::Request::get("/hello?token=hush").header("x-request-id", "my-id-12345");
//! let response = service.oneshot(request.body(String::new())?).await?;
//! # use http_body_util::BodyExt;
//! response.into_body().collect().await?;
//!
//! guard.flush(Duration::from_secs(1));
//! let line = String::from_utf8(paper.0.lock().unwrap().clone())?;
//! let (_timestamp, rest) = line.split_once(r#"Z","#).unwrap();
//! let (start, _ids) = rest.split_once(r#","trace_id""#).unwrap();
//! assert_eq!(
//!     start,
//!     r#""level":"info","message":"GET unmatched 200","target":"steeple::access","request_id":"my-id-12345""#,
//! );
//! let (_ids, rest) = line.split_once(r#","transaction.name""#).unwrap();
//! let (names, _duration) = rest.split_once(r#","duration_ms""#).unwrap();
//! assert_eq!(
//!     names,
//!     concat!(
//!         r#":"GET unmatched","http.request.method":"GET","url.path":"/hello","url.query":"token=[redacted:key]","#,
//!         r#""http.response.status_code":200,"outcome":"completed""#,
//!     ),
//! );
//! # Ok(()) }) }
//! ```
//!
//! # Where it goes in the stack
//!
//! Outermost, or in the one [`ObserveLayer`](steeple_core::ObserveLayer) with the other observers, after
//! [`RequestIds`](steeple_core::RequestIds) and after whatever decides on the trace:
//! `ObserveLayer::new((RequestIds::new(), guard.log(), metrics))`.
//!
//! # Cost
//!
//! A line on the short way allocates nothing once its thread is warm: the parts of the request that it needs are copied
//! into a buffer that is used again, and the line is put together in another and appended to each output's queue. The
//! test `tests/cost.rs` counts.

#![cfg_attr(docsrs, feature(doc_cfg))]

mod builder;
mod carry;
mod custom;
#[cfg(feature = "elasticsearch")]
#[cfg_attr(docsrs, doc(cfg(feature = "elasticsearch")))]
pub mod elasticsearch;
mod encode;
mod error;
mod event;
#[cfg(feature = "export")]
mod export;
mod filter;
mod guard;
mod job;
mod layer;
mod level;
#[cfg(any(feature = "elasticsearch", all(feature = "export", feature = "spool")))]
mod line_ids;
mod observer;
mod os;
mod output;
mod panic;
mod rules;
mod sink;
#[cfg(all(feature = "export", feature = "spool"))]
mod spooled;
mod timing;

#[cfg(all(feature = "export", feature = "spool"))]
#[cfg_attr(docsrs, doc(cfg(all(feature = "export", feature = "spool"))))]
pub use self::spooled::SpooledLines;
pub use self::{
    builder::LogBuilder,
    carry::ExchangeLayer,
    custom::{LogLine, LogOutput},
    encode::Format,
    error::BuildError,
    event::{log_error, log_error_with, log_event},
    guard::LogGuard,
    job::JobLog,
    level::{LogLevel, OverrideError},
    observer::{Log, LogState},
    output::{Dropped, LogHandle},
    panic::PanicHook,
    sink::{DropReason, Rotation},
    timing::TimingOptions,
};
