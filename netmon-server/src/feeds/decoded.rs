//! Compressed logs.

use std::{
    fmt,
    io::{self, BufRead, BufReader, Cursor, Read},
    str::FromStr,
};

use flate2::bufread::MultiGzDecoder;

/// Octets read from a source at once.
const BUFFER: usize = 64 << 10;

/// The largest window of zstd, as RFC 9659 bounds it for HTTP: 8 MiB, which the decoder holds in
/// memory.
const WINDOW_LOG_MAX: u32 = 23;

/// How a log is compressed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Encoding {
    /// As its first octets say: no text begins as compressed data does.
    #[default]
    AsItBegins,
    /// RFC 1952.
    Gzip,
    /// RFC 8878.
    Zstd,
}

/// A log that is compressed in a way nobody reads here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownEncoding(pub String);

impl fmt::Display for UnknownEncoding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the encoding {:?} is not known", self.0)
    }
}

impl std::error::Error for UnknownEncoding {}

/// By its name in `Content-Encoding`.
impl FromStr for Encoding {
    type Err = UnknownEncoding;

    fn from_str(name: &str) -> Result<Self, UnknownEncoding> {
        match name.trim().to_ascii_lowercase().as_str() {
            "" | "identity" => Ok(Self::AsItBegins),
            "gzip" | "x-gzip" => Ok(Self::Gzip),
            "zstd" => Ok(Self::Zstd),
            _ => Err(UnknownEncoding(name.to_owned())),
        }
    }
}

/// The octets of a log, which may consist of several compressed parts. What it decompresses to is
/// given as it is asked for, so that no input takes more memory than another.
///
/// # Errors
/// When the source cannot be read, or zstd's decoder cannot be made.
pub fn decoded<'a>(
    source: impl Read + Send + 'a,
    encoding: Encoding,
) -> io::Result<Box<dyn Read + Send + 'a>> {
    let mut source = BufReader::with_capacity(BUFFER, source);
    let encoding = match encoding {
        Encoding::AsItBegins => {
            let (begin, rest) = beginning(source)?;
            let encoding = match begin[..] {
                [0x1f, 0x8b, ..] => Encoding::Gzip,
                [0x28, 0xb5, 0x2f, 0xfd] => Encoding::Zstd,
                _ => Encoding::AsItBegins,
            };
            let whole = BufReader::with_capacity(BUFFER, Cursor::new(begin).chain(rest));
            return decoder(whole, encoding);
        }
        encoding => encoding,
    };
    // Nothing at all is an empty log, also where an encoding was announced.
    if source.fill_buf()?.is_empty() {
        return Ok(Box::new(io::empty()));
    }
    decoder(source, encoding)
}

fn decoder<'a>(
    source: impl BufRead + Send + 'a,
    encoding: Encoding,
) -> io::Result<Box<dyn Read + Send + 'a>> {
    Ok(match encoding {
        Encoding::AsItBegins => Box::new(source),
        Encoding::Gzip => Box::new(MultiGzDecoder::new(source)),
        Encoding::Zstd => {
            let mut decoder = zstd::Decoder::with_buffer(source)?;
            decoder.window_log_max(WINDOW_LOG_MAX)?;
            Box::new(decoder)
        }
    })
}

/// The first four octets, or as many as there are.
fn beginning<R: Read>(mut source: R) -> io::Result<(Vec<u8>, R)> {
    let mut begin = Vec::with_capacity(4);
    source.by_ref().take(4).read_to_end(&mut begin)?;
    Ok((begin, source))
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::{Compression, write::GzEncoder};

    use super::*;

    fn gzip(text: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(text).unwrap();
        encoder.finish().unwrap()
    }

    fn read(octets: &[u8], encoding: Encoding) -> io::Result<Vec<u8>> {
        let mut text = Vec::new();
        decoded(octets, encoding)?.read_to_end(&mut text)?;
        Ok(text)
    }

    #[test]
    fn a_log_is_read_however_it_is_compressed() {
        let text = "1.2.3.4\n".repeat(1000).into_bytes();
        let zstd = zstd::encode_all(&text[..], 1).unwrap();
        for (octets, stated) in [(gzip(&text), Encoding::Gzip), (zstd, Encoding::Zstd)] {
            assert_eq!(read(&octets, stated).unwrap(), text);
            assert_eq!(read(&octets, Encoding::AsItBegins).unwrap(), text);
            // Of several parts, as log files are when they are put together.
            let twice = octets.repeat(2);
            assert_eq!(read(&twice, stated).unwrap().len(), 2 * text.len());
            let broken = &octets[..octets.len() - 5];
            assert!(read(broken, stated).is_err());
            assert!(read(&text, stated).is_err());
        }
        assert_eq!(read(&text, Encoding::AsItBegins).unwrap(), text);
        for short in ["", "a", "ab", "abc"] {
            assert_eq!(
                read(short.as_bytes(), Encoding::AsItBegins).unwrap(),
                short.as_bytes()
            );
        }
        assert_eq!(read(b"", Encoding::Gzip).unwrap(), b"");
        assert_eq!(read(b"", Encoding::Zstd).unwrap(), b"");
    }

    #[test]
    fn a_window_that_would_take_much_memory_is_refused() {
        let mut encoder = zstd::Encoder::new(Vec::new(), 1).unwrap();
        encoder.window_log(27).unwrap();
        // Longer than 8 MiB, or the frame says that it needs less.
        encoder.write_all(&vec![b'\n'; 20 << 20]).unwrap();
        let octets = encoder.finish().unwrap();
        assert!(read(&octets, Encoding::Zstd).is_err());
    }

    #[test]
    fn encodings_have_the_names_of_http() {
        for (name, expected) in [
            ("gzip", Ok(Encoding::Gzip)),
            ("X-GZIP", Ok(Encoding::Gzip)),
            (" zstd ", Ok(Encoding::Zstd)),
            ("identity", Ok(Encoding::AsItBegins)),
            ("br", Err(UnknownEncoding("br".to_owned()))),
            ("gzip, gzip", Err(UnknownEncoding("gzip, gzip".to_owned()))),
        ] {
            assert_eq!(name.parse(), expected, "{name}");
        }
    }
}
