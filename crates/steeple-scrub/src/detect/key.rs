//! The name before a separator, and how it is written.

use super::{Table, at, before, cut, is_in, is_quote, phrase::phrase, run_back, table};
use crate::name::{self, Class, Names};

/// What a name is written with: letters of any alphabet, digits and the signs of paths into structures.
static NAME: Table = {
    let mut name = table(b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz_-.$@[]");
    let mut byte = 0x80_usize;
    while byte < name.len() {
        #[expect(clippy::indexing_slicing, reason = "evaluated by the compiler, which checks it")]
        {
            name[byte] = true;
        }
        byte = byte.saturating_add(1);
    }
    name
};

#[inline]
pub(super) fn is_name(byte: u8) -> bool {
    is_in(&NAME, byte)
}

pub(super) struct Key<'t> {
    pub(super) class: Class,
    pub(super) name: &'t [u8],
    pub(super) end: usize,
    pub(super) quoted: bool,
    /// Its value goes on to the end of the line: `Authorization`, `Cookie`.
    pub(super) line: bool,
}

impl Key<'_> {
    /// A value of this name is nearly always secret; the others are asked first.
    #[inline]
    pub(super) fn is_sure(&self) -> bool {
        matches!(self.class, Class::Strong | Class::Word)
    }
}

/// The name before the separator at `sign`: where it is, and whether it is in quotes.
#[inline]
pub(super) fn name_before(text: &[u8], sign: usize) -> Option<(usize, usize, bool)> {
    // `password       = "…"`: the signs of some lines are aligned.
    let mut end = run_back(text, sign, 40, |byte| byte == b' ');
    let mut quoted = false;
    if at(text, end.wrapping_sub(1)) == b']' && is_quote(at(text, end.wrapping_sub(2))) {
        end = end.saturating_sub(1);
    }
    if is_quote(before(text, end)) {
        // Backticks quote a name in prose: "invalid value for `token`: must not be empty".
        quoted = before(text, end) != b'`';
        end = run_back(text, end.saturating_sub(1), 8, |byte| byte == b'\\');
    }
    let start = run_back(text, end, 64, is_name);
    (start < end).then_some((start, end, quoted))
}

/// The name before the separator at `sign`, and its class.
#[inline]
pub(super) fn key<'t>(text: &'t [u8], sign: usize, names: &Names) -> Option<Key<'t>> {
    let (start, end, quoted) = name_before(text, sign)?;
    let (class, name) = if quoted {
        (name::classify(cut(text, start, end), names), cut(text, start, end))
    } else {
        phrase(text, start, end, names)
    };
    let ends = |word: &[u8]| {
        name.len() >= word.len()
            && name.get(name.len().saturating_sub(word.len())..).is_some_and(|tail| tail.eq_ignore_ascii_case(word))
    };
    let line = class > Class::Weak && (ends(b"authorization") || ends(b"cookie"));
    Some(Key { class, name, end, quoted, line })
}
