//! Values that the application puts in, gathered until the next minute.

use std::{
    borrow::Cow,
    collections::HashMap,
    mem,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use crate::{
    collect::to_f64,
    datum::{Datum, Unit, are_dimensions, check_number, dimension_value, is_name, rounded},
    drops::{Drops, Why},
    limits::MAX_VALUES,
};

/// Most different metrics of a minute.
const MAX_METRICS: usize = 1_000;
/// Most different values of a metric in a minute, as they are; beyond, they are rounded to two digits.
const MAX_EXACT: usize = 4 * MAX_VALUES;
/// Most different values of a metric in a minute, rounded; beyond, they are dropped.
const MAX_ROUNDED: usize = 8 * MAX_VALUES;

#[derive(Clone, Debug, Default)]
pub(crate) struct Custom(Arc<Mutex<HashMap<Key, Values>>>);

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Key {
    name: Cow<'static, str>,
    dimensions: Vec<(String, String)>,
    unit: Unit,
}

/// Values by their bits, and how often each was put.
#[derive(Debug, Default)]
struct Values {
    counts: HashMap<u64, u64>,
    are_rounded: bool,
}

impl Custom {
    pub(crate) fn put(
        &self,
        name: Cow<'static, str>,
        value: f64,
        unit: Unit,
        dimensions: &[(&str, &str)],
        drops: &Drops,
    ) {
        let value = match check_number(value) {
            Ok(value) => value,
            Err(refused) => return drops.add(refused.into(), 1),
        };
        if !is_name(&name) || !are_dimensions(dimensions.iter().map(|(name, _)| *name)) {
            return drops.add(Why::InvalidName, 1);
        }
        let mut dimensions: Vec<_> =
            dimensions.iter().map(|(name, value)| ((*name).to_owned(), dimension_value(value))).collect();
        // The order makes no difference to CloudWatch.
        dimensions.sort_unstable();
        let key = Key { name, dimensions, unit };
        let mut metrics = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_full = metrics.len() >= MAX_METRICS && !metrics.contains_key(&key);
        let is_dropped = is_full || !metrics.entry(key).or_default().add(value);
        drop(metrics);
        drops.add(Why::TooMany, u64::from(is_dropped));
    }

    /// The values since the last reading.
    pub(crate) fn take(&self, base: &[(Cow<'static, str>, String)], at: Duration) -> Vec<Datum> {
        let metrics = mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        let mut data = Vec::new();
        for (Key { name, dimensions, unit }, values) in metrics {
            let mut all = base.to_vec();
            // A dimension that is set here counts, and not the service's.
            all.retain(|(name, _)| dimensions.iter().all(|(other, _)| name != other));
            all.extend(dimensions.into_iter().map(|(name, value)| (Cow::Owned(name), value)));
            let dimensions = Arc::new(all);
            let mut sorted: Vec<_> =
                values.counts.into_iter().map(|(bits, count)| (f64::from_bits(bits), to_f64(count))).collect();
            sorted.sort_by(|(one, _), (other, _)| one.total_cmp(other));
            for values in sorted.chunks(MAX_VALUES) {
                let (name, dimensions) = (name.clone(), Arc::clone(&dimensions));
                data.push(Datum { name, dimensions, unit, at, values: values.to_vec() });
            }
        }
        // The map is unordered.
        data.sort_by(|one, other| (&one.name, &one.dimensions).cmp(&(&other.name, &other.dimensions)));
        data
    }
}

impl Values {
    fn add(&mut self, value: f64) -> bool {
        // -0 and 0 are one value.
        let value = if value.abs() < f64::MIN_POSITIVE { 0.0 } else { value };
        if !self.are_rounded && self.counts.len() >= MAX_EXACT && !self.counts.contains_key(&value.to_bits()) {
            self.are_rounded = true;
            for (bits, count) in mem::take(&mut self.counts) {
                let sum = self.counts.entry(rounded(f64::from_bits(bits), 2).to_bits()).or_default();
                *sum = sum.saturating_add(count);
            }
        }
        let value = if self.are_rounded { rounded(value, 2) } else { value };
        if self.counts.len() >= MAX_ROUNDED && !self.counts.contains_key(&value.to_bits()) {
            return false;
        }
        let count = self.counts.entry(value.to_bits()).or_default();
        *count = count.saturating_add(1);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(drops: &Drops, reason: &str) -> u64 {
        drops.all().into_iter().find(|(name, _)| *name == reason).unwrap().1
    }

    #[test]
    fn values_are_gathered_with_their_counts_by_metric_dimensions_and_unit() {
        let (custom, drops) = (Custom::default(), Drops::default());
        for value in [1.0, 2.0, 2.0, -0.0, 0.0] {
            custom.put("orders".into(), value, Unit::Count, &[("B", "b"), ("A", "a")], &drops);
            custom.put("orders".into(), value, Unit::Count, &[("A", "a"), ("B", "b")], &drops);
        }
        custom.put("orders".into(), 9.0, Unit::None, &[("Service", "")], &drops);
        let base = [("Service".into(), "shop".to_owned())];
        let data = custom.take(&base, Duration::from_secs(60));
        let [unitless, counted] = &data[..] else { panic!("{data:?}") };
        assert_eq!(*unitless.dimensions, [("Service".into(), "-".to_owned())]);
        assert_eq!(counted.values, [(0.0, 4.0), (1.0, 2.0), (2.0, 4.0)]);
        assert_eq!(counted.dimensions.len(), 3);
        assert!(custom.take(&base, Duration::from_secs(120)).is_empty(), "sent once");
        assert!(drops.all().iter().all(|(_, count)| *count == 0));
    }

    #[test]
    fn what_is_too_much_is_rounded_and_then_dropped_and_counted() {
        let (custom, drops) = (Custom::default(), Drops::default());
        for number in 0..100_000_u32 {
            custom.put("latency".into(), f64::from(number) * 1.001, Unit::Seconds, &[], &drops);
        }
        let data = custom.take(&[], Duration::ZERO);
        assert!(data.iter().all(|datum| datum.values.len() <= MAX_VALUES));
        let sent: f64 = data.iter().flat_map(|datum| &datum.values).map(|(_, count)| count).sum();
        assert!((sent - 100_000.0).abs() < 0.5, "{sent} of 100,000: two digits are few enough");
        for exponent in 0..700_i32 {
            for digits in [1.1, 2.2, 3.3] {
                custom.put("wide".into(), digits * 10_f64.powi(exponent % 100 - 50), Unit::None, &[], &drops);
            }
        }
        for number in 0..2_000 {
            custom.put(format!("metric{number}").into(), 1.0, Unit::Count, &[], &drops);
        }
        assert_eq!(count(&drops, "too_many"), 2_000 - (MAX_METRICS as u64 - 1));
        for value in [f64::NAN, f64::INFINITY, 1e200] {
            custom.put("bad".into(), value, Unit::Count, &[], &drops);
        }
        custom.put(":bad".into(), 1.0, Unit::Count, &[], &drops);
        custom.put("bad".into(), 1.0, Unit::Count, &[("A", "1"), ("A", "2")], &drops);
        let counts = ["not_finite", "out_of_range", "invalid_name"].map(|reason| count(&drops, reason));
        assert_eq!(counts, [2, 1, 2]);
    }
}
