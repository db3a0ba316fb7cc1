use opentelemetry::{KeyValue, Value};
use steeple_scrub::Scrubber;

use super::{Attributes, MAX_TEXT, key, target::split_host};

/// The texts of a request's head that are scrubbed before they leave.
///
/// Where the span goes to a queue of ours they are, in one piece, an attribute that does not leave this process, and become
/// attributes on the exporter's thread.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Unscrubbed<'r> {
    pub(crate) path: Option<&'r str>,
    pub(crate) query: Option<&'r str>,
    pub(crate) agent: Option<&'r str>,
    /// Host and port as the client sees them.
    pub(crate) authority: Option<&'r str>,
}

/// The attribute that they wait in.
const WAITING: &str = "steeple.unscrubbed";

/// Between two of them. None of them can have it: neither URIs nor the values of headers do.
const END: char = '\n';

impl<'r> Unscrubbed<'r> {
    fn texts(self) -> [(char, Option<&'r str>); 4] {
        [('p', self.path), ('q', self.query), ('u', self.agent), ('h', self.authority)]
    }

    /// As attributes, scrubbed.
    pub(crate) fn put(self, scrubber: &Scrubber, attributes: &mut Attributes) {
        if let Some(path) = self.path {
            attributes.text(key::URL_PATH, scrubber.path(path));
        }
        if let Some(query) = self.query {
            attributes.text(key::URL_QUERY, scrubber.query(query));
        }
        if let Some(agent) = self.agent {
            attributes.text(key::USER_AGENT, scrubber.repeated_text(agent));
        }
        let (host, port) = self.authority.map_or((None, None), split_host);
        if let Some(host) = host {
            attributes.text(key::SERVER_ADDRESS, scrubber.repeated_text(host));
            if let Some(port) = port {
                attributes.number(key::SERVER_PORT, port);
            }
        }
    }

    /// As one attribute that waits for [`settle`]. Not those that are to be cut: a secret at the cut has to be whole when it is
    /// looked for.
    pub(crate) fn put_off(self, attributes: &mut Attributes) -> bool {
        let texts = self.texts();
        let mut len = 0_usize;
        for text in texts.iter().filter_map(|(_, text)| *text) {
            if text.len() > MAX_TEXT {
                return false;
            }
            len = len.saturating_add(text.len()).saturating_add(2);
        }
        let mut waiting = String::with_capacity(len);
        for (kind, text) in texts {
            if let Some(text) = text {
                waiting.push(kind);
                waiting.push_str(text);
                waiting.push(END);
            }
        }
        attributes.put_off(WAITING, waiting);
        true
    }

    fn read(waiting: &'r str) -> Self {
        let mut read = Self::default();
        for text in waiting.split(END) {
            let mut rest = text.chars();
            let place = match rest.next() {
                Some('p') => &mut read.path,
                Some('q') => &mut read.query,
                Some('u') => &mut read.agent,
                Some('h') => &mut read.authority,
                _ => continue,
            };
            *place = Some(rest.as_str());
        }
        read
    }
}

/// Puts scrubbed attributes in the place of those that wait. Returns whether some did.
pub(crate) fn settle(scrubber: &Scrubber, attributes: &mut Vec<KeyValue>) -> bool {
    let Some(place) = attributes.iter().position(|attribute| attribute.key.as_str() == WAITING) else { return false };
    let mut settled = Attributes::default();
    if let Some(KeyValue { value: Value::String(waiting), .. }) = attributes.get(place) {
        Unscrubbed::read(waiting.as_str()).put(scrubber, &mut settled);
    }
    attributes.splice(place..=place, settled.into_vec());
    true
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check(head: Unscrubbed<'_>) {
        let scrubber = Scrubber::default();
        let (mut at_once, mut later) = (Attributes::default(), Attributes::default());
        for attributes in [&mut at_once, &mut later] {
            attributes.word("before", "a");
        }
        head.put(&scrubber, &mut at_once);
        assert!(head.put_off(&mut later));
        for attributes in [&mut at_once, &mut later] {
            attributes.word("after", "b");
        }
        let mut later = later.into_vec();
        assert_eq!(later.len(), 3);
        assert!(settle(&scrubber, &mut later));
        assert_eq!(later, at_once.into_vec(), "{head:?}");
        assert!(!settle(&scrubber, &mut later));
    }

    #[test]
    fn what_waits_is_scrubbed_as_it_would_have_been_at_once() {
        check(Unscrubbed::default());
        check(Unscrubbed { path: Some("/"), query: Some(""), agent: Some(""), authority: Some("") });
        check(Unscrubbed {
            path: Some("/reset-password/8f14e45fceea167a5a36dedd4bea2543"),
            query: Some("q=1&token=8f14e45fceea167a5a36dedd4bea2543"),
            agent: Some("ghp_8f14e45fceea167a5a36dedd4bea25438f14e45f"),
            authority: Some("ann:secret@shop.example:8080"),
        });
    }

    #[test]
    fn a_text_that_is_to_be_cut_does_not_wait() {
        let long = "x".repeat(MAX_TEXT + 1);
        let mut attributes = Attributes::default();
        assert!(!Unscrubbed { query: Some(&long), ..Unscrubbed::default() }.put_off(&mut attributes));
        assert_eq!(attributes.len(), 0);
        check(Unscrubbed { query: Some(&long[1..]), ..Unscrubbed::default() });
    }

    #[test]
    fn whatever_stands_under_the_key_nothing_of_it_stays() {
        for value in [Value::from("no kind"), Value::from("\n\n"), Value::from(7)] {
            let mut attributes = vec![KeyValue::new(WAITING, value)];
            assert!(settle(&Scrubber::default(), &mut attributes));
            assert!(attributes.is_empty());
        }
    }

    proptest! {
        #[test]
        fn any_head_is_scrubbed_the_same_later(
            path in prop::option::of("\\PC{0,100}"),
            query in prop::option::of("\\PC{0,100}"),
            agent in prop::option::of("\\PC{0,100}"),
            authority in prop::option::of("\\PC{0,50}"),
        ) {
            check(Unscrubbed {
                path: path.as_deref(),
                query: query.as_deref(),
                agent: agent.as_deref(),
                authority: authority.as_deref(),
            });
        }
    }
}
