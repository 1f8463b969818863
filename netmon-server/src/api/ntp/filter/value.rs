//! Values of filters, as query strings and JSON write them.

use serde::{Deserialize, Deserializer};

/// A value, as JSON may write it.
#[derive(Deserialize)]
#[serde(untagged)]
enum Value {
    Number(i64),
    Text(String),
}

/// One value or several.
#[derive(Deserialize)]
#[serde(untagged)]
enum Values {
    None(()),
    One(Value),
    Several(Vec<Value>),
}

impl From<Value> for String {
    fn from(value: Value) -> Self {
        match value {
            Value::Number(number) => number.to_string(),
            Value::Text(text) => text,
        }
    }
}

/// One value or a list of them; null is none.
pub fn list<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    Ok(match Values::deserialize(deserializer)? {
        Values::None(()) => Vec::new(),
        Values::One(value) => vec![value.into()],
        Values::Several(values) => values.into_iter().map(String::from).collect(),
    })
}

/// One value.
pub fn one<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    Ok(Option::<Value>::deserialize(deserializer)?.map(String::from))
}

/// The values of a parameter of a query string, separated by commas.
pub fn values(text: Option<&str>) -> Vec<String> {
    let values = text.into_iter().flat_map(|text| text.split(','));
    values.map(str::to_owned).collect()
}
