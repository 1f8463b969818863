//! Rows as JSON, NDJSON or CSV.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use crate::api::problem::Problem;

/// How the file is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = NtpExportFormat)]
pub enum Format {
    #[default]
    Json,
    Csv,
    Ndjson,
}

impl Format {
    /// Parses the parameter `format` of a list.
    pub fn parse(text: Option<&str>) -> Result<Self, Problem> {
        match text {
            None | Some("json") => Ok(Self::Json),
            Some("csv") => Ok(Self::Csv),
            Some("ndjson") => Ok(Self::Ndjson),
            Some(_) => Err(Problem::parameter(
                "format",
                "it must be json, csv or ndjson",
            )),
        }
    }

    pub fn extension(self) -> &'static str {
        match self {
            Self::Json => "json",
            Self::Csv => "csv",
            Self::Ndjson => "ndjson",
        }
    }
}

/// Puts rows into a buffer that is taken away now and then.
pub struct Writer {
    format: Format,
    head: &'static [&'static str],
    out: Vec<u8>,
    rows: u64,
}

impl Writer {
    /// A file of rows with these fields.
    pub fn new(format: Format, head: &'static [&'static str]) -> Self {
        let out = match format {
            Format::Json => b"[".to_vec(),
            Format::Csv => format!("{}\r\n", head.join(",")).into_bytes(),
            Format::Ndjson => Vec::new(),
        };
        Self {
            format,
            head,
            out,
            rows: 0,
        }
    }

    pub fn media_type(&self) -> &'static str {
        match self.format {
            Format::Json => "application/json",
            Format::Csv => "text/csv; charset=utf-8; header=present",
            Format::Ndjson => "application/x-ndjson",
        }
    }

    pub fn row<T: Serialize>(&mut self, row: &T) -> serde_json::Result<()> {
        match self.format {
            Format::Json => {
                if self.rows > 0 {
                    self.out.push(b',');
                }
                self.out.push(b'\n');
                serde_json::to_writer(&mut self.out, row)?;
            }
            Format::Ndjson => {
                serde_json::to_writer(&mut self.out, row)?;
                self.out.push(b'\n');
            }
            Format::Csv => {
                let value = serde_json::to_value(row)?;
                for (index, field) in self.head.iter().enumerate() {
                    if index > 0 {
                        self.out.push(b',');
                    }
                    cell(&mut self.out, &value[*field]);
                }
                self.out.extend(b"\r\n");
            }
        }
        self.rows += 1;
        Ok(())
    }

    /// What comes after the last row.
    pub fn end(&mut self) {
        if self.format == Format::Json {
            self.out.extend(b"\n]\n");
        }
    }

    /// What is written so far, for sending.
    pub fn take(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.out)
    }
}

/// RFC 4180: what holds a comma, a quote or a line break stands in quotes. Null is nothing.
fn cell(out: &mut Vec<u8>, value: &Value) {
    let text = match value {
        Value::Null => return,
        Value::String(text) => text.clone(),
        Value::Array(values) => {
            let values: Vec<_> = values.iter().map(Value::to_string).collect();
            values.join(" ")
        }
        other => other.to_string(),
    };
    if text.contains([',', '"', '\r', '\n']) {
        out.extend(format!("\"{}\"", text.replace('"', "\"\"")).bytes());
    } else {
        out.extend(text.bytes());
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn file(format: Format, rows: &[Value]) -> String {
        let mut writer = Writer::new(format, &["a", "b", "c"]);
        for row in rows {
            writer.row(row).unwrap();
        }
        writer.end();
        String::from_utf8(writer.take()).unwrap()
    }

    #[test]
    fn each_format_is_whole_with_and_without_rows() {
        let rows = [
            json!({"a": 1, "b": "x,\"y\"\n", "c": null}),
            json!({"a": -0.5, "b": "", "c": [1, 2]}),
        ];
        assert_eq!(
            file(Format::Csv, &rows),
            "a,b,c\r\n1,\"x,\"\"y\"\"\n\",\r\n-0.5,,1 2\r\n"
        );
        assert_eq!(file(Format::Csv, &[]), "a,b,c\r\n");
        let parsed: Value = serde_json::from_str(&file(Format::Json, &rows)).unwrap();
        assert_eq!(parsed, json!(rows));
        let none: Value = serde_json::from_str(&file(Format::Json, &[])).unwrap();
        assert_eq!(none, json!([]));
        assert_eq!(file(Format::Ndjson, &rows).lines().count(), 2);
        assert_eq!(file(Format::Ndjson, &[]), "");
    }
}
