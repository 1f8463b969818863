//! Words of an SQL text, with the lines they stand on.

/// A piece of text that keeps where its characters stand in their file.
pub type Located = Vec<(char, usize)>;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A keyword, name, parameter or number, or `{…}` of a Rust format string.
    Word,
    /// A name in double quotes.
    Name,
    /// A string in single quotes, or a dollar-quoted one that is no code.
    Text,
    /// The `$$` around code.
    Code,
    /// One character.
    Mark,
}

/// A word in lower case, or what stands between quotes.
#[derive(Clone, Debug)]
pub struct Token {
    pub kind: Kind,
    pub text: String,
    pub line: usize,
    /// What stands between quotes, to be looked into.
    pub inside: Located,
}

impl Token {
    pub fn is(&self, word: &str) -> bool {
        matches!(self.kind, Kind::Word | Kind::Mark) && self.text == word
    }

    /// Whether it may name a table or column.
    pub fn is_name(&self) -> bool {
        matches!(self.kind, Kind::Word | Kind::Name)
    }
}

/// Every character with its line, the first being 1.
pub fn located(text: &str) -> Located {
    let mut line = 1;
    text.chars()
        .map(|c| {
            let at = (c, line);
            line += usize::from(c == '\n');
            at
        })
        .collect()
}

/// The tokens of a text; comments are left out. An open quote reaches to the end.
pub fn tokens(text: &[(char, usize)]) -> Vec<Token> {
    let mut found: Vec<Token> = Vec::new();
    let mut at = 0;
    while let Some(&(c, line)) = text.get(at) {
        let rest = &text[at..];
        let mut inside = Located::new();
        let (kind, length) = if c.is_whitespace() {
            at += 1;
            continue;
        } else if starts(rest, "--") {
            at += rest
                .iter()
                .position(|(c, _)| *c == '\n')
                .unwrap_or(rest.len());
            continue;
        } else if starts(rest, "/*") {
            at += comment_length(rest);
            continue;
        } else if c == '\'' || c == '"' {
            let escapes = c == '\'' && found.last().is_some_and(|t| t.is("e"));
            let length = quoted_length(rest, c, escapes);
            inside = rest[1..(length - 1).max(1)].to_vec();
            (if c == '"' { Kind::Name } else { Kind::Text }, length)
        } else if let Some(tag) = dollar_tag(rest) {
            let before = found.last();
            if before.is_some_and(|t| t.is("do") || t.is("as") || t.is("plpgsql"))
                || found.iter().any(|t| t.kind == Kind::Code && t.text == tag)
            {
                found.push(Token {
                    kind: Kind::Code,
                    text: tag.clone(),
                    line,
                    inside,
                });
                at += tag.len();
                continue;
            }
            let length = (tag.len()..rest.len())
                .find(|from| starts(&rest[*from..], &tag))
                .map_or(rest.len(), |from| from + tag.len());
            (Kind::Text, length)
        } else if c == '{' {
            match rest.iter().position(|(c, _)| *c == '}') {
                Some(end)
                    if rest[1..end]
                        .iter()
                        .all(|(c, _)| is_part(*c) || ":.?#".contains(*c)) =>
                {
                    (Kind::Word, end + 1)
                }
                _ => (Kind::Mark, 1),
            }
        } else if is_part(c) {
            let end = rest.iter().position(|(c, _)| !is_part(*c));
            (Kind::Word, end.unwrap_or(rest.len()))
        } else {
            (Kind::Mark, 1)
        };
        let whole: String = rest[..length].iter().map(|(c, _)| *c).collect();
        let text = match kind {
            Kind::Name => whole.trim_matches('"').to_owned(),
            _ => whole.to_lowercase(),
        };
        found.push(Token {
            kind,
            text,
            line,
            inside,
        });
        at += length;
    }
    found
}

fn is_part(c: char) -> bool {
    c.is_alphanumeric() || c == '_' || c == '$'
}

fn starts(text: &[(char, usize)], with: &str) -> bool {
    let mut chars = text.iter().map(|(c, _)| *c);
    with.chars().all(|c| chars.next() == Some(c))
}

fn comment_length(text: &[(char, usize)]) -> usize {
    let (mut depth, mut at) = (0, 0);
    while at < text.len() {
        if starts(&text[at..], "/*") {
            (depth, at) = (depth + 1, at + 2);
        } else if starts(&text[at..], "*/") {
            (depth, at) = (depth - 1, at + 2);
            if depth == 0 {
                break;
            }
        } else {
            at += 1;
        }
    }
    at
}

/// With both quotes; a doubled one is part of the text.
fn quoted_length(text: &[(char, usize)], quote: char, escapes: bool) -> usize {
    let mut at = 1;
    while at < text.len() {
        if escapes && text[at].0 == '\\' {
            at += 2;
        } else if text[at].0 != quote {
            at += 1;
        } else if text.get(at + 1).is_some_and(|(c, _)| *c == quote) {
            at += 2;
        } else {
            return at + 1;
        }
    }
    text.len()
}

/// `$$` or `$tag$`; `$1` is a parameter.
fn dollar_tag(text: &[(char, usize)]) -> Option<String> {
    let mut chars = text.iter().map(|(c, _)| *c);
    if chars.next() != Some('$') {
        return None;
    }
    let mut tag = String::from("$");
    for c in chars {
        tag.push(c);
        if c == '$' {
            return Some(tag);
        }
        let first = tag.len() == 2;
        if !(c == '_' || c.is_ascii_alphabetic() || c.is_ascii_digit() && !first) {
            return None;
        }
    }
    None
}
