//! A JSON object a line: IntelMQ's events, flat (`source.ip`) or nested, Cowrie's log (`src_ip`),
//! and others of such names.

use std::{borrow::Cow, fmt};

use serde::de::{
    Deserialize, DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor,
};

use crate::{
    address, delimited, instant,
    line::Sighting,
    parser::{Found, Rules},
    reason::Reason,
};

/// Deepest object within an object whose fields are looked at: `source.geolocation.cc`.
const DEPTH: usize = 3;

pub(crate) fn parse(rules: &Rules, line: &[u8]) -> Result<Sighting, Reason> {
    let mut event = Event::default();
    let mut reader = serde_json::Deserializer::from_slice(line);
    let object = Object {
        event: &mut event,
        within: Path::Root,
        depth: 0,
    };
    object
        .deserialize(&mut reader)
        .and_then(|()| reader.end())
        .map_err(|_| Reason::BadJson)?;
    event.sighting(rules)
}

/// Where in the event a value stands; the place in the enumeration is the order of preference among
/// those of a kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Path {
    Root,
    /// An object some of whose fields are looked at.
    Source,
    Time,
    Malware,
    Geolocation,
    Classification,
    /// Values.
    Address(u8),
    Port(u8),
    At(u8),
    Name(u8),
    Country,
    Other,
}

/// How many fields may hold an address, with a port each.
const ADDRESSES: usize = 5;
/// How many may hold the time.
const TIMES: usize = 5;
/// How many may name the family.
const NAMES: usize = 6;

impl Path {
    fn of(within: Self, key: &str) -> Self {
        match (within, key) {
            (Self::Root, "source.ip") | (Self::Source, "ip") => Self::Address(0),
            (Self::Root, "src_ip") => Self::Address(1),
            (Self::Root, "ip") => Self::Address(2),
            (Self::Root, "ip_address") => Self::Address(3),
            (Self::Root, "address") => Self::Address(4),
            (Self::Root, "source.port") | (Self::Source, "port") => Self::Port(0),
            (Self::Root, "src_port") => Self::Port(1),
            (Self::Root, "port") => Self::Port(2),
            (Self::Root, "time.source") | (Self::Time, "source") => Self::At(0),
            (Self::Root, "timestamp") => Self::At(1),
            (Self::Root, "@timestamp") => Self::At(2),
            (Self::Root, "time") => Self::Time,
            (Self::Root, "time.observation") | (Self::Time, "observation") => Self::At(4),
            (Self::Root, "malware.name") | (Self::Malware, "name") => Self::Name(0),
            (Self::Root, "malware") => Self::Malware,
            (Self::Root, "family") => Self::Name(2),
            (Self::Root, "infection") => Self::Name(3),
            (Self::Root, "botnet") => Self::Name(4),
            // IntelMQ: the name of the malware where `malware.name` is not set.
            (Self::Root, "classification.identifier") | (Self::Classification, "identifier") => {
                Self::Name(5)
            }
            (Self::Root, "classification") => Self::Classification,
            (Self::Root, "source") => Self::Source,
            (Self::Source, "geolocation") => Self::Geolocation,
            (Self::Root, "source.geolocation.cc" | "country" | "country_code")
            | (Self::Source, "geolocation.cc")
            | (Self::Geolocation, "cc") => Self::Country,
            _ => Self::Other,
        }
    }

    /// What a plain value in an object's place is: `"time": "…"`, `"malware": "…"`.
    fn as_value(self) -> Self {
        match self {
            Self::Time => Self::At(3),
            Self::Malware => Self::Name(1),
            other => other,
        }
    }
}

/// A value that is looked at.
#[derive(Clone, Debug)]
enum Value<'a> {
    Text(Cow<'a, str>),
    Number(f64),
    /// Of no use in its place.
    Useless,
}

