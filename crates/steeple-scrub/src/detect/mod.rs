//! What a secret looks like. Each detector reads bytes from left to right, once: linear, without recursion.

mod command;
mod element;
pub(crate) mod email;
mod key;
mod list;
pub(crate) mod number;
mod odd;
pub(crate) mod pair;
mod parts;
pub(crate) mod pem;
pub(crate) mod phrase;
pub(crate) mod random;
pub(crate) mod remark;
pub(crate) mod scheme;
mod shape;
pub(crate) mod token;
pub(crate) mod userinfo;
mod value;
pub(crate) mod webhook;

use crate::marker::Rule;

/// A secret's place.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Finding {
    pub(crate) start: usize,
    pub(crate) end: usize,
    pub(crate) rule: Rule,
}

pub(crate) type Findings = Vec<Finding>;

pub(crate) fn add(findings: &mut Findings, start: usize, end: usize, rule: Rule) {
    if start < end {
        findings.push(Finding { start, end, rule });
    }
}

/// The byte at `index`; 0 past the end, which no detector takes for a part of anything.
#[inline]
pub(crate) fn at(text: &[u8], index: usize) -> u8 {
    text.get(index).copied().unwrap_or(0)
}

/// The byte before `index`; 0 at the beginning.
#[inline]
pub(crate) fn before(text: &[u8], index: usize) -> u8 {
    index.checked_sub(1).map_or(0, |index| at(text, index))
}

/// `text[start..end]`, empty when the range is invalid.
#[inline]
pub(crate) fn cut(text: &[u8], start: usize, end: usize) -> &[u8] {
    text.get(start..end).unwrap_or_default()
}

/// Bytes of some kind, to be asked one by one.
pub(crate) type Table = [bool; 256];

pub(crate) const fn table(has: &[u8]) -> Table {
    let mut table = [false; 256];
    let mut nth = 0_usize;
    while nth < has.len() {
        #[expect(clippy::indexing_slicing, reason = "evaluated by the compiler, which checks it")]
        {
            table[has[nth] as usize] = true;
        }
        nth = nth.saturating_add(1);
    }
    table
}

#[inline]
pub(crate) fn is_in(table: &Table, byte: u8) -> bool {
    table.get(usize::from(byte)).copied().unwrap_or(false)
}

static ALNUM: Table = table(b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz");

/// The same as [`u8::is_ascii_alphanumeric`], for loops over every byte.
#[inline]
pub(crate) fn is_alnum(byte: u8) -> bool {
    is_in(&ALNUM, byte)
}

/// Where the bytes from `start` on stop being what `is` accepts.
#[inline]
pub(crate) fn run(text: &[u8], start: usize, is: impl Fn(u8) -> bool) -> usize {
    let rest = text.get(start..).unwrap_or_default();
    start.saturating_add(rest.iter().position(|&byte| !is(byte)).unwrap_or(rest.len()))
}

/// The same, at most `max` bytes on: what may be rejected after all must not cost its whole length at each place.
#[inline]
pub(crate) fn run_max(text: &[u8], start: usize, max: usize, is: impl Fn(u8) -> bool) -> usize {
    run(cut(text, 0, text.len().min(start.saturating_add(max))), start, is)
}

/// Where the bytes that end at `end` began to be what `is` accepts, at most `max` bytes back.
#[inline]
pub(crate) fn run_back(text: &[u8], end: usize, max: usize, is: impl Fn(u8) -> bool) -> usize {
    let floor = end.saturating_sub(max);
    let mut start = end;
    while start > floor && is(before(text, start)) {
        start = start.saturating_sub(1);
    }
    start
}

#[inline]
pub(crate) const fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r')
}

/// Ends a value wherever it stands: the end of the text, white space, controls.
#[inline]
pub(crate) const fn is_blank(byte: u8) -> bool {
    byte <= b' ' || byte == 0x7f
}

#[inline]
pub(crate) const fn is_quote(byte: u8) -> bool {
    matches!(byte, b'"' | b'\'' | b'`')
}

#[inline]
pub(crate) const fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-')
}
