//! Whether a line is about the family it was sent for.

/// The names of malware in one line, from several columns.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Names<'a> {
    columns: [&'a [u8]; 6],
    length: usize,
}

impl<'a> Names<'a> {
    /// Adds the content of a column: a name, or several between `,`, `;`, `|` or `/`.
    pub(crate) fn add(&mut self, column: &'a [u8]) {
        if let Some(place) = self.columns.get_mut(self.length) {
            *place = column;
            self.length += 1;
        }
    }

    /// Whether one of them is one of the family's, or there are none: then the sender's word holds.
    pub(crate) fn fit(&self, family: &[String]) -> bool {
        if family.is_empty() {
            return true;
        }
        let mut named = false;
        for name in self.columns[..self.length].iter().copied().flat_map(split) {
            if family.iter().any(|own| is(name, own.as_bytes())) {
                return true;
            }
            named = true;
        }
        !named
    }
}

fn split(column: &[u8]) -> impl Iterator<Item = &[u8]> {
    column
        .split(|octet| matches!(octet, b',' | b';' | b'|' | b'/'))
        .map(<[u8]>::trim_ascii)
        .filter(|name| !is_none(name))
}

/// What lists write for "no name".
fn is_none(name: &[u8]) -> bool {
    let none: [&[u8]; 7] = [b"", b"-", b"none", b"null", b"na", b"n/a", b"unknown"];
    none.iter().any(|none| name.eq_ignore_ascii_case(none))
}

/// Whether `name` is `own`: by itself, or behind a platform as Malpedia (`elf.mozi`) and Maltrail
/// (`elf_mozi`) write it.
fn is(name: &[u8], own: &[u8]) -> bool {
    if same(name, own) {
        return true;
    }
    let Some(end) = memchr::memchr2(b'.', b'_', name) else {
        return false;
    };
    let platforms: [&[u8]; 10] = [
        b"elf", b"win", b"osx", b"apk", b"android", b"js", b"php", b"py", b"ps1", b"jar",
    ];
    let is_platform = |platform: &&[u8]| name[..end].eq_ignore_ascii_case(platform);
    platforms.iter().any(is_platform) && same(&name[end + 1..], own)
}

/// Equal but for case and what joins words.
fn same(left: &[u8], right: &[u8]) -> bool {
    let plain = |octet: &u8| match octet {
        b' ' | b'_' => b'-',
        other => other.to_ascii_lowercase(),
    };
    left.len() == right.len() && left.iter().map(plain).eq(right.iter().map(plain))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_of_the_names_must_be_the_familys_if_there_are_any() {
        let family = ["mozi".to_owned(), "moz-i".to_owned()];
        for (columns, expected) in [
            (&["mozi"][..], true),
            (&["Mozi"], true),
            (&["MOZ I"], true),
            (&["elf.mozi"], true),
            (&["elf_mozi"], true),
            (&["not.mozi"], false),
            (&["win.mozi.x"], false),
            (&["32-bit,elf,mips,Mozi"], true),
            (&["iot;mozi"], true),
            (&["mirai", "mozi"], true),
            (&["mirai"], false),
            (&["mozilla"], false),
            (&["None"], true),
            (&["", "-", "None"], true),
            (&["None", "mirai"], false),
            (&[], true),
        ] {
            let mut names = Names::default();
            for column in columns {
                names.add(column.as_bytes());
            }
            assert_eq!(names.fit(&family), expected, "{columns:?}");
            assert!(names.fit(&[]));
        }
    }
}
