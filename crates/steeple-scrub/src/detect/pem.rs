//! Private keys in PEM, whole or cut off.

use super::{Findings, add, cut, run};
use crate::marker::Rule;

/// `-----BEGIN` is a run of that length.
pub(crate) const SHORTEST: u32 = 10;

const BEGIN: &[u8] = b"-----BEGIN ";
const END: &[u8] = b"-----END ";

/// No key is smaller, line breaks and dashes of its frame not counted.
const SMALLEST: usize = 60;

pub(crate) fn find(text: &[u8], findings: &mut Findings) {
    let mut from = 0;
    while let Some(at) = memchr::memmem::find(text.get(from..).unwrap_or_default(), BEGIN) {
        let start = from.saturating_add(at);
        let label = start.saturating_add(BEGIN.len());
        let label_end = label_end(text, label);
        from = label_end;
        if memchr::memmem::find(cut(text, label, label_end), b"PRIVATE KEY").is_none() {
            continue;
        }
        // A key that was cut off has no end: all that follows may be part of it.
        let body = text.get(label_end..).unwrap_or_default();
        let end = match memchr::memmem::find(body, END) {
            // A complete text this short is not a key: the smallest has 64 characters.
            Some(end) if end < SMALLEST => continue,
            Some(end) => {
                let label = label_end.saturating_add(end).saturating_add(END.len());
                run(text, self::label_end(text, label), |byte| byte == b'-')
            }
            None => text.len(),
        };
        add(findings, start, end, Rule::PrivateKey);
        from = end;
    }
}

/// The end of `RSA PRIVATE KEY`, at most 64 bytes on.
fn label_end(text: &[u8], start: usize) -> usize {
    let end = run(text, start, |byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b' ');
    end.min(start.saturating_add(64)).min(text.len())
}
