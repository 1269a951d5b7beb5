//! The formats of compressed layers, and what turns one block into one of them.

use std::io;
use std::str::FromStr;

use super::worth::is_worth_compressing;
use crate::image::media_type;

/// How a layer is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// gzip, which every runtime reads.
    Gzip {
        /// 0 (stored) to 12; 6 unless asked.
        level: u8,
    },
    /// zstd, faster and smaller; valid in OCI manifests only.
    Zstd {
        /// 1 to 22; 3 unless asked.
        level: u8,
    },
    /// A plain archive.
    None,
}

/// Why a text does not name a compression.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum CompressionError {
    /// There is no such format.
    #[error("unknown compression {0:?}, expected gzip, zstd or none")]
    Name(String),
    /// The format has no such level.
    #[error("compression level {level:?} of {name} is not one of {range}")]
    Level {
        /// The format.
        name: &'static str,
        /// The level asked for.
        level: String,
        /// The levels there are.
        range: &'static str,
    },
}

impl Compression {
    /// The format of this name at this level, or at its usual one.
    pub fn new(name: &str, level: Option<&str>) -> Result<Self, CompressionError> {
        let within = |name, usual: u8, first: u8, last: u8, range| match level {
            None => Ok(usual),
            Some(text) => match text.parse() {
                Ok(level) if (first..=last).contains(&level) => Ok(level),
                _ => Err(CompressionError::Level { name, level: text.to_owned(), range }),
            },
        };
        match name {
            "gzip" => Ok(Self::Gzip { level: within("gzip", 6, 0, 12, "0 to 12")? }),
            "zstd" => Ok(Self::Zstd { level: within("zstd", 3, 1, 22, "1 to 22")? }),
            "none" | "uncompressed" => match level {
                None => Ok(Self::None),
                Some(level) => Err(CompressionError::Level {
                    name: "none",
                    level: level.to_owned(),
                    range: "none at all",
                }),
            },
            _ => Err(CompressionError::Name(name.to_owned())),
        }
    }

    /// The OCI media type of a layer compressed so.
    pub fn media_type(self) -> &'static str {
        match self {
            Self::Gzip { .. } => media_type::OCI_LAYER_GZIP,
            Self::Zstd { .. } => media_type::OCI_LAYER_ZSTD,
            Self::None => media_type::OCI_LAYER,
        }
    }

    /// How many bytes of the archive are compressed as one; part of the format of our layers:
    /// another number gives other digests. Larger blocks compress little better, and at these
    /// sizes each costs less than 0.1 % more than an endless one.
    pub(super) fn block_size(self) -> usize {
        match self {
            Self::Gzip { .. } | Self::None => 1024 * 1024,
            Self::Zstd { .. } => 2 * 1024 * 1024,
        }
    }
}

impl Default for Compression {
    fn default() -> Self {
        Self::Gzip { level: 6 }
    }
}

/// `gzip`, `gzip:9`, `zstd`, `zstd:19` or `none`.
impl FromStr for Compression {
    type Err = CompressionError;

    fn from_str(text: &str) -> Result<Self, CompressionError> {
        match text.split_once(':') {
            Some((name, level)) => Self::new(name, Some(level)),
            None => Self::new(text, None),
        }
    }
}

/// Compresses blocks, one after the other; kept for the next one of the same format.
#[derive(Default)]
pub(super) struct Compressor(Option<(Compression, Codec)>);

enum Codec {
    /// At level 0 alone there is none: all is stored.
    Gzip {
        codec: Option<libdeflater::Compressor>,
        stored: libdeflater::Compressor,
    },
    Zstd(zstd::bulk::Compressor<'static>),
    None,
}

impl std::fmt::Debug for Compressor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Compressor").field(&self.0.as_ref().map(|(format, _)| format)).finish()
    }
}

impl Compressor {
    /// Writes `block` as a whole gzip member or zstd frame to the begin of `out`, which
    /// grows as needed; gives its length. What follows there is left over from before.
    pub(super) fn compress(
        &mut self,
        compression: Compression,
        block: &[u8],
        out: &mut Vec<u8>,
    ) -> io::Result<usize> {
        let codec = match &mut self.0 {
            Some((format, codec)) if *format == compression => codec,
            other => &mut other.insert((compression, Codec::new(compression)?)).1,
        };
        codec.compress(block, out)
    }
}

impl Codec {
    fn new(compression: Compression) -> io::Result<Self> {
        let gzip = |level: u8| {
            libdeflater::CompressionLvl::new(level.into())
                .map(libdeflater::Compressor::new)
                .map_err(|_| io::Error::other("no such gzip level"))
        };
        Ok(match compression {
            Compression::Gzip { level } => Self::Gzip {
                codec: (level > 0).then(|| gzip(level)).transpose()?,
                stored: gzip(0)?,
            },
            Compression::Zstd { level } => {
                let mut compressor = zstd::bulk::Compressor::new(level.into())?;
                compressor.include_checksum(true)?;
                Self::Zstd(compressor)
            }
            Compression::None => Self::None,
        })
    }

    fn compress(&mut self, block: &[u8], out: &mut Vec<u8>) -> io::Result<usize> {
        let mut make_room = |bound: usize| {
            if out.len() < bound {
                out.resize(bound, 0);
            }
        };
        match self {
            Self::Gzip { codec, stored } => {
                make_room(stored.gzip_compress_bound(block.len()));
                let codec = match codec {
                    Some(codec) => {
                        make_room(codec.gzip_compress_bound(block.len()));
                        let mut size = |part: &[u8]| codec.deflate_compress(part, out).ok();
                        if is_worth_compressing(block, &mut size) { codec } else { stored }
                    }
                    None => stored,
                };
                codec
                    .gzip_compress(block, out)
                    .map_err(|error| io::Error::other(format!("compress with gzip: {error}")))
            }
            // Finds out by itself what is not worth it, at next to no cost.
            Self::Zstd(codec) => {
                make_room(zstd::zstd_safe::compress_bound(block.len()));
                codec.compress_to_buffer(block, &mut out[..])
            }
            Self::None => {
                make_room(block.len());
                out[..block.len()].copy_from_slice(block);
                Ok(block.len())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_levels() {
        for (text, expected) in [
            ("gzip", Ok(Compression::Gzip { level: 6 })),
            ("gzip:0", Ok(Compression::Gzip { level: 0 })),
            ("gzip:12", Ok(Compression::Gzip { level: 12 })),
            ("zstd", Ok(Compression::Zstd { level: 3 })),
            ("zstd:22", Ok(Compression::Zstd { level: 22 })),
            ("none", Ok(Compression::None)),
            ("gzip:13", Err("compression level \"13\" of gzip is not one of 0 to 12")),
            ("zstd:0", Err("compression level \"0\" of zstd is not one of 1 to 22")),
            ("zstd:", Err("compression level \"\" of zstd is not one of 1 to 22")),
            ("none:1", Err("compression level \"1\" of none is not one of none at all")),
            ("xz", Err("unknown compression \"xz\", expected gzip, zstd or none")),
        ] {
            let parsed = text.parse::<Compression>().map_err(|error| error.to_string());
            assert_eq!(parsed, expected.map_err(str::to_owned), "{text}");
        }
    }
}
