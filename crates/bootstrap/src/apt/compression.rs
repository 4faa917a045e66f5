//! Compressed indices.

use std::io::{self, Read};

/// How a file is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Compression {
    /// xz, `.xz`
    Xz,
    /// Zstandard, `.zst`
    Zstd,
    /// gzip, `.gz`
    Gzip,
    /// None.
    Plain,
}

impl Compression {
    /// All that can be read, the preferred ones first: the smallest files.
    pub(crate) const ALL: [Self; 4] = [Self::Xz, Self::Zstd, Self::Gzip, Self::Plain];

    /// What a file's name ends with.
    pub(crate) fn suffix(self) -> &'static str {
        match self {
            Self::Xz => ".xz",
            Self::Zstd => ".zst",
            Self::Gzip => ".gz",
            Self::Plain => "",
        }
    }

    /// Decompresses all of `compressed`, up to `limit` bytes.
    ///
    /// # Errors
    /// Content that cannot be decompressed, or that is longer than the limit.
    pub(crate) fn decompress(self, compressed: &[u8], limit: u64) -> io::Result<Vec<u8>> {
        match self {
            Self::Xz => read_xz(compressed, limit),
            Self::Zstd => read(zstd::stream::read::Decoder::with_buffer(compressed)?, limit),
            Self::Gzip => read(flate2::bufread::MultiGzDecoder::new(compressed), limit),
            Self::Plain => read(compressed, limit),
        }
    }
}

/// What an index claims to be large is not reserved blindly.
const MOST_RESERVED: u64 = 256 << 20;

fn read(reader: impl Read, limit: u64) -> io::Result<Vec<u8>> {
    let mut content = Vec::with_capacity(limit.min(MOST_RESERVED) as usize + 1);
    reader.take(limit.saturating_add(1)).read_to_end(&mut content)?;
    checked(content, limit)
}

/// The blocks of a stream are decompressed by several threads at once; archives write several.
fn read_xz(mut compressed: &[u8], limit: u64) -> io::Result<Vec<u8>> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(4) as u32;
    let mut content = Vec::with_capacity(limit.min(MOST_RESERVED) as usize + 1);
    loop {
        // With more memory than that for all threads together, one of them works alone.
        let stream = liblzma::stream::MtStreamBuilder::new()
            .threads(threads)
            .memlimit_threading(MOST_RESERVED)
            .memlimit_stop(u64::MAX)
            .decoder()?;
        let mut decoder = liblzma::bufread::XzDecoder::new_stream(compressed, stream);
        let room = limit.saturating_add(1) - content.len() as u64;
        decoder.by_ref().take(room).read_to_end(&mut content)?;
        content = checked(content, limit)?;
        // Another stream may follow, and zeroes in between.
        let rest = decoder.into_inner();
        compressed = &rest[rest.iter().take_while(|byte| **byte == 0).count()..];
        if compressed.is_empty() {
            return Ok(content);
        }
    }
}

fn checked(content: Vec<u8>, limit: u64) -> io::Result<Vec<u8>> {
    if content.len() as u64 > limit {
        return Err(io::Error::new(io::ErrorKind::InvalidData, format!("it has more than {limit} bytes decompressed")));
    }
    Ok(content)
}

#[cfg(test)]
pub(crate) mod tests {
    use std::io::Write;

    use super::*;

    pub(crate) fn compress(compression: Compression, content: &[u8]) -> Vec<u8> {
        match compression {
            Compression::Xz => {
                let mut encoder = liblzma::write::XzEncoder::new(Vec::new(), 1);
                encoder.write_all(content).unwrap();
                encoder.finish().unwrap()
            }
            Compression::Zstd => zstd::encode_all(content, 1).unwrap(),
            Compression::Gzip => {
                let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
                encoder.write_all(content).unwrap();
                encoder.finish().unwrap()
            }
            Compression::Plain => content.to_vec(),
        }
    }

    #[test]
    fn xz_of_several_blocks() {
        let content: Vec<u8> = (0..3_000_000_u32).flat_map(|nr| (nr / 7).to_le_bytes()).collect();
        let stream =
            liblzma::stream::MtStreamBuilder::new().preset(0).block_size(1 << 20).threads(2).encoder().unwrap();
        let mut encoder = liblzma::write::XzEncoder::new_stream(Vec::new(), stream);
        encoder.write_all(&content).unwrap();
        let mut compressed = encoder.finish().unwrap();
        assert!(Compression::Xz.decompress(&compressed, content.len() as u64).unwrap() == content);
        assert!(Compression::Xz.decompress(&compressed, content.len() as u64 - 1).is_err());
        let middle = compressed.len() / 2;
        compressed[middle] ^= 1;
        assert!(Compression::Xz.decompress(&compressed, content.len() as u64).is_err());
    }

    #[test]
    fn every_kind() {
        let content = b"content ".repeat(1000);
        for kind in Compression::ALL {
            let compressed = compress(kind, &content);
            assert_eq!(kind.decompress(&compressed, 8000).unwrap(), content, "{kind:?}");
            let error = kind.decompress(&compressed, 7999).unwrap_err();
            assert!(error.to_string().contains("more than 7999"), "{kind:?}: {error}");
            if kind != Compression::Plain {
                assert!(kind.decompress(&compressed[..compressed.len() / 2], 8000).is_err(), "{kind:?}");
                assert!(kind.decompress(b"rubbish that is nothing", 8000).is_err(), "{kind:?}");
            }
            let twice = [compressed.clone(), compressed].concat();
            assert_eq!(kind.decompress(&twice, 16_000).unwrap().len(), 16_000, "{kind:?}");
        }
    }
}
