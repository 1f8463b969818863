//! Encodes rows for `COPY … FROM STDIN BINARY`.
//!
//! The format is described in PostgreSQL's documentation of COPY ("Binary Format"); values are in
//! the form of each type's `*send` function.

use std::net::IpAddr;

/// PostgreSQL counts time from 2000-01-01, in microseconds.
pub(super) const POSTGRES_EPOCH_US: i64 = 946_684_800_000_000;

const TEXT_OID: u32 = 25;
const INT2_OID: u32 = 21;
const INT4_OID: u32 = 23;
const INT8_OID: u32 = 20;

/// What COPY is sent before the rows: signature, no flags, no header extension.
pub(super) const HEADER: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";

/// What COPY is sent after them.
pub(super) const TRAILER: &[u8] = &(-1_i16).to_be_bytes();

/// Most rows are smaller.
const ROW_BYTES: usize = 16 << 10;

/// The memory of many rows grows by so much.
const STEP_BYTES: usize = 1 << 20;

/// Rows of one table, one after the other, without the format's header and trailer: any part that
/// consists of whole rows can be sent by itself.
#[derive(Debug, Default)]
pub(super) struct CopyBuffer {
    bytes: Vec<u8>,
    rows: u32,
}

/// A place between two rows of a [`CopyBuffer`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Mark {
    bytes: usize,
    rows: u32,
}

impl Mark {
    /// Rows from an earlier place to this one.
    pub(super) fn rows_since(self, earlier: Self) -> u32 {
        self.rows - earlier.rows
    }
}

impl CopyBuffer {
    /// Rows begun so far.
    pub(super) fn rows(&self) -> u32 {
        self.rows
    }

    /// The place after the last row.
    pub(super) fn mark(&self) -> Mark {
        Mark {
            bytes: self.bytes.len(),
            rows: self.rows,
        }
    }

    /// Forgets what came after a place.
    pub(super) fn cut(&mut self, mark: Mark) {
        self.bytes.truncate(mark.bytes);
        self.rows = mark.rows;
    }

    /// The encoded rows between two places.
    pub(super) fn between(&self, from: Mark, to: Mark) -> &[u8] {
        &self.bytes[from.bytes..to.bytes]
    }

    /// All encoded rows.
    pub(super) fn all(&self) -> &[u8] {
        &self.bytes
    }

    /// Octets of all rows.
    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Begins a row of so many columns; exactly as many values must follow.
    pub(super) fn row(&mut self, columns: i16) {
        self.rows += 1;
        let left = self.bytes.capacity() - self.bytes.len();
        if left < ROW_BYTES && self.bytes.len() > STEP_BYTES {
            // Not to twice as much: each writer keeps its memory for the next group.
            self.bytes.reserve_exact(STEP_BYTES);
        }
        self.bytes.extend(columns.to_be_bytes());
    }

    pub(super) fn null(&mut self) {
        self.bytes.extend((-1_i32).to_be_bytes());
    }

    pub(super) fn bool(&mut self, value: bool) {
        self.value(&[u8::from(value)]);
    }

    pub(super) fn int2(&mut self, value: i16) {
        self.value(&value.to_be_bytes());
    }

    pub(super) fn int4(&mut self, value: i32) {
        self.value(&value.to_be_bytes());
    }

    pub(super) fn int8(&mut self, value: i64) {
        self.value(&value.to_be_bytes());
    }

    pub(super) fn text(&mut self, value: &str) {
        self.value(value.as_bytes());
    }

    /// A `timestamptz` from microseconds since 1970.
    pub(super) fn timestamp(&mut self, unix_us: i64) {
        self.int8(unix_us.saturating_sub(POSTGRES_EPOCH_US));
    }

    /// An `inet` that is one host.
    pub(super) fn inet(&mut self, address: IpAddr) {
        // PGSQL_AF_INET is 2 and PGSQL_AF_INET6 one more, whatever the platform's AF_INET6 is.
        let is_cidr = 0;
        match address {
            IpAddr::V4(v4) => {
                self.length(8);
                self.bytes.extend([2, 32, is_cidr, 4]);
                self.bytes.extend(v4.octets());
            }
            IpAddr::V6(v6) => {
                self.length(20);
                self.bytes.extend([3, 128, is_cidr, 16]);
                self.bytes.extend(v6.octets());
            }
        }
    }

    pub(super) fn int2_array(&mut self, values: impl ExactSizeIterator<Item = i16>) {
        let elements = self.array(INT2_OID, 2, values.len());
        for (element, value) in elements.chunks_exact_mut(6).zip(values) {
            element[..4].copy_from_slice(&2_i32.to_be_bytes());
            element[4..].copy_from_slice(&value.to_be_bytes());
        }
    }

    pub(super) fn int4_array(&mut self, values: impl ExactSizeIterator<Item = i32>) {
        let elements = self.array(INT4_OID, 4, values.len());
        for (element, value) in elements.chunks_exact_mut(8).zip(values) {
            // The length, 4, and the value in one word.
            let word = 4 << 32 | u64::from(value.cast_unsigned());
            element.copy_from_slice(&word.to_be_bytes());
        }
    }

