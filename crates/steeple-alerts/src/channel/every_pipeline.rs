//! Every channel over HTTP passes the checks of `steeple-export` (mail: in its module): full, hung, reset, limited, too large, panics, flushes, exact counts.
#![cfg(all(feature = "alertmanager", feature = "heartbeat", feature = "slack", feature = "webhook"))]

use std::time::Duration;

use steeple_export::{
    Endpoint,
    protocol::webhook::Keys,
    test_util::{Reply, Subject, check_all},
};
use steeple_scrub::Scrubber;

use super::{alertmanager, heartbeat, slack, webhook};
use crate::message::{Notification, tests::firing};

fn alert(number: usize) -> Notification {
    Notification { rule: format!("rule_{number:010}"), ..firing() }
}

struct Slack;

impl Subject for Slack {
    type Protocol = slack::Messages;
    const BATCH: usize = slack::MAX_ALERTS;

    fn protocol(&self, endpoint: Endpoint) -> slack::Messages {
        slack::Messages { endpoint, scrubber: Scrubber::default() }
    }

    fn item(&self, number: usize) -> Notification {
        alert(number)
    }

    fn accepts(&self) -> Reply {
        Reply::ok("ok")
    }
}

struct Webhook;

impl Subject for Webhook {
    type Protocol = webhook::Messages;
    const BATCH: usize = 1;

    fn protocol(&self, endpoint: Endpoint) -> webhook::Messages {
        let keys = Keys::parse("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        webhook::Messages { endpoint, scrubber: Scrubber::default(), keys, payload: webhook::Payload::default() }
    }

    fn item(&self, number: usize) -> Notification {
        alert(number)
    }
}

struct Alertmanager;

impl Subject for Alertmanager {
    type Protocol = alertmanager::Posts;
    const BATCH: usize = alertmanager::MAX_ALERTS;

    fn protocol(&self, endpoint: Endpoint) -> alertmanager::Posts {
        let every = Duration::from_secs(60);
        alertmanager::Posts { endpoint, scrubber: Scrubber::default(), every, alerts: Box::new(Vec::new) }
    }

    fn item(&self, number: usize) -> Notification {
        alert(number)
    }

    fn accepts(&self) -> Reply {
        Reply::ok("")
    }
}

struct Heartbeat;

impl Subject for Heartbeat {
    type Protocol = heartbeat::Pings;
    const BATCH: usize = 1;

    fn protocol(&self, endpoint: Endpoint) -> heartbeat::Pings {
        heartbeat::Pings { endpoint, scrubber: Scrubber::default(), is_alive: Box::new(|| false) }
    }

    fn item(&self, _number: usize) {}

    fn accepts(&self) -> Reply {
        Reply::ok("")
    }
}

#[test]
fn heartbeats_pass_every_check() {
    check_all(Heartbeat);
}

#[test]
fn alertmanager_passes_every_check() {
    check_all(Alertmanager);
}

#[test]
fn slack_passes_every_check() {
    check_all(Slack);
}

#[test]
fn webhooks_pass_every_check() {
    check_all(Webhook);
}
