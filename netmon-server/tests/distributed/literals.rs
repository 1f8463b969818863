//! String literals of Rust sources.

use super::tokens::{Located, located};

/// Every string literal of a file as it is at run time, its characters with their lines in the file.
pub fn literals(source: &str) -> Vec<Located> {
    let text = located(source);
    let mut found = Vec::new();
    let mut at = 0;
    while at < text.len() {
        at += match text[at].0 {
            '/' if char_at(&text, at + 1) == '/' => line_length(&text[at..]),
            '/' if char_at(&text, at + 1) == '*' => block_length(&text[at..]),
            '\'' => char_length(&text[at..]),
            '"' => {
                let (literal, length) = plain(&text[at..]);
                found.push(literal);
                length
            }
            c if is_part(c) => {
                let end = text[at..].iter().position(|(c, _)| !is_part(*c));
                let length = end.unwrap_or(text.len() - at);
                let word: String = text[at..at + length].iter().map(|(c, _)| *c).collect();
                match raw(&text[at + length..]) {
                    Some((literal, more)) if ["r", "br", "cr"].contains(&word.as_str()) => {
                        found.push(literal);
                        length + more
                    }
                    _ => length,
                }
            }
            _ => 1,
        };
    }
    found
}

fn is_part(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

fn char_at(text: &[(char, usize)], at: usize) -> char {
    text.get(at).map_or('\0', |(c, _)| *c)
}

fn line_length(text: &[(char, usize)]) -> usize {
    text.iter()
        .position(|(c, _)| *c == '\n')
        .unwrap_or(text.len())
}

fn block_length(text: &[(char, usize)]) -> usize {
    let (mut depth, mut at) = (0, 0);
    while at < text.len() {
        match (text[at].0, char_at(text, at + 1)) {
            ('/', '*') => (depth, at) = (depth + 1, at + 2),
            ('*', '/') => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            break;
        }
    }
    at
}

/// Of a character literal; of a lifetime, its quote.
fn char_length(text: &[(char, usize)]) -> usize {
    if char_at(text, 1) == '\\' {
        let end = text.iter().skip(3).position(|(c, _)| *c == '\'');
        return end.map_or(1, |end| end + 4);
    }
    if char_at(text, 2) == '\'' { 3 } else { 1 }
}

/// A literal with escapes, from its quote on, and its length in the source.
fn plain(text: &[(char, usize)]) -> (Located, usize) {
    let mut literal = Located::new();
    let mut at = 1;
    while at < text.len() {
        let (c, line) = text[at];
        match c {
            '"' => return (literal, at + 1),
            '\\' => {
                at += 2;
                match char_at(text, at - 1) {
                    '\n' => {
                        while char_at(text, at).is_whitespace() {
                            at += 1;
                        }
                    }
                    'n' => literal.push(('\n', line)),
                    't' => literal.push(('\t', line)),
                    'r' | '0' => literal.push((' ', line)),
                    'x' => {
                        literal.push(('?', line));
                        at += 2;
                    }
                    'u' => {
                        literal.push(('?', line));
                        while char_at(text, at - 1) != '}' && at < text.len() {
                            at += 1;
                        }
                    }
                    escaped => literal.push((escaped, line)),
                }
            }
            _ => {
                literal.push((c, line));
                at += 1;
            }
        }
    }
    (literal, at)
}

/// A raw literal from the number signs on, and its length in the source.
fn raw(text: &[(char, usize)]) -> Option<(Located, usize)> {
    let signs = text.iter().take_while(|(c, _)| *c == '#').count();
    if char_at(text, signs) != '"' {
        return None;
    }
    let begin = signs + 1;
    let closes =
        |at: &usize| text[*at].0 == '"' && (1..=signs).all(|sign| char_at(text, at + sign) == '#');
    let end = (begin..text.len()).find(closes)?;
    Some((text[begin..end].to_vec(), end + 1 + signs))
}

#[test]
fn every_kind_of_literal_is_read_as_rustc_does() {
    let source = r####"// "no"
/* "no" /* "no" */ "no" */ fn f<'a>(x: &'a str) { let c = ('"', '\'', '\u{22}', b'"');
let a = "one \
         two\n\"three\"";
let b = r#"four "five""#; let c = br"six"; let for_r = b"seven";
} "####;
    let read: Vec<(String, usize)> = literals(source)
        .iter()
        .map(|l| (l.iter().map(|(c, _)| *c).collect(), l.last().unwrap().1))
        .collect();
    let expected = [
        ("one two\n\"three\"", 4),
        ("four \"five\"", 5),
        ("six", 5),
        ("seven", 5),
    ];
    assert_eq!(read, expected.map(|(text, line)| (text.to_owned(), line)));
}
