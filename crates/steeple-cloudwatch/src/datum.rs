use std::{borrow::Cow, fmt::Write, sync::Arc, time::Duration};

use percent_encoding::utf8_percent_encode;
use steeple_core::date::rfc3339;

use crate::{
    limits::{MAX_DIMENSION_VALUE, MAX_DIMENSIONS, MAX_NAME, MAX_NUMBER},
    sign::STRICT,
};

/// The unit of a metric. A metric has one unit for ever: with another one it is another metric.
///
/// # Source
/// CloudWatch API reference, `MetricDatum`, `Unit`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
#[expect(missing_docs, reason = "the names are what there is to say")]
pub enum Unit {
    Seconds,
    Microseconds,
    Milliseconds,
    Bytes,
    Kilobytes,
    Megabytes,
    Gigabytes,
    Bits,
    Percent,
    Count,
    BytesPerSecond,
    CountPerSecond,
    #[default]
    None,
}

impl Unit {
    /// As CloudWatch has it: `Count/Second`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Seconds => "Seconds",
            Self::Microseconds => "Microseconds",
            Self::Milliseconds => "Milliseconds",
            Self::Bytes => "Bytes",
            Self::Kilobytes => "Kilobytes",
            Self::Megabytes => "Megabytes",
            Self::Gigabytes => "Gigabytes",
            Self::Bits => "Bits",
            Self::Percent => "Percent",
            Self::Count => "Count",
            Self::BytesPerSecond => "Bytes/Second",
            Self::CountPerSecond => "Count/Second",
            Self::None => "None",
        }
    }
}

/// The dimensions of a metric: names and values.
pub(crate) type Dimensions = Arc<Vec<(Cow<'static, str>, String)>>;

/// What one metric has come to in a minute.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Datum {
    pub(crate) name: Cow<'static, str>,
    pub(crate) dimensions: Dimensions,
    pub(crate) unit: Unit,
    /// Since the Unix epoch.
    pub(crate) at: Duration,
    /// Values, and how often each was there. Neither empty nor more than [`MAX_VALUES`](crate::limits::MAX_VALUES).
    pub(crate) values: Vec<(f64, f64)>,
}

impl Datum {
    /// At most how many bytes it takes in a request.
    pub(crate) fn bytes(&self) -> usize {
        /// `&MetricData.member.1000.Dimensions.member.30.Value=` is the longest.
        const KEY: usize = 52;
        /// A number of up to 24 characters.
        const NUMBER: usize = 24;
        let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.~".contains(byte);
        let encoded = |text: &str| {
            let escaped = text.bytes().filter(|byte| !plain(byte)).count();
            text.len().saturating_add(escaped.saturating_mul(2)).saturating_add(KEY)
        };
        let dimensions = self.dimensions.iter().map(|(name, value)| encoded(name).saturating_add(encoded(value)));
        let values = self.values.len().saturating_mul(2 * (KEY + NUMBER));
        dimensions.fold(encoded(&self.name).saturating_add(values).saturating_add(3 * KEY + 64), usize::saturating_add)
    }

    /// Appends the parameters of the datum with this number, from 1.
    pub(crate) fn write(&self, number: usize, out: &mut String) {
        let start = format!("&MetricData.member.{number}.");
        let mut pair = |key: &str, value: &str| {
            out.push_str(&start);
            out.push_str(key);
            out.push('=');
            out.extend(utf8_percent_encode(value, STRICT));
        };
        pair("MetricName", &self.name);
        for (index, (name, value)) in (1_usize..).zip(self.dimensions.iter()) {
            pair(&format!("Dimensions.member.{index}.Name"), name);
            pair(&format!("Dimensions.member.{index}.Value"), value);
        }
        pair("Timestamp", &rfc3339(self.at));
        pair("Unit", self.unit.as_str());
        if let [(value, count)] = &*self.values
            && is_one(*count)
        {
            pair("Value", &number_text(*value));
            return;
        }
        for (index, (value, count)) in (1_usize..).zip(&self.values) {
            pair(&format!("Values.member.{index}"), &number_text(*value));
            pair(&format!("Counts.member.{index}"), &number_text(*count));
        }
    }
}

pub(crate) fn is_one(count: f64) -> bool {
    (count - 1.0).abs() < f64::EPSILON
}

/// A number without more digits than it needs.
fn number_text(number: f64) -> String {
    let mut text = String::new();
    let size = number.abs();
    let plain = matches!(number.classify(), std::num::FpCategory::Zero) || (1e-5..1e15).contains(&size);
    let _infallible = if plain { write!(text, "{number}") } else { write!(text, "{number:e}") };
    text
}

/// Rounds to so many significant digits.
pub(crate) fn rounded(number: f64, digits: usize) -> f64 {
    format!("{number:.*e}", digits.saturating_sub(1)).parse().unwrap_or(number)
}

/// Why a value is not sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    NotFinite,
    OutOfRange,
}

