//! Texts that come again and again need to be scrubbed once: user agents, names of hosts, of which a service sees few.
//!
//! Bounded: 64 texts of at most 512 bytes a thread. A text is remembered when it comes a second time, so that texts that
//! a client makes up drive out the others without a single allocation.

use std::{borrow::Cow, cell::RefCell, rc::Rc};

use crate::{Scrubbed, Scrubber};

struct Entry {
    /// By whose policy: another one makes something else of the text.
    policy: u64,
    fingerprint: u64,
    /// `None`: seen once.
    known: Option<Rc<Known>>,
}

#[derive(Debug)]
struct Known {
    /// `None`: nothing was found in it.
    raw: Option<Box<str>>,
    /// What it became.
    scrubbed: Scrubbed<String>,
    /// See [`Recalled::is_plain`].
    is_plain: bool,
}

impl Known {
    fn new(scrubber: &Scrubber, text: &str) -> Self {
        let safe = scrubber.text(text);
        let is_plain = safe.bytes().all(|byte| matches!(byte, b' '..=b'~') && !matches!(byte, b'"' | b'\\'));
        Self { raw: (!safe.is_clean()).then(|| text.into()), scrubbed: safe.into_owned(), is_plain }
    }

    fn raw(&self) -> &str {
        self.raw.as_deref().unwrap_or(&self.scrubbed)
    }
}

/// What is left of a text that recurs, as [`Scrubber::recall`] remembers it. A cheap clone.
#[derive(Clone, Debug)]
pub struct Recalled(Rc<Known>);

impl Recalled {
    /// What [`Scrubber::text`] returns for the text.
    #[inline]
    pub fn text(&self) -> Scrubbed<&str> {
        self.0.scrubbed.as_deref()
    }

    /// Whether all of it is printable ASCII without `"` and `\`: then it needs no escapes in JSON.
    #[inline]
    pub fn is_plain(&self) -> bool {
        self.0.is_plain
    }
}

const SLOTS: usize = 64;
const MAX_LEN: usize = 512;

thread_local! {
    static ENTRIES: RefCell<Vec<Option<Entry>>> = const { RefCell::new(Vec::new()) };
}

/// The same as [`Scrubber::text`].
pub(crate) fn text<'t>(scrubber: &Scrubber, text: &'t str) -> Scrubbed<Cow<'t, str>> {
    if text.len() > MAX_LEN {
        return scrubber.text(text);
    }
    let remembered = ENTRIES.try_with(|entries| {
        let mut entries = entries.try_borrow_mut().ok()?;
        let known = remembered(&mut entries, scrubber, text.as_bytes())?;
        match &known.raw {
            None => known.scrubbed.vouch_for(text).map(Into::into),
            Some(raw) => (**raw == *text).then(|| known.scrubbed.clone().into()),
        }
    });
    remembered.ok().flatten().unwrap_or_else(|| scrubber.text(text))
}

/// What is remembered of a text. `None` the first time, and for texts that are too long or not UTF-8.
pub(crate) fn recall(scrubber: &Scrubber, text: &[u8]) -> Option<Recalled> {
    if text.len() > MAX_LEN {
        return None;
    }
    let recalled = ENTRIES.try_with(|entries| {
        let mut entries = entries.try_borrow_mut().ok()?;
        let known = remembered(&mut entries, scrubber, text)?;
        (known.raw().as_bytes() == text).then(|| Recalled(Rc::clone(known)))
    });
    recalled.ok().flatten()
}

/// What is remembered of a text with the same fingerprint.
#[inline]
fn remembered<'e>(entries: &'e mut Vec<Option<Entry>>, scrubber: &Scrubber, text: &[u8]) -> Option<&'e Rc<Known>> {
    if entries.is_empty() {
        entries.resize_with(SLOTS, || None);
    }
    let (policy, fingerprint) = (scrubber.policy.id, fingerprint(text));
    let slot = entries.get_mut(usize::try_from(fingerprint >> 58).unwrap_or(0))?;
    let is_known = slot.as_ref().is_some_and(|entry| entry.policy == policy && entry.fingerprint == fingerprint);
    if !is_known {
        *slot = Some(Entry { policy, fingerprint, known: None });
        return None;
    }
    let entry = slot.as_mut()?;
    if entry.known.is_none() {
        entry.known = Some(Rc::new(Known::new(scrubber, str::from_utf8(text).ok()?)));
    }
    entry.known.as_ref()
}

