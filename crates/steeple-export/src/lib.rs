#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]

mod answer;
mod error;
mod exporter;
#[cfg(feature = "http")]
mod http;
mod pipeline;
#[cfg(any(feature = "bulk", feature = "webhook"))]
pub mod protocol;
mod retry;
mod runtime;
pub mod secret;
mod sink;
pub mod store;
#[cfg(feature = "test-util")]
pub mod test_util;
#[cfg(feature = "http")]
pub mod tls;

#[cfg(feature = "http")]
pub use self::http::{
    Authorize, Client, ClientBuilder, Endpoint, EndpointError, Http, HttpOptions, Protocol, ProxyOptions, Request,
    Response, retry_after,
};
pub use self::{
    answer::{Answer, DropReason, Reason, Verdict},
    error::BuildError,
    exporter::Exporter,
    pipeline::{InDoubt, Pipeline, PipelineBuilder, Unauthorized},
    retry::Retry,
    runtime::{Panicked, Task, loop_delay, offload, on_export_thread, run_on_helper, sleep, spawn},
    sink::{Flush, FlushReport, Health, Sink, Stats, flush_all, shutdown_all},
};