#[derive(Default)]
struct Event<'a> {
    addresses: [Option<Value<'a>>; ADDRESSES],
    ports: [Option<Value<'a>>; ADDRESSES],
    times: [Option<Value<'a>>; TIMES],
    names: [Option<Value<'a>>; NAMES],
    country: Option<Value<'a>>,
}

impl<'a> Event<'a> {
    fn take(&mut self, path: Path, value: Value<'a>) {
        let place = match path.as_value() {
            Path::Address(n) => &mut self.addresses[usize::from(n)],
            Path::Port(n) => &mut self.ports[usize::from(n)],
            Path::At(n) => &mut self.times[usize::from(n)],
            Path::Name(n) => &mut self.names[usize::from(n)],
            Path::Country => &mut self.country,
            _ => return,
        };
        *place = Some(value);
    }

    fn sighting(&self, rules: &Rules) -> Result<Sighting, Reason> {
        let place = self.addresses.iter().position(Option::is_some);
        let place = place.ok_or(Reason::NoAddress)?;
        let Some(Value::Text(address)) = &self.addresses[place] else {
            return Err(Reason::BadAddress);
        };
        let (address, in_address) = address::endpoint(address.trim().as_bytes())?;
        // `ip_address` and `address` have the port that `ip` would have.
        let port = match &self.ports[place.min(2)] {
            None => in_address,
            Some(Value::Text(text)) => address::port(text.trim().as_bytes())?.or(in_address),
            Some(Value::Number(number)) => port(*number)?.or(in_address),
            Some(Value::Useless) => return Err(Reason::BadPort),
        };
        let mut found = Found::default();
        let time = self.times.iter().flatten().find(|value| !value.is_empty());
        let seen_at = match time {
            None => None,
            Some(Value::Text(text)) => Some(rules.clock.parse(text.trim().as_bytes())?),
            Some(Value::Number(number)) => Some(instant::from_number(*number)?),
            Some(Value::Useless) => return Err(Reason::BadTime),
        };
        // The identifier only where nothing else names malware.
        let named = self.names[..NAMES - 1].iter().flatten();
        let mut named = named.filter(|name| !name.is_empty()).peekable();
        if named.peek().is_none()
            && let Some(Value::Text(name)) = &self.names[NAMES - 1]
        {
            found.names.add(name.as_bytes());
        }
        for name in named {
            if let Value::Text(name) = name {
                found.names.add(name.as_bytes());
            }
        }
        if let Some(Value::Text(country)) = &self.country {
            found.country = country.as_bytes();
        }
        rules.located(address, port, seen_at, &found)
    }
}

fn port(number: f64) -> Result<Option<u16>, Reason> {
    if number.fract() != 0.0 || !(0.0..=65_535.0).contains(&number) {
        return Err(Reason::BadPort);
    }
    let number = number as u16;
    Ok((number > 0).then_some(number))
}

impl Value<'_> {
    fn is_empty(&self) -> bool {
        matches!(self, Self::Text(text) if delimited::is_empty(text.trim().as_bytes()))
    }
}

/// Reads an object into the event.
struct Object<'e, 'a> {
    event: &'e mut Event<'a>,
    within: Path,
    depth: usize,
}

impl<'a> DeserializeSeed<'a> for Object<'_, 'a> {
    type Value = ();

    fn deserialize<D: Deserializer<'a>>(self, reader: D) -> Result<(), D::Error> {
        reader.deserialize_map(self)
    }
}

impl<'a> Visitor<'a> for Object<'_, 'a> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<M: MapAccess<'a>>(self, mut map: M) -> Result<(), M::Error> {
        while let Some(path) = map.next_key_seed(Key(self.within))? {
            if path == Path::Other {
                map.next_value::<IgnoredAny>()?;
                continue;
            }
            map.next_value_seed(Field {
                event: self.event,
                path,
                depth: self.depth + 1,
            })?;
        }
        Ok(())
    }
}

/// Reads a key within an object.
struct Key(Path);

impl<'a> DeserializeSeed<'a> for Key {
    type Value = Path;

    fn deserialize<D: Deserializer<'a>>(self, reader: D) -> Result<Path, D::Error> {
        reader.deserialize_str(self)
    }
}

impl Visitor<'_> for Key {
    type Value = Path;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E>(self, key: &str) -> Result<Path, E> {
        Ok(Path::of(self.0, key))
    }
}

/// Reads the value of a key that is looked at.
struct Field<'e, 'a> {
    event: &'e mut Event<'a>,
    path: Path,
    depth: usize,
}

impl<'a> Field<'_, 'a> {
    fn take(self, value: Value<'a>) {
        self.event.take(self.path, value);
    }
}

impl<'a> DeserializeSeed<'a> for Field<'_, 'a> {
    type Value = ();

    fn deserialize<D: Deserializer<'a>>(self, reader: D) -> Result<(), D::Error> {
        reader.deserialize_any(self)
    }
}

impl<'a> Visitor<'a> for Field<'_, 'a> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_borrowed_str<E>(self, text: &'a str) -> Result<(), E> {
        self.take(Value::Text(Cow::Borrowed(text)));
        Ok(())
    }

    fn visit_str<E>(self, text: &str) -> Result<(), E> {
        self.take(Value::Text(Cow::Owned(text.to_owned())));
        Ok(())
    }

    fn visit_u64<E>(self, number: u64) -> Result<(), E> {
        self.take(Value::Number(number as f64));
        Ok(())
    }

    fn visit_i64<E>(self, number: i64) -> Result<(), E> {
        self.take(Value::Number(number as f64));
        Ok(())
    }

    fn visit_f64<E>(self, number: f64) -> Result<(), E> {
        self.take(Value::Number(number));
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        self.take(Value::Useless);
        Ok(())
    }

    /// `null` is as if the key were not there.
    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<S: SeqAccess<'a>>(self, mut list: S) -> Result<(), S::Error> {
        while list.next_element::<IgnoredAny>()?.is_some() {}
        self.take(Value::Useless);
        Ok(())
    }

    fn visit_map<M: MapAccess<'a>>(self, map: M) -> Result<(), M::Error> {
        let is_object = matches!(
            self.path,
            Path::Source | Path::Time | Path::Malware | Path::Geolocation | Path::Classification
        );
        if is_object && self.depth < DEPTH {
            let (event, within, depth) = (self.event, self.path, self.depth);
            return Object {
                event,
                within,
                depth,
            }
            .visit_map(map);
        }
        IgnoredAny::deserialize(serde::de::value::MapAccessDeserializer::new(map))?;
        self.take(Value::Useless);
        Ok(())
    }
}
