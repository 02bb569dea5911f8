//! What was measured, under flat keys: what `--json` writes, and all that the tables are made of.

use std::path::Path;

use serde_json::{Map, Value};

use crate::{BenchError, at};

/// Median, least and most.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spread {
    pub(crate) median: f64,
    pub(crate) least: f64,
    pub(crate) most: f64,
}

impl Spread {
    pub(crate) fn of(values: impl Iterator<Item = f64>) -> Self {
        let mut values: Vec<f64> = values.collect();
        values.sort_by(f64::total_cmp);
        let at = |index: usize| values.get(index).copied().unwrap_or(f64::NAN);
        let last = values.len().saturating_sub(1);
        Spread { median: (at(last / 2) + at(last.div_ceil(2))) / 2.0, least: at(0), most: at(last) }
    }

    /// Of two that took turns: the ratio of the medians, and the least and the most of a round.
    pub(crate) fn ratio(one: &[f64], other: &[f64]) -> Self {
        let median = |values: &[f64]| Self::of(values.iter().copied()).median;
        let rounds = Self::of(one.iter().zip(other).map(|(one, other)| one / other));
        Spread { median: median(one) / median(other), ..rounds }
    }

    /// Of the same thing in another unit.
    pub(crate) fn scaled(self, factor: f64) -> Self {
        let Spread { median, least, most } = self;
        Spread { median: median * factor, least: least * factor, most: most * factor }
    }
}

/// Figures by key. A spread has three: `KEY`, the median, `KEY_min` and `KEY_max`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Figures(Map<String, Value>);

impl Figures {
    /// Those in a file that [`Figures::write`] has written.
    pub fn read(path: &Path) -> Result<Self, BenchError> {
        let step = "read the figures";
        let text = fs_err::read_to_string(path).map_err(at(step))?;
        serde_json::from_str(&text).map(Self).map_err(|error| at(step)(error.into()))
    }

    /// Writes them to a file.
    pub fn write(&self, path: &Path) -> Result<(), BenchError> {
        let text = format!("{:#}\n", Value::Object(self.0.clone()));
        fs_err::write(path, text).map_err(at("write the figures"))
    }

    pub(crate) fn set(&mut self, key: &str, value: impl Into<Value>) {
        self.0.insert(key.to_owned(), value.into());
    }

    pub(crate) fn set_spread(&mut self, key: &str, spread: Spread) {
        // Microseconds are below what is measured.
        let rounded = |value: f64| (value * 1e6).round() / 1e6;
        self.set(key, rounded(spread.median));
        self.set(&format!("{key}_min"), rounded(spread.least));
        self.set(&format!("{key}_max"), rounded(spread.most));
    }

    pub(crate) fn has(&self, key: &str) -> bool {
        self.0.contains_key(key)
    }

    /// Whether there are keys that begin so.
    pub(crate) fn has_below(&self, prefix: &str) -> bool {
        self.0.keys().any(|key| key.starts_with(prefix))
    }

    /// These, with what was measured anew on the same machine. What is said of the machine is of
    /// the moment when the install was measured.
    pub fn renewed_by(mut self, measured: &Self) -> Result<Self, BenchError> {
        let is_same = |key| self.0.get(key) == measured.0.get(key);
        if !["machine.processor", "machine.cores"].into_iter().all(is_same) {
            let documented = self.text("machine.processor")?.to_owned();
            return Err(BenchError::OtherMachine { documented });
        }
        let of_install = measured.has("install.wall_seconds");
        for (key, value) in &measured.0 {
            if of_install || !key.starts_with("machine.") {
                self.set(key, value.clone());
            }
        }
        Ok(self)
    }

    pub(crate) fn number(&self, key: &str) -> Result<f64, BenchError> {
        self.get(key, Value::as_f64)
    }

    pub(crate) fn text(&self, key: &str) -> Result<&str, BenchError> {
        self.get(key, Value::as_str)
    }

    /// The texts under `key`, one after the other.
    pub(crate) fn list(&self, key: &str) -> Result<String, BenchError> {
        let texts = self.get(key, Value::as_array)?.iter().filter_map(Value::as_str);
        Ok(texts.collect::<Vec<_>>().join(", "))
    }

    pub(crate) fn spread(&self, key: &str) -> Result<Spread, BenchError> {
        Ok(Spread {
            median: self.number(key)?,
            least: self.number(&format!("{key}_min"))?,
            most: self.number(&format!("{key}_max"))?,
        })
    }

    fn get<'a, T>(
        &'a self,
        key: &str,
        read: impl FnOnce(&'a Value) -> Option<T>,
    ) -> Result<T, BenchError> {
        let value = self.0.get(key).and_then(read);
        value.ok_or_else(|| BenchError::NoFigure { key: key.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_of_an_even_number_lies_between() {
        let spread = Spread::of([4.0, 1.0, 3.0, 2.0].into_iter());
        assert_eq!(spread, Spread { median: 2.5, least: 1.0, most: 4.0 });
        assert_eq!(Spread::of([7.0].into_iter()).median, 7.0);
    }

    #[test]
    fn a_ratio_is_of_the_medians_and_its_spread_of_the_rounds() {
        let ratio = Spread::ratio(&[4.0, 6.0, 5.0], &[2.0, 2.0, 5.0]);
        assert_eq!(ratio, Spread { median: 2.5, least: 1.0, most: 3.0 });
    }

    #[test]
    fn a_part_measured_anew_leaves_the_others() {
        let of = |values: &[(&str, f64)]| {
            let mut figures = Figures::default();
            figures.set("machine.processor", "fast");
            for (key, value) in values {
                figures.set(key, *value);
            }
            figures
        };
        let documented = of(&[
            ("machine.load_average", 0.25),
            ("install.wall_seconds", 2.0),
            ("full.bytes", 5.0),
        ]);
        let delta = of(&[("machine.load_average", 3.0), ("full.bytes", 4.0)]);
        let renewed = documented.clone().renewed_by(&delta).unwrap();
        assert_eq!(renewed.number("full.bytes").unwrap(), 4.0);
        assert_eq!(renewed.number("install.wall_seconds").unwrap(), 2.0);
        assert_eq!(renewed.number("machine.load_average").unwrap(), 0.25);
        let install = of(&[("machine.load_average", 3.0), ("install.wall_seconds", 1.0)]);
        let renewed = renewed.renewed_by(&install).unwrap();
        assert_eq!(renewed.number("machine.load_average").unwrap(), 3.0);
        let mut other = delta;
        other.set("machine.processor", "slow");
        let error = documented.renewed_by(&other).unwrap_err();
        assert!(error.to_string().contains("another machine (fast)"), "{error}");
    }

    #[test]
    fn what_was_written_is_read_again() {
        let mut figures = Figures::default();
        figures.set_spread("install.wall_seconds", Spread { median: 2.5, least: 1.0, most: 4.0 });
        figures.set("machine.kernel", "6.18");
        let file = tempfile::NamedTempFile::new().unwrap();
        figures.write(file.path()).unwrap();
        let read = Figures::read(file.path()).unwrap();
        assert_eq!(read, figures);
        assert_eq!(read.spread("install.wall_seconds").unwrap().most, 4.0);
        let error = read.number("machine.kernel").unwrap_err();
        assert!(error.to_string().contains("machine.kernel"), "{error}");
    }
}
