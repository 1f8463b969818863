//! A histogram of durations that takes many at once: what agents counted together comes with counts by
//! bucket, of which there may be a million.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use prometheus::{
    Registry,
    core::{Collector, Desc},
    proto::{Bucket, Histogram, LabelPair, Metric, MetricFamily, MetricType},
};

use super::{REGISTERED, buckets, register, seconds};
use crate::store::Spread;

/// Buckets of a decade in roll-ups, the first of which begins at 10 us.
const PER_DECADE: f64 = 20.0;
const FIRST_SECONDS: f64 = 1e-5;

/// All clones are the same histogram.
#[derive(Clone, Debug)]
pub(super) struct Durations(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    desc: Desc,
    label: Option<&'static str>,
    bounds: Vec<f64>,
    /// By the label's value; one with the empty string if there is no label.
    series: Mutex<BTreeMap<String, Series>>,
}

#[derive(Debug)]
struct Series {
    /// By bucket; the last has no upper bound.
    counts: Vec<u64>,
    sum: f64,
}

impl Durations {
    pub(super) fn new(
        registry: &Registry,
        name: &str,
        help: &str,
        label: Option<&'static str>,
    ) -> Self {
        let labels = label.into_iter().map(str::to_owned).collect();
        let desc = Desc::new(name.to_owned(), help.to_owned(), labels, HashMap::new());
        let durations = Self(Arc::new(Inner {
            desc: desc.expect(REGISTERED),
            label,
            bounds: buckets(),
            series: Mutex::default(),
        }));
        if label.is_none() {
            durations.change("", |_, _| {});
        }
        register(registry, durations)
    }

    /// Counts one.
    pub(super) fn observe(&self, label: &str, ns: i64) {
        let seconds = seconds(ns).abs();
        self.change(label, |bounds, series| {
            series.count(bounds, seconds, 1);
            series.sum += seconds;
        });
    }

    /// Counts many, each in the middle of its bucket.
    pub(super) fn add(&self, label: &str, spread: &Spread) {
        if spread.buckets.is_empty() {
            return;
        }
        self.change(label, |bounds, series| {
            for (bucket, count) in &spread.buckets {
                let middle = (*bucket as f64 + 0.5) / PER_DECADE;
                series.count(bounds, FIRST_SECONDS * 10_f64.powf(middle), *count);
            }
            series.sum += seconds(spread.sum_ns);
        });
    }

    fn change(&self, label: &str, change: impl FnOnce(&[f64], &mut Series)) {
        let bounds = &self.0.bounds;
        let mut all = self.0.lock();
        if let Some(series) = all.get_mut(label) {
            return change(bounds, series);
        }
        let series = all.entry(label.to_owned()).or_insert_with(|| Series {
            counts: vec![0; bounds.len() + 1],
            sum: 0.0,
        });
        change(bounds, series);
    }
}

impl Inner {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Series>> {
        // Whoever panicked has left numbers.
        self.series.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Series {
    fn count(&mut self, bounds: &[f64], seconds: f64, count: u64) {
        let bucket = bounds.partition_point(|bound| *bound < seconds);
        self.counts[bucket] = self.counts[bucket].saturating_add(count);
    }

    fn shown(&self, bounds: &[f64]) -> Histogram {
        let mut below = 0_u64;
        let counted = bounds.iter().zip(&self.counts).map(|(bound, count)| {
            below = below.saturating_add(*count);
            let mut bucket = Bucket::default();
            bucket.set_upper_bound(*bound);
            bucket.set_cumulative_count(below);
            bucket
        });
        let mut histogram = Histogram::default();
        histogram.set_bucket(counted.collect());
        let all = self
            .counts
            .iter()
            .fold(0_u64, |all, n| all.saturating_add(*n));
        histogram.set_sample_count(all);
        histogram.set_sample_sum(self.sum);
        histogram
    }
}

impl Collector for Durations {
    fn desc(&self) -> Vec<&Desc> {
        vec![&self.0.desc]
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let Inner {
            desc,
            label,
            bounds,
            ..
        } = &*self.0;
        let metric = |(value, series): (&String, &Series)| {
            let labels = label.map(|name| {
                let mut pair = LabelPair::default();
                pair.set_name(name.to_owned());
                pair.set_value(value.clone());
                pair
            });
            let mut metric = Metric::from_label(labels.into_iter().collect());
            metric.set_histogram(series.shown(bounds));
            metric
        };
        let metrics: Vec<_> = self.0.lock().iter().map(metric).collect();
        if metrics.is_empty() {
            return Vec::new();
        }
        let mut family = MetricFamily::default();
        family.set_name(desc.fq_name.clone());
        family.set_help(desc.help.clone());
        family.set_field_type(MetricType::HISTOGRAM);
        family.set_metric(metrics);
        vec![family]
    }
}

#[cfg(test)]
mod tests {
    use prometheus::{Encoder as _, TextEncoder};

    use super::*;

    fn text(registry: &Registry) -> String {
        let mut text = Vec::new();
        TextEncoder::new()
            .encode(&registry.gather(), &mut text)
            .unwrap();
        String::from_utf8(text).unwrap()
    }

    #[test]
    fn what_comes_counted_falls_into_the_buckets_of_what_comes_one_by_one() {
        let of_values = |add: &dyn Fn(&Durations, i64)| {
            let registry = Registry::new();
            let durations = Durations::new(&registry, "took_seconds", "Time.", None);
            for ns in [4_000, 15_000, 999_000, 1_100_000, 3_000_000, 20_000_000_000] {
                add(&durations, ns);
            }
            text(&registry)
        };
        let single = of_values(&|durations, ns| durations.observe("", -ns));
        let counted = of_values(&|durations, ns| {
            let bucket = (20.0 * (ns as f64 / 1e4).log10()).floor() as i64;
            let spread = Spread {
                buckets: vec![(bucket.clamp(-1, 120), 1)],
                sum_ns: ns,
            };
            durations.add("", &spread);
        });
        assert_eq!(single, counted);
        assert!(
            single.contains("took_seconds_bucket{le=\"0.001\"} 3\n"),
            "{single}"
        );
        assert!(
            single.contains("took_seconds_bucket{le=\"+Inf\"} 6\n"),
            "{single}"
        );
    }

    #[test]
    fn a_series_without_a_label_is_there_from_the_start() {
        let registry = Registry::new();
        let _none = Durations::new(&registry, "a_seconds", "Time.", None);
        let by_server = Durations::new(&registry, "b_seconds", "Time.", Some("server"));
        let shown = text(&registry);
        assert!(shown.contains("a_seconds_count 0\n") && !shown.contains("b_seconds"));
        let million = Spread {
            buckets: vec![(40, 1_000_000)],
            sum_ns: 1_000_000_000_000,
        };
        by_server.add("192.0.2.1", &million);
        let shown = text(&registry);
        for line in [
            "b_seconds_bucket{server=\"192.0.2.1\",le=\"0.001\"} 0\n",
            "b_seconds_bucket{server=\"192.0.2.1\",le=\"0.002\"} 1000000\n",
            "b_seconds_sum{server=\"192.0.2.1\"} 1000\n",
        ] {
            assert!(shown.contains(line), "{line} in\n{shown}");
        }
    }
}
