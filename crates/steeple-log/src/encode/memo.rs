//! User agents that come again and again need to be scrubbed once.

use std::{
    cell::RefCell,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use steeple_scrub::{Scrubbed, Scrubber};

use super::{
    escape,
    record::{CUT, MAX_USER_AGENT},
};

/// Remembers, on each thread, what user agents look like on a line: a service sees few.
///
/// Bounded: 64 of at most 512 bytes a thread. One is remembered when it comes a second time, so that those that a client
/// makes up drive out the others without a single allocation.
#[derive(Debug)]
pub(crate) struct Memo {
    /// Whose they are: another scrubber makes something else of them.
    owner: u64,
}

struct Entry {
    owner: u64,
    fingerprint: u64,
    /// `None`: seen once.
    known: Option<Arc<Known>>,
}

/// A user agent that came before.
#[derive(Debug)]
pub(crate) struct Known {
    raw: Box<[u8]>,
    /// What it became.
    shown: Scrubbed<String>,
    /// The same as the inside of a JSON string.
    json: Box<[u8]>,
}

impl Known {
    fn new(scrubber: &Scrubber, raw: &[u8]) -> Self {
        let shown = scrubber.text(&String::from_utf8_lossy(raw)).cut(MAX_USER_AGENT, CUT).into_owned();
        let mut json = Vec::new();
        escape::json(&mut json, shown.as_deref());
        Self { raw: raw.into(), shown, json: json.into() }
    }

    pub(crate) fn text(&self) -> Scrubbed<&str> {
        self.shown.as_deref()
    }

    pub(crate) fn json(&self) -> &[u8] {
        &self.json
    }
}

const SLOTS: usize = 64;
const MAX_LEN: usize = 512;

thread_local! {
    static ENTRIES: RefCell<Vec<Option<Entry>>> = const { RefCell::new(Vec::new()) };
}

impl Memo {
    pub(crate) fn new() -> Self {
        static OWNERS: AtomicU64 = AtomicU64::new(0);
        Self { owner: OWNERS.fetch_add(1, Ordering::Relaxed) }
    }

    /// What a line shows of a user agent that came before.
    pub(crate) fn find(&self, scrubber: &Scrubber, raw: &[u8]) -> Option<Arc<Known>> {
        if raw.is_empty() || raw.len() > MAX_LEN {
            return None;
        }
        ENTRIES.try_with(|entries| self.find_among(&mut *entries.try_borrow_mut().ok()?, scrubber, raw)).ok()?
    }

    fn find_among(&self, entries: &mut Vec<Option<Entry>>, scrubber: &Scrubber, raw: &[u8]) -> Option<Arc<Known>> {
        if entries.is_empty() {
            entries.resize_with(SLOTS, || None);
        }
        let fingerprint = fingerprint(raw);
        let slot = entries.get_mut(usize::try_from(fingerprint >> 58).unwrap_or(0))?;
        match slot {
            Some(entry) if entry.owner == self.owner && entry.fingerprint == fingerprint => {
                let known = entry.known.get_or_insert_with(|| Arc::new(Known::new(scrubber, raw)));
                (*known.raw == *raw).then(|| Arc::clone(known))
            }
            _ => {
                *slot = Some(Entry { owner: self.owner, fingerprint, known: None });
                None
            }
        }
    }
}

/// Tells texts apart, mostly; who is taken for another is found out by comparing.
fn fingerprint(bytes: &[u8]) -> u64 {
    const ODD: u64 = 0x9e37_79b9_7f4a_7c15;
    let mix = |hash: u64, word: u64| (hash ^ word).wrapping_mul(ODD).rotate_left(29);
    let len = bytes.len() as u64;
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
    fn a_text_that_comes_again_is_scrubbed_and_escaped_the_same_each_time() {
        let (memo, scrubber) = (Memo::new(), Scrubber::default());
        for raw in [&b"curl/8.5"[..], b"bot Authorization: Bearer abcdef0123456789", b"a \"b\" \xff \x1b[31m"] {
            assert!(memo.find(&scrubber, raw).is_none(), "the first time");
            let text = String::from_utf8_lossy(raw);
            let mut json = Vec::new();
            escape::json(&mut json, scrubber.text(&text).as_deref());
            for _ in 0..3 {
                let known = memo.find(&scrubber, raw).unwrap();
                assert_eq!((known.text(), known.json()), (scrubber.text(&text).as_deref(), &json[..]));
            }
        }
    }

    #[test]
    fn what_one_scrubber_leaves_another_may_remove() {
        let lenient = Scrubber::builder().email(steeple_scrub::EmailPolicy::Keep).build().unwrap();
        let strict = Scrubber::default();
        let (one, two) = (Memo::new(), Memo::new());
        let text = "crawler (+mailto:bot@example.org)";
        for (memo, scrubber) in [(&one, &lenient), (&two, &strict), (&one, &lenient)] {
            assert!(memo.find(scrubber, text.as_bytes()).is_none(), "the first time, or driven out by the other");
            let known = memo.find(scrubber, text.as_bytes()).unwrap();
            assert_eq!(known.text(), scrubber.text(text).as_deref());
        }
    }

    #[test]
    fn texts_that_never_come_again_are_not_kept() {
        let (memo, scrubber) = (Memo::new(), Scrubber::default());
        for number in 0..10_000 {
            assert!(memo.find(&scrubber, format!("made up {number}").as_bytes()).is_none());
        }
        for _ in 0..3 {
            assert!(memo.find(&scrubber, &[b'x'; MAX_LEN + 1]).is_none(), "too long");
        }
        ENTRIES.with_borrow(|entries| {
            assert_eq!(entries.len(), SLOTS);
            assert!(entries.iter().flatten().all(|entry| entry.known.is_none()));
        });
    }
}
