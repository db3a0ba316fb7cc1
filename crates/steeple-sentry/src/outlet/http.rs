//! Envelopes over HTTP, one a request.

use std::sync::{Arc, Mutex, PoisonError};

use http::{HeaderName, HeaderValue};
use sentry_core::{Envelope, TransportOptions, protocol::EnvelopeItem};
use steeple_core::clock;
use steeple_export::{
    Answer, DropReason, Endpoint, Http, Pipeline, PipelineBuilder, Protocol, ProxyOptions, Reason, Request, Response,
};
use steeple_scrub::Scrubbed;

use super::{Settings, rate_limit::RateLimits, wire, work::Work};
use crate::{BuildError, job::Job};

const AUTH: HeaderName = HeaderName::from_static("x-sentry-auth");

pub(super) fn start(
    builder: PipelineBuilder,
    settings: &Settings,
    work: &Work,
    options: &TransportOptions,
) -> Result<Pipeline<Job>, BuildError> {
    let mut client = settings.client.clone().user_agent(&*options.user_agent);
    if options.http_proxy.is_some() || options.https_proxy.is_some() {
        let mut proxies = ProxyOptions::new();
        proxies.https = options.https_proxy.as_deref().map(str::to_owned);
        proxies.http = options.http_proxy.as_deref().map(str::to_owned);
        client = client.proxy(proxies);
    }
    if options.accept_invalid_certs {
        client = client.danger_accept_invalid_certs();
    }
    let client = client.build().map_err(BuildError::client)?;
    let endpoint = Endpoint::parse(options.dsn.envelope_api_url().as_str()).map_err(|_url| BuildError::dsn())?;
    client.check(&endpoint).map_err(BuildError::client)?;
    let auth = options.dsn.to_auth(Some(&options.user_agent)).to_string();
    let mut auth = HeaderValue::try_from(auth).map_err(|_text| BuildError::dsn())?;
    auth.set_sensitive(true);
    let work = work.clone();
    // What Sentry asked for holds beyond a panic.
    let limits = Arc::new(Mutex::new(RateLimits::default()));
    let factory = move || {
        let protocol = Envelopes {
            work: work.clone(),
            endpoint: endpoint.clone(),
            auth: auth.clone(),
            limits: Arc::clone(&limits),
        };
        Ok(Http::new(client.clone(), protocol))
    };
    builder.build(factory).map_err(BuildError::pipeline)
}

pub(super) struct Envelopes {
    work: Work,
    endpoint: Endpoint,
    auth: HeaderValue,
    limits: Arc<Mutex<RateLimits>>,
}

impl Envelopes {
    fn allows(&self) -> impl Fn(&EnvelopeItem) -> bool {
        let now = clock::now();
        let limits = self.limits.lock().unwrap_or_else(PoisonError::into_inner).clone();
        move |item| limits.allow(now, item)
    }
}

impl Protocol for Envelopes {
    type Item = Job;
    type Ready = Envelope;

    /// Looking up the symbols of one frame may take longer than a millisecond.
    const OFFLOAD_BYTES: usize = 0;

    fn size(job: &Job) -> usize {
        job.size()
    }

    fn scrub(&mut self, job: Job) -> Scrubbed<Envelope> {
        self.work.scrub(job)
    }

    fn admit(&mut self, envelope: &Envelope) -> Result<(), DropReason> {
        Work::admit(envelope)?;
        let allows = self.allows();
        // An attachment belongs to an event, and is nothing without it.
        let is_wanted =
            |item: &EnvelopeItem| !matches!(item, EnvelopeItem::Attachment(_) | EnvelopeItem::ClientReport(_));
        if envelope.items().any(|item| is_wanted(item) && allows(item)) {
            return Ok(());
        }
        envelope.items().for_each(|item| self.work.held_back(item));
        Err(DropReason::RateLimited)
    }

