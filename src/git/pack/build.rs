//! A pack of whole objects, as a push sends it.

use std::io::{self, Write};
use std::sync::Arc;

use flate2::Compression;
use flate2::write::ZlibEncoder;

use super::with_checksum;
use crate::git::id::{Hasher, ObjectFormat, ObjectId};
use crate::git::object::Kind;

/// An object with its content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::git) struct Object {
    pub(in crate::git) id: ObjectId,
    pub(in crate::git) kind: Kind,
    pub(in crate::git) content: Arc<Vec<u8>>,
}

impl Object {
    /// Names content. `None` when it was made to collide with other content.
    pub(in crate::git) fn new(format: ObjectFormat, kind: Kind, content: Vec<u8>) -> Option<Self> {
        let mut hasher = Hasher::of_object(format, kind.name(), content.len() as u64);
        hasher.update(&content);
        Some(Self { id: hasher.finish()?, kind, content: Arc::new(content) })
    }
}

/// The bytes of a pack of these objects, each of which is there once.
pub(in crate::git) fn build<'a>(
    format: ObjectFormat,
    objects: impl ExactSizeIterator<Item = &'a Object>,
) -> io::Result<Vec<u8>> {
    let mut pack = b"PACK\0\0\0\x02".to_vec();
    pack.extend_from_slice(&(objects.len() as u32).to_be_bytes());
    for object in objects {
        head(&mut pack, object.kind, object.content.len());
        let mut encoder = ZlibEncoder::new(&mut pack, Compression::default());
        encoder.write_all(&object.content)?;
        encoder.finish()?;
    }
    with_checksum(pack, format)
}

/// The kind, and how large it is: four bits of it, then seven at a time.
fn head(pack: &mut Vec<u8>, kind: Kind, size: usize) {
    let kind = match kind {
        Kind::Commit => 1,
        Kind::Tree => 2,
        Kind::Blob => 3,
        Kind::Tag => 4,
    };
    let mut byte = kind << 4 | (size & 0xf) as u8;
    let mut rest = size >> 4;
    while rest > 0 {
        pack.push(byte | 0x80);
        byte = (rest & 0x7f) as u8;
        rest >>= 7;
    }
    pack.push(byte);
}

#[cfg(test)]
mod tests {
    use super::super::{PackReader, PackWriter};
    use super::*;

    #[test]
    fn what_is_built_is_read_again() {
        for format in [ObjectFormat::Sha1, ObjectFormat::Sha256] {
            let content = |n: usize| (0..n).map(|i| (i * i % 251) as u8).collect::<Vec<u8>>();
            let objects: Vec<Object> = [0, 1, 15, 16, 2047, 2048, 300_000]
                .into_iter()
                .map(|n| Object::new(format, Kind::Blob, content(n)).unwrap())
                .collect();
            let pack = build(format, objects.iter()).unwrap();
            let mut writer = PackWriter::in_memory(format).unwrap();
            writer.write(&pack).unwrap();
            assert_eq!(writer.size(), pack.len() as u64);
            let pack = writer.finish(&|| false).unwrap();
            let mut reader = PackReader::new(&pack);
            for object in objects {
                assert_eq!(*reader.read(&object.id, object.kind).unwrap(), *object.content);
            }
        }
    }
}
