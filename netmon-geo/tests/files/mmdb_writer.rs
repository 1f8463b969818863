//! Writes mmdb files (MaxMind DB format 2.0): a tree of 24-bit records for IPv6, in which IPv4 lies
//! under ::/96, and data without pointers.

use std::net::IpAddr;

/// What a record consists of.
#[derive(Clone)]
pub enum Value {
    /// UTF-8.
    Text(String),
    /// Unsigned, 16 bits.
    Short(u16),
    /// Unsigned, 32 bits.
    Number(u32),
    /// Unsigned, 64 bits.
    Long(u64),
    /// Values in order.
    Array(Vec<Value>),
    /// Values by name.
    Map(Vec<(String, Value)>),
}

/// A text.
pub fn text(text: &str) -> Value {
    Value::Text(text.to_owned())
}

/// A map.
pub fn map(fields: &[(&str, Value)]) -> Value {
    let fields = fields.iter();
    Value::Map(
        fields
            .map(|(name, value)| ((*name).to_owned(), value.clone()))
            .collect(),
    )
}

/// A record of a node: nothing, another node, or the data at an offset.
#[derive(Clone, Copy)]
enum Record {
    Nothing,
    Node(usize),
    Data(usize),
}

/// A file of networks that do not overlap, with their records.
pub fn write(networks: &[(&str, Value)], kind: &str, built: u32) -> Vec<u8> {
    let mut nodes = vec![[Record::Nothing; 2]];
    let mut data = Vec::new();
    for (network, value) in networks {
        let offset = data.len();
        put(&mut data, value);
        let (address, length) = network.split_once('/').unwrap();
        let length: u32 = length.parse().unwrap();
        let (bits, length) = match address.parse().unwrap() {
            IpAddr::V4(address) => (u128::from(u32::from(address)), length + 96),
            IpAddr::V6(address) => (u128::from(address), length),
        };
        let bit = |depth: u32| (bits >> (127 - depth) & 1) as usize;
        let mut node = 0;
        for depth in 0..length - 1 {
            node = match nodes[node][bit(depth)] {
                Record::Node(next) => next,
                _ => {
                    nodes.push([Record::Nothing; 2]);
                    let next = nodes.len() - 1;
                    nodes[node][bit(depth)] = Record::Node(next);
                    next
                }
            };
        }
        nodes[node][bit(length - 1)] = Record::Data(offset);
    }

    let mut file = Vec::new();
    for record in nodes.iter().flatten() {
        let number = match *record {
            Record::Nothing => nodes.len(),
            Record::Node(next) => next,
            Record::Data(offset) => nodes.len() + 16 + offset,
        };
        file.extend(&(number as u32).to_be_bytes()[1..]);
    }
    file.extend([0; 16]);
    file.extend(data);
    file.extend(b"\xab\xcd\xefMaxMind.com");
    let metadata = map(&[
        ("binary_format_major_version", Value::Short(2)),
        ("binary_format_minor_version", Value::Short(0)),
        ("build_epoch", Value::Long(built.into())),
        ("database_type", text(kind)),
        ("description", map(&[("en", text("made by a test"))])),
        ("ip_version", Value::Short(6)),
        ("languages", Value::Array(vec![text("en")])),
        ("node_count", Value::Number(nodes.len() as u32)),
        ("record_size", Value::Short(24)),
    ]);
    put(&mut file, &metadata);
    file
}

fn put(out: &mut Vec<u8>, value: &Value) {
    match value {
        Value::Text(text) => {
            control(out, 2, text.len());
            out.extend(text.bytes());
        }
        Value::Short(number) => {
            control(out, 5, 2);
            out.extend(number.to_be_bytes());
        }
        Value::Long(number) => {
            control(out, 9, 8);
            out.extend(number.to_be_bytes());
        }
        Value::Number(number) => {
            control(out, 6, 4);
            out.extend(number.to_be_bytes());
        }
        Value::Array(values) => {
            control(out, 11, values.len());
            for value in values {
                put(out, value);
            }
        }
        Value::Map(fields) => {
            control(out, 7, fields.len());
            for (name, value) in fields {
                put(out, &Value::Text(name.clone()));
                put(out, value);
            }
        }
    }
}

/// Type and size, as far as they are needed: sizes up to 284.
fn control(out: &mut Vec<u8>, kind: u8, size: usize) {
    let (short, long) = match size {
        0..=28 => (size as u8, None),
        29..=284 => (29, Some((size - 29) as u8)),
        _ => panic!("{size} octets are too long for this writer"),
    };
    match kind {
        0..=7 => out.push(kind << 5 | short),
        _ => out.extend([short, kind - 7]),
    }
    out.extend(long);
}