/// Whether CloudWatch takes a number. One that it does not take has it refuse the whole request.
pub(crate) fn check_number(number: f64) -> Result<f64, Refused> {
    if !number.is_finite() {
        Err(Refused::NotFinite)
    } else if number.abs() > MAX_NUMBER {
        Err(Refused::OutOfRange)
    } else {
        Ok(number)
    }
}

/// Whether this can be the name of a metric or a dimension.
pub(crate) fn is_name(name: &str) -> bool {
    (1..=MAX_NAME).contains(&name.len()) && !name.starts_with(':') && is_text(name)
}

fn is_text(text: &str) -> bool {
    text.bytes().all(|byte| (b' '..=b'~').contains(&byte)) && !text.trim().is_empty()
}

/// A dimension's value as CloudWatch takes it: ASCII, not blank, not too long. `-` stands for an empty one.
pub(crate) fn dimension_value(value: &str) -> String {
    let ascii = value.chars().map(|char| if (' '..='~').contains(&char) { char } else { '?' });
    let text: String = ascii.take(MAX_DIMENSION_VALUE).collect();
    if text.trim().is_empty() { "-".to_owned() } else { text }
}

/// Whether these can be the dimensions of one metric.
pub(crate) fn are_dimensions<'a>(names: impl IntoIterator<Item = &'a str>) -> bool {
    let mut seen = Vec::new();
    names.into_iter().all(|name| {
        let is_new = !seen.contains(&name);
        seen.push(name);
        is_new && is_name(name) && seen.len() <= MAX_DIMENSIONS
    })
}

/// Whether this can be a namespace.
///
/// # Source
/// CloudWatch API reference, `PutMetricData`, `Namespace`; `AWS/` is reserved.
pub(crate) fn is_namespace(name: &str) -> bool {
    (1..=MAX_NAME).contains(&name.len())
        && !name.starts_with(':')
        && !name.starts_with("AWS/")
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-_/#: ".contains(&byte))
        && !name.trim().is_empty()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_follow_cloudwatchs_rules() {
        for good in ["shop", "Shop/API", "a", "my app", &"x".repeat(255)] {
            assert!(is_namespace(good), "{good}");
        }
        for bad in ["", " ", ":a", "AWS/EC2", "ü", "a\nb", "a=b", &"x".repeat(256)] {
            assert!(!is_namespace(bad), "{bad}");
        }
        for bad in ["", " ", ":a", "ü", "a\n", &"x".repeat(256)] {
            assert!(!is_name(bad), "{bad}");
        }
        assert!(are_dimensions(["a", "b"]) && !are_dimensions(["a", "a"]));
        let many: Vec<String> = (0..31).map(|number| format!("d{number}")).collect();
        assert!(are_dimensions(many.iter().take(30).map(String::as_str)));
        assert!(!are_dimensions(many.iter().map(String::as_str)));
        assert_eq!(dimension_value("/käse/{id}\n"), "/k?se/{id}?");
        assert_eq!((dimension_value(""), dimension_value(" ")), ("-".to_owned(), "-".to_owned()));
        assert_eq!(dimension_value(&"x".repeat(2000)).len(), 1024);
    }

    #[test]
    fn numbers_that_cloudwatch_refuses_are_not_sent() {
        for bad in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            assert_eq!(check_number(bad), Err(Refused::NotFinite));
        }
        assert_eq!(check_number(1.7e308), Err(Refused::OutOfRange));
        assert_eq!(check_number(-1.7e308), Err(Refused::OutOfRange));
        for exact in [2.0_f64.powi(360), -2.0_f64.powi(360), 0.0, 1e-9] {
            assert_eq!(check_number(exact), Ok(exact));
        }
        assert_eq!(check_number(2.0_f64.powi(361)), Err(Refused::OutOfRange));
        assert_eq!(
            (number_text(0.1), number_text(1e300), number_text(3.0)),
            ("0.1".into(), "1e300".into(), "3".into())
        );
        assert_eq!((rounded(1_234.567, 3), rounded(0.0, 3), rounded(-9.99, 2)), (1230.0, 0.0, -10.0));
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn a_datum_is_never_larger_than_it_claims(
            name in "[!-~]{1,255}",
            dimensions in prop::collection::vec(("[!-~]{1,255}", "[ -~]{1,1024}"), 0..30),
            values in prop::collection::vec((any::<f64>(), 1_u32..u32::MAX), 1..150),
        ) {
            let values: Vec<_> = values.into_iter().map(|(value, count)| (rounded(value, 17), f64::from(count))).collect();
            let dimensions = dimensions.into_iter().map(|(name, value)| (name.into(), value)).collect();
            let at = Duration::from_secs(1_795_985_484);
            let datum = Datum { name: name.into(), dimensions: Arc::new(dimensions), unit: Unit::Count, at, values };
            let mut out = String::new();
            datum.write(1_000, &mut out);
            prop_assert!(out.len() <= datum.bytes(), "{} > {}", out.len(), datum.bytes());
        }
    }
}
