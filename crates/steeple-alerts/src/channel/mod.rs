//! Where notifications go.

#[cfg(feature = "alertmanager")]
mod alertmanager;
#[cfg(test)]
mod every_pipeline;
mod forward;
#[cfg(feature = "heartbeat")]
mod heartbeat;
#[cfg(feature = "http")]
mod http;
#[cfg(any(feature = "alertmanager", feature = "webhook"))]
mod labels;
#[cfg(feature = "mail")]
mod mail;
#[cfg(test)]
mod secrets;
#[cfg(feature = "slack")]
mod slack;
#[cfg(feature = "webhook")]
mod webhook;

use std::{
    collections::HashSet,
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use steeple_export::{Pipeline, Sink};
use steeple_scrub::Scrubber;

#[cfg(feature = "alertmanager")]
pub use self::alertmanager::Alertmanager;
pub use self::forward::Forward;
#[cfg(feature = "heartbeat")]
pub use self::heartbeat::Heartbeat;
#[cfg(feature = "http")]
pub use self::http::start;
#[cfg(feature = "mail")]
pub use self::mail::Mail;
#[cfg(feature = "slack")]
pub use self::slack::Slack;
#[cfg(feature = "webhook")]
pub use self::webhook::{Payload, Webhook};
use crate::{
    Severity,
    message::{Notification, Status},
};

/// Notifications of one channel in one hour; more are dropped and counted.
pub const MAX_PER_HOUR: usize = 30;

/// A channel that has been started. A cheap clone.
#[derive(Clone)]
pub struct Channel(Arc<Inner>);

struct Inner {
    out: Out,
    at_least: Severity,
    /// Takes messages that are not alerts: summaries of what a cooldown kept back.
    takes_notes: bool,
    told: Mutex<Told>,
}

/// Who sends it.
enum Out {
    Pipeline(Pipeline<Notification>),
    Forward(forward::Out),
}

impl Out {
    fn send(&self, notification: Notification) {
        match self {
            Self::Pipeline(pipeline) => pipeline.push(notification),
            Self::Forward(forward) => forward.send(notification),
        }
    }

    fn takes(&self, notification: &Notification) -> bool {
        match self {
            Self::Pipeline(_) => true,
            Self::Forward(forward) => forward.takes(notification),
        }
    }
}

/// The alerts that the channel has got.
#[derive(Default)]
struct Told {
    /// Rules whose `firing` went out, and whose `resolved` did not yet.
    firing: HashSet<String>,
    /// When the last notifications went out.
    recent: std::collections::VecDeque<Duration>,
    capped: u64,
}

/// What every channel is built with.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ChannelContext {
    /// Removes secrets; [`Notification::scrub`] wants it.
    pub scrubber: Scrubber,
    /// How long alerts gather, where it is set for all channels.
    #[cfg(feature = "http")]
    pub(crate) group_wait: Option<Duration>,
    #[cfg(feature = "http")]
    pub(crate) http: steeple_export::ClientBuilder,
}

#[cfg(feature = "http")]
impl ChannelContext {
    /// How receivers are reached, where a channel does not set it: user agent, proxies, certificates.
    pub const fn http(&self) -> &steeple_export::ClientBuilder {
        &self.http
    }
}

/// A configured channel that has not been started.
pub trait IntoChannel: Send + 'static {
    /// Starts the channel.
    ///
    /// # Errors
    /// When it cannot start as configured.
    fn into_channel(self: Box<Self>, context: &ChannelContext) -> Result<Channel, crate::BuildError>;
}

impl Channel {
    /// A pipeline as a channel for alerts of at least this severity.
    pub fn new(pipeline: Pipeline<Notification>, at_least: Severity) -> Self {
        Self::with(Out::Pipeline(pipeline), at_least)
    }

    /// The same for a receiver that knows alerts alone, and not what a cooldown kept back.
    #[cfg(feature = "webhook")]
    fn of_alerts(pipeline: Pipeline<Notification>, at_least: Severity) -> Self {
        Self(Arc::new(Inner { out: Out::Pipeline(pipeline), at_least, takes_notes: false, told: Mutex::default() }))
    }

