//! An archive in the format that the kernel unpacks at its start (cpio "newc",
//! Documentation/driver-api/early-userspace/buffer-format.rst).

/// Type and permissions of a directory that everybody may enter.
const DIRECTORY: u32 = 0o040_755;
/// Type and permissions of a program.
const PROGRAM: u32 = 0o100_755;
/// Type and permissions of a symbolic link.
const LINK: u32 = 0o120_777;
/// The name that ends an archive.
const END: &str = "TRAILER!!!";

/// An archive under construction.
#[derive(Debug, Default)]
pub struct Archive {
    bytes: Vec<u8>,
    entries: u32,
}

impl Archive {
    /// Adds a directory, whose parent must have been added before.
    pub fn directory(&mut self, name: &str) {
        self.entry(name, DIRECTORY, &[]);
    }

    /// Adds a file that can be executed.
    pub fn program(&mut self, name: &str, content: &[u8]) {
        self.entry(name, PROGRAM, content);
    }

    /// Adds a symbolic link.
    pub fn link(&mut self, name: &str, target: &str) {
        self.entry(name, LINK, target.as_bytes());
    }

    /// The whole archive.
    pub fn finish(mut self) -> Vec<u8> {
        self.entry(END, 0, &[]);
        self.bytes
    }

    fn entry(&mut self, name: &str, mode: u32, content: &[u8]) {
        self.entries += 1;
        let size = u32::try_from(content.len()).unwrap_or(u32::MAX);
        let name_size = u32::try_from(name.len() + 1).unwrap_or(u32::MAX);
        // Inode, mode, user, group, links, time, size, device, device of the node, name, checksum.
        let fields = [
            self.entries,
            mode,
            0,
            0,
            1,
            0,
            size,
            0,
            0,
            0,
            0,
            name_size,
            0,
        ];
        self.bytes.extend_from_slice(b"070701");
        for field in fields {
            self.bytes
                .extend_from_slice(format!("{field:08x}").as_bytes());
        }
        self.bytes.extend_from_slice(name.as_bytes());
        self.bytes.push(0);
        self.pad();
        self.bytes.extend_from_slice(content);
        self.pad();
    }

    /// Name and content end at multiples of four octets.
    fn pad(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_a_header_a_name_and_a_content_each_padded() {
        let mut archive = Archive::default();
        archive.program("init", b"hello");
        let bytes = archive.finish();
        assert_eq!(&bytes[..22], b"07070100000001000081ed");
        assert_eq!(&bytes[54..62], b"00000005", "the size");
        assert_eq!(&bytes[94..102], b"00000005", "the name's, with its end");
        assert_eq!(&bytes[110..124], b"init\0\0hello\0\0\0");
        assert_eq!(bytes.len() % 4, 0);
        assert!(bytes.windows(END.len()).any(|part| part == END.as_bytes()));
    }
}
