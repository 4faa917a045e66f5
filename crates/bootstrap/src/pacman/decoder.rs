//! Compressed files whose names do not say how: what they begin with does.

use std::io::{self, BufRead, Read};

/// The most memory that xz may use to decompress; its highest preset needs 65 MiB.
const XZ_MEMORY: u64 = 256 << 20;

/// What else makepkg(8) and repo-add(8) can be told to compress with, and what nobody has used for it for long.
const UNSUPPORTED: [(&[u8], &str); 3] =
    [(b"\x89LZO\0\r\n\x1a\n", "lzop"), (b"\x1f\x9d", "compress"), (b"LRZI", "lrzip")];

/// Decompresses zstd, xz, gzip, bzip2, lz4 and lzip; what is none of these is given as it is.
///
/// # Errors
/// Where the beginning cannot be read, or shows a compression that is not supported.
pub(crate) fn decoder(mut file: impl BufRead + Send + 'static) -> io::Result<Box<dyn Read + Send>> {
    let start = file.fill_buf()?;
    if start.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]) {
        return Ok(Box::new(zstd::stream::read::Decoder::with_buffer(file)?));
    }
    if start.starts_with(b"\xfd7zXZ\0") {
        let stream = liblzma::stream::Stream::new_stream_decoder(XZ_MEMORY, liblzma::stream::CONCATENATED)?;
        return Ok(Box::new(liblzma::bufread::XzDecoder::new_stream(file, stream)));
    }
    if start.starts_with(&[0x1f, 0x8b]) {
        return Ok(Box::new(flate2::bufread::MultiGzDecoder::new(file)));
    }
    if start.starts_with(b"BZh") {
        return Ok(Box::new(bzip2::bufread::MultiBzDecoder::new(file)));
    }
    if start.starts_with(&[0x04, 0x22, 0x4d, 0x18]) {
        return Ok(Box::new(Lz4(lz4_flex::frame::FrameDecoder::new(file))));
    }
    if start.starts_with(b"LZIP") {
        let stream = liblzma::stream::Stream::new_lzip_decoder(XZ_MEMORY, liblzma::stream::CONCATENATED)?;
        return Ok(Box::new(liblzma::bufread::XzDecoder::new_stream(file, stream)));
    }
    match UNSUPPORTED.iter().find(|(magic, _)| start.starts_with(magic)) {
        None => Ok(Box::new(file)),
        Some((_, program)) => {
            let text = format!(
                "it is compressed with {program}, which is not supported: zstd, xz, gzip, bzip2, lz4 and lzip are"
            );
            Err(io::Error::new(io::ErrorKind::Unsupported, text))
        }
    }
}

/// All frames of a file, one after the other.
struct Lz4<R: Read>(lz4_flex::frame::FrameDecoder<R>);

impl<R: BufRead> Read for Lz4<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let read = self.0.read(buffer)?;
            if read > 0 || buffer.is_empty() || self.0.get_mut().fill_buf()?.is_empty() {
                return Ok(read);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    /// A member of lzip's format, which is lzma with other things before and behind it.
    fn lzip(content: &[u8]) -> Vec<u8> {
        let options = liblzma::stream::LzmaOptions::new_preset(1).unwrap();
        let stream = liblzma::stream::Stream::new_lzma_encoder(&options).unwrap();
        let mut encoder = liblzma::write::XzEncoder::new_stream(Vec::new(), stream);
        encoder.write_all(content).unwrap();
        let mut sum = flate2::Crc::new();
        sum.update(content);
        // The version, and 2 to the power of 20: how far back it refers.
        let mut member = b"LZIP\x01\x14".to_vec();
        member.extend_from_slice(&encoder.finish().unwrap()[13..]);
        member.extend_from_slice(&sum.sum().to_le_bytes());
        member.extend_from_slice(&(content.len() as u64).to_le_bytes());
        member.extend_from_slice(&(member.len() as u64 + 8).to_le_bytes());
        member
    }

    #[test]
    fn what_is_not_supported_is_named() {
        let Err(error) = decoder(&b"\x1f\x9d\x90abc"[..]) else { panic!("it is read") };
        assert!(error.to_string().starts_with("it is compressed with compress, which is not supported"), "{error}");
    }

    #[test]
    fn the_beginning_says_how() {
        let content = b"content ".repeat(1000);
        let mut xz = liblzma::write::XzEncoder::new(Vec::new(), 1);
        xz.write_all(&content).unwrap();
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(&content).unwrap();
        let mut bzip2 = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::fast());
        bzip2.write_all(&content).unwrap();
        let mut lz4 = lz4_flex::frame::FrameEncoder::new(Vec::new());
        lz4.write_all(&content).unwrap();
        let all = [
            lz4.finish().unwrap(),
            lzip(&content),
            zstd::encode_all(&*content, 1).unwrap(),
            xz.finish().unwrap(),
            gzip.finish().unwrap(),
            bzip2.finish().unwrap(),
            content.clone(),
        ];
        for compressed in all {
            let read = |bytes: Vec<u8>| {
                let mut read = Vec::new();
                decoder(io::Cursor::new(bytes))?.read_to_end(&mut read).map(|_| read)
            };
            assert_eq!(read(compressed.clone()).unwrap(), content);
            assert_eq!(read([compressed.clone(), compressed.clone()].concat()).unwrap().len(), 16000);
            if compressed != content {
                assert!(read(compressed[..compressed.len() - 5].to_vec()).is_err());
            }
        }
    }
}
