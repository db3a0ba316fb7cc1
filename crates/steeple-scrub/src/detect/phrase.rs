//! A name in prose: one word, or the two or three that make one.

use super::{before, cut, is_word, run_back};
use crate::{
    marker::marker_len,
    name::{self, Class, Names},
};

/// What the configuration knows of names and markers.
#[derive(Clone, Copy)]
pub(crate) struct Known<'p> {
    pub(crate) names: &'p Names,
    pub(crate) markers: &'p [Box<str>],
}

impl Known<'_> {
    #[inline]
    pub(super) fn is_marker(self, value: &[u8]) -> bool {
        marker_len(value, self.markers) == Some(value.len())
    }
}

/// Words that others go before in a name.
const TAILS: [&[u8]; 8] = [b"key", b"id", b"number", b"code", b"phrase", b"string", b"token", b"no"];

/// The class of the word in `start..end`, or of the phrase that it ends: "API key", "social security number".
#[inline]
pub(super) fn phrase<'t>(text: &'t [u8], start: usize, end: usize, names: &Names) -> (Class, &'t [u8]) {
    let name = cut(text, start, end);
    let class = name::classify(name, names);
    let tail = || TAILS.iter().any(|tail| name.eq_ignore_ascii_case(tail));
    if class > Class::Weak || !(2..=6).contains(&name.len()) || !tail() {
        return (class, name);
    }
    longer(text, start, end, names).filter(|(longer, _)| *longer > class).unwrap_or((class, name))
}

/// The same of the word together with the one or two before it.
#[inline(never)]
fn longer<'t>(text: &'t [u8], start: usize, end: usize, names: &Names) -> Option<(Class, &'t [u8])> {
    let gap = run_back(text, start, 1, |byte| byte == b' ');
    let word = run_back(text, gap, 24, |byte| byte.is_ascii_alphabetic());
    // `<apiKey id="1">`: an element and its attribute.
    let tag = run_back(text, word, 24, |byte| is_word(byte) || byte == b':');
    if word == gap || before(text, tag) == b'<' {
        return None;
    }
    let space = run_back(text, word, 1, |byte| byte == b' ');
    let two = run_back(text, space, 24, |byte| byte.is_ascii_alphabetic());
    // `FROM secrets WHERE id = 7`: three words that make no name.
    let from = if joins(cut(text, word, gap)) { [word, word] } else { [word, two] };
    let phrases = from.map(|from| (name::classify(cut(text, from, end), names), cut(text, from, end)));
    phrases.into_iter().reduce(|best, phrase| if phrase.0 > best.0 { phrase } else { best })
}

/// Does a word join others rather than belong to a name?
fn joins(word: &[u8]) -> bool {
    const JOINS: [&[u8]; 17] = [
        b"where", b"and", b"or", b"on", b"by", b"set", b"from", b"the", b"of", b"in", b"is", b"for", b"with", b"as",
        b"to", b"has", b"no",
    ];
    JOINS.iter().any(|join| word.eq_ignore_ascii_case(join))
}