    pub(super) fn int8_array(&mut self, values: impl ExactSizeIterator<Item = i64>) {
        let elements = self.array(INT8_OID, 8, values.len());
        for (element, value) in elements.chunks_exact_mut(12).zip(values) {
            element[..4].copy_from_slice(&8_i32.to_be_bytes());
            element[4..].copy_from_slice(&value.to_be_bytes());
        }
    }

    pub(super) fn text_array<'a>(&mut self, values: impl Iterator<Item = &'a str> + Clone) {
        let (count, octets) = values.clone().fold((0, 0), |(count, octets), value| {
            (count + 1, octets + value.len())
        });
        let [dimensions, has_nulls, lower_bound] = [1_i32, 0, 1];
        self.length(20 + 4 * count + octets);
        self.bytes.extend(dimensions.to_be_bytes());
        self.bytes.extend(has_nulls.to_be_bytes());
        self.bytes.extend(TEXT_OID.to_be_bytes());
        self.length(count);
        self.bytes.extend(lower_bound.to_be_bytes());
        values.for_each(|value| self.text(value));
    }

    /// The value, or null.
    pub(super) fn optional<T>(&mut self, value: Option<T>, encode: impl FnOnce(&mut Self, T)) {
        match value {
            Some(value) => encode(self, value),
            None => self.null(),
        }
    }

    fn value(&mut self, bytes: &[u8]) {
        self.length(bytes.len());
        self.bytes.extend_from_slice(bytes);
    }

    /// The head of a one-dimensional array without nulls, and place for its elements: each is its
    /// length and its value.
    fn array(&mut self, element_oid: u32, element_size: usize, count: usize) -> &mut [u8] {
        let [dimensions, has_nulls, lower_bound] = [1_i32, 0, 1];
        let elements = count * (4 + element_size);
        self.bytes.reserve(24 + elements);
        self.length(20 + elements);
        self.bytes.extend_from_slice(&dimensions.to_be_bytes());
        self.bytes.extend_from_slice(&has_nulls.to_be_bytes());
        self.bytes.extend_from_slice(&element_oid.to_be_bytes());
        self.length(count);
        self.bytes.extend_from_slice(&lower_bound.to_be_bytes());
        let start = self.bytes.len();
        self.bytes.resize(start + elements, 0);
        &mut self.bytes[start..]
    }

    fn length(&mut self, length: usize) {
        // Everything here came out of a message of at most a few MiB.
        let length = i32::try_from(length).expect("a value shorter than 2 GiB");
        self.bytes.extend_from_slice(&length.to_be_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded(encode: impl FnOnce(&mut CopyBuffer)) -> Vec<u8> {
        let mut buffer = CopyBuffer::default();
        encode(&mut buffer);
        buffer.bytes
    }

    #[test]
    fn values_are_in_the_form_postgresql_sends_them() {
        // Expected bytes from `COPY (SELECT …) TO STDOUT BINARY` of PostgreSQL 15.
        let cases: [(Vec<u8>, &[u8]); 6] = [
            (encoded(|b| b.null()), b"\xff\xff\xff\xff"),
            (encoded(|b| b.text("eth0")), b"\0\0\0\x04eth0"),
            (encoded(|b| b.timestamp(POSTGRES_EPOCH_US + 1)), b"\0\0\0\x08\0\0\0\0\0\0\0\x01"),
            (
                encoded(|b| b.inet("192.0.2.1".parse().unwrap())),
                b"\0\0\0\x08\x02\x20\0\x04\xc0\0\x02\x01",
            ),
            (
                encoded(|b| b.inet("::1".parse().unwrap())),
                b"\0\0\0\x14\x03\x80\0\x10\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01",
            ),
            (
                encoded(|b| b.int2_array([7, -1].into_iter())),
                b"\0\0\0\x20\0\0\0\x01\0\0\0\0\0\0\0\x15\0\0\0\x02\0\0\0\x01\0\0\0\x02\0\x07\0\0\0\x02\xff\xff",
            ),
        ];
        for (got, wanted) in cases {
            assert_eq!(got, wanted);
        }
    }

    #[test]
    fn rows_can_be_taken_out_and_cut_off_at_their_marks() {
        let mut buffer = CopyBuffer::default();
        let start = buffer.mark();
        buffer.row(1);
        buffer.bool(true);
        let middle = buffer.mark();
        buffer.row(1);
        buffer.null();
        let end = buffer.mark();
        assert_eq!(end.rows_since(start), 2);
        assert_eq!(buffer.between(start, middle), b"\0\x01\0\0\0\x01\x01");
        assert_eq!(buffer.between(middle, end), b"\0\x01\xff\xff\xff\xff");
        buffer.cut(middle);
        assert_eq!(buffer.mark(), middle);
    }
}
