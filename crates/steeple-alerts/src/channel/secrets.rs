//! The secrets of steeple-scrub's corpus, in every text of a notification, through every channel: none arrives.
#![expect(clippy::print_stdout, reason = "how many there were")]
#![cfg(all(feature = "alertmanager", feature = "mail", feature = "slack", feature = "webhook"))]

use std::time::Duration;

use steeple_export::{Endpoint, Protocol, protocol::webhook::Keys};
use steeple_metrics::{
    Metrics,
    indicator::{Clock, HistoryOptions},
};
use steeple_scrub::{
    Scrubbed, Scrubber,
    corpus::{self, Place, Secret},
};

use super::{slack, webhook};
use crate::{
    Alerts, Failure,
    message::{ErrorGroup, Evidence, Example, Notification, tests::firing},
};

/// A notification with this text everywhere.
fn full_of(text: &str) -> Notification {
    let own = || Some(text.to_owned());
    Notification {
        rule: text.to_owned(),
        summary: text.to_owned(),
        service: own(),
        environment: own(),
        instance: own(),
        runbook: own(),
        link: own(),
        evidence: Evidence {
            requests: vec![Example::new("slowest", own(), own())],
            routes: vec![(text.to_owned(), 1.0)],
            error: Some(ErrorGroup::new(text, text, 3)),
            outcomes: vec![(text.to_owned(), 3)],
            users: Some(3),
            deploy: Some((text.to_owned(), Duration::from_secs(240))),
        },
        ..firing()
    }
}

fn body<P: Protocol<Item = Notification>>(mut protocol: P, alert: &Notification) -> String {
    let scrubbed = protocol.scrub(alert.clone());
    let request = protocol.encode(&[scrubbed]).unwrap();
    String::from_utf8(request.payload().to_vec()).unwrap()
}

/// What each channel would send of it.
fn messages(alert: &Notification, scrubber: &Scrubber) -> Vec<String> {
    let endpoint = Endpoint::parse("http://127.0.0.1:9/x").unwrap();
    let keys = Keys::parse("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
    let webhook = |payload| webhook::Messages {
        endpoint: endpoint.clone(),
        scrubber: scrubber.clone(),
        keys: keys.clone(),
        payload,
    };
    let clean: Scrubbed<Notification> = alert.clone().scrub(scrubber);
    vec![
        body(slack::Messages { endpoint: endpoint.clone(), scrubber: scrubber.clone() }, alert),
        body(webhook(webhook::Payload::Steeple), alert),
        body(webhook(webhook::Payload::Alertmanager), alert),
        super::alertmanager::encode(&clean, Duration::from_secs(60)).to_string(),
        // A mail: its subject, its text and its HTML, of which other channels are made too.
        clean.subject(),
        clean.text(),
        clean.html(),
    ]
}

/// Texts that stand on their own: an error's message, a line, an address. Headers, queries and forms never reach an alert as such.
fn prose() -> Vec<Secret> {
    let places = [Place::Message, Place::Error, Place::Breadcrumb, Place::Url, Place::Json];
    corpus::secrets().into_iter().filter(|secret| places.contains(&secret.place)).collect()
}

#[test]
fn no_secret_is_in_any_channels_message() {
    let scrubber = Scrubber::default();
    let secrets = prose();
    assert!(secrets.len() >= 100, "{}", secrets.len());
    let mut leaks = Vec::new();
    for secret in &secrets {
        for message in messages(&full_of(&secret.text), &scrubber) {
            if secret.leaks_into(&message) {
                leaks.push(format!("{secret:?} in {message}"));
            }
        }
    }
    println!("{} secrets in each of 7 messages: {} leaks", secrets.len(), leaks.len());
    assert!(leaks.is_empty(), "{}", leaks.join("\n"));
}

#[test]
fn no_secret_of_an_error_is_in_its_group_or_its_notification() {
    let scrubber = Scrubber::default();
    for secret in prose() {
        let metrics = Metrics::builder().build().unwrap();
        let clock = Clock::manual(Duration::from_secs(1_795_985_484));
        let _history = metrics.history_with(HistoryOptions::new().clock(clock).without_thread());
        let alerts = Alerts::builder().build(&metrics).unwrap();
        alerts.error(&Failure { kind: "Error", route: "POST /pay", message: &secret.text, fingerprint: None });
        let (groups, told) = (alerts.error_groups(), alerts.notifications());
        assert_eq!((groups.len(), told.len()), (1, 1));
        assert!(!secret.leaks_into(&groups[0].message), "{secret:?}: {:?}", groups[0].message);
        for message in messages(&told[0], &scrubber) {
            assert!(!secret.leaks_into(&message), "{secret:?}: {message}");
        }
    }
}