/// Tells texts apart, mostly; who is taken for another is found out by comparing.
pub(crate) fn fingerprint(bytes: &[u8]) -> u64 {
    const ODD: u64 = 0x9e37_79b9_7f4a_7c15;
    let mix = |hash: u64, word: u64| (hash ^ word).wrapping_mul(ODD).rotate_left(29);
    // Not the length alone, which a first byte can equal: nothing would be left of both.
    let len = bytes.len() as u64 ^ ODD;
    let hash = match bytes.last_chunk::<8>() {
        // The last eight overlap the ones before them: cheaper than up to seven one by one.
        Some(last) => {
            let (words, _) = bytes.as_chunks::<8>();
            words.iter().chain([last]).fold(len, |hash, word| mix(hash, u64::from_le_bytes(*word)))
        }
        None => bytes.iter().fold(len, |hash, byte| mix(hash, u64::from(*byte))),
    };
    mix(hash, hash >> 32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_that_comes_again_is_scrubbed_the_same_each_time() {
        let scrubber = Scrubber::default();
        for text in ["curl/8.5", "bot Authorization: Bearer abcdef0123456789", ""] {
            for _ in 0..4 {
                assert_eq!(scrubber.repeated_text(text), scrubber.text(text));
            }
        }
    }

    #[test]
    fn a_text_is_recalled_from_the_second_time_on() {
        let scrubber = Scrubber::default();
        let texts =
            [("curl/8.6", true), ("a \"b\"", false), ("caf\u{e9}", false), ("bot a@example.org", true), ("", true)];
        for (text, is_plain) in texts {
            assert!(scrubber.recall(text.as_bytes()).is_none(), "{text}");
            for _ in 0..3 {
                let recalled = scrubber.recall(text.as_bytes()).unwrap();
                assert_eq!((recalled.text(), recalled.is_plain()), (scrubber.text(text).as_deref(), is_plain));
                assert_eq!(scrubber.repeated_text(text), scrubber.text(text));
            }
        }
        for text in [&b"caf\xe9"[..], &[b'x'; MAX_LEN + 1]] {
            assert!((0..3).all(|_| scrubber.recall(text).is_none()));
        }
    }

    #[test]
    fn a_field_that_comes_again_is_scrubbed_the_same_each_time() {
        let scrubber = Scrubber::default();
        for key in ["user_agent.original", "password", "pin", "code"] {
            for value in ["curl/8.7", "4711", "a@example.org", "false", "", "9f86d081884c7d659a2feaa0c55ad015"] {
                for _ in 0..4 {
                    assert_eq!(scrubber.repeated_field(key, value), scrubber.field(key, value), "{key} {value}");
                }
            }
        }
    }

    #[test]
    fn short_texts_are_told_apart() {
        let bytes = (0..=u8::MAX).map(|byte| vec![byte]);
        let pairs = (0..=u16::MAX).map(|pair| pair.to_le_bytes().to_vec());
        let mut seen: Vec<_> = bytes.chain(pairs).chain([vec![]]).map(|text| fingerprint(&text)).collect();
        let all = seen.len();
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen.len(), all);
    }

    #[test]
    fn what_one_policy_leaves_another_may_remove() {
        let lenient = Scrubber::builder().email(crate::EmailPolicy::Keep).build().unwrap();
        let strict = Scrubber::default();
        let text = "crawler (+mailto:bot@example.org)";
        assert_ne!(lenient.text(text), strict.text(text));
        for _ in 0..3 {
            assert_eq!(lenient.repeated_text(text), lenient.text(text));
            assert_eq!(strict.repeated_text(text), strict.text(text));
        }
    }

    #[test]
    fn texts_that_never_come_again_are_not_kept() {
        let scrubber = Scrubber::default();
        for text in (0..10_000).map(|number| format!("made up {number}")) {
            assert_eq!(scrubber.repeated_text(&text), text.as_str());
        }
        ENTRIES.with_borrow(|entries| {
            assert_eq!(entries.len(), SLOTS);
            assert!(entries.iter().flatten().all(|entry| entry.known.is_none()));
        });
    }
}
