//! Medians, and how sure they are.

use serde::Serialize;

/// A median with the bounds of its 95 % confidence interval.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(crate) struct Estimate {
    pub(crate) median: f64,
    pub(crate) low: f64,
    pub(crate) high: f64,
}

/// How many resamples the interval is read from.
const RESAMPLES: usize = 1000;

impl Estimate {
    /// The median of values and its interval by bootstrap (percentile method); `None` without values.
    pub(crate) fn of(values: &[f64]) -> Option<Self> {
        let median = median(values.to_vec())?;
        let mut random = Random(0x9E37_79B9_7F4A_7C15);
        let mut medians: Vec<f64> = (0..RESAMPLES)
            .filter_map(|_| self::median((0..values.len()).map(|_| values[random.below(values.len())]).collect()))
            .collect();
        medians.sort_by(f64::total_cmp);
        Some(Self { median, low: medians[RESAMPLES * 25 / 1000], high: medians[RESAMPLES * 975 / 1000 - 1] })
    }

    /// A value that is counted, not sampled.
    pub(crate) fn exact(value: f64) -> Self {
        Self { median: value, low: value, high: value }
    }
}

/// The middle value, or the mean of the two in the middle.
pub(crate) fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    let upper = *values.get(middle)?;
    Some(if values.len() % 2 == 1 { upper } else { f64::midpoint(values[middle - 1], upper) })
}

/// Marsaglia's xorshift: the same resamples in every run, so that equal data gives equal reports.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 33).unwrap_or_default() % limit
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle_or_between_two() {
        assert_eq!(median(vec![3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(vec![4.0, 1.0, 2.0, 3.0]), Some(2.5));
        assert_eq!(median(vec![]), None);
    }

    #[test]
    fn the_interval_holds_the_median_and_narrows_to_equal_values() {
        let wide = Estimate::of(&[1.0, 2.0, 3.0, 4.0, 100.0]).unwrap();
        assert!(wide.low < wide.median && wide.median < wide.high && wide.high <= 100.0);
        assert_eq!(Estimate::of(&[2.0; 10]), Some(Estimate::exact(2.0)));
    }
}
