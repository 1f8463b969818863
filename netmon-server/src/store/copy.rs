//! Encodes rows for `COPY … FROM STDIN BINARY`.
//!
//! The format is described in PostgreSQL's documentation of COPY ("Binary Format"); values are in
//! the form of each type's `*send` function.

use std::net::IpAddr;

/// PostgreSQL counts time from 2000-01-01, in microseconds.
const POSTGRES_EPOCH_US: i64 = 946_684_800_000_000;

const INT2_OID: u32 = 21;
const INT4_OID: u32 = 23;
const INT8_OID: u32 = 20;

/// Rows of one table, complete with the format's header and trailer once finished.
#[derive(Debug)]
pub(super) struct CopyBuffer {
    bytes: Vec<u8>,
    rows: u32,
}

impl CopyBuffer {
    pub(super) fn new() -> Self {
        // Signature, no flags, no header extension.
        Self {
            bytes: b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0".to_vec(),
            rows: 0,
        }
    }

    /// Rows begun so far.
    pub(super) fn rows(&self) -> u32 {
        self.rows
    }

    /// Ends the data and gives what COPY is to be sent.
    pub(super) fn finish(&mut self) {
        self.bytes.extend((-1_i16).to_be_bytes());
        self.bytes.shrink_to_fit();
    }

    /// The encoded bytes.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Begins a row of so many columns; exactly as many values must follow.
    pub(super) fn row(&mut self, columns: i16) {
        self.rows += 1;
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
        self.array(INT2_OID, 2, values.len());
        values.for_each(|value| self.int2(value));
    }

    pub(super) fn int4_array(&mut self, values: impl ExactSizeIterator<Item = i32>) {
        self.array(INT4_OID, 4, values.len());
        values.for_each(|value| self.int4(value));
    }

    pub(super) fn int8_array(&mut self, values: impl ExactSizeIterator<Item = i64>) {
        self.array(INT8_OID, 8, values.len());
        values.for_each(|value| self.int8(value));
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

    /// The head of a one-dimensional array without nulls; the elements follow as values.
    fn array(&mut self, element_oid: u32, element_size: usize, count: usize) {
        let [dimensions, has_nulls, lower_bound] = [1_i32, 0, 1];
        self.length(20 + count * (4 + element_size));
        self.bytes.extend(dimensions.to_be_bytes());
        self.bytes.extend(has_nulls.to_be_bytes());
        self.bytes.extend(element_oid.to_be_bytes());
        self.length(count);
        self.bytes.extend(lower_bound.to_be_bytes());
    }

    fn length(&mut self, length: usize) {
        // Everything here came out of a message of at most a few MiB.
        let length = i32::try_from(length).expect("a value shorter than 2 GiB");
        self.bytes.extend(length.to_be_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded(encode: impl FnOnce(&mut CopyBuffer)) -> Vec<u8> {
        let mut buffer = CopyBuffer {
            bytes: Vec::new(),
            rows: 0,
        };
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
    fn finished_data_has_header_and_trailer() {
        let mut buffer = CopyBuffer::new();
        buffer.row(1);
        buffer.bool(true);
        buffer.finish();
        assert_eq!(buffer.rows(), 1);
        assert_eq!(
            buffer.bytes(),
            b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0\0\x01\0\0\0\x01\x01\xff\xff"
        );
    }
}
