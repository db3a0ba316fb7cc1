//! Puts markers into a text without touching, or copying, a text that needs none.

use std::{borrow::Cow, ops::Range};

/// Collects replacements from left to right.
pub(crate) struct Splice<'t> {
    text: &'t str,
    out: String,
    done: usize,
}

impl<'t> Splice<'t> {
    pub(crate) const fn new(text: &'t str) -> Self {
        Self { text, out: String::new(), done: 0 }
    }

    /// Replaces `range` with `by`. Ranges come in order; what overlaps the one before is cut off. Ranges are widened to
    /// whole characters.
    pub(crate) fn replace(&mut self, range: Range<usize>, by: &str) {
        let start = floor(self.text, range.start).max(self.done);
        let end = ceil(self.text, range.end).max(start);
        self.out.push_str(self.text.get(self.done..start).unwrap_or_default());
        self.out.push_str(by);
        self.done = end;
    }

    /// The text: borrowed when nothing was replaced.
    pub(crate) fn finish(mut self) -> Cow<'t, str> {
        if self.done == 0 && self.out.is_empty() {
            return Cow::Borrowed(self.text);
        }
        self.out.push_str(self.text.get(self.done..).unwrap_or_default());
        Cow::Owned(self.out)
    }
}

fn floor(text: &str, mut at: usize) -> usize {
    at = at.min(text.len());
    while !text.is_char_boundary(at) {
        at = at.saturating_sub(1);
    }
    at
}

fn ceil(text: &str, mut at: usize) -> usize {
    at = at.min(text.len());
    while !text.is_char_boundary(at) {
        at = at.saturating_add(1);
    }
    at
}
