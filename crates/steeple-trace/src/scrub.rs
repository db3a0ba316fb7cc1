//! Secrets out, lengths bounded.

use std::{
    borrow::Cow,
    fmt::{self, Write},
};

use opentelemetry::{Array, KeyValue, StringValue, Value};
pub(crate) use steeple_core::text::cut;
use steeple_scrub::{Scrubbed, Scrubber};

use crate::KeptTraces;

/// What every exported span goes through, also those of `#[tracing::instrument]` and of other libraries.
#[derive(Clone, Debug)]
pub(crate) struct Bounds {
    pub(crate) scrubber: Scrubber,
    /// In bytes.
    pub(crate) max_value: usize,
    /// Of a span.
    pub(crate) max_attributes: usize,
    /// The text that is read in this process: a copy of it stays here.
    pub(crate) kept: Option<KeptTraces>,
}

/// Beyond the part of a text that is shown, this much is recorded, so that a secret at the cut is still whole when it is looked for.
const MARGIN: usize = 4096;

impl Bounds {
    /// How many bytes of a text are recorded.
    pub(crate) fn max_recorded(&self) -> usize {
        self.max_value.saturating_add(MARGIN)
    }

    /// How many bytes are shown of a text that was recorded with `recorded` bytes and is scrubbed to `safe` bytes.
    ///
    /// Where the text was cut, its end may be half of a secret: that part is not shown.
    pub(crate) fn max_shown(&self, recorded: usize, safe: usize) -> usize {
        /// A cut at a character's boundary may leave out this much.
        const CHAR: usize = 4;
        let was_cut = recorded.saturating_add(CHAR) > self.max_recorded();
        self.max_value.min(if was_cut { safe.saturating_sub(MARGIN) } else { safe })
    }

    /// The formatted text, scrubbed, in at most so many bytes. Formatting stops there.
    pub(crate) fn formatted(&self, text: fmt::Arguments<'_>) -> Scrubbed<String> {
        let recorded = Recorded::of(self.max_recorded(), text).text;
        let safe = self.scrubber.text(&recorded);
        let max = self.max_shown(recorded.len(), safe.len());
        safe.cut(max, "").into_owned()
    }

    pub(crate) fn attribute(&self, attribute: &mut KeyValue) {
        let key = attribute.key.as_str();
        #[expect(clippy::wildcard_enum_match_arm, reason = "the SDK's enum: truths, and numbers in heaps")]
        match &mut attribute.value {
            Value::String(text) => {
                if let Some(changed) = self.bounded(self.scrubber.repeated_field(key, text.as_str()), text.as_str()) {
                    *text = changed.into();
                }
            }
            Value::Array(Array::String(texts)) => {
                for text in texts {
                    if let Some(changed) = self.bounded(self.scrubber.repeated_field(key, text.as_str()), text.as_str())
                    {
                        *text = StringValue::from(changed);
                    }
                }
            }
            number @ (Value::I64(_) | Value::F64(_)) => {
                if let Some(changed) = self::number(&self.scrubber, key, number) {
                    *number = changed.into();
                }
            }
            _ => (),
        }
        if let Some(changed) = self.changed_name(key) {
            attribute.key = changed.into();
        }
    }

    /// A name as it may leave, if that is another: a span's or an attribute's, of which a program has a few.
    pub(crate) fn changed_name(&self, name: &str) -> Option<String> {
        self.bounded(self.scrubber.repeated_text(name), name)
    }

    /// The text as it may leave, if that is another.
    pub(crate) fn bounded(&self, safe: Scrubbed<Cow<'_, str>>, text: &str) -> Option<String> {
        let max = self.max_shown(text.len(), safe.len());
        let safe = safe.cut(max, "");
        (!safe.is_clean() || safe.len() < text.len()).then(|| safe.into_inner().into_owned())
    }
}

/// The placeholder for a number that must not be shown: a card's number is as secret as a number as it is as a text.
pub(crate) fn number(scrubber: &Scrubber, key: &str, number: &Value) -> Option<String> {
    let text = number.as_str();
    let safe = scrubber.repeated_field(key, &text);
    (!safe.is_clean()).then(|| safe.into_inner().into_owned())
}

/// A text that is cut while it is formatted.
pub(crate) struct Recorded {
    pub(crate) text: String,
    max: usize,
    pub(crate) was_cut: bool,
}

impl Recorded {
    /// The first `max` bytes of the text.
    pub(crate) fn of(max: usize, text: fmt::Arguments<'_>) -> Self {
        let mut recorded = Self { text: String::new(), max, was_cut: false };
        // An error is our own bound, or a `Debug` that fails half-way: what there is stays.
        let _cut = recorded.write_fmt(text);
        recorded
    }
}

impl Write for Recorded {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let fits = cut(text, self.max.saturating_sub(self.text.len()));
        self.text.push_str(fits);
        self.was_cut = fits.len() < text.len();
        if self.was_cut { Err(fmt::Error) } else { Ok(()) }
    }
}
