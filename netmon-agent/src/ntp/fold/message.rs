//! Folds as the server stores them.

use netmon_common::wire::NtpFold;

use super::Folded;

impl Folded {
    /// The fold as the server stores it. `interface` is the name of its scope's index.
    pub fn message(&self, interface: &str) -> NtpFold {
        let figures = &self.figures;
        let values = figures.values();
        let letters = |code: [u8; 4]| {
            let letters = code.into_iter().take_while(|octet| *octet != 0);
            letters.map(char::from).collect()
        };
        NtpFold {
            newest: Some(self.newest.message(interface)),
            newest_answered: self.newest_answered.as_ref().map(|f| f.message(interface)),
            first_at_unix_ns: figures.first_unix_ns,
            exchanges: figures.exchanges.into(),
            answered: figures.answered.into(),
            kisses: figures.kisses.into(),
            kiss_code: figures
                .kiss
                .map(|(code, _)| letters(code))
                .unwrap_or_default(),
            kissed_at_unix_ns: figures.kiss.map_or(0, |(_, at_ns)| at_ns),
            response_time_min_ns: figures.response_time.ends.map(|(least, _)| least),
            response_time_max_ns: figures.response_time.ends.map(|(_, most)| most),
            response_time_sum_ns: figures.response_time.absolute_sum,
            server_processing_sum_ns: figures.processing.absolute_sum,
            offset_min_ns: figures.offset.ends.map(|(least, _)| least),
            offset_max_ns: figures.offset.ends.map(|(_, most)| most),
            absolute_offset_sum_ns: figures.offset.absolute_sum.unsigned_abs(),
            metric: values.iter().map(|counted| counted.metric as u32).collect(),
            value: values.iter().map(|counted| counted.value).collect(),
            count: values.iter().map(|counted| counted.count).collect(),
        }
    }
}
