use serde::{Serialize, Serializer};

/// A number as it is drawn: four significant digits, and `null` for unknown values.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Num(pub(crate) f64);

impl Num {
    fn rounded(self) -> f64 {
        let magnitude = self.0.abs().log10().floor();
        if !magnitude.is_finite() || magnitude >= 3.0 {
            return self.0.round();
        }
        #[expect(clippy::cast_possible_truncation, reason = "the logarithm of an f64 is a small number")]
        let scale = 10_f64.powi((3.0 - magnitude) as i32);
        (self.0 * scale).round() / scale
    }
}

impl Serialize for Num {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let rounded = self.rounded();
        if !self.0.is_finite() || !rounded.is_finite() {
            serializer.serialize_none()
        } else if rounded.fract() == 0.0 && rounded.abs() < 9e15 {
            #[expect(clippy::cast_possible_truncation, reason = "a whole number below 2^53")]
            serializer.serialize_i64(rounded as i64)
        } else {
            serializer.serialize_f64(rounded)
        }
    }
}

/// For fields that are numbers where something is known.
#[expect(clippy::ref_option, reason = "serde passes fields by reference")]
pub(crate) fn known<S: Serializer>(value: &Option<f64>, serializer: S) -> Result<S::Ok, S::Error> {
    Num(value.unwrap_or(f64::NAN)).serialize(serializer)
}

/// A count as a number.
#[expect(clippy::cast_precision_loss, reason = "counts below 9 quadrillion are exact")]
pub(crate) fn count(of: u64) -> f64 {
    of as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_four_digits_and_the_unknown_is_null() {
        for (number, text) in [
            (0.0, "0"),
            (1.0, "1"),
            (0.123_456, "0.1235"),
            (1234.5, "1235"),
            (12.345, "12.35"),
            (0.000_012_345, "0.00001235"),
            (1e12, "1000000000000"),
            (-0.5, "-0.5"),
            (f64::NAN, "null"),
            (f64::INFINITY, "null"),
        ] {
            let written = serde_json::to_string(&Num(number)).unwrap_or_default();
            let same = written.parse::<f64>().ok() == text.parse::<f64>().ok() && written.len() <= 12;
            assert!(written == text || same, "{number}: {written}, not {text}");
        }
    }
}