    fn encode(&mut self, batch: &[Scrubbed<Envelope>]) -> Result<Request, Reason> {
        let allows = self.allows();
        let mut body = Vec::new();
        for envelope in batch {
            envelope.items().filter(|item| !allows(item)).for_each(|item| self.work.held_back(item));
            wire::write(envelope, &allows, &mut body).map_err(|error| Reason::of_error(&error))?;
        }
        Ok(Request::post(&self.endpoint)
            .header(AUTH, self.auth.clone())
            .content_type("application/x-sentry-envelope")
            .body(body))
    }

    fn judge(&mut self, response: &Response, _batch: &[Scrubbed<Envelope>]) -> Answer {
        let header = |name| response.headers.get(name).and_then(|value| value.to_str().ok());
        let status = response.status.as_u16();
        let mut limits = self.limits.lock().unwrap_or_else(PoisonError::into_inner);
        limits.learn(clock::now(), status, header("x-sentry-rate-limits"), &response.headers);
        drop(limits);
        if status == 429 {
            // Limits last for minutes; what they are about is not kept for that long.
            return Answer::Rejected { cause: DropReason::RateLimited, why: response.reason() };
        }
        Answer::of(response)
    }

    fn tick(&mut self) -> Vec<Job> {
        self.work.sessions()
    }

    fn stored(&mut self, envelope: &Envelope) {
        self.work.stored(envelope);
    }

    fn dropped(&mut self, envelope: &Envelope, reason: DropReason, _why: &Reason) {
        self.work.dropped(envelope, reason);
    }
}

#[cfg(test)]
mod tests {
    use sentry_core::{Transport, client_report::Recorder, protocol::Event};
    use steeple_export::test_util::{ExporterSubject, Script, Subject, Turn, check_all, check_exporter};
    use steeple_scrub::Scrubber;

    use super::{super::HandOver, *};
    use crate::context::{self, Context};

    struct Sentry(Work);

    impl Subject for Sentry {
        type Protocol = Envelopes;

        /// Limits last for minutes: what is limited is dropped.
        const RETRIES_LIMITED: bool = false;

        fn protocol(&self, endpoint: Endpoint) -> Envelopes {
            Envelopes {
                work: self.0.clone(),
                endpoint,
                auth: HeaderValue::from_static("Sentry sentry_key=public"),
                limits: Arc::default(),
            }
        }

        fn item(&self, number: usize) -> Job {
            let event = Event { message: Some(format!("failure {number:010}")), ..Event::default() };
            Job { envelope: event.into(), user_is_approved: false, late: None }
        }
    }

    /// A transport that an application hands over. It may block, and reports nothing.
    struct Theirs(Arc<Script>);

    impl Transport for Theirs {
        fn send_envelope(&self, _envelope: Envelope) {
            if self.0.next() == Turn::Holds {
                self.0.wait();
            }
        }
    }

    impl ExporterSubject for Sentry {
        type Exporter = HandOver;
        type Receiver = Arc<Script>;
        const TURNS: &'static [Turn] = &[Turn::Accepts, Turn::Holds];
        const BLOCKS: bool = true;

        fn receiver(&self, turn: Box<dyn Fn(usize) -> Turn + Send + Sync>) -> Arc<Script> {
            Arc::new(Script::new(turn))
        }

        fn exporter(&self, receiver: &Arc<Script>) -> HandOver {
            HandOver { work: self.0.clone(), transport: Arc::new(Theirs(Arc::clone(receiver))) }
        }

        fn item(&self, number: usize) -> Job {
            <Self as Subject>::item(self, number)
        }
    }

    #[test]
    fn envelopes_pass_every_check() {
        check_all(sentry());
    }

    #[test]
    fn envelopes_to_another_transport_pass_every_check() {
        check_exporter(sentry());
    }

    fn sentry() -> Sentry {
        let context = Context {
            region: None,
            tags: Vec::new(),
            scrubber: Scrubber::default(),
            headers: crate::head::Allowed::new(Vec::new()),
            expected_statuses: Vec::new(),
            expected_grpc: Vec::new(),
            expected_errors: Vec::new(),
            client_address: false,
            sampler: None,
            routes: Arc::default(),
            sessions: None,
            counters: Arc::default(),
            has_gate: true,
            generation: context::first_generation(),
        };
        Sentry(Work::new(Arc::new(context), Recorder::default(), &[]))
    }
}
