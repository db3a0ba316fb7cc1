//! Sends envelopes over HTTP, one after the other, on the thread of the pipeline.

use std::{sync::Arc, time::Duration};

use sentry_core::{
    Envelope, TransportOptions,
    client_report::{Reason, Recorder},
    protocol::EnvelopeItem,
};
use steeple_scrub::Scrubbed;
use ureq::{
    Agent, Proxy,
    tls::{RootCerts, TlsConfig, TlsProvider},
};

use super::{count_sent, items, rate_limit::RateLimits, wire};
use crate::counts::{Counters, Loss};

/// A server that takes longer is not waited for.
const TIMEOUT: Duration = Duration::from_secs(15);

pub(super) struct Http {
    agent: Agent,
    url: String,
    auth: String,
    limits: RateLimits,
    counters: Arc<Counters>,
    recorder: Recorder,
}

impl Http {
    pub(super) fn new(options: &TransportOptions, counters: Arc<Counters>) -> Self {
        let tls = TlsConfig::builder()
            .provider(TlsProvider::Rustls)
            // The system's roots: a Sentry of one's own has a certificate of one's own.
            .root_certs(RootCerts::PlatformVerifier)
            .disable_verification(options.accept_invalid_certs)
            .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .build();
        let is_https = options.dsn.scheme() == sentry_core::types::Scheme::Https;
        let proxy = if is_https { options.https_proxy.as_ref() } else { options.http_proxy.as_ref() };
        let agent = Agent::config_builder()
            .tls_config(tls)
            .http_status_as_error(false)
            // A redirect would take the key to whichever host the answer names.
            .max_redirects(0)
            .max_redirects_will_error(false)
            .timeout_global(Some(TIMEOUT))
            .user_agent(&*options.user_agent)
            .proxy(proxy.and_then(|proxy| Proxy::new(proxy).ok()))
            .build()
            .new_agent();
        Self {
            agent,
            url: options.dsn.envelope_api_url().to_string(),
            auth: options.dsn.to_auth(Some(&options.user_agent)).to_string(),
            limits: RateLimits::default(),
            counters,
            recorder: options.client_report_recorder.clone(),
        }
    }

    pub(super) fn send(&mut self, envelope: Scrubbed<Envelope>) {
        let count = items(&envelope);
        let copy = envelope.clone();
        let Ok(body) = wire::write(envelope) else {
            return self.lose(&copy, Loss::Internal, count);
        };
        let request = self
            .agent
            .post(&self.url)
            .header("x-sentry-auth", &self.auth)
            .header("content-type", "application/x-sentry-envelope");
        let Ok(mut response) = request.send(&body[..]) else {
            return self.lose(&copy, Loss::Network, count);
        };
        let status = response.status().as_u16();
        let header = |name| response.headers().get(name).and_then(|value| value.to_str().ok());
        self.limits.learn(steeple_core::clock::now(), status, header("x-sentry-rate-limits"), header("retry-after"));
        // Read to its end, so that the connection can be used again; what it says does not matter.
        let _answer = response.body_mut().with_config().limit(64 * 1024).read_to_vec();
        match status {
            200..=299 => count_sent(&self.counters, &copy),
            // Sentry counts what it limits, so that it is not to be reported once more.
            429 => self.counters.lose(Loss::RateLimited, count),
            _ => self.lose(&copy, Loss::Refused, count),
        }
    }

    /// Takes out what Sentry does not want now.
    pub(super) fn keep_allowed(&self, envelope: Envelope) -> Option<Envelope> {
        let now = steeple_core::clock::now();
        if envelope.items().all(|item| self.limits.allow(now, item)) {
            return Some(envelope);
        }
        let mut allowed = Envelope::new().with_headers(envelope.headers().clone());
        for item in envelope.into_items() {
            if self.limits.allow(now, &item) {
                allowed.add_item(item);
                continue;
            }
            self.recorder.record_lost_data(&item, Reason::RatelimitBackoff);
            if !matches!(item, EnvelopeItem::ClientReport(_)) {
                self.counters.lose(Loss::RateLimited, 1);
            }
        }
        // An attachment belongs to an event, and is nothing without.
        let has_more =
            allowed.items().any(|item| !matches!(item, EnvelopeItem::Attachment(_) | EnvelopeItem::ClientReport(_)));
        has_more.then_some(allowed)
    }

    fn lose(&self, envelope: &Envelope, reason: Loss, count: u64) {
        self.counters.lose(reason, count);
        let why = match reason {
            Loss::Network => Reason::NetworkError,
            Loss::Refused => Reason::SendError,
            Loss::QueueFull | Loss::RateLimited | Loss::Internal => Reason::InternalError,
        };
        self.recorder.record_lost_data(envelope, why);
    }
}