    fn with(out: Out, at_least: Severity) -> Self {
        Self(Arc::new(Inner { out, at_least, takes_notes: true, told: Mutex::default() }))
    }

    /// The channel's name.
    pub fn name(&self) -> &str {
        match &self.0.out {
            Out::Pipeline(pipeline) => pipeline.name(),
            Out::Forward(forward) => forward.name,
        }
    }

    /// Hands a notification over. A `resolved` goes out if, and only if, its `firing` did.
    pub(crate) fn offer(&self, mono: Duration, notification: &Notification) {
        if notification.severity < self.0.at_least || !self.0.out.takes(notification) {
            return;
        }
        let mut told = self.0.told.lock().unwrap_or_else(PoisonError::into_inner);
        let goes = match notification.status {
            Status::Firing => told.may_send(mono) && told.firing.insert(notification.rule.clone()),
            Status::Reminder => told.firing.contains(&notification.rule) && told.may_send(mono),
            // Never held back: people wait for it.
            Status::Resolved => told.firing.remove(&notification.rule),
            Status::KeptBack => self.0.takes_notes && told.may_send(mono),
        };
        drop(told);
        if goes {
            self.0.out.send(notification.clone());
        }
    }

    /// Hands a notification over that belongs to no alert: a test, an error group.
    pub(crate) fn offer_once(&self, mono: Duration, notification: &Notification) {
        let goes = notification.severity >= self.0.at_least
            && self.0.out.takes(notification)
            && self.0.told.lock().unwrap_or_else(PoisonError::into_inner).may_send(mono);
        if goes {
            self.0.out.send(notification.clone());
        }
    }

    /// The alerts that were sent to it and are not over, and when it was sent something in the last hour.
    pub(crate) fn save(&self, mono: Duration, wall: Duration) -> (Vec<String>, Vec<Duration>) {
        let told = self.0.told.lock().unwrap_or_else(PoisonError::into_inner);
        let recent = told.recent.iter().map(|at| wall.saturating_sub(mono.saturating_sub(*at)));
        (told.firing.iter().cloned().collect(), recent.collect())
    }

    /// Takes over what the process before has sent to it.
    pub(crate) fn adopt(
        &self,
        mono: Duration,
        wall: Duration,
        firing: impl IntoIterator<Item = String>,
        recent: impl IntoIterator<Item = Duration>,
    ) {
        let mut told = self.0.told.lock().unwrap_or_else(PoisonError::into_inner);
        told.firing.extend(firing);
        // A notification sent before this process began counts as sent at its beginning.
        let recent = recent.into_iter().map(|at| mono.saturating_sub(wall.saturating_sub(at)));
        let mut recent: Vec<_> = recent.take(MAX_PER_HOUR).chain(told.recent.iter().copied()).collect();
        recent.sort_unstable();
        told.recent = recent.into();
    }

    /// Notifications that the limit of an hour kept back.
    pub fn capped(&self) -> u64 {
        self.0.told.lock().unwrap_or_else(PoisonError::into_inner).capped
    }

    /// The channel's queue, losses and health. `None`: another part of the process sends, see [`Forward`].
    pub fn sink(&self) -> Option<Arc<dyn Sink>> {
        match &self.0.out {
            Out::Pipeline(pipeline) => Some(Arc::new(pipeline.clone())),
            Out::Forward(_) => None,
        }
    }
}

impl Told {
    fn may_send(&mut self, mono: Duration) -> bool {
        while self.recent.front().is_some_and(|at| mono.saturating_sub(*at) >= Duration::from_secs(3600)) {
            self.recent.pop_front();
        }
        if self.recent.len() >= MAX_PER_HOUR {
            self.capped = self.capped.saturating_add(1);
            return false;
        }
        self.recent.push_back(mono);
        true
    }
}

impl fmt::Debug for Channel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Channel").field("name", &self.name()).field("at_least", &self.0.at_least).finish()
    }
}
