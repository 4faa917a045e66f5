//! How blocks are compressed.

use std::io::{self, Read};

use crate::reader::{Error, Result};

/// More than the largest dictionary of a block takes.
const XZ_MEMORY: u64 = 64 << 20;

/// A way of compressing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Compression {
    Zlib,
    Xz,
    Lz4,
    Zstd,
}

impl Compression {
    pub(super) fn of_number(number: u16) -> Result<Self> {
        Ok(match number {
            1 => Self::Zlib,
            4 => Self::Xz,
            5 => Self::Lz4,
            6 => Self::Zstd,
            2 => return Err(Error::Unsupported("the old LZMA compression".to_owned())),
            3 => return Err(Error::Unsupported("LZO compression".to_owned())),
            _ => return Err(Error::Damaged("its compression has no known number")),
        })
    }

    /// Decompresses a block of at most `limit` bytes.
    pub(super) fn decompress(self, block: &[u8], limit: usize) -> Result<Vec<u8>> {
        match self {
            Self::Zlib => limited(flate2::bufread::ZlibDecoder::new(block), limit),
            Self::Xz => {
                let stream = liblzma::stream::Stream::new_stream_decoder(XZ_MEMORY, 0).map_err(damaged)?;
                limited(liblzma::bufread::XzDecoder::new_stream(block, stream), limit)
            }
            Self::Lz4 => {
                let mut bytes = vec![0; limit];
                let length = lz4_flex::block::decompress_into(block, &mut bytes).map_err(damaged)?;
                bytes.truncate(length);
                Ok(bytes)
            }
            Self::Zstd => limited(zstd::stream::read::Decoder::with_buffer(block)?, limit),
        }
    }
}

fn limited(reader: impl Read, limit: usize) -> Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(limit);
    reader.take(limit as u64 + 1).read_to_end(&mut bytes).map_err(damaged)?;
    if bytes.len() > limit {
        return Err(Error::Damaged("a block is larger than it may be"));
    }
    Ok(bytes)
}

fn damaged(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
    Error::Io(io::Error::new(io::ErrorKind::InvalidData, error))
}
