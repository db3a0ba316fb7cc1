//! The payload of a push, and the meaning of the receiver's answer.

use std::{
    fmt,
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use steeple_core::{RequestId, X_REQUEST_ID, clock};
use steeple_export::{DropReason, Endpoint, Protocol, Reason, Request};
use steeple_scrub::{Scrubbed, Scrubber};

use super::{
    PushKind,
    newrelic::{NewRelicEncoder, SentCounts},
    otlp::{OtlpEncoder, OtlpStyle, Sent},
    remote_write::{RemoteWriteEncoder, Samples},
};
use crate::{Metrics, family::Family, registry::Naming, render::Others, series::Labels};

/// The payload, and its receiver.
pub(super) struct Target {
    pub(super) metrics: Metrics,
    pub(super) kind: PushKind,
    pub(super) endpoint: Endpoint,
    pub(super) headers: HeaderMap,
    pub(super) labels: Vec<(String, String)>,
    pub(super) otlp: OtlpStyle,
    /// When the process began to count, since the Unix epoch.
    pub(super) start_nanos: OnceLock<u64>,
    /// What the receiver has, where points count from the push before.
    pub(super) sent: Mutex<Arc<Sent>>,
    /// The same, at New Relic's Metric API.
    pub(super) counts: Mutex<SentCounts>,
    pub(super) pushes: Arc<Family>,
    /// Requests of the push before that have no answer yet.
    pub(super) waiting: AtomicUsize,
    /// Whether the next push is the last.
    pub(super) is_ending: AtomicBool,
}

/// One request.
pub(super) struct Body {
    bytes: Bytes,
    content_type: &'static str,
    /// What the receiver has once it takes this.
    pub(super) sent: Option<Arrived>,
    /// The request's id, where the receiver wants one.
    id: Option<RequestId>,
}

/// What a receiver has.
#[derive(Clone)]
pub(super) enum Arrived {
    Otlp(Arc<Sent>),
    NewRelic(Arc<SentCounts>),
}

impl Body {
    fn new(bytes: Bytes, content_type: &'static str) -> Self {
        Self { bytes, content_type, sent: None, id: None }
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Body").field("bytes", &self.bytes.len()).finish_non_exhaustive()
    }
}

/// The requests of one push.
pub(super) struct Bodies {
    pub(super) bodies: Vec<Body>,
    /// Whether every registry could be read.
    pub(super) is_complete: bool,
}

impl Target {
    pub(super) fn count(&self, result: &str) {
        self.pushes.add(&[self.kind.as_str(), result], 1);
    }

    /// Everything as it is now.
    pub(super) fn bodies(&self) -> Bodies {
        let others = self.metrics.others();
        let is_complete = others.is_complete;
        if !is_complete {
            self.count(DropReason::Panicked.as_str());
        }
        let bodies = match self.kind {
            // A page replaces the one before, and a series that is missing looks as if it had ended: what a panic leaves out
            // would be gone.
            PushKind::Pushgateway | PushKind::Otlp | PushKind::NewRelic if !is_complete => Vec::new(),
            PushKind::Pushgateway => {
                let page = self.metrics.render_with(others, Some("text/plain;version=0.0.4"), None);
                vec![Body::new(page.body, page.content_type)]
            }
            PushKind::RemoteWrite => self.writes(others, Samples::Values),
            PushKind::Otlp => vec![self.points(others)],
            PushKind::NewRelic => self.counts(others),
        };
        Bodies { bodies, is_complete }
    }

    /// The request of OTLP.
    fn points(&self, mut others: Others) -> Body {
        let Naming { prefix, common } = std::mem::take(&mut others.naming);
        let common = Labels::new(common.into_iter().map(|(name, value)| (name.into(), value.into())));
        let (now, unix_now) = (clock::now(), clock::unix_now());
        let up = now.saturating_duration_since(self.metrics.0.core.started);
        let nanos = |time: Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        // Once: the same start in each push, to the nanosecond.
        let start = *self.start_nanos.get_or_init(|| nanos(unix_now.saturating_sub(up)));
        let times = (start, nanos(unix_now));
        let before = Arc::clone(&*self.sent.lock().unwrap_or_else(PoisonError::into_inner));
        let mut encoder = OtlpEncoder::new(&self.otlp, &common.pairs, times, &before);
        self.metrics.write(&mut others, &prefix, &common, &mut encoder);
        let (bytes, sent) = encoder.finish();
        Body { sent: Some(Arrived::Otlp(Arc::new(sent))), ..Body::new(bytes, "application/x-protobuf") }
    }

    /// The requests of New Relic's Metric API.
    fn counts(&self, mut others: Others) -> Vec<Body> {
        let Naming { prefix, common } = std::mem::take(&mut others.naming);
        let common = Labels::new(common.into_iter().map(|(name, value)| (name.into(), value.into())));
        let (now, unix_now) = (clock::now(), clock::unix_now());
        let up = now.saturating_duration_since(self.metrics.0.core.started);
        let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let times = (millis(unix_now.saturating_sub(up)), millis(unix_now));
        let mut before = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let mut encoder = NewRelicEncoder::new(&self.otlp.resource, &common.pairs, times, &before);
        self.metrics.write(&mut others, &prefix, &common, &mut encoder);
        let parts = encoder.finish();
        // Series that have ended are not remembered.
        before.retain(|series, _| parts.iter().any(|part| part.counts.contains_key(series)));
        drop(before);
        let body = |part: super::newrelic::Part| Body {
            sent: Some(Arrived::NewRelic(Arc::new(part.counts))),
            id: Some(part.id),
            ..Body::new(part.json, "application/json")
        };
        parts.into_iter().map(body).collect()
    }

    /// The receiver took a body.
    pub(super) fn arrived(&self, sent: Option<&Arrived>) {
        match sent {
            Some(Arrived::Otlp(sent)) => {
                *self.sent.lock().unwrap_or_else(PoisonError::into_inner) = Arc::clone(sent);
            }
            Some(Arrived::NewRelic(counts)) => {
                let mut known = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
                known.extend(counts.iter().map(|(series, sent)| (series.clone(), sent.clone())));
            }
            None => {}
        }
    }

    /// The bodies of a remote write. Made in one go, so that all samples are of one moment.
    fn writes(&self, mut others: Others, samples: Samples) -> Vec<Body> {
        let Naming { prefix, common } = std::mem::take(&mut others.naming);
        let common = Labels::new(common.into_iter().map(|(name, value)| (name.into(), value.into())));
        let now_ms = i64::try_from(clock::unix_now().as_millis()).unwrap_or(i64::MAX);
        let mut encoder = RemoteWriteEncoder::new(&common.pairs, &self.labels, now_ms, samples);
        self.metrics.write(&mut others, &prefix, &common, &mut encoder);
        let body = |bytes| Body::new(bytes, "application/x-protobuf");
        encoder.finish().into_iter().map(body).collect()
    }
}

/// A request for each body, tried once.
pub(super) struct PushProtocol(Arc<Target>);

impl PushProtocol {
    pub(super) fn new(target: &Arc<Target>) -> Self {
        Self(Arc::clone(target))
    }

    fn is_over(&self) {
        let _not_below_zero = self.0.waiting.fetch_update(Relaxed, Relaxed, |waiting| waiting.checked_sub(1));
    }
}

impl Protocol for PushProtocol {
    type Item = Body;
    type Ready = Body;

    fn size(item: &Body) -> usize {
        item.bytes.len()
    }

    fn scrub(&mut self, item: Body) -> Scrubbed<Body> {
        // Label values were scrubbed when their series were made.
        Scrubber::default().scrub_with(item, |_, _| ())
    }

    fn encode(&mut self, batch: &[Scrubbed<Body>]) -> Result<Request, Reason> {
        let target = &self.0;
        let [body] = batch else { return Err("a push has one body".into()) };
        let request = match target.kind {
            PushKind::Pushgateway => Request::new(Method::PUT, &target.endpoint),
            PushKind::Otlp => Request::post(&target.endpoint),
            PushKind::NewRelic => Request::post(&target.endpoint).gzip(),
            PushKind::RemoteWrite => Request::post(&target.endpoint)
                .header(header::CONTENT_ENCODING, HeaderValue::from_static("snappy"))
                .header(
                    HeaderName::from_static("x-prometheus-remote-write-version"),
                    HeaderValue::from_static("0.1.0"),
                ),
        };
        let mut request = request.content_type(body.content_type).body(body.bytes.clone());
        request.headers_mut().extend(target.headers.clone());
        if let Some(id) = &body.id {
            let id = HeaderValue::from_str(id.as_str()).map_err(|error| Reason::of_error(&error))?;
            request.headers_mut().insert(X_REQUEST_ID, id);
        }
        Ok(request)
    }

    fn tick(&mut self) -> Vec<Body> {
        let target = &self.0;
        let is_ending = target.is_ending.load(Relaxed);
        // The push before is still on its way: the next one carries what this one would have.
        if target.waiting.load(Relaxed) > 0 && !is_ending {
            return Vec::new();
        }
        let mut bodies = target.bodies().bodies;
        if is_ending && target.kind == PushKind::RemoteWrite {
            bodies.extend(target.writes(target.metrics.others(), Samples::Stale));
        }
        target.waiting.fetch_add(bodies.len(), Relaxed);
        bodies
    }

    fn stored(&mut self, ready: &Body) {
        self.0.arrived(ready.sent.as_ref());
        self.is_over();
        self.0.count("ok");
    }

    fn dropped(&mut self, _ready: &Body, reason: DropReason, _why: &Reason) {
        self.is_over();
        self.0.count(reason.as_str());
    }
}

#[cfg(test)]
mod tests {
    use steeple_export::test_util::{Subject, check_all};

    use super::*;
    use crate::push::PushOptions;

    struct Pushes {
        metrics: Metrics,
        of: fn(String) -> PushOptions,
    }

    impl Subject for Pushes {
        type Protocol = PushProtocol;
        const BATCH: usize = 1;

        fn protocol(&self, endpoint: Endpoint) -> PushProtocol {
            PushProtocol::new(&(self.of)(endpoint.uri().to_string()).build(&self.metrics).unwrap().target)
        }

        fn item(&self, number: usize) -> Body {
            Body::new(format!("up {number:010}\n").into(), "text/plain")
        }
    }

    #[test]
    fn pushes_to_a_gateway_pass_every_check() {
        check_all(Pushes {
            metrics: Metrics::builder().build().unwrap(),
            of: |url| PushOptions::pushgateway(url, "job"),
        });
    }

    #[test]
    fn pushes_to_new_relic_pass_every_check() {
        check_all(Pushes {
            metrics: Metrics::builder().build().unwrap(),
            of: |url| PushOptions::new_relic(url, "key", "shop"),
        });
    }

    #[test]
    fn remote_writes_pass_every_check() {
        check_all(Pushes {
            metrics: Metrics::builder().build().unwrap(),
            of: |url| PushOptions::remote_write(url, "job"),
        });
    }
}
