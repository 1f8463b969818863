//! Names of interfaces that a group of batches speaks of, without an allocation for each.

/// A name in [`Names`].
#[derive(Clone, Copy, Debug)]
pub(super) struct Name {
    start: u32,
    length: u8,
}

/// Names one after the other; equal ones that follow each other stand there once.
#[derive(Debug, Default)]
pub(super) struct Names {
    text: String,
    last: Option<Name>,
}

impl Names {
    /// Takes a name of at most 255 octets.
    pub(super) fn insert(&mut self, name: &str) -> Name {
        if let Some(last) = self.last
            && self.get(last) == name
        {
            return last;
        }
        let added = Name {
            start: u32::try_from(self.text.len()).expect("a group of far less than 4 GiB"),
            length: u8::try_from(name.len()).expect("a name whose length was checked"),
        };
        self.text.push_str(name);
        self.last = Some(added);
        added
    }

    pub(super) fn get(&self, name: Name) -> &str {
        let start = name.start as usize;
        &self.text[start..start + usize::from(name.length)]
    }

    /// For [`Self::cut`].
    pub(super) fn mark(&self) -> usize {
        self.text.len()
    }

    /// Forgets what came after a mark.
    pub(super) fn cut(&mut self, mark: usize) {
        self.text.truncate(mark);
        self.last = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_repeated_takes_place_once_and_a_cut_forgets_it() {
        let mut names = Names::default();
        let first = names.insert("eth0");
        let mark = names.mark();
        let again = names.insert("eth0");
        assert_eq!(names.mark(), mark);
        let other = names.insert("wlan0");
        assert_eq!(
            [first, again, other].map(|name| names.get(name).to_owned()),
            ["eth0", "eth0", "wlan0"]
        );
        names.cut(mark);
        let after = names.insert("wlan0");
        assert_eq!((names.get(first), names.get(after)), ("eth0", "wlan0"));
    }
}
