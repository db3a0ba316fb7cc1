//! Lines in their formats.

mod ecs;
pub(crate) mod escape;
mod json;
mod pretty;
mod record;
pub(crate) mod time;
mod value;

use std::time::Duration;

use tracing::Level;

pub(crate) use self::{
    record::{Access, Captured, Context, Line, Names, Shown, UserAgent},
    value::{Field, MAX_FIELDS, MAX_VALUE, Value},
};

/// How a line is written. All formats have the same contents; `docs/log-fields.md` lists every field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Format {
    /// A JSON object a line, with OpenTelemetry's names.
    Json,
    /// A JSON object a line, with the names of the Elastic Common Schema, for Elasticsearch.
    Ecs,
    /// For people, without colors.
    Pretty,
    /// For people at a terminal.
    Color,
}

/// The fields on every line of a process: its service.
#[derive(Clone, Debug, Default)]
pub(crate) struct Service {
    pub(crate) name: Option<String>,
    pub(crate) version: Option<String>,
    pub(crate) environment: Option<String>,
    pub(crate) region: Option<String>,
}

/// Writes lines of one format. What never changes is rendered once.
pub(crate) struct Encoder {
    format: Format,
    constants: Vec<u8>,
    /// The same for exchanges' lines, where they differ.
    access: Vec<u8>,
}

impl Encoder {
    pub(crate) fn new(format: Format, service: &Service) -> Self {
        let constants = match format {
            Format::Json => json::constants(service),
            Format::Ecs => ecs::constants(service),
            Format::Pretty | Format::Color => Vec::new(),
        };
        let access = if format == Format::Json { json::access_constants(&constants) } else { Vec::new() };
        Self { format, constants, access }
    }

    pub(crate) fn format(&self) -> Format {
        self.format
    }

    /// Appends the line of an exchange, newline included.
    pub(crate) fn access(&self, out: &mut Vec<u8>, access: &Access<'_>) {
        match self.format {
            Format::Json => json::access(out, &self.access, access),
            Format::Ecs => ecs::access(out, &self.constants, access),
            Format::Pretty => pretty::access(out, pretty::PLAIN, access),
            Format::Color => pretty::access(out, pretty::COLOR, access),
        }
        out.push(b'\n');
    }

    /// Appends a line that was logged, newline included.
    pub(crate) fn line(&self, out: &mut Vec<u8>, line: &Line<'_>) {
        match self.format {
            Format::Json => json::line(out, &self.constants, line),
            Format::Ecs => ecs::line(out, &self.constants, line),
            Format::Pretty => pretty::line(out, pretty::PLAIN, line),
            Format::Color => pretty::line(out, pretty::COLOR, line),
        }
        out.push(b'\n');
    }
}

/// Appends fields as a separate JSON object.
pub(crate) fn object(out: &mut Vec<u8>, fields: &[Field<'_>]) {
    json::object(out, fields);
}

/// The level's name on a line: `info`.
const fn level_name(level: Level) -> &'static str {
    match level {
        Level::ERROR => "error",
        Level::WARN => "warn",
        Level::INFO => "info",
        Level::DEBUG => "debug",
        Level::TRACE => "trace",
    }
}

/// Appends a duration in milliseconds with three decimals: `1.234`.
#[inline]
fn millis(out: &mut Vec<u8>, duration: Duration) {
    // Most take less than ten milliseconds.
    match time::digits(duration.subsec_micros()) {
        [_, _, b'0', b'0', whole, tenths, hundredths, thousandths] if duration.as_secs() == 0 => {
            out.extend_from_slice(&[whole, b'.', tenths, hundredths, thousandths]);
        }
        _ => long_millis(out, duration),
    }
}

#[inline(never)]
fn long_millis(out: &mut Vec<u8>, duration: Duration) {
    let whole = duration.as_secs().saturating_mul(1_000).saturating_add(duration.subsec_millis().into());
    out.extend_from_slice(itoa::Buffer::new().format(whole).as_bytes());
    out.extend_from_slice(&time::fraction::<4>(duration.subsec_micros()));
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_short_duration_is_written_as_a_long_one_is(seconds in 0..2_u64, micros in 0..20_000_u32) {
            for micros in [micros, micros.saturating_mul(50)] {
                let duration = Duration::from_secs(seconds).saturating_add(Duration::from_nanos(u64::from(micros).saturating_mul(1000).saturating_add(999)));
                let (mut one, mut other) = (Vec::new(), Vec::new());
                millis(&mut one, duration);
                long_millis(&mut other, duration);
                prop_assert_eq!(String::from_utf8(one), String::from_utf8(other));
            }
        }
    }
}
