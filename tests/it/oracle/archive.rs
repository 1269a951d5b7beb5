//! Archives of a context, written from lines `PATH MODE UID:GID "CONTENT"`,
//! `PATH/ MODE UID:GID`, `PATH -> TARGET` and `PATH => OTHER` (a hard link).

use std::collections::BTreeMap;
use std::io::Write;

use flate2::write::GzEncoder;
use tar::{Builder, EntryType, Header};

/// The archive that the lines describe; in `compression`, or `plain`.
pub(super) fn make(lines: &str, compression: &str) -> Vec<u8> {
    let mut tar = Builder::new(Vec::new());
    // A hard link's header repeats what its file's says.
    let mut headers = BTreeMap::new();
    for line in lines.lines() {
        add(&mut tar, line, &mut headers);
    }
    compress(&tar.into_inner().unwrap(), compression)
}

fn add(tar: &mut Builder<Vec<u8>>, line: &str, headers: &mut BTreeMap<String, Header>) {
    let mut header = Header::new_gnu();
    header.set_mtime(0);
    for (arrow, kind) in [(" -> ", EntryType::Symlink), (" => ", EntryType::Link)] {
        if let Some((path, target)) = line.split_once(arrow) {
            header.set_mode(0o777);
            header.set_uid(0);
            header.set_gid(0);
            if let Some(file) = headers.get(target).filter(|_| kind == EntryType::Link) {
                header = file.clone();
            }
            header.set_entry_type(kind);
            header.set_size(0);
            return tar.append_link(&mut header, path, target).unwrap();
        }
    }
    let mut words = line.splitn(4, ' ');
    let mut word = || words.next().unwrap_or_else(|| panic!("{line:?} is too short"));
    let (path, mode, owner) = (word(), word(), word());
    let (uid, gid) = owner.split_once(':').unwrap();
    header.set_mode(u32::from_str_radix(mode, 8).unwrap());
    header.set_uid(uid.parse().unwrap());
    header.set_gid(gid.parse().unwrap());
    let directory = path.ends_with('/');
    header.set_entry_type(if directory { EntryType::Directory } else { EntryType::Regular });
    let content: String =
        if directory { String::new() } else { serde_json::from_str(word()).unwrap() };
    header.set_size(content.len() as u64);
    tar.append_data(&mut header, path, content.as_bytes()).unwrap();
    headers.insert(path.to_owned(), header);
}

fn compress(bytes: &[u8], compression: &str) -> Vec<u8> {
    match compression {
        "plain" => bytes.to_vec(),
        "gzip" => {
            let mut encoder = GzEncoder::new(Vec::new(), flate2::Compression::default());
            encoder.write_all(bytes).unwrap();
            encoder.finish().unwrap()
        }
        "bzip2" => {
            let mut encoder =
                bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::default());
            encoder.write_all(bytes).unwrap();
            encoder.finish().unwrap()
        }
        "xz" => {
            let mut out = Vec::new();
            lzma_rs::xz_compress(&mut &bytes[..], &mut out).unwrap();
            out
        }
        "zstd" => zstd::encode_all(bytes, 3).unwrap(),
        other => panic!("no compression is named {other}"),
    }
}
