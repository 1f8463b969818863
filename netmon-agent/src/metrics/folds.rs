//! Exchanges by how they become records.

use prometheus::{IntCounter, IntCounterVec, IntGauge, Registry};

use super::{
    describe::{counter, gauge, vec},
    raise,
};
use crate::ntp::fold::Fold;

const DETAILS: [&str; 2] = ["whole", "folded"];
const CAUSES: [&str; 2] = ["table_full", "fold_full"];

/// What is folded, and what is not.
#[derive(Debug)]
pub struct Folds {
    records: IntCounterVec,
    folds: IntCounter,
    early: IntCounterVec,
    notable_folded: IntCounter,
    open: IntGauge,
    open_exchanges: IntGauge,
    folding: IntGauge,
}

impl Folds {
    pub(super) fn new(registry: &Registry) -> Self {
        let r = registry;
        let metrics = Self {
            records: vec(
                r,
                "ntp_recorded_total",
                "NTP exchanges handed over for storage, each as it was or counted within a fold.",
                &["detail"],
            ),
            folds: counter(
                r,
                "ntp_folds_total",
                "Folds of NTP exchanges handed over for storage.",
            ),
            early: vec(
                r,
                "ntp_folds_ended_early_total",
                "Folds that ended before their window did, by cause.",
                &["cause"],
            ),
            notable_folded: counter(
                r,
                "ntp_notable_folded_total",
                "NTP exchanges that would have become records of their own, beyond 200 a second.",
            ),
            open: gauge(r, "ntp_folds_open", "Folds that are not handed over yet."),
            open_exchanges: gauge(
                r,
                "ntp_folds_open_exchanges",
                "NTP exchanges in these folds.",
            ),
            folding: gauge(
                r,
                "ntp_folding",
                "1 while NTP exchanges are folded by client and server.",
            ),
        };
        for detail in DETAILS {
            metrics.records.with_label_values(&[detail]);
        }
        for cause in CAUSES {
            metrics.early.with_label_values(&[cause]);
        }
        metrics
    }

    /// Takes over totals and the state.
    pub fn update(&self, fold: &Fold) {
        let shares = fold.shares();
        for (detail, total) in DETAILS.into_iter().zip([shares.whole, shares.folded]) {
            raise(&self.records.with_label_values(&[detail]), total);
        }
        for (cause, total) in CAUSES
            .into_iter()
            .zip([shares.table_full, shares.fold_full])
        {
            raise(&self.early.with_label_values(&[cause]), total);
        }
        raise(&self.folds, shares.folds);
        raise(&self.notable_folded, shares.notable_folded);
        let (folds, exchanges) = fold.open();
        self.open.set(i64::try_from(folds).unwrap_or(i64::MAX));
        self.open_exchanges
            .set(i64::try_from(exchanges).unwrap_or(i64::MAX));
        self.folding.set(fold.is_folding().into());
    }
}
