use steeple_scrub::{Scrubbed, Scrubber};

use super::{Channel, ChannelContext, IntoChannel};
use crate::{BuildError, Severity, message::Notification};

type Send = Box<dyn Fn(&Scrubbed<Notification>) + std::marker::Send + Sync>;

/// Passes alerts to another part of the process that sends them, for systems that this crate has no channel for.
///
/// # Examples
/// ```
/// use steeple_alerts::{Alerts, Rules, channel::Forward};
///
/// let pager = Forward::new("pager", |alert| eprintln!("{}", alert.subject()));
/// let alerts = Alerts::builder().rules(Rules::mission()).channel(pager);
/// ```
#[must_use = "a channel does nothing until alerts are built with it"]
pub struct Forward {
    name: &'static str,
    at_least: Severity,
    rules_only: bool,
    send: Send,
}

impl std::fmt::Debug for Forward {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Forward").field("name", &self.name).field("at_least", &self.at_least).finish_non_exhaustive()
    }
}

impl Forward {
    /// A channel of this name. `send` is called after the limits of every channel, with texts that have been through the scrubber,
    /// on the thread that evaluates or on that of a failed request: it must not block. A panic in it is caught.
    pub fn new(
        name: &'static str,
        send: impl Fn(&Scrubbed<Notification>) + std::marker::Send + Sync + 'static,
    ) -> Self {
        Self { name, at_least: Severity::Low, rules_only: false, send: Box::new(send) }
    }

    /// Leaves out alerts below this severity. Default: [`Severity::Low`], which leaves out none.
    pub fn at_least(mut self, severity: Severity) -> Self {
        self.at_least = severity;
        self
    }

    /// Leaves out groups of errors, for a system that has the errors themselves.
    pub fn rules_only(mut self) -> Self {
        self.rules_only = true;
        self
    }
}

impl IntoChannel for Forward {
    fn into_channel(self: Box<Self>, context: &ChannelContext) -> Result<Channel, BuildError> {
        let Self { name, at_least, rules_only, send } = *self;
        Ok(Channel::with(
            super::Out::Forward(Out { name, rules_only, scrubber: context.scrubber.clone(), send }),
            at_least,
        ))
    }
}

/// A function as a channel.
pub(super) struct Out {
    pub(super) name: &'static str,
    rules_only: bool,
    scrubber: Scrubber,
    send: Send,
}

impl Out {
    pub(super) fn takes(&self, notification: &Notification) -> bool {
        !(self.rules_only && notification.group.is_some())
    }

    pub(super) fn send(&self, notification: Notification) {
        let scrubbed = notification.scrub(&self.scrubber);
        let send = std::panic::AssertUnwindSafe(|| (self.send)(&scrubbed));
        if std::panic::catch_unwind(send).is_err() {
            tracing::warn!(target: "steeple::alerts", channel = self.name, "a panic in a channel: the notification may be lost");
        }
    }
}
