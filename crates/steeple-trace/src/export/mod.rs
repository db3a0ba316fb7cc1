//! From ended spans and logged events to a receiver, through pipelines of `steeple-export`.

#[cfg(feature = "otlp")]
mod answer;
#[cfg(test)]
mod every_pipeline;
mod exporter;
mod handover;
mod leaving;
#[cfg(feature = "otlp")]
mod payload;
mod processor;
mod settings;
#[cfg(feature = "otlp")]
mod spans;
mod stats;
#[cfg(feature = "otlp")]
mod wire;

pub use self::stats::{LogStats, TraceStats};
pub(crate) use self::{
    exporter::OfSdk,
    handover::HandedOver,
    processor::{Processor, VERDICT, by},
    settings::Settings,
};
#[cfg(feature = "otlp")]
pub(crate) use self::{
    payload::Encoded,
    spans::Spans,
    wire::{Wire, client},
};
