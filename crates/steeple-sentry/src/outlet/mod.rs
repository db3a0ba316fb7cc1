//! The way from a captured envelope to Sentry: a bounded pipeline, whose thread does whatever takes time.
//!
//! A request's thread moves the envelope into the queue and goes on. Symbols are looked up and secrets removed by the helper thread.

#[cfg(feature = "transport")]
mod http;
#[cfg(feature = "transport")]
mod rate_limit;
pub(crate) mod symbols;
#[cfg(feature = "transport")]
mod wire;
mod work;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use sentry_core::{
    Envelope, Transport, TransportFactory, TransportOptions,
    client_report::{Reason, Recorder},
};
use steeple_export::{Answer, DropReason, Exporter, Pipeline, PipelineBuilder, Retry, Sink};
use steeple_scrub::Scrubbed;

use self::work::Work;
use crate::{BuildError, context::Context, job::Job};

/// How the queue is bounded, and what is at its end.
pub(crate) struct Settings {
    pub(crate) max_items: usize,
    pub(crate) max_bytes: usize,
    pub(crate) timeout: Duration,
    pub(crate) retry: Retry,
    pub(crate) session_interval: Duration,
    pub(crate) in_app: Vec<&'static str>,
    /// In place of HTTP.
    pub(crate) transport: Option<Arc<dyn TransportFactory>>,
    #[cfg(feature = "transport")]
    pub(crate) client: steeple_export::ClientBuilder,
}

/// The queue, and what it ends in.
pub(crate) struct Outlet {
    pub(crate) pipeline: Pipeline<Job>,
    recorder: Recorder,
    transport: Option<Arc<dyn Transport>>,
}

impl Outlet {
    pub(crate) fn start(
        settings: &Settings,
        context: &Arc<Context>,
        options: TransportOptions,
    ) -> Result<Self, BuildError> {
        let recorder = options.client_report_recorder.clone();
        let work = Work::new(Arc::clone(context), recorder.clone(), &settings.in_app);
        let mut builder = Pipeline::builder("sentry")
            .max_items(settings.max_items)
            .max_bytes(settings.max_bytes)
            // An envelope is a request.
            .batch_items(1)
            .batch_delay(Duration::ZERO)
            .timeout(settings.timeout)
            .retry(settings.retry);
        if context.sessions.is_some() {
            builder = builder.tick(settings.session_interval);
        }
        let (pipeline, transport) = match &settings.transport {
            Some(factory) => {
                let transport = factory.create_transport_with_options(options);
                (hand_over(builder, &work, &transport)?, Some(transport))
            }
            #[cfg(feature = "transport")]
            None => (http::start(builder, settings, &work, &options)?, None),
            #[cfg(not(feature = "transport"))]
            None => return Err(BuildError::transport()),
        };
        // Reads this program's debug information, which the first look-up would do, under a lock that a panic needs.
        steeple_export::run_on_helper(symbols::warm_up);
        Ok(Self { pipeline, recorder, transport })
    }

    /// Puts an envelope into the queue, or drops and counts it. Never waits.
    pub(crate) fn push(&self, job: Job) {
        if let Err((job, reason)) = self.pipeline.try_push(job) {
            let is_full = matches!(reason, DropReason::QueueFull | DropReason::TooLarge);
            let reason = if is_full { Reason::QueueOverflow } else { Reason::InternalError };
            self.recorder.record_lost_data(&job.envelope, reason);
        }
    }

    /// Waits until everything in the queue is sent. `false`: something is left.
    pub(crate) fn flush(&self, deadline: Instant, closes: bool) -> bool {
        let report = if closes { self.pipeline.shutdown(deadline) } else { self.pipeline.flush(deadline) };
        let left = || deadline.saturating_duration_since(steeple_core::clock::now());
        let passed_on = self
            .transport
            .as_ref()
            .is_none_or(|transport| if closes { transport.shutdown(left()) } else { transport.flush(left()) });
        report.left == 0 && passed_on
    }
}

/// A pipeline in front of a transport that someone else wrote, which may block: it has its own thread.
fn hand_over(
    builder: PipelineBuilder,
    work: &Work,
    transport: &Arc<dyn Transport>,
) -> Result<Pipeline<Job>, BuildError> {
    let (work, transport) = (work.clone(), Arc::clone(transport));
    let factory = move || Ok(HandOver { work: work.clone(), transport: Arc::clone(&transport) });
    builder.own_thread().build(factory).map_err(BuildError::pipeline)
}

struct HandOver {
    work: Work,
    transport: Arc<dyn Transport>,
}

impl Exporter for HandOver {
    type Item = Job;
    type Ready = Envelope;

    fn size(job: &Job) -> usize {
        job.size()
    }

    fn scrub(&mut self, job: Job) -> Scrubbed<Envelope> {
        self.work.scrub(job)
    }

    fn admit(&mut self, envelope: &Envelope) -> Result<(), DropReason> {
        Work::admit(envelope)
    }

    async fn export(&mut self, batch: &[Scrubbed<Envelope>], _deadline: Instant) -> Answer {
        for envelope in batch {
            self.transport.send_envelope(Envelope::clone(envelope));
        }
        Answer::Accepted
    }

    fn tick(&mut self) -> Vec<Job> {
        self.work.sessions()
    }

    fn stored(&mut self, envelope: &Envelope) {
        self.work.stored(envelope);
    }

    fn dropped(&mut self, envelope: &Envelope, reason: DropReason, _why: &steeple_export::Reason) {
        self.work.dropped(envelope, reason);
    }
}
