//! The fields of a line with a delimiter.

use memchr::memchr;

use crate::reason::Reason;

/// The fields of a line, without white space around them and without the quotation marks of those
/// that have them; ThreatFox and others put a space before the mark. A mark within, which CSV
/// doubles, stays doubled.
#[derive(Clone, Debug)]
pub(crate) struct Fields<'a> {
    rest: Option<&'a [u8]>,
    delimiter: u8,
}

impl<'a> Fields<'a> {
    pub(crate) fn new(line: &'a [u8], delimiter: u8) -> Self {
        Self {
            rest: Some(line),
            delimiter,
        }
    }

    /// Takes the field that `text` begins with, which is quoted.
    fn quoted(&mut self, text: &'a [u8]) -> Result<&'a [u8], Reason> {
        let mut at = 0;
        let end = loop {
            let Some(mark) = memchr(b'"', &text[at..]) else {
                self.rest = None;
                return Err(Reason::BadQuotes);
            };
            if text.get(at + mark + 1) == Some(&b'"') {
                at += mark + 2;
                continue;
            }
            break at + mark;
        };
        let behind = &text[end + 1..];
        self.rest = memchr(self.delimiter, behind).map(|next| &behind[next + 1..]);
        Ok(text[..end].trim_ascii())
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Result<&'a [u8], Reason>;

    fn next(&mut self) -> Option<Self::Item> {
        let rest = self.rest?;
        let skipped = rest
            .iter()
            .position(|octet| *octet != b' ')
            .unwrap_or(rest.len());
        if let Some((b'"', inside)) = rest[skipped..].split_first() {
            return Some(self.quoted(inside));
        }
        let field = match memchr(self.delimiter, rest) {
            Some(end) => {
                self.rest = Some(&rest[end + 1..]);
                &rest[..end]
            }
            None => {
                self.rest = None;
                rest
            }
        };
        Some(Ok(field.trim_ascii()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_split_as_lists_write_them() {
        for (line, expected) in [
            ("a,b,c", &["a", "b", "c"][..]),
            ("a,,c,", &["a", "", "c", ""]),
            ("", &[""]),
            (" a , b ", &["a", "b"]),
            (r#""a","b,c",d"#, &["a", "b,c", "d"]),
            (r#""2026", "x", "y""#, &["2026", "x", "y"]),
            (r#""say ""hi""",b"#, &[r#"say ""hi"""#, "b"]),
            (r#""",b"#, &["", "b"]),
            (r#""a"x,b"#, &["a", "b"]),
        ] {
            let fields: Vec<_> = Fields::new(line.as_bytes(), b',').collect();
            let expected: Vec<_> = expected.iter().map(|f| Ok(f.as_bytes())).collect();
            assert_eq!(fields, expected, "{line}");
        }
        let open: Vec<_> = Fields::new(br#"a,"b,c"#, b',').collect();
        assert_eq!(open, [Ok(&b"a"[..]), Err(Reason::BadQuotes)]);
    }
}
