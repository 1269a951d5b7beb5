//! Tar archives of layers, and their compression; streams only, no files.
//!
//! The reader is strict: what two readers could understand in two ways is an
//! error, never a guess, because a layer is checked by one program and unpacked
//! by another. The writer knows one form (ustar headers, PAX records where they
//! are needed), so the same entries give the same bytes everywhere; the
//! compressor cuts at fixed places, so they do so on any number of threads.

mod blocks;
mod compress;
mod decompress;
mod entry;
mod header;
mod pax;
mod pool;
mod read;
mod sparse;
mod worth;
mod write;

pub use blocks::LayerWriter;
pub use compress::{Compression, CompressionError};
pub use decompress::{Format, open};
pub use entry::{
    CAPABILITY_XATTR, Entry, Kind, OPAQUE_NAME, WHITEOUT_PREFIX, capability_v2, display, normalise,
    split,
};
pub use header::is_header;
pub use pool::Pool;
pub use read::{ReadError, TarReader};
pub use write::{TarWriter, WriteError};
