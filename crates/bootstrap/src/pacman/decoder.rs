//! Compressed files whose names do not say how: what they begin with does.

use std::io::{self, BufRead, Read};

/// The most memory that xz may use to decompress; its highest preset needs 65 MiB.
const XZ_MEMORY: u64 = 256 << 20;

/// Decompresses zstd, xz, gzip and bzip2; what is none of these is given as it is.
///
/// # Errors
/// Where the beginning cannot be read.
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
    Ok(Box::new(file))
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn the_beginning_says_how() {
        let content = b"content ".repeat(1000);
        let mut xz = liblzma::write::XzEncoder::new(Vec::new(), 1);
        xz.write_all(&content).unwrap();
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(&content).unwrap();
        let mut bzip2 = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::fast());
        bzip2.write_all(&content).unwrap();
        let all = [
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
